"""`run_script`: a script runs as Python would run it; users' scripts for CrewAI run unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oarlock import ConfigurationError
from oarlock.compat import run_script, uninstall
from oarlock.testing.endpoint import JwtIssuer, LoopbackEndpoint

SCRIPTS = Path(__file__).with_name("scripts")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "script.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


# As Python would.


def test_as_main_with_arguments_and_its_folder(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("WORD = 'beside'\n", "beside_the_script.py")
    script = write(
        "import sys, beside_the_script\n"
        "print(__name__, __file__ == sys.argv[0], sys.argv[1:], sys.path[0], beside_the_script.WORD)\n"
        "print(sys.modules['__main__'].__dict__ is globals())\n"
    )
    run_script(script, ["--topic", "tides"])
    assert capsys.readouterr().out.splitlines() == [
        f"__main__ True ['--topic', 'tides'] {script.parent.resolve()} beside",
        "True",
    ]


def test_a_relative_path(write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = write("import sys; print(sys.argv[0], sys.path[0])")
    monkeypatch.chdir(script.parent)
    run_script("script.py")
    assert capsys.readouterr().out.split() == ["script.py", str(script.parent.resolve())]


def test_everything_is_put_back(write: Write) -> None:
    (write("", "beside_the_script.py").parent / "package_beside").mkdir()
    write("", "package_beside/__init__.py")
    write("", "package_beside/inner.py")
    script = write(
        "import sys, crewai.tools, beside_the_script, package_beside.inner, wave\n"
        "sys.argv.append('x'); sys.path.append('/nowhere')\nsys.argv = ['other']\n"
    )
    arguments, search, main = sys.argv, sys.path, sys.modules["__main__"]
    before = (list(arguments), list(search), list(sys.meta_path))
    run_script(script, ["a"])
    assert sys.path is search
    assert (list(sys.argv), list(sys.path), list(sys.meta_path)) == before
    assert sys.modules["__main__"] is main
    left = {"beside_the_script", "package_beside", "package_beside.inner", "crewai", "crewai.tools"} & set(sys.modules)
    assert left == set()
    assert "wave" in sys.modules  # of no concern to the script's folder: stays


def test_two_folders_with_modules_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "settings_of_mine.py").write_text(f"NAME = {folder!r}\n")
        (tmp_path / folder / "main.py").write_text("from settings_of_mine import NAME\nprint(NAME)\n")
        run_script(tmp_path / folder / "main.py")
    assert capsys.readouterr().out.split() == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("raise KeyError('mine')", KeyError, "mine"),
        ("import sys; sys.exit(3)", SystemExit, "3"),
        ("raise KeyboardInterrupt('stopped')", KeyboardInterrupt, "stopped"),
        ("def (:", SyntaxError, "invalid syntax"),
        ("import no_such_module_at_all", ModuleNotFoundError, "no_such_module_at_all"),
        ("from crewai import Flow", ModuleNotFoundError, "crewai.Flow is not in Oarlock"),
        ("from crewai import Agent\nAgent(rol='x')", ConfigurationError, "Did you mean 'role'"),
    ],
)
def test_a_failing_script_raises_its_own_error(text: str, error: type[BaseException], words: str, write: Write) -> None:
    before = (list(sys.argv), list(sys.path), list(sys.meta_path))
    with pytest.raises(error, match=words):
        run_script(write(text), ["a"])
    assert (list(sys.argv), list(sys.path), list(sys.meta_path)) == before


def test_what_cannot_be_run(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"There is no file 'nope\.py' in "):
        run_script("nope.py")
    with pytest.raises(ConfigurationError, match=r"is a folder\. There is no Python file in it"):
        run_script(tmp_path)
    write("", "main.py")
    with pytest.raises(ConfigurationError, match=r"is a folder\. Name one of its scripts: main\.py\."):
        run_script(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no Python script: its name must end in \.py"):
        run_script(write("a: 1", "crew.toml"))


def test_a_script_called_crewai(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    run_script(write("from crewai import Agent\nprint(Agent.__module__)\n", "crewai.py"))
    assert capsys.readouterr().out == "oarlock.compat.crewai.agent\n"


def test_without_the_names(write: Write) -> None:
    uninstall()
    with pytest.raises(ModuleNotFoundError, match="No module named 'crewai'"):
        run_script(write("import crewai"), as_crewai=False)


# Users' scripts.


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from oarlock.compat.scripts import run_script; run_script(sys.argv[1], sys.argv[2:])"
    proxies = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    inherited = {name: value for name, value in os.environ.items() if name not in proxies}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(SCRIPTS / script), *arguments],
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_crew_of_two_that_signs_in() -> None:
    issuer = JwtIssuer(secret="s")
    with LoopbackEndpoint(["Salty.", "The sea is salty."], auth=issuer.check, strict=True) as endpoint:
        done = run("research.py", "the sea", LLM_URL=endpoint.url, LLM_TOKEN=issuer.issue("ada"))
        assert lines(done) == ["Researcher on the sea: Salty.", "Writer: The sea is salty.", "calls: 2"]
        first, second = (request.json for request in endpoint.requests)
    assert (first["model"], first["temperature"]) == ("company-model", 0.2)
    assert "Research the sea" in first["messages"][-1]["content"]
    assert "Salty." in second["messages"][-1]["content"]


def test_tools_callbacks_and_an_async_kickoff() -> None:
    written: list[Any] = [
        'Thought: look\nAction: Weather\nAction Input: {"city": "Oslo"}',
        'Thought: and now\nAction: Clock\nAction Input: {"city": "Oslo"}',
        "Thought: I know\nFinal Answer: Noon, and rain.",
    ]
    with LoopbackEndpoint(written, strict=True) as endpoint:
        assert lines(run("tools_async.py", LLM_URL=endpoint.url)) == [
            "step: Weather -> Rain in Oslo.",
            "step: Clock -> Noon in Oslo.",
            "step: Noon, and rain.",
            "task: Noon, and rain.",
            "Noon, and rain.",
        ]
        assert endpoint.requests[0].json["stop"] == ["\nObservation:"]


def test_many_inputs() -> None:
    with LoopbackEndpoint(lambda request: request.prompt.split("\n")[0].upper()) as endpoint:
        done = run("many_inputs.py", "boat", "oar", LLM_URL=endpoint.url, LLM_TOKEN="t")
        assert lines(done) == ["version: 1.15.17", "NAME A BOAT", "NAME A OAR"]


def test_a_refused_sign_in_is_caught_as_the_page_says() -> None:
    with LoopbackEndpoint(auth=JwtIssuer(secret="s").check) as endpoint:
        done = run("many_inputs.py", "boat", LLM_URL=endpoint.url, LLM_TOKEN="expired")
        assert (done.returncode, done.stderr) == (3, "refused: AuthenticationError\n")
        assert len(endpoint.requests) == 1


AGENT = "from crewai import Agent\nagent = Agent(role='Poet', goal='Rhyme', backstory='')\n"


def test_the_llm_of_agents_without_one(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    script = write(f"{AGENT}print(agent.llm)\n")
    for before in (None, "mistral/m"):
        if before:
            monkeypatch.setenv("MODEL", before)
        else:
            monkeypatch.delenv("MODEL", raising=False)
        run_script(script, llm="openai/gpt-4o")
        assert capsys.readouterr().out == "LLM('openai/gpt-4o', base_url='https://api.openai.com/v1')\n"
        assert os.environ.get("MODEL") == before


def test_no_llm_at_all(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigurationError, match="Agent 'Poet' has no LLM") as caught:
        run_script(write(f"{AGENT}agent.kickoff('A line')\n"))
    assert caught.value.__notes__ == [
        "Or name one for all agents without: oarlock run --llm PROVIDER/MODEL, or MODEL=..."
    ]
