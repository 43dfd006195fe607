"""`oarlock doctor` as a user meets it: what it prints, how it ends, and that it gives nothing away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doctor_gateway import Answer, Gateway, serving
from rich.console import Console
from test_commands import CREW, oarlock
from typer.testing import CliRunner

from oarlock.cli.app import app
from oarlock.cli.doctor.case import Patient, case_of
from oarlock.cli.doctor.code import code
from oarlock.cli.doctor.command import run_doctor
from oarlock.cli.doctor.examine import STEPS
from oarlock.cli.doctor.report import Examination, Step
from oarlock.cli.doctor.show import Shown
from oarlock.cli.doctor.targets import Given, patients
from oarlock.contract.errors import ConfigurationError
from oarlock.testing import faults

KEY = "canary-9f8e7d6c5b4a3210"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving(Gateway(token=KEY)) as running:
        yield running


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return oarlock("doctor", *arguments, **environment)


class TestOnTheCommandLine:
    def test_all_is_well(self, gateway: Gateway) -> None:
        done = doctor(gateway.url, "--model", "gpt-x", "--api-key-env", "MY_KEY", MY_KEY=KEY)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert "\x1b" not in done.stdout
        lines = done.stdout.splitlines()
        assert lines[0] == f"Examining gpt-x at {gateway.url}"
        assert lines[1].startswith("At most 10 small requests")
        shown = [line[9:26].strip().replace(" ", "_") for line in lines[3 : 3 + len(STEPS)]]
        assert tuple(shown) == STEPS
        assert "All that it claims works." in lines
        assert KEY not in done.stdout

    def test_the_code_works(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        gateway.models = [{"id": "gpt-x", "max_model_len": 4096}]
        done = doctor(gateway.url, "--bearer-env", "MY_TOKEN", "--header", "X-Team: blue", MY_TOKEN=KEY)
        program = done.stdout.partition("in Python:\n")[2]
        assert 'auth=BearerToken(os.environ["MY_TOKEN"])' in program
        assert "context_window=4096" in program
        run = subprocess.run(
            [sys.executable, "-c", f"{program}\nprint(llm.call('Hi'))"],
            env={**os.environ, "MY_TOKEN": KEY},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stdout == "OK\n", run.stderr
        assert gateway.requests[-1][2]["x-team"] == "blue"

    def test_something_is_wrong(self, gateway: Gateway) -> None:
        done = doctor(gateway.url, "--api-key-env", "MY_KEY", MY_KEY="wrong-one")
        assert done.returncode == 1
        assert "FAILED   access" in done.stdout
        assert "Look at: access." in done.stdout
        assert "in Python" not in done.stdout
        assert "wrong-one" not in done.stdout

    def test_json_is_all_there_is(self, gateway: Gateway) -> None:
        done = doctor(gateway.url, "--api-key-env", "MY_KEY", "--json", MY_KEY=KEY)
        assert (done.returncode, done.stderr) == (0, "")
        report = json.loads(done.stdout)
        assert list(report) == ["format", "target", "ok", "llms"]
        (llm,) = report["llms"]
        assert list(llm) == ["llm", "ok", "requests", "sign_in_requests", "steps", "code"]
        assert list(llm["steps"][0]) == ["name", "outcome", "saw", "advice", "facts", "seconds"]
        assert {step["outcome"] for step in llm["steps"]} <= {"ok", "warning", "failed", "skipped"}
        assert 'ApiKey(os.environ["MY_KEY"])' in llm["code"]

    def test_json_of_a_failure(self) -> None:
        with faults.serve("refused") as server:
            done = doctor(server.url, "--json")
        assert done.returncode == 1
        assert json.loads(done.stdout)["ok"] is False

    def test_debug_tells_of_each_request(self, gateway: Gateway) -> None:
        done = doctor(gateway.url, "--api-key-env", "MY_KEY", "--debug", MY_KEY=KEY)
        lines = done.stderr.splitlines()
        assert len(lines) == len(gateway.requests)
        assert f"GET {gateway.url}/models -> 200 in " in lines[0]
        assert "Authorization" in lines[0]
        assert KEY not in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["nothing"], "'nothing' is nothing to examine"),
            (["ftp://example.com"], "must begin with http://"),
            (["http://127.0.0.1:1/v1", "--api-key-env", "NO_SUCH"], "NO_SUCH is not set"),
            (["http://127.0.0.1:1/v1", "--api-key-env", "PATH", "--bearer-env", "HOME"], "Give one of"),
            (["http://127.0.0.1:1/v1", "--api-key-header", "x-api-key"], "goes with --api-key-env"),
            (["http://127.0.0.1:1/v1", "--header", "nothing"], "'NAME: VALUE'"),
            (["http://127.0.0.1:1/v1", "--transport", "curl"], "transport must be"),
            (["http://127.0.0.1:1/v1", "--proxy", "socks5://x"], "proxy must be"),
            (["http://127.0.0.1:1/v1", "--ca-bundle", "nope.pem"], "nope.pem"),
            (["http://127.0.0.1:1/v1", "--timeout", "soon"], "valid number"),
            (["nope.yaml"], "nope.yaml cannot be read"),
            (["nope.yaml", "--model", "m"], "--model can be given with a URL only"),
            (["no_such_module:llm"], "no_such_module:llm cannot be had"),
            (["os:path"], "os:path is no LLM"),
            (["http://127.0.0.1:1/v1", "--no-such-option"], "--no-such-option"),
        ],
    )
    def test_a_wrong_command_ends_with_2(self, arguments: list[str], said: str) -> None:
        done = CliRunner().invoke(app, ["doctor", *arguments])
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr

    def test_so_it_does_in_a_process_of_its_own(self) -> None:
        done = doctor("nothing", "--json")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1

    def test_a_key_in_the_url_is_not_shown(self) -> None:
        done = doctor(f"http://127.0.0.1:1/v1?key={KEY}")
        assert done.returncode == 1
        assert "FAILED   address" in done.stdout
        assert KEY not in done.stdout + done.stderr
        assert KEY not in doctor(f"http://127.0.0.1:1/v1?key={KEY}", "--json").stdout

    @pytest.mark.skipif(os.name != "posix", reason="sends a signal")
    @pytest.mark.parametrize("more", [[], ["--json"]])
    def test_ctrl_c_ends_it_cleanly(self, more: list[str]) -> None:
        with faults.serve("hang_before_answer") as server:
            process = subprocess.Popen(
                [sys.executable, "-m", "oarlock", "doctor", server.url, "-m", "m", *more],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            until = time.monotonic() + 30
            while not server.requests and time.monotonic() < until:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, "Interrupted.\n")
        assert ("Examining" in said) is (more == [])

    def test_what_was_not_tried_shares_a_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        with faults.serve("tls_expired") as server, pytest.raises(SystemExit, match="1"):
            given = Given(model="m", ca_bundle=Path(server.ca_pem))
            run_doctor(server.url, given, timeout=10, as_json=False, debug=False)
        lines = capsys.readouterr().out.splitlines()
        (failure,) = [line for line in lines if line.startswith("FAILED")]
        assert failure.startswith("FAILED   tls               The server's certificate (for 127.0.0.1, by trustme")
        (untried,) = [line for line in lines if line.startswith("skipped  13 steps")]
        assert "Not tried, since tls failed: sign in, access, base url, model, chat, streaming," in untried
        assert "Look at: tls." in lines

    def test_one_step_that_was_not_tried(self, capsys: pytest.CaptureFixture[str]) -> None:
        Shown(Console(width=200)).end(
            Examination(llm="m", steps=(), requests=0, sign_in_requests=0, code=None)
        )  # nothing was waiting
        page = Shown(Console(width=200))
        page.step(Step(name="chat", outcome="skipped", saw="Not tried, since tls failed.", facts={"blamed": "tls"}))
        page.step(Step(name="clock", outcome="ok", saw="Well."))
        shown = capsys.readouterr().out
        assert "skipped  1 step            Not tried, since tls failed: chat.\nok       clock" in shown

    def test_on_a_terminal_it_has_columns_and_colours(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit, match="1"):
            run_doctor(gateway.url, Given(model="gpt-x"), timeout=5, as_json=False, debug=False)
        shown = capsys.readouterr().out
        assert "\x1b[" in shown
        assert max(len(line) for line in shown.splitlines() if "\x1b" not in line) <= 120


class TestSecrets:
    @pytest.mark.parametrize("fault", faults.names("leak"))
    def test_no_echo_gets_through(self, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
        with faults.serve(fault) as server:
            for as_json in (True, False):
                with pytest.raises(SystemExit):
                    run_doctor(server.url, self.given(), timeout=3, as_json=as_json, debug=True)
        shown = capsys.readouterr()
        assert "canary" not in shown.out + shown.err

    def given(self) -> Given:
        os.environ["DOCTOR_KEY"] = KEY
        return Given(model="m", api_key_env="DOCTOR_KEY", headers=("X-Api-Token: canary-header-1234567",))

    def test_a_secret_header_is_not_in_the_code(self, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="0"):
            run_doctor(gateway.url, self.given_for(gateway), timeout=5, as_json=False, debug=True)
        shown = capsys.readouterr()
        assert '"X-Api-Token": os.environ["X_API_TOKEN"]' in shown.out
        assert "canary" not in shown.out + shown.err

    def given_for(self, gateway: Gateway) -> Given:
        given = self.given()
        return Given(model="gpt-x", api_key_env=given.api_key_env, headers=given.headers)

    def test_a_session_and_a_fetched_token(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tokens = {
            "access_token": "canary-access",
            "refresh_token": "canary-refresh",
            "nested": [{"id_token": "canary-id"}],
        }

        def hook(method: str, path: str, body: Any) -> Answer | None:
            if path == "/token":
                return Answer(200, tokens, {"Set-Cookie": "sid=canary-cookie; Path=/"})
            shown = {"error": {"message": "canary-access canary-refresh canary-id canary-cookie canary-s3cret"}}
            return Answer(400, shown, {"Server": "canary-access"})

        os.environ["DOCTOR_SECRET"] = "canary-s3cret"
        with serving(Gateway(hook=hook)) as gateway:
            path = tmp_path / "auth.yaml"
            url = gateway.url.replace("/v1", "/token")
            settings = {"type": "client_credentials", "token_url": url, "client_id": "me"}
            path.write_text(json.dumps({**settings, "client_secret": "env:DOCTOR_SECRET"}))
            for as_json in (True, False):
                with pytest.raises(SystemExit, match="1"):
                    given = Given(model="m", auth_file=path)
                    run_doctor(gateway.url, given, timeout=5, as_json=as_json, debug=True)
        shown = capsys.readouterr()
        assert "HTTP 400" in shown.out
        assert "canary" not in shown.out + shown.err

    def test_a_proxys_password(self, capsys: pytest.CaptureFixture[str]) -> None:
        with serving(Gateway(hook=lambda *_: Answer(407, {}), prefix="")) as proxy:
            url = proxy.url.replace("http://", "http://me:canary-pa55word@")
            with pytest.raises(SystemExit, match="1"):
                run_doctor("https://127.0.0.1:1/v1", Given(model="m", proxy=url), timeout=5, as_json=True, debug=True)
        shown = capsys.readouterr()
        assert "407" in shown.out
        assert "canary" not in shown.out + shown.err


class TestTargets:
    def test_a_crew_file(self, gateway: Gateway, tmp_path: Path) -> None:
        path = tmp_path / "crew.yaml"
        auth = "{type: bearer_token, token: 'env:MY_TOKEN'}"
        path.write_text(CREW.format(url=gateway.url, auth=auth).replace("model: m", "model: gpt-x"))
        done = doctor(str(path), "--json", MY_TOKEN=KEY)
        report = json.loads(done.stdout)
        assert (done.returncode, len(report["llms"])) == (0, 1), report
        assert report["llms"][0]["llm"] == f"gpt-x at {gateway.url}"

    def test_a_crew_file_without_an_llm_examines_the_local_one(self, tmp_path: Path) -> None:
        path = tmp_path / "crew.yaml"
        path.write_text("agents: {a: {role: R, goal: G}}\ntasks: {t: {description: D, expected_output: E, agent: a}}")
        (patient,) = patients(str(path), Given())
        assert type(patient.llm).__name__ == "LocalLLM"

    @pytest.mark.parametrize(
        ("name", "made"), [("llm", "from a_module import llm"), ("make", "llm = make()"), ("Box.llm", "llm = Box.llm")]
    )
    def test_a_module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, made: str) -> None:
        (tmp_path / "a_module.py").write_text(
            "from oarlock.testing import FunctionLLM\nllm = FunctionLLM(lambda messages: 'OK')\n"
            "def make():\n    return llm\nclass Box:\n    llm = llm\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "a_module", raising=False)
        (patient,) = patients(f"a_module:{name}", Given())
        assert patient.code is not None
        assert made in patient.code("m", {})

    def test_a_module_of_this_folder(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(
            "from oarlock import BaseLLM\nclass Mine(BaseLLM):\n    def call(self, messages):\n        return 'OK'\nllm = Mine()\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "oarlock", "doctor", "mine:llm"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "from mine import llm" in done.stdout
        assert "It is asked four small questions at most" in done.stdout
        assert "It says 8,192 tokens." in done.stdout

    @pytest.mark.parametrize("name", ["broken", "settings"])
    def test_a_module_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        (tmp_path / "failing.py").write_text(
            "from oarlock import ChatLLM\ndef broken():\n    raise LookupError('no vault')\n"
            "def settings():\n    return ChatLLM('m', 'nowhere')\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(ConfigurationError, match="no vault" if name == "broken" else "base_url must begin"):
            patients(f"failing:{name}", Given())

    def test_all_that_can_be_said_of_an_endpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOME_KEY", KEY)
        pem = tmp_path / "ca.pem"
        given = Given(
            model="m",
            api_key_env="SOME_KEY",
            api_key_header="x-api-key",
            headers=("X-Team: blue",),
            ca_bundle=pem,
            client_cert=(pem, pem),
            proxy="http://me:pa55word@proxy.example.com:3128",
            transport="httpx2",
            function_calling=False,
        )
        (patient,) = patients("https://llm.example.com/v1/", given)
        assert patient.code is not None
        made = patient.code("m", {"context_window": 4096})
        assert (
            f"""llm = ChatLLM(
    "m",
    "https://llm.example.com/v1",
    auth=ApiKey(os.environ["SOME_KEY"], header="x-api-key"),
    headers={{"X-Team": "blue"}},
    transport="httpx2",
    function_calling=False,
    transport_options={{"verify": "{pem}", "client_certificate": ("{pem}", "{pem}"), "proxy": "http://proxy.example.com:3128"}},
    context_window=4096,
)"""
            in made
        )
        options = case_of(patient).options
        assert (options.verify, options.client_certificate) == (str(pem), (str(pem), str(pem)))

    def test_an_auth_file_in_the_code(self) -> None:
        imports = ("from pathlib import Path", "import yaml", "from oarlock.auth import from_config")
        made = code("m", "https://llm.example.com/v1", auth="from_config(...)", imports=imports)
        assert made.startswith("from pathlib import Path\n\nimport yaml\n\nfrom oarlock import ChatLLM\n")


async def test_async_code_of_a_users_own_is_overheard_too(gateway: Gateway) -> None:
    from oarlock import ChatLLM
    from oarlock.auth import ApiKey

    case = case_of(Patient(llm=ChatLLM("gpt-x", gateway.url, auth=ApiKey(KEY))))
    assert await case.llm.acall("Hi") == "OK"
    async with case.llm.astream("Count") as stream:
        async for _ in stream:
            pass
    assert [exchange.status for exchange in case.recorder.exchanges] == [200, 200]
    assert case.recorder.exchanges[1].first_event is not None
    await case.recorder.aclose()
    case.recorder.close()


@pytest.mark.model
def test_a_real_server_with_a_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from oarlock import LocalLLM
    from oarlock.llms._llama import import_binding

    xllamacpp = import_binding()
    params = xllamacpp.CommonParams()
    params.model.path = str(LocalLLM().path)
    params.model_alias = {"smollm2"}
    params.n_ctx, params.n_parallel = 2048, 1
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [KEY]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.verbosity = -1
    params.warmup = params.ui = False
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    server.handle_metrics()
    monkeypatch.setenv("LLAMA_KEY", KEY)
    given = Given(api_key_env="LLAMA_KEY", function_calling=False)
    with pytest.raises(SystemExit):
        run_doctor(f"{server.listening_address}/v1", given, timeout=60, as_json=True, debug=False)
    steps = {step["name"]: step for step in json.loads(capsys.readouterr().out)["llms"][0]["steps"]}
    for name in ("connection", "sign_in", "access", "base_url", "model", "chat", "streaming", "usage"):
        assert steps[name]["outcome"] == "ok", steps[name]
    assert steps["context_window"]["facts"]["told"] >= 2048
    monkeypatch.setenv("LLAMA_KEY", "wrong")
    with pytest.raises(SystemExit, match="1"):
        run_doctor(f"{server.listening_address}/v1", given, timeout=60, as_json=True, debug=False)
    report = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in report["llms"][0]["steps"] if step["outcome"] == "failed"] == ["access"]
