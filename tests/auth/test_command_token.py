"""Tokens that programs print: real programs, real processes."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from auth_helpers import jwt, sign
from hypothesis import given
from hypothesis import strategies as st

from oarlock import ChatLLM
from oarlock.auth import CommandToken
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.secret import Secret
from oarlock.runtime.blocking import BlockingRuntime
from oarlock.testing import LoopbackEndpoint, VirtualRuntime, require_bearer

CANARY = "Zq7canary4vX9Lm20"
NOW = VirtualRuntime().time()


def program(code: str, *arguments: str, **settings: Any) -> CommandToken:
    return CommandToken([sys.executable, "-S", "-c", code, *arguments], **settings)


def printing(text: str, **settings: Any) -> CommandToken:
    return program("import os, sys; os.write(1, os.fsencode(sys.argv[1]))", text, **settings)


def lasts(auth: CommandToken) -> float:
    """Return for how many seconds a token is used, by how often a program is run on a virtual clock."""
    sign(auth)
    token = auth._renewal.token
    assert token is not None
    return token.expires_at - NOW


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


SHAPES: dict[str, tuple[Any, float]] = {
    "text": ("t0ken\n", float("inf")),
    "text with an offset of blanks": ("  t0ken \r\n", float("inf")),
    "a JSON text": ('"t0ken"', float("inf")),
    "OAuth": ({"access_token": "t0ken", "expires_in": 3600}, 3600),
    "OAuth with a text for seconds": ({"access_token": "t0ken", "expires_in": "3600"}, 3600),
    "az": (
        {"accessToken": "t0ken", "expiresOn": "2031-01-01 00:00:00.000000", "expires_on": NOW + 500, "tokenType": "B"},
        500,
    ),
    "gcloud auth": ({"token": "t0ken"}, float("inf")),
    "gcloud config-helper": (
        {"configuration": {}, "credential": {"access_token": "t0ken", "id_token": "x", "token_expiry": iso(600)}},
        600,
    ),
    "kubectl": (
        {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": "t0ken", "expirationTimestamp": iso(700)},
        },
        700,
    ),
    "aws codeartifact": ({"authorizationToken": "t0ken", "expiration": NOW + 800.25}, 800.25),
    "aws sso": ({"accessToken": "t0ken", "expiresAt": iso(900)}, 900),
    "milliseconds": ({"token": "t0ken", "expires_at": (NOW + 900) * 1000}, 900),
    "a bare time is UTC": ({"token": "t0ken", "expiry": iso(60).rstrip("Z")}, 60),
    "an empty expiry": ({"token": "t0ken", "expiry": None, "expires_on": ""}, float("inf")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_programs_print_is_understood(shape: str) -> None:
    printed, seconds = SHAPES[shape]
    auth = printing(printed if isinstance(printed, str) else json.dumps(printed))
    assert lasts(auth) == pytest.approx(seconds)
    assert sign(auth).tokens == ["t0ken"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_azs_own_time_is_local(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        local = datetime.fromtimestamp(NOW + 400, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.000000")
        assert lasts(printing(json.dumps({"accessToken": "t0ken", "expiresOn": local}))) == pytest.approx(400)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_jwt_says_by_itself_when_it_expires() -> None:
    assert lasts(printing(jwt(exp=NOW + 300))) == pytest.approx(300)
    assert lasts(printing(json.dumps({"id_token": jwt(exp=NOW + 300)}))) == pytest.approx(300)


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", "the credential is empty"),
        ("Welcome!\nt0ken", "line break"),
        ("tökén", "cannot carry"),
        ("{}", "its JSON has none of access_token, accessToken, token"),
        ('{"status": {}}', "its JSON has none of"),
        ('{"token": 5}', "of the type int"),
        ('{"token": "t", "expires_in": "soon"}', "the lifetime must be a number"),
        ('{"token": "t", "expiry": "soon"}', "the expiry 'soon' is no time"),
        ('{"token": "t", "expiry": ["soon"]}', "is no time"),
        ('{"token": "t", "expiry": true}', "is no time"),
        ('{"token": ', "begins like JSON and is none"),
        ("{" * 100_000, "begins like JSON and is none"),
    ],
)
def test_what_is_no_token(printed: str, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words) as caught:
        sign(printing(printed))
    assert "printed is no token" in str(caught.value)


FAILURES: list[tuple[Callable[[Path], CommandToken], str]] = [
    (lambda path: CommandToken(["no-such-program"]), "'no-such-program' cannot be run: No such file"),
    (lambda path: CommandToken([str(path)]), "cannot be run: Permission denied"),
    (lambda path: CommandToken([sys.executable, "a\0b"]), "cannot be run: an argument or variable holds a NUL"),
    (lambda path: program("", cwd=path.parent / "nowhere"), "cannot be run in '.*nowhere': No such file"),
    (lambda path: program("raise SystemExit(3)"), r"failed with exit code 3\.$"),
    (lambda path: program("raise SystemExit('please log in.')"), r"failed with exit code 1: please log in\.$"),
    (lambda path: program("print('t0ken'); raise SystemExit(1)"), r"exit code 1\.$"),
    (lambda path: program("import os; os.abort()"), "failed with exit code -6"),
    (lambda path: program("import sys; sys.exit('x' * 10**6 + ' the end')"), "the end"),
    (lambda path: program("import sys; sys.exit('key: sk-abcdefghijklmnop')"), "key: …"),
    (
        lambda path: program("import os, sys; sys.exit('I know ' + os.environ['PW'])", env={"PW": CANARY}),
        "I know …",
    ),
    (lambda path: program("while True: print('x' * 1000)"), "printed more than 1048576 bytes, and was stopped"),
    (
        lambda path: program("import sys, time; print('hm', file=sys.stderr, flush=True); time.sleep(60)", timeout=1),
        "did not end within 1 s, and was stopped: hm",
    ),
    (lambda path: program("input()"), "EOFError"),
]


@pytest.mark.parametrize(("auth", "words"), FAILURES)
def test_failures_say_what_to_look_at(auth: Callable[[Path], CommandToken], words: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no program")
    path.chmod(0o600)
    with pytest.raises(AuthenticationError, match=words) as caught:
        sign(auth(path), runtime=BlockingRuntime())
    assert str(caught.value).startswith("CommandToken: ")
    assert CANARY not in str(caught.value)


def test_its_children_end_with_it(tmp_path: Path) -> None:
    """The child of a program that takes too long is ended as well, though the program has gone already."""
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)']);"
        "open(sys.argv[1], 'w').write(str(child.pid))"
    )
    with pytest.raises(AuthenticationError, match="did not end within"):
        sign(program(code, str(pid), timeout=1.5), runtime=BlockingRuntime())
    child = int(pid.read_text())
    for _ in range(200):
        if not _runs(child):
            return
        time.sleep(0.05)  # the system ends it in its own time
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the child still runs")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_daemon_that_a_program_leaves_behind_does_no_harm() -> None:
    code = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(0.3)'],"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True); print('t0ken')"
    )
    assert sign(program(code), runtime=BlockingRuntime()).tokens == ["t0ken"]


def test_something_that_left_the_group_and_keeps_talking_holds_up_nobody() -> None:
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(4)'],"
        " stdout=subprocess.DEVNULL, start_new_session=True); time.sleep(60)"
    )
    with pytest.raises(AuthenticationError, match=r"did not end within 1 s, and was stopped\.$"):
        sign(program(code, timeout=1), runtime=BlockingRuntime())


def test_it_is_never_a_shell() -> None:
    assert sign(printing("$HOME;`id`")).tokens == ["$HOME;`id`"]


def test_environment_and_folder(tmp_path: Path) -> None:
    auth = program(
        "import os; print(os.environ['A'] + os.path.basename(os.getcwd()) + str('PATH' in os.environ))",
        env={"A": Secret("a-")},
        cwd=tmp_path,
    )
    assert sign(auth).tokens == [f"a-{tmp_path.name}True"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"command": "gcloud auth"}, "must be a list such as"),
        ({"command": b"gcloud"}, "no shell reads it"),
        ({"command": []}, "must be a list of texts, not an empty one"),
        ({"command": None}, "must be a list of texts, not of the type NoneType"),
        ({"command": ["a", 5]}, "not one with an int in it"),
        ({"command": [" "]}, "must begin with the program"),
        ({"timeout": -1}, "timeout must be"),
        ({"timeout": "1"}, "timeout must be"),
        ({"margin": None}, "margin must be"),
        ({"env": ["A=b"]}, "env must be a mapping"),
        ({"env": {"A": 5}}, "env must be a mapping"),
        ({"env": {"": "x"}}, "env must be a mapping"),
        ({"cwd": 5}, "cwd must be the path of a folder"),
    ],
)
def test_bad_settings(settings: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        CommandToken(**{"command": ["gcloud"], **settings})
    assert str(caught.value).startswith("CommandToken: ")


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_end_to_end_it_is_run_once_and_again_after_a_401(transport: str, colour: str, tmp_path: Path) -> None:
    """The server forgets the first token: the program is run once more, and the call goes on."""
    code = "import sys; f = open(sys.argv[1], 'a+'); f.write('x'); f.seek(0); print('t0ken%d' % len(f.read()))"
    auth = program(code, str(tmp_path / "runs"))
    good = ["t0ken1"]

    def check(headers: Any) -> Any:
        return require_bearer(good[-1])(headers)

    with LoopbackEndpoint("Hello.", auth=check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=auth, transport=transport, timeout=60)
        for _ in range(3):
            assert (llm.call("Hi") if colour == "call" else await llm.acall("Hi")) == "Hello."
        assert (tmp_path / "runs").read_text() == "x"
        good.append("t0ken2")
        assert (llm.call("Hi") if colour == "call" else await llm.acall("Hi")) == "Hello."
    assert (tmp_path / "runs").read_text() == "xx"
    assert len(endpoint.requests) == 5


def test_it_shows_no_argument_and_no_variable() -> None:
    auth = CommandToken(["tool", "--password", CANARY], env={"PW": CANARY})
    assert repr(auth) == "CommandToken('tool')"
    assert CANARY not in f"{vars(auth)!r}"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(auth)


@given(
    st.text(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20),
        lambda inner: st.dictionaries(
            st.sampled_from(["token", "access_token", "status", "expires_in", "expiry", "expiresOn"]), inner
        ),
    ).map(json.dumps)
)
def test_any_output_is_a_token_or_a_clear_error(printed: str) -> None:
    auth = CommandToken(["never run"])
    auth._program.output = lambda timeout: printed  # type: ignore[method-assign]
    with contextlib.suppress(AuthenticationError):
        assert len(sign(auth).tokens) == 1
