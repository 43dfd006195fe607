"""`oarlock serve`, as a program of its own."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import trustme
from serve_helpers import KEY, body
from typer.testing import CliRunner

from oarlock.cli import serve as command
from oarlock.cli.app import app

MODULE = """
from pathlib import Path
from oarlock import Agent, Crew, Task
from oarlock.testing import FunctionLLM

def answer(messages, tools):
    if messages[-1]["content"] == "slow":
        print("asked", flush=True)
        Path("gate").read_text()  # a pipe: until somebody has written into it
    return "Hello"

llm = FunctionLLM(answer, model="mine")
unnamed = FunctionLLM(answer, model="custom")
nothing = 5
agent = Agent(role="Poet", goal="Rhyme", backstory="Old", llm=llm)
crew = Crew(agents=[agent], tasks=[Task(description="A line", agent=agent)])

def tell(messages, tools):
    first = "On boats" in messages[-1]["content"]
    with Path("calls").open("a") as calls:
        calls.write("1 " if first else "2 ")
    if not first and not Path("open").exists():
        print("halted", flush=True)
        Path("gate").read_text()
    return "The first answer" if first else "The second answer"

teller = Agent(role="Poet", goal="Rhyme", backstory="Old", llm=FunctionLLM(tell))
told = [Task(name="one", description="On {topic}", agent=teller), Task(name="two", description="More", agent=teller)]
tellers = Crew(name="tellers", agents=[teller], tasks=told)

def make():
    return FunctionLLM(answer, model="made")
"""


CREW_FILE = """
agents:
  poet: {role: Poet, goal: Rhyme}
tasks:
  line: {description: "A line on {topic}", agent: poet}
llm: ollama/llama3.2
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    name = f"served_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVE_KEY", KEY)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path


@pytest.fixture
def module(folder: Path) -> str:
    return next(folder.glob("served_*.py")).stem


class Running:
    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        self.line = line
        (self.url,) = re.findall(r"https?://[\d.]+:\d+", line)

    def ended(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@contextmanager
def running(*arguments: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "oarlock", "serve", *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        yield Running(process, process.stdout.readline())
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_models_with_a_key(module: str):
    with running(f"{module}:llm", "--model", f"other={module}:make", "--api-key", "alice=env:SERVE_KEY") as server:
        assert server.line == f"Models to those who show a key, at {server.url}/v1: mine, other\n"
        assert httpx2.get(f"{server.url}/v1/models").status_code == 401
        headers = {"authorization": f"Bearer {KEY}"}
        listed = httpx2.get(f"{server.url}/v1/models", headers=headers).json()["data"]
        assert [model["id"] for model in listed] == ["mine", "other"]
        assert httpx2.post(f"{server.url}/v1/chat/completions", json=body(), headers=headers).is_success
        server.process.send_signal(signal.SIGTERM)
        code, log = server.ended()
    assert code == 0
    assert "caller=alice model=mine" in log
    assert KEY not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_runs_may_end(module: str, folder: Path, number: signal.Signals):
    os.mkfifo(folder / "gate")
    slow = body(messages=[{"role": "user", "content": "slow"}])
    with running(f"{module}:llm") as server, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx2.post, f"{server.url}/v1/chat/completions", json=slow, timeout=60)
        assert server.process.stdout is not None
        assert server.process.stderr is not None
        assert [server.process.stdout.readline() for _ in range(2)] == ["Ctrl-C ends.\n", "asked\n"]
        server.process.send_signal(number)
        assert "Ending: running requests may go on for 30 s" in server.process.stderr.readline()
        (folder / "gate").write_text("go on")
        assert answer.result().json()["choices"][0]["message"]["content"] == "Hello"
        code, log = server.ended()
    assert code == 0
    assert "Traceback" not in log


def test_a_recorded_run_that_was_cut_off_goes_on_with_the_next_server(module: str, folder: Path):
    os.mkfifo(folder / "gate")
    arguments = (f"poem={module}:tellers", "--database", "sqlite:///runs.db", "--drain", "0")
    asked = {"inputs": {"topic": "boats"}, "run_id": "r-1"}
    with running(*arguments) as server:
        assert httpx2.post(f"{server.url}/crews/poem/runs", json=asked).status_code == 202
        assert server.process.stdout is not None
        while server.process.stdout.readline() != "halted\n":
            pass
        server.process.send_signal(signal.SIGTERM)
        assert server.ended()[0] == 0
    (folder / "open").touch()
    with running(*arguments) as server:
        assert httpx2.post(f"{server.url}/crews/poem/runs", json=asked).status_code == 202
        done = httpx2.get(f"{server.url}/runs/r-1?wait=60", timeout=90).json()
    assert (done["status"], done["result"]["answer"]) == ("finished", "The second answer")
    assert (folder / "calls").read_text().split() == ["1", "2", "2"], "the first answer is not paid for twice"


def test_tls(module: str, folder: Path):
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(folder / "key.pem")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    with running(f"{module}:llm", "--tls", "cert.pem", "key.pem", "--quiet") as server:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        assert httpx2.get(f"{server.url}/health", verify=context).is_success
        assert server.url.startswith("https://")


def invoke(*arguments: str) -> str:
    """Return the one sentence in which the command ends."""
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == 1
    return str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Say what to serve"),
        (["{module}:nothing"], "is no LLM and no crew, nor does it make one"),
        (["{module}:missing"], "missing"),
        (["no_such_module:llm"], "there is no module 'no_such_module'"),
        (["opnai/gpt"], "Did you mean 'openai/gpt'"),
        (["{module}:llm", "{module}:llm"], "two of the name 'mine'"),
        (["{module}:llm", "--host", "0.0.0.0"], "give API keys (--api-key env:NAME)"),
        (["{module}:llm", "--api-key", KEY], "says where a key is"),
        (["{module}:llm", "--api-key", f"a:{KEY}"], "says where a key is"),
        (["{module}:llm", "--api-key", f"{KEY}=="], "says where a key is"),
        (["{module}:llm", "--api-key", "env:NOT_SET_HERE"], "NOT_SET_HERE is not set"),
        (["{module}:llm", "--token-budget", "5"], "give --api-key too"),
        (["{module}:llm", "--database", "sqlite:///x.db"], "there is none"),
        (["{module}:llm", "--jwt-issuer", "x"], "need --jwt-audience"),
        (["{module}:llm", "--jwt-audience", "x"], "give either jwks"),
        (["{module}:llm", "--host", "not-here.invalid", "--api-key", "env:SERVE_KEY"], "Cannot listen on"),
        (["{module}:llm", "--tls", "no.pem", "no.pem"], "no.pem and no.pem are no TLS certificate"),
    ],
)
def test_bad_configuration_ends_in_one_sentence(module: str, arguments: list[str], says: str):
    sentence = invoke(*(argument.format(module=module) for argument in arguments))
    assert says in sentence
    assert KEY not in sentence


def test_a_port_in_use(module: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Cannot listen on 127.0.0.1:{port}" in invoke(f"{module}:llm", "--port", str(port))


def test_names_of_models(module: str, folder: Path):
    targets = [
        f"{module}:llm",
        f"{module}:unnamed",
        f"a/b={module}:llm",
        "ollama/llama3.2",
        "boats.yaml",
        f"x={module}:crew",
    ]
    (folder / "boats.yaml").write_text(CREW_FILE)
    models, crews = command._served(targets)
    assert list(models) == ["mine", "unnamed", "a/b", "ollama/llama3.2"]
    assert list(crews) == ["boats", "x"]


def test_what_a_missing_extra_is_called(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'oarlock[serve]'" in invoke("ollama/llama3.2")


def test_limits_and_hosts():
    given = command.Given(
        targets=("x",), api_keys=("env:SERVE_KEY",), requests_per_minute=5, tokens_per_minute=100, token_budget=1000
    )
    (key,) = command._keys(given)
    assert key.name == "SERVE_KEY"
    assert [type(policy).__name__ for policy in key.policies] == ["RateLimit", "Budget"]
    assert command._hosts(given) == ("localhost", "127.0.0.1", "[::1]", "127.0.0.1")
    assert "[::1]" in command._hosts(command.Given(targets=(), host="::1"))
    assert command._hosts(command.Given(targets=(), host="0.0.0.0")) == ("*",)
    assert command._hosts(command.Given(targets=(), host="0.0.0.0", hosts=("a",))) == ("a",)
