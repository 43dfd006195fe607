"""The live page: nothing in it from elsewhere, nothing in it that could make HTML of what a run has written."""

import asyncio
import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest
from serve_helpers import key, send

from oarlock import Agent, Crew, Task
from oarlock.serve import create_app, serving
from oarlock.testing import FunctionLLM, ScriptedLLM

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FINISHED = '<span class="status finished">finished</span>'
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def page() -> httpx2.Response:
    return send(create_app({"mine": ScriptedLLM([])}, keys=[key()]), "GET", "/")


def test_it_needs_no_key_and_is_html(page: httpx2.Response):
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"


def test_its_policy_lets_in_what_is_in_it_and_nothing_else(page: httpx2.Response):
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    for kind in ("script", "style"):
        (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page.text, re.DOTALL)
        assert len(inside) > 1000
        hashed = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{hashed}'"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == "'none'"


def test_nothing_comes_from_elsewhere(page: httpx2.Response):
    assert not re.search(r"(?:https?:)?//[a-z]", page.text.replace("// ", "")), "an address"
    assert not re.search(r"\b(?:src|srcset|action)=", page.text)
    assert re.findall(r'href="([^"]*)"', page.text) == ["data:,", "#run-title"]
    assert not re.search(r"@import|url\(", page.text)
    assert not re.search(r'style="|<[^>]+\son\w+=', page.text), "what the policy would not let run"


def test_what_runs_write_stays_text(page: httpx2.Response):
    sinks = r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\(|new Function|DOMParser"
    assert not re.search(sinks, page.text)
    assert "localStorage" not in page.text
    assert "sessionStorage" not in page.text


def test_the_script_finds_what_it_looks_for(page: httpx2.Response):
    ids = set(re.findall(r'\bid="([\w-]+)"', page.text))
    assert set(re.findall(r'byId\("([\w-]+)"\)', page.text)) <= ids
    assert set(re.findall(r'\bsay\("([\w-]+)"', page.text)) <= ids
    labelled = set(re.findall(r'\b(?:for|aria-labelledby)="([\w-]+)"', page.text))
    assert labelled <= ids


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_shows_a_run(tmp_path: Path):
    agent = Agent(role="Poet", goal="Rhyme", backstory="Old", llm=FunctionLLM(lambda messages, tools: HOSTILE))
    crew = Crew(agents=[agent], tasks=[Task(name="rhyme", description="On {topic}", agent=agent)])
    with serving(create_app(crews={"poem": crew})) as url:
        httpx2.post(f"{url}/crews/poem/runs", json={"inputs": {"topic": HOSTILE}, "run_id": "r-1"})
        httpx2.get(f"{url}/runs/r-1?wait=30", timeout=60)
        shown = dumped(f"{url}/#r-1", tmp_path)
    assert shown.count("&lt;img src=x onerror=alert(1)&gt;&lt;script&gt;alert(2)&lt;/script&gt;") >= 3
    assert "<img" not in shown
    assert "Run r-1" in shown
    assert FINISHED in shown
    assert "rhyme — Poet: done" in shown


def dumped(url: str, folder: Path) -> str:
    """Return the page's elements after ten seconds of a browser's virtual time, which stands still while it waits for us."""
    options = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    options += ["disable-component-update", "disable-sync", "virtual-time-budget=10000", "dump-dom"]
    command = [str(CHROMIUM), *(f"--{option}" for option in options), f"--user-data-dir={folder}", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout


def test_it_is_the_same_for_everybody():
    async def twice() -> list[str]:
        app = create_app({"mine": ScriptedLLM([])})
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [(await client.get("/", headers={"sec-fetch-site": "cross-site"})).text for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first == second
