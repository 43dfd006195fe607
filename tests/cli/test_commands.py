"""The command line, as a user meets it: real processes, what they print, how they end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oarlock import __version__
from oarlock.testing import Answer, JwtIssuer, LoopbackEndpoint, Status, require_bearer

ROOT = Path(__file__).parent.parent.parent


def oarlock(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oarlock", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        timeout=120,
        check=False,
    )


def fails(*arguments: str, **settings: str) -> str:
    """Run a command that must fail: exit code 1, nothing but one sentence, no traceback. Return the sentence."""
    done = oarlock(*arguments, **settings)
    assert done.returncode == 1, done.stderr
    assert done.stdout.strip() == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_version():
    assert oarlock("--version").stdout == f"oarlock {__version__}\n"


def test_without_arguments_it_says_what_there_is():
    shown = oarlock()
    assert all(command in shown.stdout + shown.stderr for command in ("demo", "run", "chat"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nope.py"], "There is no file 'nope.py'"),
        (["run", "examples"], "is a folder"),
        (["run", "README.md"], "is no Python script"),
        (["run", "nope.yaml"], "nope.yaml cannot be read"),
        (["run", "examples/crew.yaml"], "On the command line: --input NAME=VALUE"),
        (["run", "examples/crew.yaml", "--input", "topic"], "NAME=VALUE, not 'topic'"),
        (["demo", "--model", "nope.gguf"], "there is no file nope.gguf"),
        (["demo", "--model", "README.md"], "is not a GGUF file"),
        (["chat", "--base-url", "nowhere", "--model", "m"], "base_url must begin with http://"),
        (["chat", "--base-url", "http://127.0.0.1:9/v1"], "say which model"),
        (["chat", "--base-url", "http://127.0.0.1:9/v1", "-m", "m", "--key-env", "NO_SUCH"], "NO_SUCH is not set"),
        (["chat", "--model", "nope.gguf"], "there is no file nope.gguf"),
        (["chat", "--model", "openai/"], "names no model"),
        (["chat", "--key-env", "HOME"], "A model in this process needs no key"),
        (
            ["run", "examples/crew.yaml", "--input", "topic=x", "--llm", "nonsense"],
            "'nonsense' names no provider",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments, said):
    assert said in fails(*arguments)


class TestChat:
    def test_it_streams_answers_and_remembers(self):
        with LoopbackEndpoint(["Hello!", "Still here."], auth=require_bearer("k3y")) as endpoint:
            arguments = ["chat", "--base-url", endpoint.url, "-m", "m", "--key-env", "MY_KEY", "--system", "Be brief."]
            done = oarlock(*arguments, stdin="Hi\nAnd now?\n", MY_KEY="k3y")
            assert done.stdout == "Hello!\nStill here.\n"
            assert [message["role"] for message in endpoint.requests[1].json["messages"]] == [
                "system",
                "user",
                "assistant",
                "user",
            ]

    def test_a_provider_by_its_name(self):
        with LoopbackEndpoint(Answer("Once upon", finish_reason="length"), auth=require_bearer("k3y")) as endpoint:
            arguments = ["chat", "-m", "vllm/small", "--key-env", "MY_KEY"]
            done = oarlock(*arguments, stdin="Hi\n", MY_KEY="k3y", VLLM_BASE_URL=endpoint.url)
            assert (done.stdout, done.stderr) == ("Once upon\n", "")
            assert endpoint.requests[0].json["model"] == "small"

    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (Status(401), "HTTP 401"),
            (Status(403), "HTTP 403"),
            (Status(404), "check base_url and model"),
            (Status(200, body="<html><title>Hello</title></html>"), "HTML"),
            ({"role": "assistant", "content": ""}, "empty"),
        ],
    )
    def test_what_the_endpoint_does_wrong_is_one_sentence(self, reply, said):
        with LoopbackEndpoint([reply]) as endpoint:
            assert said in fails("chat", "--base-url", endpoint.url, "-m", "m", stdin="Hi\n")

    def test_a_refused_connection_is_one_sentence(self):
        with LoopbackEndpoint() as endpoint:
            url = endpoint.url
        assert "nothing listens at 127.0.0.1" in fails("chat", "--base-url", url, "-m", "m", stdin="Hi\n")


class TestScripts:
    def test_a_script_for_crewai_runs(self):
        done = oarlock("run", "examples/custom_llm.py")
        assert (done.returncode, done.stdout) == (0, "You asked: What are the benefits of exercise?\n"), done.stderr

    def test_a_scripts_arguments_are_its_own(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text("import sys\nprint(sys.argv[1:])\n")
        assert oarlock("run", str(script), "--its", "own", "-x").stdout == "['--its', 'own', '-x']\n"

    def test_a_failing_script_is_one_sentence(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text("raise LookupError('no such thing')\n")
        assert fails("run", str(script)).startswith("Error: LookupError: no such thing")

    def test_debug_shows_where(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text("raise LookupError('no such thing')\n")
        done = oarlock("--debug", "run", str(script))
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        assert "script.py" in done.stderr

    def test_a_scripts_own_exit_code_passes(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text("raise SystemExit(3)\n")
        assert oarlock("run", str(script)).returncode == 3


CREW = """
llm:
  base_url: {url}
  model: m
  auth: {auth}
agents:
  one: {{role: One, goal: Begin, backstory: First.}}
  two: {{role: Two, goal: End, backstory: Last.}}
tasks:
  begin: {{description: "Begin with {{topic}}", expected_output: A start, agent: one}}
  end: {{description: End it, expected_output: An end, agent: two, context: [begin]}}
"""


class TestCrewFiles:
    def crew(self, tmp_path: Path, url: str, auth: str = "{bearer_token: env:MY_TOKEN}", content: str = CREW) -> str:
        path = tmp_path / "crew.yaml"
        path.write_text(content.format(url=url, auth=auth))
        return str(path)

    def test_a_crew_of_two_runs_signed_in(self, tmp_path):
        issuer = JwtIssuer(secret="s")
        with LoopbackEndpoint(["the start", "the end"], auth=issuer.check) as endpoint:
            path = self.crew(tmp_path, endpoint.url)
            done = oarlock("run", path, "--input", "topic=tides", MY_TOKEN=issuer.issue("me"))
            assert (done.returncode, done.stdout) == (0, "the end\n"), done.stderr
            assert "Begin with tides" in endpoint.requests[0].prompt
            assert "the start" in endpoint.requests[1].prompt
        assert "Crew finished" in done.stderr

    def test_a_secret_may_be_in_a_file(self, tmp_path):
        (tmp_path / "token").write_text("t0ken\n")
        with LoopbackEndpoint(["a", "b"], auth=require_bearer("t0ken")) as endpoint:
            path = self.crew(tmp_path, endpoint.url, f"{{api_key: 'file:{tmp_path}/token'}}")
            assert oarlock("run", path, "-i", "topic=x").stdout == "b\n"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("agents: [", "line 1"),
            ("- a\n- b", "must be a mapping"),
            ("agents: {}", "needs tasks"),
            ("agents: {}\ntasks: {}\ntaks: {}", "Did you mean 'tasks'?"),
            (
                "agents: {a: {rol: x}}\ntasks: {}",
                "line 1: agents.a.rol: Agent has no argument 'rol'. Did you mean 'role'?",
            ),
            ("agents: {a: {role: R, goal: G}}\ntasks: {t: {description: D, agent: b}}", "there is no 'b' here"),
            ("agents: {a: {role: R, goal: G}}\ntasks: {}", "there are no tasks"),
            ("llm: {base_url: x}\nagents: {}\ntasks: {}", "llm: "),
            (
                "llm: {base_url: 'http://x', model: m, auth: {api_key: sk-123}}\nagents: {}\ntasks: {}",
                "env:NAME or file:PATH",
            ),
            (
                "llm: {base_url: 'http://x', model: m, auth: {api_key: 'env:NOPE'}}\nagents: {}\ntasks: {}",
                "NOPE is not set",
            ),
            ("llm: {model: nope.gguf}\nagents: {}\ntasks: {}", "there is no file nope.gguf"),
        ],
    )
    def test_what_is_wrong_in_the_file_is_said(self, tmp_path, content, said):
        path = tmp_path / "crew.yaml"
        path.write_text(content)
        shown = fails("run", str(path))
        assert said in shown
        assert "crew.yaml" in shown
        assert "sk-123" not in shown


@pytest.mark.model
class TestDemo:
    def test_the_demo_shows_what_it_promises(self):
        done = oarlock("demo")
        assert done.returncode == 0, done.stderr
        shown = done.stdout + done.stderr
        assert "\x1b" not in shown  # piped output is plain
        for sign in (
            "signed in (first use",
            "signed in (expired",
            "HTTP 503",
            "Research the benefits of exercise",
            "Crew finished",
            "Model calls",
        ):
            assert sign in shown

    @pytest.mark.skipif(os.name != "posix", reason="sends a signal")
    def test_ctrl_c_ends_it_at_once_and_cleanly(self):
        process = subprocess.Popen(
            [sys.executable, "-m", "oarlock", "demo"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "signed in" in line:
                break
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=30)
        assert process.returncode == 130
        assert shown.endswith("Interrupted.\n")
        assert "Traceback" not in shown
