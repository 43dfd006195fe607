"""Every OAuth flow against a real server, through `ChatLLM`, blocking, async and streamed, over both transports."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from oauth_server import CLIENT_KEY, CLIENT_PEM, RSA_CLIENT_KEY, SECRET, OAuthServer

from oarlock import ChatLLM
from oarlock.auth import (
    ClientCredentials,
    DeviceCode,
    JWTBearer,
    PrivateKeyJWT,
    RefreshToken,
    TokenAuth,
    TokenExchange,
)
from oarlock.contract.context import scope
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.events import SignedIn
from oarlock.runtime import Runtime, aio, blocking, drive, drive_async
from oarlock.testing import LoopbackEndpoint
from oarlock.transport import make_transport

COLOURS = ("call", "acall", "stream", "astream")
TRANSPORTS = ("pyreqwest", "httpx2")


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with OAuthServer() as running:
        yield running


def client(server: OAuthServer, client_id: str = "basic", **settings: Any) -> ClientCredentials:
    return ClientCredentials(server.token_url, client_id, SECRET, **settings)


def device(server: OAuthServer, **settings: Any) -> DeviceCode:
    """A person who signs in as soon as they are told."""
    return DeviceCode(server.device_url, server.token_url, "public", prompt=lambda _: server.decide(), **settings)


FLOWS: dict[str, Callable[[OAuthServer], TokenAuth]] = {
    "basic": client,
    "post": lambda server: client(server, "post", client_auth="client_secret_post", scope=["llm.use"]),
    "client_secret_jwt": lambda server: client(server, "secret-jwt", client_auth="client_secret_jwt"),
    "private_key_jwt": lambda server: ClientCredentials(
        server.token_url, "key-jwt", client_auth=PrivateKeyJWT(CLIENT_PEM, key_id="client-1")
    ),
    "private_key_jwt, RSA": lambda server: ClientCredentials(
        server.token_url,
        "rsa-jwt",
        client_auth=PrivateKeyJWT(RSA_CLIENT_KEY.as_dict(private=True), audience=server.origin),
    ),
    "refresh": lambda server: RefreshToken(server.token_url, "public", server.issue_refresh_token("public")),
    "refresh, secret": lambda server: RefreshToken(
        server.token_url, "basic", server.issue_refresh_token("basic"), client_secret=SECRET, scope="llm.use"
    ),
    "exchange": lambda server: TokenExchange(
        server.token_url,
        lambda: server.issue("ada"),
        audience="llm",
        client_id="basic",
        client_secret=SECRET,
    ),
    "jwt-bearer": lambda server: JWTBearer(
        server.token_url, "key-jwt", CLIENT_KEY.as_dict(private=True), subject="ada"
    ),
    "device": device,
}


async def ask(llm: ChatLLM, colour: str) -> str:
    if colour == "stream":
        return "".join(str(delta) for delta in llm.stream("Hi"))
    if colour == "astream":
        return "".join([str(delta) async for delta in llm.astream("Hi")])
    return str(await llm.acall("Hi") if colour == "acall" else llm.call("Hi"))


class Shifted:
    """Moves our wall clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by = 0.0
        for runtime in (blocking.BLOCKING, aio.ASYNC):
            wall = runtime.time
            monkeypatch.setattr(runtime, "time", lambda wall=wall: wall() + self.by, raising=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Shifted:
    return Shifted(monkeypatch)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a poll's interval."""

    async def at_once(seconds: float) -> None:
        return None

    for runtime in (blocking.BLOCKING, aio.ASYNC):
        monkeypatch.setattr(runtime, "sleep", at_once, raising=False)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("flow", FLOWS)
async def test_a_whole_life(
    server: OAuthServer, clock: Shifted, quick: None, flow: str, colour: str, transport: str
) -> None:
    """First use, kept, ahead of expiry, after a 401: one request to the token endpoint for each."""
    server.lifetime = 50  # the clocks may differ by 60 s for JWTs that we sign
    auth = FLOWS[flow](server)
    with LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=auth, timeout=30, transport=transport)
        assert await ask(llm, colour) == "Hello."
        assert await ask(llm, colour) == "Hello."
        assert (len(server.forms), len(endpoint.requests)) == (1, 2)
        clock.by = server.ahead = 45.0  # the margin is a fifth of its life, or a little less
        assert await ask(llm, colour) == "Hello."
        assert (len(server.forms), len(endpoint.requests)) == (2, 3)
        server.withdraw_all()
        assert await ask(llm, colour) == "Hello."
        assert (len(server.forms), len(endpoint.requests)) == (3, 5)


@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_what_happened_is_an_event(server: OAuthServer, clock: Shifted, colour: str) -> None:
    events: list[Any] = []
    with LoopbackEndpoint("Hello.", auth=server.check) as endpoint, scope(listener=events.append):
        llm = ChatLLM("m", endpoint.url, auth=client(server))
        await ask(llm, colour)
        clock.by = 4000
        server.ahead = 4000
        await ask(llm, colour)
        server.withdraw_all()
        await ask(llm, colour)
    signed = [event for event in events if isinstance(event, SignedIn)]
    assert [(event.method, event.why) for event in signed] == [
        ("ClientCredentials", "first use"),
        ("ClientCredentials", "expired"),
        ("ClientCredentials", "refused"),
    ]
    assert all(abs((event.expires_in or 0) - 3600) < 60 for event in signed)


async def test_a_crowd_renews_once(server: OAuthServer, clock: Shifted) -> None:
    """50 threads and 200 tasks: one request at first use, one when it has expired, one after a 401 for all."""
    auth = client(server)
    with LoopbackEndpoint("Hello.", auth=server.check) as endpoint, ThreadPoolExecutor(50) as pool:
        llm = ChatLLM("m", endpoint.url, auth=auth, timeout=60)
        for number in (1, 2, 3):
            start = threading.Barrier(51)

            def blocking_call(start: threading.Barrier = start) -> Any:
                start.wait()
                return llm.call("Hi")

            threads = [pool.submit(blocking_call) for _ in range(50)]
            await asyncio.to_thread(start.wait)
            answers = list(await asyncio.gather(*(llm.acall("Hi") for _ in range(200))))
            answers += [await asyncio.wrap_future(thread) for thread in threads]
            assert answers == ["Hello."] * 250
            assert len(server.forms) == number
            if number == 1:
                clock.by = server.ahead = 4000.0
            else:
                server.withdraw_all()


@pytest.mark.parametrize("ahead", [-7200, -3000, 3000, 7200])
def test_a_server_with_another_clock(server: OAuthServer, ahead: float) -> None:
    """Its JWTs say when they expire, by its clock; ours takes them for expired, or for not yet issued."""
    server.ahead, server.says_expires_in = ahead, False
    with LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=client(server))
        for _ in range(3):
            assert llm.call("Hi") == "Hello."
    assert len(server.forms) == 1


def test_the_forms(server: OAuthServer, tmp_path: Path) -> None:
    """What the server is told."""
    subject = tmp_path / "token"
    subject.write_text(server.issue("ada") + "\n")
    auth = TokenExchange(
        server.token_url,
        subject,
        actor_token="act",
        requested_token_type="access_token",
        client_id="post",
        client_secret=SECRET,
        client_auth="client_secret_post",
        scope=["llm.use", "offline_access"],
        audience="llm",
        extra={"tenant": "t1"},
    )
    with LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        ChatLLM("m", endpoint.url, auth=auth).call("Hi")
    kind = "urn:ietf:params:oauth:token-type:"
    assert server.forms == [
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": subject.read_text().strip(),
            "subject_token_type": kind + "jwt",
            "actor_token": "act",
            "actor_token_type": kind + "jwt",
            "requested_token_type": kind + "access_token",
            "client_id": "post",
            "client_secret": SECRET,
            "scope": "llm.use offline_access",
            "audience": "llm",
            "tenant": "t1",
        }
    ]
    sent = endpoint.requests[0].headers["authorization"].removeprefix("Bearer ")
    assert server.claims(sent)["sub"] == "ada"


def test_a_rotated_refresh_token_is_told_and_used(server: OAuthServer, clock: Shifted) -> None:
    told: list[Any] = []
    first = server.issue_refresh_token("public")
    auth = RefreshToken(server.token_url, "public", first, on_rotation=told.append)
    with LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=auth)
        for _ in range(4):
            llm.call("Hi")
            clock.by += 4000
            server.ahead += 4000
    used = [form["refresh_token"] for form in server.forms]
    assert used == [first, *(secret.reveal() for secret in told[:-1])]
    assert len(set(used)) == 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda url: ClientCredentials(url, "", SECRET), "client_id must be the client's id"),
        (lambda url: ClientCredentials(url, "basic"), "give client_secret, or say how"),
        (lambda url: ClientCredentials(url, "basic", SECRET, client_auth="magic"), "client_auth must be PrivateKeyJWT"),
        (lambda url: ClientCredentials(url, "basic", client_auth="client_secret_post"), "needs client_secret"),
        (lambda url: ClientCredentials(url, "basic", SECRET, client_auth="none"), "uses no client_secret"),
        (lambda url: ClientCredentials(url, "basic", SECRET, client_auth=PrivateKeyJWT(CLIENT_PEM)), "not both"),
        (lambda url: ClientCredentials(url, "basic", SECRET, scope=["a", 5]), "scope must be"),  # type: ignore[list-item]
        (lambda url: ClientCredentials(url, "basic", SECRET, extra={"scope": "a"}), "extra must not hold scope"),
        (lambda url: ClientCredentials(url, "basic", SECRET, timeout=-1), "timeout"),
        (lambda url: ClientCredentials(url, "basic", SECRET, store=5), "store must be"),  # type: ignore[arg-type]
        (lambda url: RefreshToken(url, "public", ""), "refresh_token: the credential is empty"),
        (lambda url: RefreshToken(url, "public", "r", on_rotation=5), "on_rotation must be a function"),
        (lambda url: TokenExchange(url, 5), "subject_token must be"),  # type: ignore[arg-type]
        (lambda url: TokenExchange(url, "t", client_secret=SECRET), "need client_id"),
        (lambda url: JWTBearer(url, "me", "no/such/file.pem"), "cannot be read"),
        (lambda url: JWTBearer(url, "me", 5), "key must be"),
        (lambda url: DeviceCode(url, url, "public", prompt=5), "prompt must be a function"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_cannot_work(make: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make("https://login.example.com/token")


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/token",
        "ftp://login.example.com/",
        "login.example.com",
        "",
        5,
        "https://me:pw@login.example.com/t",
        "https://login.example.com:x/t",
        "http://127.0.0.1.example.com/t",
        "http://[::2]/t",
    ],
)
def test_where_credentials_are_not_sent(url: Any) -> None:
    for make in (
        lambda: ClientCredentials(url, "basic", SECRET),
        lambda: RefreshToken(url, "public", "r"),
        lambda: TokenExchange(url, "t"),
        lambda: JWTBearer(url, "me", CLIENT_PEM),
        lambda: DeviceCode("https://login.example.com/device", url, "public"),
        lambda: DeviceCode(url, "https://login.example.com/token", "public"),
    ):
        with pytest.raises(ConfigurationError, match=r"token_url|device_url"):
            make()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/t", "http://[::1]:8080/t", "http://localhost/t", "http://a.localhost/t"]
)
def test_loopback_may_be_plain(url: str) -> None:
    ClientCredentials(url, "basic", SECRET)


def test_plain_http_when_it_is_allowed_in_words() -> None:
    ClientCredentials("http://login.example.com/token", "basic", SECRET, allow_http=True)


@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_the_token_itself(server: OAuthServer, colour: str) -> None:
    """For whoever wants the token without sending a request, such as the doctor."""
    auth, transport = client(server), make_transport(None)

    async def whole(runtime: Runtime) -> Any:
        async def send(request: Any) -> Any:
            return await runtime.invoke(transport.send, transport.asend, request)

        first = await auth.token(runtime, send, runtime.now() + 30)
        return first, await auth.token(runtime, send)

    first, second = drive(whole) if colour == "call" else await drive_async(whole)
    assert first is second
    assert server.claims(first.secret.reveal())["sub"] == "basic"
    assert len(server.forms) == 1
