"""What a token endpoint may answer, and what the caller is told: which setting to look at, and never a secret."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from auth_helpers import Endpoint, jwt
from hypothesis import given
from hypothesis import strategies as st
from oauth_server import CLIENT_KEY, SECRET, Canned, OAuthServer

from oarlock import ChatLLM
from oarlock.auth import ClientCredentials, DeviceCode, JWTBearer, PrivateKeyJWT, RefreshToken, TokenExchange
from oarlock.auth.bearer import good_until
from oarlock.auth.token_endpoint import token_from
from oarlock.contract.auth import authorize
from oarlock.contract.errors import (
    AuthenticationError,
    ConnectionFailedError,
    LLMError,
    LLMTimeoutError,
    RateLimitError,
    ServerError,
)
from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.policies import Log, Retry
from oarlock.runtime import aio, blocking
from oarlock.testing import LoopbackEndpoint, VirtualRuntime
from oarlock.testing.virtual import EPOCH

URL = "https://login.example.invalid/oauth/token"
TOKEN = {"access_token": "t0ken", "token_type": "Bearer", "expires_in": 60}


@pytest.fixture(scope="module")
def server() -> Iterator[OAuthServer]:
    with OAuthServer() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: OAuthServer) -> None:
    server.script.clear()
    server.forms.clear()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two attempts."""

    async def at_once(seconds: float) -> None:
        return None

    for runtime in (blocking.BLOCKING, aio.ASYNC):
        monkeypatch.setattr(runtime, "sleep", at_once, raising=False)


class Pretended(Endpoint):
    """A token endpoint and the model's; keeps what is asked of the first one."""

    def __init__(self, *answers: HttpResponse | Exception) -> None:
        super().__init__()
        self.asked: list[HttpRequest] = []
        self._answers = list(answers)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.url != URL:
            return await super().__call__(request)
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def said(body: Any, status: int = 200, **headers: str) -> HttpResponse:
    text = body if isinstance(body, str) else json.dumps(body)
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return HttpResponse(status=status, headers=Headers(pairs), body=text.encode())


def sign(endpoint: Pretended, runtime: VirtualRuntime, auth: Any = None, timeout: float | None = None) -> None:
    auth = auth or ClientCredentials(URL, "app", SECRET)
    request = HttpRequest(method="POST", url="https://llm.invalid/v1", timeout=timeout)
    runtime.run(authorize(runtime, auth, request, endpoint))


# Refusals of the real server.


def real(server: OAuthServer, kind: str) -> Any:
    url = server.token_url
    return {
        "wrong secret": lambda: ClientCredentials(url, "basic", "wr0ng-secret"),
        "unknown client": lambda: ClientCredentials(url, "nobody", SECRET),
        "wrong method": lambda: ClientCredentials(url, "post", SECRET),
        "wrong method, post": lambda: ClientCredentials(url, "basic", SECRET, client_auth="client_secret_post"),
        "unknown scope": lambda: ClientCredentials(url, "basic", SECRET, scope="all"),
        "grant not allowed": lambda: ClientCredentials(url, "may-nothing", SECRET),
        "refresh token": lambda: RefreshToken(url, "public", "refresh-unknown"),
        "target": lambda: TokenExchange(
            url, server.issue("ada"), audience="other", client_id="basic", client_secret=SECRET
        ),
        "request": lambda: TokenExchange(url, "t", subject_token_type="saml2", client_id="basic", client_secret=SECRET),
        "subject": lambda: TokenExchange(url, "n0-token", client_id="basic", client_secret=SECRET),
        "jwt audience": lambda: JWTBearer(
            url, "key-jwt", CLIENT_KEY.as_dict(private=True), jwt_audience="https://other.example.com"
        ),
        "jwt of nobody": lambda: JWTBearer(url, "nobody", CLIENT_KEY.as_dict(private=True)),
        "wrong key": lambda: ClientCredentials(
            url, "rsa-jwt", client_auth=PrivateKeyJWT(CLIENT_KEY.as_dict(private=True))
        ),
        "grant unknown": lambda: ClientCredentials(url, "basic", SECRET, extra={}),
    }[kind]()


REFUSALS = [
    ("wrong secret", "invalid_client", "check client_id and client_secret .* wants client_auth='client_secret_post'"),
    ("unknown client", "invalid_client", "check client_id"),
    ("wrong method", "invalid_client", "wants client_auth='client_secret_post'"),
    ("wrong method, post", "invalid_client", "wants client_auth='client_secret_basic'"),
    ("unknown scope", "invalid_scope", "check scope"),
    ("grant not allowed", "unauthorized_client", "may not use the grant 'client_credentials'"),
    ("refresh token", "invalid_grant", "did not accept the refresh token: wrong, expired, revoked or used up"),
    ("target", "invalid_target", "check resource and audience"),
    ("request", "invalid_request", "check scope, audience, resource and extra"),
    ("subject", "invalid_grant", "did not accept the token to exchange"),
    ("jwt audience", "invalid_grant", "did not accept the JWT"),
    ("jwt of nobody", "invalid_grant", "did not accept the JWT"),
    ("wrong key", "invalid_client", "or the key"),
]


@pytest.mark.parametrize("colour", ["call", "acall"])
@pytest.mark.parametrize(("kind", "code", "words"), REFUSALS, ids=[kind for kind, _, _ in REFUSALS])
async def test_a_refusal_of_a_real_server(server: OAuthServer, kind: str, code: str, words: str, colour: str) -> None:
    auth = real(server, kind)
    with LoopbackEndpoint("Hello.") as endpoint, pytest.raises(AuthenticationError, match=words) as caught:
        llm = ChatLLM("m", endpoint.url, auth=auth)
        assert await llm.acall("Hi") if colour == "acall" else llm.call("Hi")
    assert caught.value.code == code
    assert type(auth).__name__ in str(caught.value)
    assert server.origin in str(caught.value)
    assert (len(server.forms), endpoint.requests) == (1, [])
    assert SECRET not in str(caught.value)


# Refusals and faults by script.

FAULTS = [
    (said({"error": "unsupported_grant_type"}, 400), AuthenticationError, "check token_url", 1),
    (said({"error": "access_denied"}, 403), AuthenticationError, "declined", 1),
    (said({"error": "expired_token"}, 400), AuthenticationError, "call again", 1),
    (said({"error": "something_new"}, 400), AuthenticationError, "see the server's documentation", 1),
    (said({"error": "invalid_client"}, 200), AuthenticationError, "check client_id", 1),
    (
        said("<html>Sign in</html>"),
        AuthenticationError,
        r"HTTP 200 without a token \(a page of HTML\): check token_url",
        1,
    ),
    (said("<html>No</html>", 401), AuthenticationError, "check client_id and client_secret", 1),
    (said("<html>No</html>", 404), AuthenticationError, r"/oauth/token answered HTTP 404 .*check token_url", 1),
    (said("", 302, location="/login"), AuthenticationError, "a redirect, which is not followed", 1),
    (said("[]"), AuthenticationError, "no JSON object", 1),
    (said("[" * 100_000), AuthenticationError, "no JSON object", 1),
    (said({"hello": 1}, 400), AuthenticationError, "no error code either", 1),
    (said({}), AuthenticationError, "no token: .*access_token: the credential is of the type NoneType", 1),
    (said({"access_token": "a\r\nb"}), AuthenticationError, "no token: .*line break", 1),
    (said({**TOKEN, "expires_in": "soon"}), AuthenticationError, "no token: .*lifetime must be a number", 1),
    (said({**TOKEN, "token_type": "DPoP"}), AuthenticationError, "'DPoP', which needs a proof", 1),
    (said("oops", 500), ServerError, "HTTP 500: oops", 3),
    (said({"error": "invalid_client"}, 503), ServerError, "HTTP 503", 3),
    (said({"error": "temporarily_unavailable"}, 400), ServerError, "temporarily_unavailable", 3),
    (said({"error": "slow"}, 429), RateLimitError, "HTTP 429", 3),
    (said("", 429, retry_after="7200"), RateLimitError, "HTTP 429: nothing", 1),
    (
        ConnectionFailedError("refused"),
        ConnectionFailedError,
        "no answer: refused. Check token_url, proxy and verify",
        3,
    ),
    (ConnectionFailedError("bad", retryable=False), ConnectionFailedError, "verify", 1),
    (LLMTimeoutError("late."), LLMTimeoutError, "no answer: late. Check timeout, which is 10 s", 3),
]


@pytest.mark.parametrize(("answer", "kind", "words", "requests"), FAULTS)
def test_a_fault(answer: Any, kind: type[LLMError], words: str, requests: int) -> None:
    endpoint = Pretended(*[answer] * 3)
    with pytest.raises(kind, match=words) as caught:
        sign(endpoint, VirtualRuntime())
    assert type(caught.value) is kind
    assert (len(endpoint.asked), endpoint.sent) == (requests, [])
    assert str(caught.value).startswith(("ClientCredentials: the token endpoint", "The token"))


@pytest.mark.parametrize("fault", [said("oops", 500), ConnectionFailedError("reset"), said("", 429)])
def test_what_heals_is_asked_again(fault: Any) -> None:
    endpoint, runtime = Pretended(fault, fault, said(TOKEN)), VirtualRuntime()
    sign(endpoint, runtime)
    assert endpoint.tokens == ["t0ken"]
    assert len(endpoint.asked) == 3
    assert all(0 <= slept <= limit for slept, limit in zip(runtime.slept, (1.0, 2.0), strict=True))


def test_a_hint_is_waited_for() -> None:
    endpoint, runtime = Pretended(said("", 429, retry_after="30"), said(TOKEN)), VirtualRuntime()
    sign(endpoint, runtime)
    assert runtime.slept == [30]


def test_no_wait_passes_the_deadline() -> None:
    endpoint, runtime = Pretended(said("", 429, retry_after="30"), said(TOKEN)), VirtualRuntime()
    with pytest.raises(RateLimitError):
        sign(endpoint, runtime, timeout=20)
    assert runtime.slept == []


@pytest.mark.parametrize(("timeout", "expected"), [(None, 10), (60, 10), (4, 4)])
def test_its_own_time(timeout: float | None, expected: float) -> None:
    endpoint = Pretended(said(TOKEN))
    sign(endpoint, VirtualRuntime(), timeout=timeout)
    assert endpoint.asked[0].timeout == expected


def test_no_time_left() -> None:
    endpoint, runtime = Pretended(), VirtualRuntime()
    auth = TokenExchange(URL, lambda: runtime.advance(5) or "subject", client_id="app")
    with pytest.raises(LLMTimeoutError):
        sign(endpoint, runtime, auth, timeout=5)
    assert endpoint.asked == []


# Real connections that fail.


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_a_token_endpoint_that_hangs_has_its_own_timeout(
    server: OAuthServer, colour: str, transport: str
) -> None:
    never = threading.Event()
    server.script[:] = [Canned(after=lambda: never.wait(20))] * 3
    auth = ClientCredentials(server.token_url, "basic", SECRET, timeout=0.05)
    try:
        with LoopbackEndpoint("Hello.") as endpoint, pytest.raises(LLMTimeoutError, match=r"which is 0\.05 s for it"):
            llm = ChatLLM("m", endpoint.url, auth=auth, policies=(), transport=transport)
            assert await llm.acall("Hi") if colour == "acall" else llm.call("Hi")
    finally:
        never.set()


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
def test_nobody_listens(transport: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/token"
        with LoopbackEndpoint("Hello.") as endpoint, pytest.raises(ConnectionFailedError, match="Check token_url"):
            auth = ClientCredentials(url, "basic", SECRET)
            ChatLLM("m", endpoint.url, auth=auth, policies=(), transport=transport).call("Hi")
    assert endpoint.requests == []


class _Never(BaseHTTPRequestHandler):
    pass


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
def test_a_certificate_that_nobody_trusts(transport: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with HTTPServer(("127.0.0.1", 0), _Never) as tls, LoopbackEndpoint("Hello.") as endpoint:
        tls.handle_error = lambda *_: None  # type: ignore[method-assign]
        tls.socket = context.wrap_socket(tls.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=tls.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            auth = ClientCredentials(f"https://localhost:{tls.server_port}/token", "basic", SECRET)
            with pytest.raises(ConnectionFailedError, match="verify") as caught:
                ChatLLM("m", endpoint.url, auth=auth, transport=transport).call("Hi")
            assert not caught.value.retryable
        finally:
            tls.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
def test_credentials_follow_no_redirect(server: OAuthServer, status: int, transport: str) -> None:
    with LoopbackEndpoint("Hello.") as elsewhere, LoopbackEndpoint("Hello.") as endpoint:
        server.script[:] = [Canned(status=status, headers={"Location": f"{elsewhere.url}/chat/completions"})]
        with pytest.raises(AuthenticationError, match="a redirect, which is not followed"):
            auth = ClientCredentials(server.token_url, "basic", SECRET)
            ChatLLM("m", endpoint.url, auth=auth, transport=transport).call("Hi")
    assert (elsewhere.requests, endpoint.requests) == ([], [])


async def test_the_token_stays_at_the_endpoint(server: OAuthServer) -> None:
    """The client's secret never reaches the model's endpoint, nor the token the token endpoint."""
    with LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        await ChatLLM("m", endpoint.url, auth=ClientCredentials(server.token_url, "basic", SECRET)).acall("Hi")
    assert SECRET not in str([(request.headers.pairs(), request.body) for request in endpoint.requests])


# Reading what it says.


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=3))
def test_any_lifetime(value: Any) -> None:
    try:
        token = token_from("X", {"access_token": "t", "expires_in": value}, 1000.0)
    except AuthenticationError:
        return
    assert isinstance(token.expires_at, float)
    assert token.expires_at == token.expires_at


@given(
    st.dictionaries(st.sampled_from(["access_token", "expires_in", "refresh_token", "scope", "token_type"]), st.text())
)
def test_any_answer(answer: dict[str, Any]) -> None:
    try:
        token = token_from("X", answer, 1000.0)
    except AuthenticationError:
        return
    assert token.secret.reveal() == answer["access_token"].strip()


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(-(10**6), 10**6))
def test_a_fresh_jwt_is_good_for_as_long_as_it_was_made_for_at_most(issued: int, lasts: int, skew: int) -> None:
    now = EPOCH + issued + skew
    until = good_until(Secret(jwt(iat=EPOCH + issued, exp=EPOCH + issued + lasts)), now)
    assert now < until <= now + lasts


# No secret gets out.

CANARY = "canary0123456789canary"


def _echo(status: int) -> str:
    if status == 404:
        return f"what is {CANARY}?"
    return json.dumps({"error": "invalid_grant", "error_description": f"{CANARY} is wrong"})


def canaries(server: OAuthServer) -> list[Any]:
    url = server.token_url
    return [
        ClientCredentials(url, "basic", CANARY),
        ClientCredentials(url, "post", CANARY, client_auth="client_secret_post"),
        ClientCredentials(url, "secret-jwt", CANARY, client_auth="client_secret_jwt"),
        RefreshToken(url, "public", CANARY),
        TokenExchange(url, CANARY, actor_token=lambda: CANARY, client_id="basic", client_secret=CANARY),
        DeviceCode(server.device_url, url, "public", refresh_token=CANARY, client_secret=CANARY),
    ]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_no_secret_gets_out(server: OAuthServer, status: int, number: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.script[:] = [Canned(status=status, body=_echo(status))] * 3
    auth = canaries(server)[number]
    with LoopbackEndpoint("Hello.") as endpoint:
        retry = Retry(2, base_delay=0, throttled_base_delay=0)
        llm = ChatLLM("m", endpoint.url, auth=auth, timeout=5, policies=(Log(content=True), retry))
        with pytest.raises(LLMError) as caught:
            llm.call("Hi")
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    texts = [repr(auth), str(auth), repr(llm), repr(vars(llm)), repr(vars(auth)), "".join(shown.format()), caplog.text]
    texts += [repr(vars(copy.deepcopy(auth))), repr(caught.value.args), repr(vars(caught.value))]
    assert CANARY not in "\n".join(texts)
    with pytest.raises(TypeError):
        pickle.dumps(auth)
    assert CANARY.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize("number", range(6))
def test_no_secret_is_in_the_locals_of_an_error_of_the_token_alone(server: OAuthServer, number: int) -> None:
    """Without an LLM around it that clears up, as in the doctor."""
    server.script[:] = []
    answer = said(_echo(400), 400)

    async def send(request: HttpRequest) -> HttpResponse:
        return answer

    runtime = VirtualRuntime()
    with pytest.raises(AuthenticationError) as caught:
        runtime.run(canaries(server)[number].token(runtime, send, 5.0))
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert CANARY not in text


# Where the token to exchange comes from.


def exchanged(source: Any) -> str:
    endpoint = Pretended(said(TOKEN))
    sign(endpoint, VirtualRuntime(), TokenExchange(URL, source))
    (value,) = parse_qs(endpoint.asked[0].body.decode())["subject_token"]
    return value


def test_sources_of_a_token(tmp_path: Path) -> None:
    async def coroutine() -> str:
        return "from-a-coroutine"

    (tmp_path / "token").write_text("from-a-file\n")
    assert exchanged("text") == "text"
    assert exchanged(Secret("secret")) == "secret"
    assert exchanged(tmp_path / "token") == "from-a-file"
    assert exchanged(lambda: Secret("from-a-function")) == "from-a-function"
    assert exchanged(coroutine) == "from-a-coroutine"
    assert exchanged(lambda: coroutine()) == "from-a-coroutine"  # noqa: PLW0108  no coroutine function, that is


def failing(error: Exception) -> Any:
    def source() -> str:
        raise error

    return source


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        (
            Path("/no/such/file"),
            AuthenticationError,
            r"subject_token: /no/such/file cannot be read \(FileNotFoundError\)",
        ),
        (failing(KeyError("vault")), AuthenticationError, "The function for TokenExchange: subject_token failed"),
        (failing(TimeoutError("late")), LLMTimeoutError, "took too long"),
        (failing(ServerError("vault down")), ServerError, "vault down"),
        (lambda: "", AuthenticationError, "the credential is empty"),
        (lambda: 5, AuthenticationError, "of the type int"),
    ],
)
def test_sources_that_give_none(source: Any, kind: type[LLMError], words: str) -> None:
    with pytest.raises(kind, match=words):
        exchanged(source)


def test_methods_without_a_secret() -> None:
    for method in ("none", "tls_client_auth"):
        endpoint = Pretended(said(TOKEN))
        sign(endpoint, VirtualRuntime(), ClientCredentials(URL, "app", client_auth=method))
        assert parse_qs(endpoint.asked[0].body.decode()) == {
            "grant_type": ["client_credentials"],
            "client_id": ["app"],
        }
        assert "authorization" not in dict(endpoint.asked[0].headers)
