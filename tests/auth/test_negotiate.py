"""NTLM against pyspnego's own server; Kerberos against a real KDC, where one and its libraries are installed."""

from __future__ import annotations

import base64
import importlib.util
import os
import pickle
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spnego
from auth_helpers import sign
from small_server import Give, Got, SmallServer, hello

from oarlock import ChatLLM
from oarlock.auth import Negotiate
from oarlock.contract.errors import AuthenticationError, ConfigurationError

CANARY = "Zq7canary4vX9Lm20"
TRANSPORTS = pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
COLOURS = pytest.mark.parametrize("colour", ["call", "acall", "stream"])


class Door:
    """Lets in whoever proves a connection, as IIS does; says who it was."""

    def __init__(self, protocol: str, scheme: str, **settings: Any) -> None:
        self.protocol, self.scheme, self.settings = protocol, scheme, settings
        self.contexts: dict[int, Any] = {}

    def __call__(self, got: Got) -> Give:
        given = got.headers.get("authorization", "")
        if not given.startswith(f"{self.scheme} "):
            return self.challenge()
        context = self.contexts.get(got.connection)
        if context is None or context.complete:
            context = self.contexts[got.connection] = spnego.server(protocol=self.protocol, **self.settings)
        try:
            answer = context.step(base64.b64decode(given.partition(" ")[2]))
        except spnego.exceptions.SpnegoError:
            del self.contexts[got.connection]
            return self.challenge()
        if not context.complete:
            return self.challenge(answer)
        proof = [("WWW-Authenticate", f"{self.scheme} {base64.b64encode(answer).decode()}")] if answer else []
        good = hello(str(context.client_principal))
        return Give(headers=proof, body=good.body)

    def challenge(self, token: bytes | None = None) -> Give:
        said = self.scheme if token is None else f"{self.scheme} {base64.b64encode(token).decode()}"
        return Give(status=401, headers=[("WWW-Authenticate", said)])


async def ask(llm: ChatLLM, colour: str) -> str:
    if colour == "stream":
        return "".join(str(delta) for delta in llm.stream("Hi"))
    return str(llm.call("Hi") if colour == "call" else await llm.acall("Hi"))


@pytest.fixture
def ntlm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Door:
    (tmp_path / "users").write_text(f"OURS:me:{CANARY}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "users"))
    return Door("ntlm", "NTLM")


@TRANSPORTS
@COLOURS
async def test_ntlm_in_two_steps_over_one_connection(ntlm: Door, transport: str, colour: str) -> None:
    with SmallServer(ntlm) as server:
        auth = Negotiate("OURS\\me", CANARY, protocol="ntlm")
        llm = ChatLLM("m", server.url, auth=auth, transport=transport, policies=(), timeout=30)
        for _ in range(3):
            assert await ask(llm, colour) == "OURS\\me"
        assert len(server.got) == 6
        assert len({got.connection for got in server.got}) == 1
        assert all(CANARY not in str(got.headers.pairs()) for got in server.got)


@TRANSPORTS
def test_a_wrong_password_is_refused_once(ntlm: Door, transport: str) -> None:
    with SmallServer(ntlm) as server:
        auth = Negotiate("OURS\\me", "wrong", protocol="ntlm")
        with pytest.raises(AuthenticationError, match=r"HTTP 401.*Negotiate\('ntlm'\)"):
            ChatLLM("m", server.url, auth=auth, transport=transport, policies=()).call("Hi")
        assert len(server.got) == 2


def test_spnego_falls_back_to_ntlm(ntlm: Door) -> None:
    ntlm.protocol, ntlm.scheme = "negotiate", "Negotiate"
    with SmallServer(ntlm) as server:
        auth = Negotiate("OURS\\me", CANARY)
        assert ChatLLM("m", server.url, auth=auth, policies=()).call("Hi") == "OURS\\me"


@pytest.mark.parametrize("header", ["NTLM !!!", "NTLM TlRMTVNTUAAC", "Negotiate AAAA", "Basic realm=x"])
def test_a_challenge_of_garbage(header: str) -> None:
    with SmallServer(lambda got: Give(status=401, headers=[("WWW-Authenticate", header)])) as server:
        auth = Negotiate("me", CANARY, protocol="ntlm")
        with pytest.raises(AuthenticationError) as caught:
            ChatLLM("m", server.url, auth=auth, policies=()).call("Hi")
        assert len(server.got) == 1
        assert CANARY not in str(caught.value)


def test_a_server_that_never_ends_is_left(ntlm: Door) -> None:
    """It answers with its challenge whatever it gets."""
    challenges: list[Give] = []

    def answer(got: Got) -> Give:
        challenges.append(challenges[0] if challenges else ntlm(got))
        return challenges[0]

    with SmallServer(answer) as server:
        auth = Negotiate("OURS\\me", CANARY, protocol="ntlm")
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            ChatLLM("m", server.url, auth=auth, policies=()).call("Hi")
        assert len(server.got) == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "digest"}, "protocol must be one of negotiate, kerberos, ntlm"),
        ({"password": CANARY}, "password needs username"),
        ({"username": "me", "password": ""}, "password: the credential is empty"),
        ({"username": "", "password": CANARY}, "username must be a text"),
        ({"username": 5}, "username must be a text"),
        ({"service": None}, "service must be a text"),
        ({"hostname": " "}, "hostname must be a text"),
    ],
)
def test_bad_settings(settings: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        Negotiate(**settings)
    assert CANARY not in str(caught.value)


def test_it_shows_nothing() -> None:
    auth = Negotiate("me", f"{CANARY} ü")
    assert repr(auth) == "Negotiate('negotiate')"
    assert CANARY not in f"{vars(auth)!r}"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(auth)


# Kerberos.

HAS_GSSAPI = importlib.util.find_spec("gssapi") is not None and importlib.util.find_spec("krb5") is not None


def tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@pytest.mark.skipif(HAS_GSSAPI, reason="gssapi is installed")
def test_kerberos_without_its_libraries_or_a_ticket_says_so() -> None:
    with pytest.raises(
        AuthenticationError, match=r"pip install 'pyspnego\[kerberos\]'|check that there is a ticket \(klist\)"
    ):
        sign(Negotiate(protocol="kerberos"))


NEEDS_KDC = pytest.mark.skipif(
    not HAS_GSSAPI or not all(map(tool, ("krb5kdc", "kdb5_util", "kadmin.local"))),
    reason="needs Debian's krb5-kdc and krb5-admin-server, and pyspnego[kerberos]",
)
CLIENT = """
[libdefaults]
default_realm = OARLOCK.TEST
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
[realms]
OARLOCK.TEST = {{
  kdc = 127.0.0.1:{port}
}}
[domain_realm]
localhost = OARLOCK.TEST
"""
SERVER = """
[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
OARLOCK.TEST = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
}}
"""


def run(*command: str) -> None:
    subprocess.run([str(tool(command[0])), *command[1:]], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A realm with one person, `me`, and one service, `HTTP/localhost`."""
    folder = tmp_path_factory.mktemp("kdc")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "krb5.conf").write_text(CLIENT.format(port=port))
    (folder / "kdc.conf").write_text(SERVER.format(port=port, folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        # What stands in the first file counts; an installation in an unusual place says in its own where its plug-ins are.
        patch.setenv("KRB5_CONFIG", ":".join(filter(None, (f"{folder}/krb5.conf", os.environ.get("KRB5_CONFIG")))))
        patch.setenv("KRB5_KDC_PROFILE", str(folder / "kdc.conf"))
        patch.setenv("KRB5_KTNAME", f"FILE:{folder}/http.keytab")
        patch.setenv("KRB5CCNAME", f"FILE:{folder}/tickets")
        run("kdb5_util", "create", "-r", "OARLOCK.TEST", "-s", "-P", "master")
        run("kadmin.local", "-q", f"addprinc -pw {CANARY} me")
        run("kadmin.local", "-q", "addprinc -randkey HTTP/localhost")
        run("kadmin.local", "-q", f"ktadd -k {folder}/http.keytab HTTP/localhost")
        process = subprocess.Popen([str(tool("krb5kdc")), "-n"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield folder
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the KDC did not start")


@NEEDS_KDC
@TRANSPORTS
@COLOURS
async def test_kerberos_takes_one_round_trip_and_checks_the_servers_proof(
    kdc: Path, transport: str, colour: str
) -> None:
    door = Door("kerberos", "Negotiate", hostname="localhost", service="HTTP")
    with SmallServer(door) as server:
        auth = Negotiate("me@OARLOCK.TEST", CANARY, protocol="kerberos", hostname="localhost")
        llm = ChatLLM("m", server.url, auth=auth, transport=transport, policies=(), timeout=30)
        for _ in range(3):
            assert await ask(llm, colour) == "me@OARLOCK.TEST"
        assert len(server.got) == 3


@NEEDS_KDC
def test_kerberos_with_a_wrong_password(kdc: Path) -> None:
    with pytest.raises(AuthenticationError, match="check that there is a ticket"):
        sign(Negotiate("me@OARLOCK.TEST", "wrong", protocol="kerberos", hostname="localhost"))


@NEEDS_KDC
def test_kerberos_for_a_service_that_is_not_known(kdc: Path) -> None:
    with pytest.raises(AuthenticationError, match="hostname and service"):
        sign(Negotiate("me@OARLOCK.TEST", CANARY, protocol="kerberos", hostname="elsewhere"))


@NEEDS_KDC
def test_a_server_whose_proof_is_wrong_is_not_believed(kdc: Path) -> None:
    proof = base64.b64encode(b"not the service").decode()
    with SmallServer(
        lambda got: Give(headers=[("WWW-Authenticate", f"Negotiate {proof}")], body=hello().body)
    ) as server:
        auth = Negotiate("me@OARLOCK.TEST", CANARY, protocol="kerberos", hostname="localhost")
        with pytest.raises(AuthenticationError):
            ChatLLM("m", server.url, auth=auth, policies=()).call("Hi")
