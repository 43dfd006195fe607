"""The page of a record: nothing in it from elsewhere, nothing that could make HTML of what a run has written."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from report_helpers import HOSTILE, blocks_of, recorded_run
from typer.testing import CliRunner

from oarlock import BadRequestError, ConfigurationError
from oarlock.cli.app import app
from oarlock.report import Recording, as_page, read_record, write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_run(tmp_path_factory.mktemp("record") / "run.jsonl", hostile=HOSTILE)


@pytest.fixture(scope="module")
def page(record: Path) -> str:
    return as_page(read_record(record))


class Elements(html.parser.HTMLParser):
    """Names all elements and attributes, as a browser would find them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements_of(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(page)
    return parser.found


def test_its_policy_lets_in_what_is_in_it_and_nothing_else(page: str) -> None:
    (content,) = re.findall(r'<meta http-equiv="content-security-policy" content="([^"]*)">', page)
    assert page.index("content-security-policy") < page.index("<style>") < page.index("<script")
    policy = dict(part.strip().split(" ", 1) for part in content.split(";"))
    for kind in ("script", "style"):
        (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{hashed}'"
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "connect-src" not in policy


def test_nothing_comes_from_elsewhere(page: str) -> None:
    frame = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert set(re.findall(r"https?://[^\"'\s)]+", frame)) == {"http://www.w3.org/2000/svg"}, "the name of what SVG is"
    for _, attributes in elements_of(page):
        assert not attributes.keys() & {"src", "srcset", "action", "style", "data", "poster"}
        assert not [name for name in attributes if name.startswith("on")]
    assert re.findall(r'href="([^"]*)"', frame) == ["data:,", "#timeline"]
    assert not re.search(r"@import|url\(|\bimport\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|new Image", frame)


def test_what_runs_wrote_stays_text(page: str) -> None:
    sinks = r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\(|new Function|DOMParser|setHTML"
    assert not re.search(sinks, page)
    assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie", page)
    tags = [tag for tag, _ in elements_of(page)]
    assert "img" not in tags
    assert tags.count("script") == len(blocks_of(page)) + 1
    assert "<!-- " not in page
    assert "\u2028" not in page
    said = [text for one in blocks_of(page)["content-0"] if one for _, text in one.get("texts", ())]
    assert any(HOSTILE in text for text in said), "and as it was"


def test_the_script_finds_what_it_looks_for(page: str) -> None:
    ids = {attributes["id"] for _, attributes in elements_of(page) if "id" in attributes}
    assert set(re.findall(r'byId\("([\w-]+)"\)', page)) <= ids | {"window"}
    assert set(re.findall(r'\b(?:for|aria-labelledby)="([\w-]+)"', page)) <= ids


def test_the_data(page: str) -> None:
    data = blocks_of(page)["data"]
    (run,) = data["runs"]
    assert run["state"] == "finished"
    assert run["totals"]["calls"] == 4
    assert run["totals"]["requests"] == 5
    (row,) = run["agents"]
    assert (row["calls"], row["tools"], row["failed"]) == (4, 1, 0)
    assert row["waited"] == run["totals"]["waited"] == run["waits"][0][2] > 0
    assert run["waits"][0][:2] == ["backoff", 1]
    kinds = [piece["k"] for piece in data["pieces"]]
    assert kinds == ["run", "task", "call", "tool", "call", "task", "call", "call"]
    retried = data["pieces"][6]
    assert retried["at"] == 2
    assert "bad gateway" in retried["w"][0][3]
    assert [words for words, *_ in data["pieces"][5]["x"]][1:] == [
        "Answer sent back by guardrail",
        "Guardrail <lambda>: passed",
    ]


def test_conversations_go_on_from_those_before(page: str) -> None:
    content = blocks_of(page)["content-0"]
    assert [message["r"] for message in content[2]["messages"]] == ["system", "user"]
    assert content[2]["tools"] == ["look_up"]
    assert content[2]["answer"]["c"][0][0] == "look_up"
    assert content[4]["after"] == [2, 2]
    assert [message["r"] for message in content[4]["messages"]] == ["assistant", "tool"]
    assert content[7]["after"] == [6, 2]


def test_a_record_without_content_says_so(tmp_path: Path) -> None:
    path = recorded_run(tmp_path / "run.jsonl", record=Recording(tmp_path / "run.jsonl", content=False))
    page = as_page(read_record(path))
    assert "About boats" not in page
    assert blocks_of(page)["data"]["runs"][0]["content"] is False


@pytest.mark.parametrize("cut", [1, 3, 6, 9])
def test_a_page_comes_of_each_beginning_of_a_record(record: Path, tmp_path: Path, cut: int) -> None:
    lines = record.read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:cut]) + lines[cut][:20])
    data = blocks_of(as_page(read_record(tmp_path / "cut.jsonl")))["data"]
    assert data["runs"][0]["state"] == "cut"
    assert len(data["notices"]) == 1


def test_the_command(record: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(record), "-o", str(tmp_path / "r.html"), "--price", "gpt-x=2.5,10"])
    assert result.exit_code == 0, result.output
    assert "r.html: 1 run, 4 model calls. Open it in a browser." in result.output
    assert stat.S_IMODE((tmp_path / "r.html").stat().st_mode) == 0o600
    assert blocks_of((tmp_path / "r.html").read_text("utf-8"))["data"]["runs"][0]["totals"]["cost"]
    assert CliRunner().invoke(app, ["report", str(record)]).exit_code == 0
    assert record.with_suffix(".html").read_text("utf-8").startswith("<!doctype html>")
    shown = CliRunner().invoke(app, ["report", str(record), "-o", "-"])
    assert shown.stdout.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-o", "{record}"], "would take the place of the record"),
        (["-o", "/no/such/folder/r.html"], "cannot be written: No such file"),
        (["--price", "gpt-x=cheap"], "A price is given as"),
        (["--price", "gpt-x=1"], "A price is given as"),
        (["--price", "gpt-x=1,-2"], "output must be"),
    ],
)
def test_wrong_commands(record: Path, arguments: list[str], why: str) -> None:
    given = [argument.format(record=record) for argument in arguments]
    result = CliRunner().invoke(app, ["report", str(record), *given])
    assert isinstance(result.exception, ConfigurationError)
    assert why in str(result.exception)


def test_a_cut_record_is_told_on_the_terminal(record: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl").write_bytes(record.read_bytes()[:-9])
    result = CliRunner().invoke(app, ["report", str(tmp_path / "cut.jsonl")])
    assert result.exit_code == 0
    assert "is cut off, as by a crash" in result.output
    assert "cut.html: 1 run without an end, 4 model calls." in result.output
    with (tmp_path / "cut.jsonl").open("ab") as file:
        file.write(b"\n" + record.read_bytes().replace(b'"run_id":"0', b'"run_id":"1'))
    result = CliRunner().invoke(app, ["report", str(tmp_path / "cut.jsonl")])
    assert "cut.html: 2 runs (1 of them without an end), 8 model calls." in result.output


def test_run_records_scripts_and_crew_files(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from oarlock import Agent, Crew, Task\nfrom oarlock.testing import ScriptedLLM\n"
        "agent = Agent(role='R', goal='G', llm=ScriptedLLM(['Said.']))\n"
        "print(Crew(tasks=[Task(description='D', agent=agent)]).kickoff())\n"
    )
    command = [sys.executable, "-m", "oarlock", "run", str(script), "--record", "run.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Said.\n"
    assert done.stderr == "Recorded: `oarlock report run.jsonl` shows it.\n"
    (run,) = read_record(tmp_path / "run.jsonl").runs
    assert run.root.answer == "Said."


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_shows_it(tmp_path: Path) -> None:
    recorded_run(tmp_path / "run.jsonl", hostile=HOSTILE, error=BadRequestError(f"refused {HOSTILE}", status=400))
    text = (tmp_path / "run.jsonl").read_text("utf-8")
    (tmp_path / "run.jsonl").write_text(
        text + text.replace(json.loads(text.split("\n")[0])["run_id"], "again"), "utf-8"
    )
    write_page(read_record(tmp_path / "run.jsonl"), tmp_path / "run.html")
    shown = dumped(f"file://{tmp_path}/run.html#piece-4", tmp_path / "profile")
    assert "pwned" not in re.findall(r"<title>(.*?)</title>", shown)[0].replace("document.title='pwned'", "")
    body = shown[shown.index("<body") : shown.index('<script type="application/json"')]
    assert not re.search(r"<(?:img|script)", body)
    assert body.count("&lt;img src=x onerror=alert(1)&gt;&lt;script&gt;") >= 10
    assert "⟨U+001B⟩[31m⟨U+202E⟩" in body
    assert "2 runs in this file: 2 failed" in body
    assert re.search(r'<tr aria-current="true"><th scope="row"><button[^>]* data-run="0"', body), "that of the piece"
    assert "It failed. " in body
    assert re.search(r'<dialog [^>]*open=""', body), "the address named a piece of work"
    assert "2 messages that an earlier call had, too" in body
    assert "2 attempts" in body
    assert "waited" in body
    assert "backoff after a failure" in body
    assert len(re.findall(r'<tr class="is-(?:task|call|tool)"', body)) == 7
    assert re.search(r'class="wait backoff" style="left: [\d.]+%; width: [\d.]+%;"', body)
    assert '<path d="M' in body


def dumped(url: str, profile: Path) -> str:
    """Return the page's elements once its script has run."""
    options = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-sync"]
    options += ["disable-component-update", "virtual-time-budget=3000", "dump-dom", f"user-data-dir={profile}"]
    command = [str(CHROMIUM), *(f"--{option}" for option in options), url]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
