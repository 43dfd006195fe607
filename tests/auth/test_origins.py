"""Credentials stay where they were configured for: redirects, token endpoints, logins and the environment, on real servers.

The table is 5 redirects x 3 kinds of other origin x 4 kinds of credential, on both transports, in four ways of asking.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from small_server import Give, Got, hello
from tls_server import CountingServer, TlsServer, issue

from oarlock import ChatLLM
from oarlock.auth import ApiKey, BearerToken, Chain, ClientCertificate, ClientCredentials, Headers, SessionLogin
from oarlock.contract.errors import AuthenticationError, LLMError

CANARY = "Zq7canary4vX9Lm20"
CLIENT_SECRET = "Kw3clientsecret8PbN1"
REDIRECTS = (301, 302, 303, 307, 308)
OTHERS = ("another host", "another port", "plain http")
WAYS = ("call", "acall", "stream", "astream")
CREDENTIALS = pytest.mark.parametrize("credential", ["bearer", "header", "session", "certificate"])
OTHER = pytest.mark.parametrize("other", OTHERS)
TRANSPORTS = pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="module")
def pair(authority: trustme.CA) -> tuple[bytes, bytes]:
    return issue(authority, "crew-1")


class Places:
    """The origin, a TLS server that answers as `answer` says, and others that would take whatever comes."""

    def __init__(self, stack: ExitStack, authority: trustme.CA, answer: Callable[[Got], Give]) -> None:
        self.origin = stack.enter_context(TlsServer(answer, authority, clients=authority))
        self.origin.context.verify_mode = self.origin.context.verify_mode.CERT_OPTIONAL
        self.secure = stack.enter_context(TlsServer(lambda got: hello(), authority, clients=authority))
        self.secure.context.verify_mode = self.secure.context.verify_mode.CERT_OPTIONAL
        self.plain = stack.enter_context(CountingServer(lambda got: hello()))
        self._urls = {
            "another host": f"https://localhost:{self.origin.port}",  # known by the name in its Host header
            "another port": self.secure.url,
            "plain http": self.plain.url,
        }

    def url(self, other: str) -> str:
        return self._urls[other]

    def strays(self) -> list[Any]:
        """Everything that came to another origin: requests, and connections."""
        elsewhere = [got for got in self.origin.got if got.headers["host"] != f"127.0.0.1:{self.origin.port}"]
        more = max(0, self.origin.connections - len({got.connection for got in self.origin.got}))
        return [*elsewhere, *self.secure.got, *self.plain.got] + ["a connection"] * (
            more + self.secure.connections + self.plain.connections
        )


@contextmanager
def places(authority: trustme.CA, answer: Callable[[Got], Give]) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(stack, authority, answer)


def sign_in(credential: str, url: str, pair: tuple[bytes, bytes]) -> Any:
    return {
        "bearer": lambda: BearerToken(CANARY),
        "header": lambda: Headers({"x-gateway-key": CANARY}),
        "session": lambda: SessionLogin(f"{url}/login", {"user": "me", "password": "s3cret"}),
        "certificate": lambda: ClientCertificate(*pair),
    }[credential]()


def carries(credential: str, server: TlsServer, got: Got) -> bool:
    """Whether the credential came with a request: the table means nothing if it did not."""
    if credential == "certificate":
        return set(server.shown) == {"crew-1"}
    name = {"bearer": "authorization", "header": "x-gateway-key", "session": "cookie"}[credential]
    return CANARY in got.headers.get(name, "")


def llm_at(url: str, auth: Any, bundle: str, transport: str) -> ChatLLM:
    options = {"verify": bundle}
    return ChatLLM("m", f"{url}/v1", auth=auth, transport=transport, transport_options=options, timeout=30, policies=())


async def ask(llm: ChatLLM, way: str) -> str:
    if way == "stream":
        return "".join(str(delta) for delta in llm.stream("Hi"))
    if way == "astream":
        return "".join([str(delta) async for delta in llm.astream("Hi")])
    return str(llm.call("Hi") if way == "call" else await llm.acall("Hi"))


@TRANSPORTS
@CREDENTIALS
@OTHER
async def test_no_redirect_takes_a_credential_along(
    transport: str, credential: str, other: str, authority: trustme.CA, bundle: str, pair: tuple[bytes, bytes]
) -> None:
    status = 0

    def answer(got: Got) -> Give:
        if got.path == "/login":
            return Give(headers=[("Set-Cookie", f"sid={CANARY}; Path=/"), ("Set-Cookie", f"wide={CANARY}")])
        return Give(status=status, headers=[("Location", f"{there.url(other)}/v1/chat/completions?from=here")])

    with places(authority, answer) as there:
        llm = llm_at(there.origin.url, sign_in(credential, there.origin.url, pair), bundle, transport)
        for status in REDIRECTS:
            for way in WAYS:
                before = len(there.origin.got)
                with pytest.raises(LLMError, match=f"redirect \\(HTTP {status}\\).*Redirects are not followed"):
                    await ask(llm, way)
                got = [one for one in there.origin.got[before:] if one.path != "/login"]
                assert len(got) == 1
                assert carries(credential, there.origin, got[0])
        assert there.strays() == []


@TRANSPORTS
async def test_strays_would_be_seen(transport: str, authority: trustme.CA, bundle: str) -> None:
    """The table's counters count: asked directly, the other origins have requests and connections."""
    with places(authority, lambda got: hello()) as there:
        for number, other in enumerate(OTHERS, 1):
            assert await ask(llm_at(there.url(other), BearerToken(CANARY), bundle, transport), "call") == "Hello."
            strays = there.strays()
            assert strays.count("a connection") == number - 1  # the first other host has the origin's own server
            assert len(strays) == number + number - 1


@TRANSPORTS
@OTHER
async def test_a_token_endpoint_s_redirect_is_not_followed(
    transport: str, other: str, authority: trustme.CA, bundle: str, pair: tuple[bytes, bytes]
) -> None:
    status = 0

    def answer(got: Got) -> Give:
        return Give(status=status, headers=[("Location", f"{there.url(other)}/token")])

    with places(authority, answer) as there:
        for status in REDIRECTS:
            for way in ("client_secret_basic", "client_secret_post", "tls_client_auth"):
                for colour in WAYS:
                    secret = None if way == "tls_client_auth" else CLIENT_SECRET
                    token = ClientCredentials(
                        f"{there.origin.url}/token", client_id="crew", client_secret=secret, client_auth=way
                    )
                    llm = llm_at(there.origin.url, Chain(ClientCertificate(*pair), token), bundle, transport)
                    with pytest.raises(AuthenticationError):
                        await ask(llm, colour)
        assert {got.path for got in there.origin.got} == {"/token"}
        assert len(there.origin.got) == len(REDIRECTS) * 3 * len(WAYS)
        assert there.strays() == []


@TRANSPORTS
@OTHER
async def test_a_login_s_redirect_is_not_followed_and_its_cookies_stay(
    transport: str, other: str, authority: trustme.CA, bundle: str
) -> None:
    status = 0

    def answer(got: Got) -> Give:
        if got.path == "/login":
            location = f"{there.url(other)}/welcome"
            return Give(status=status, headers=[("Set-Cookie", f"sid={CANARY}; Path=/"), ("Location", location)])
        return hello(got.headers.get("cookie", "none"))

    with places(authority, answer) as there:
        for status in REDIRECTS:
            for way in WAYS:
                auth = SessionLogin(f"{there.origin.url}/login", {"user": "me", "password": "s3cret"})
                assert await ask(llm_at(there.origin.url, auth, bundle, transport), way) == f"sid={CANARY}"
        assert there.strays() == []


@TRANSPORTS
@OTHER
async def test_a_session_s_cookies_are_not_for_another_origin(
    transport: str, other: str, authority: trustme.CA, bundle: str
) -> None:
    """The model is at another origin than the login: nothing is sent there, and the error says why."""

    def login(got: Got) -> Give:
        return Give(headers=[("Set-Cookie", f"sid={CANARY}; Path=/")])

    with places(authority, login) as there:
        for way in WAYS:
            auth = SessionLogin(f"{there.origin.url}/login", {"user": "me", "password": "s3cret"})
            with pytest.raises(AuthenticationError, match="has no cookie for"):
                await ask(llm_at(there.url(other), auth, bundle, transport), way)
        assert {got.path for got in there.origin.got} == {"/login"}
        assert there.strays() == []


@TRANSPORTS
@pytest.mark.parametrize("way", WAYS)
async def test_each_credential_goes_to_its_own_endpoint(
    transport: str, way: str, authority: trustme.CA, bundle: str, pair: tuple[bytes, bytes]
) -> None:
    """The token endpoint sees nothing of the model's credentials, the model's nothing of the client's."""

    def tokens(got: Got) -> Give:
        return Give(body={"access_token": f"t0ken-{CANARY}", "token_type": "Bearer", "expires_in": 3600})

    def model(got: Got) -> Give:
        return hello() if len(server.got) > 1 else Give(status=401)  # so that a token is fetched twice

    for method in ("client_secret_basic", "client_secret_post"):
        with TlsServer(tokens, authority) as issuer, TlsServer(model, authority) as server:
            token = ClientCredentials(
                f"{issuer.url}/token", client_id="crew", client_secret=CLIENT_SECRET, client_auth=method
            )
            auth = Chain(ApiKey("Gw5gatewaykey7Tz", header="x-key"), token, Headers({"x-team": "Tm9teamsecret2"}))
            assert await ask(llm_at(server.url, auth, bundle, transport), way) == "Hello."
            assert (len(issuer.got), len(server.got)) == (2, 2)
            for got in issuer.got:
                assert not any(word in everything(got) for word in ("Gw5gatewaykey7Tz", "Tm9teamsecret2", CANARY))
            for got in server.got:
                assert (got.headers["x-key"], got.headers["x-team"]) == ("Gw5gatewaykey7Tz", "Tm9teamsecret2")
                assert got.headers["authorization"] == f"Bearer t0ken-{CANARY}"
                assert CLIENT_SECRET not in everything(got)
                assert basic_of(issuer) not in everything(got)


def everything(got: Got) -> str:
    return f"{got.path} {got.headers.pairs()} {got.body.decode()}"


def basic_of(issuer: TlsServer) -> str:
    """Return what proved the client, as it was sent."""
    return issuer.got[0].headers.get("authorization", CLIENT_SECRET).removeprefix("Basic ")


@TRANSPORTS
@CREDENTIALS
@pytest.mark.parametrize("way", WAYS)
async def test_the_environment_is_not_used(
    transport: str,
    credential: str,
    way: str,
    authority: trustme.CA,
    bundle: str,
    pair: tuple[bytes, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proxy variables lead nowhere, and `.netrc` signs nothing in, unless asked for."""
    netrc = "".join(f"machine {host} login me password n3trc\n" for host in ("127.0.0.1", "localhost"))
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text(netrc + "default login me password n3trc\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    def answer(got: Got) -> Give:
        if got.path == "/login":
            return Give(headers=[("Set-Cookie", f"sid={CANARY}; Path=/")])
        return hello()

    with places(authority, answer) as there, CountingServer(lambda got: hello()) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        auth = sign_in(credential, there.origin.url, pair)
        assert await ask(llm_at(there.origin.url, auth, bundle, transport), way) == "Hello."
        assert await ask(llm_at(there.plain.url, None, bundle, transport), way) == "Hello."
        assert proxy.connections == 0
        for got in (*there.origin.got, *there.plain.got):
            assert "proxy-authorization" not in got.headers
            assert got.headers.get("authorization") in {None, f"Bearer {CANARY}"}
        assert "authorization" not in there.plain.got[0].headers


@OTHER
async def test_a_client_of_ones_own_that_follows_redirects_does_not_here(
    other: str, authority: trustme.CA, bundle: str
) -> None:
    def answer(got: Got) -> Give:
        return Give(status=307, headers=[("Location", f"{there.url(other)}/v1/chat/completions")])

    context = ssl.create_default_context(cafile=bundle)
    with places(authority, answer) as there, httpx2.Client(verify=context, follow_redirects=True) as blocking:
        async with httpx2.AsyncClient(verify=context, follow_redirects=True) as asynchronous:
            for way in WAYS:
                client = asynchronous if way.startswith("a") else blocking
                auth = Headers({"x-gateway-key": CANARY})
                llm = ChatLLM("m", there.origin.url, auth=auth, transport=client, timeout=30, policies=())
                with pytest.raises(LLMError, match="Redirects are not followed"):
                    await ask(llm, way)
        assert len(there.origin.got) == len(WAYS)
        assert there.strays() == []
