"""Sessions: real logins on loopback, the rules of cookies, sessions that end."""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from auth_helpers import header
from small_server import Give, Got, SmallServer, hello

from oarlock import ChatLLM
from oarlock.auth import SessionLogin
from oarlock.contract.auth import authorize
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError, ServerError
from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.testing import VirtualRuntime

CANARY = "Zq7canary4vX9Lm20"
COLOURS = pytest.mark.parametrize("colour", ["call", "acall", "stream"])
TRANSPORTS = pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])


class Gateway:
    """Lets in whoever has a session; sessions are numbered, and `good` says which are alive."""

    def __init__(self, *, gone: Give | None = None) -> None:
        self.logins: list[Got] = []
        self.good: set[str] = set()
        self.gone = gone or Give(status=401)
        self._number = itertools.count(1)

    def __call__(self, got: Got) -> Give:
        if got.path == "/login":
            self.logins.append(got)
            sid = f"s{next(self._number)}"
            self.good = {sid}
            return Give(status=303, headers=[("Set-Cookie", f"sid={sid}; Path=/; HttpOnly"), ("Location", "/")])
        sid = got.headers.get("cookie", "").removeprefix("sid=")
        return hello() if sid in self.good else self.gone


@contextmanager
def signed_in(gateway: Any, **settings: Any) -> Iterator[tuple[SmallServer, ChatLLM]]:
    transport = settings.pop("transport", None)
    with SmallServer(gateway) as server:
        fields = settings.pop("fields", {"user": "me", "password": CANARY})
        auth = SessionLogin(f"{server.url}/login", fields, **settings)
        yield server, ChatLLM("m", f"{server.url}/v1", auth=auth, timeout=30, transport=transport, policies=())


async def ask(llm: ChatLLM, colour: str) -> str:
    if colour == "stream":
        return "".join(str(delta) for delta in llm.stream("Hi"))
    return str(llm.call("Hi") if colour == "call" else await llm.acall("Hi"))


@TRANSPORTS
@COLOURS
async def test_it_logs_in_once_and_again_when_the_session_is_gone(transport: str, colour: str) -> None:
    gateway = Gateway()
    with signed_in(gateway, transport=transport) as (server, llm):
        for _ in range(3):
            assert await ask(llm, colour) == "Hello."
        assert server.paths() == ["/login"] + 3 * ["/v1/chat/completions"]
        assert gateway.logins[0].form == {"user": "me", "password": CANARY}
        gateway.good.clear()
        assert await ask(llm, colour) == "Hello."
        assert server.paths()[4:] == ["/v1/chat/completions", "/login", "/v1/chat/completions"]


@pytest.mark.parametrize(
    "gone",
    [
        *(Give(status=status) for status in (401, 419, 440)),
        *(Give(status=status, headers=[("Location", "/login")]) for status in (301, 302, 303, 307, 308)),
        Give(status=302, headers=[("Location", "https://sso.example.com/Login?next=/v1")]),
        Give(status=302, headers=[("Location", "/users/signin")]),
    ],
    ids=lambda gone: f"{gone.status} {dict(gone.headers).get('Location', '')}",
)
def test_how_servers_say_that_a_session_is_gone(gone: Give) -> None:
    gateway = Gateway(gone=gone)
    with signed_in(gateway) as (_, llm):
        llm.call("Hi")
        gateway.good.clear()
        assert llm.call("Hi") == "Hello."
    assert len(gateway.logins) == 2


@pytest.mark.parametrize("answer", [Give(status=403), Give(status=302, headers=[("Location", "/elsewhere")])])
def test_other_refusals_are_no_reason_to_log_in(answer: Give) -> None:
    gateway = Gateway(gone=answer)
    with signed_in(gateway) as (_server, llm):
        llm.call("Hi")
        gateway.good.clear()
        with pytest.raises(LLMError):
            llm.call("Hi")
    assert len(gateway.logins) == 1


def test_ones_own_sign_of_a_session_that_is_gone() -> None:
    gateway = Gateway(gone=Give(status=418, body="who are you?"))
    with signed_in(gateway, gone=lambda response: b"who are you" in response.body) as (_, llm):
        llm.call("Hi")
        gateway.good.clear()
        assert llm.call("Hi") == "Hello."


def test_ones_own_sign_that_fails() -> None:
    with (
        signed_in(Gateway(), gone=lambda response: {}["nothing"]) as (_, llm),
        pytest.raises(AuthenticationError, match=r"The function gone of SessionLogin failed: .*KeyError"),
    ):
        llm.call("Hi")


def test_a_server_that_refuses_every_session_gets_one_more_login_only() -> None:
    gateway = Gateway()
    with SmallServer(lambda got: gateway(got) if got.path == "/login" else Give(status=401)) as server:
        llm = ChatLLM("m", server.url, auth=SessionLogin(f"{server.url}/login", {"p": CANARY}), policies=())
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            llm.call("Hi")
        assert server.paths() == ["/login", "/chat/completions", "/login", "/chat/completions"]


def test_json_with_a_token_in_the_answer() -> None:
    def answer(got: Got) -> Give:
        if got.path == "/login":
            assert (got.method, got.json, got.headers["x-app"]) == ("PUT", {"user": "mé", "password": "pä ß"}, "7")
            return Give(body={"session": {"tokens": ["no", "t0ken"]}})
        return hello(f"{got.headers.get('authorization')} {got.headers.get('x-session')} {got.headers.get('cookie')}")

    fields = {"user": "mé", "password": "pä ß"}
    settings: Any = {"fields": fields, "encoding": "json", "method": "put", "headers": {"x-app": "7"}}
    with signed_in(answer, token="session.tokens.1", **settings) as (_, llm):
        assert llm.call("Hi") == "Bearer t0ken None None"
    with signed_in(answer, token="session.tokens.1", token_header="X-Session", **settings) as (_, llm):
        assert llm.call("Hi") == "None t0ken None"


def test_a_token_that_is_not_where_it_should_be() -> None:
    for path in ("session.token", "session.tokens.x", "session.tokens.9", "session"):
        with (
            signed_in(lambda got: Give(body={"session": {"tokens": ["t"]}}), token=path) as (_, llm),
            pytest.raises(AuthenticationError, match=rf"has no token at '{path}'"),
        ):
            llm.call("Hi")


def test_secrets_are_read_when_they_are_needed(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" pass wörd \n")
    gateway = Gateway()

    async def pin() -> str:
        return "1234"

    fields = {"password": tmp_path / "password", "pin": pin, "realm": lambda: "r", "code": Secret("c&=")}
    with signed_in(gateway, fields=fields) as (_, llm):
        llm.call("Hi")
    assert gateway.logins[0].form == {"password": " pass wörd ", "pin": "1234", "realm": "r", "code": "c&="}


def test_a_secret_that_cannot_be_read(tmp_path: Path) -> None:
    with (
        signed_in(Gateway(), fields={"password": tmp_path / "none"}) as (_, llm),
        pytest.raises(AuthenticationError, match=r"SessionLogin: password: .*none cannot be read"),
    ):
        llm.call("Hi")


@pytest.mark.parametrize(
    ("answer", "words", "kind"),
    [
        (Give(status=403, body=f"No {CANARY}, me"), r"/login was refused \(HTTP 403: No …, me\)", AuthenticationError),
        (
            Give(status=200, body="Wrong password"),
            "answered HTTP 200 without a cookie: check login_url",
            AuthenticationError,
        ),
        (
            Give(status=302, headers=[("Set-Cookie", "nothing")]),
            "answered HTTP 302 without a cookie",
            AuthenticationError,
        ),
        (Give(status=503), r"was refused \(HTTP 503\)", AuthenticationError),
        (Give(status=401, headers=[("Set-Cookie", "sid=x")]), r"\(HTTP 401\)", AuthenticationError),
    ],
)
@pytest.mark.parametrize("encoding", ["form", "json"])
def test_a_login_that_fails(answer: Give, words: str, kind: type[LLMError], encoding: str) -> None:
    with (
        signed_in(lambda got: answer, encoding=encoding) as (server, llm),
        pytest.raises(kind, match=words) as caught,
    ):
        llm.call("Hi")
    assert CANARY not in str(caught.value)
    assert len(server.got) == 1
    assert caught.value.retryable is (answer.status == 503)
    assert ServerError


def test_fifty_threads_log_in_once() -> None:
    gateway = Gateway()
    with signed_in(gateway) as (_, llm):
        for logins in (1, 2):
            with ThreadPoolExecutor(50) as pool:
                assert set(pool.map(llm.call, ["Hi"] * 50)) == {"Hello."}
            assert len(gateway.logins) == logins
            gateway.good.clear()


async def test_two_hundred_tasks_log_in_once() -> None:
    gateway = Gateway()
    with signed_in(gateway) as (_, llm):
        assert set(await asyncio.gather(*(llm.acall("Hi") for _ in range(200)))) == {"Hello."}
    assert len(gateway.logins) == 1


# The rules of cookies, on a virtual clock.


class Site:
    """Answers requests to any URL: a login sets these cookies; calls answer with the next of `later`."""

    def __init__(self, *cookies: str, later: list[tuple[int, list[str]]] | None = None) -> None:
        self.cookies = cookies
        self.later = later or []
        self.sent: list[HttpRequest] = []
        self.logins = 0

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.url.endswith("/login"):
            self.logins += 1
            return self._answer(200, [one.replace("#", str(self.logins)) for one in self.cookies])
        self.sent.append(request)
        return self._answer(*(self.later.pop(0) if self.later else (200, [])))

    @staticmethod
    def _answer(status: int, cookies: list[str]) -> HttpResponse:
        return HttpResponse(status=status, headers=Headers([("set-cookie", one) for one in cookies]))


def call(
    auth: SessionLogin, site: Site, url: str = "https://llm.example.com/v1/chat", runtime: Any = None
) -> str | None:
    runtime = runtime or VirtualRuntime()
    runtime.run(authorize(runtime, auth, HttpRequest(method="POST", url=url), site))
    return header(site.sent[-1], "cookie")


def session(url: str = "https://llm.example.com/auth/login", **settings: Any) -> SessionLogin:
    return SessionLogin(url, {"password": "p"}, **settings)


SENT = [
    ("sid=1", "https://llm.example.com/auth/x", "sid=1"),
    ("sid=1; Path=/", "https://llm.example.com/v1", "sid=1"),
    ("sid=1; path=/v1", "https://llm.example.com/v1", "sid=1"),
    ("sid=1; Path=/v1/", "https://llm.example.com/v1/chat", "sid=1"),
    ("sid=1; Path=/; Domain=example.com", "https://llm.example.com/v1", "sid=1"),
    ("sid=1; Path=/; Domain=.EXAMPLE.com", "https://api.example.com/v1", "sid=1"),
    ("sid=1; Path=/; Secure; HttpOnly; SameSite=Lax", "https://LLM.example.com:443/v1", "sid=1"),
    ("sid=1=2==; Path=/", "https://llm.example.com/", "sid=1=2=="),
    ('sid="a b"; Path=/', "https://llm.example.com", 'sid="a b"'),
    ("sid=1; Path=/; Max-Age=5; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://llm.example.com/", "sid=1"),
    ("sid=1; Path=/; Expires=Sun, 06-Nov-2039 08:49:37 GMT", "https://llm.example.com/", "sid=1"),
    ("sid=1; Path=/; Expires=whenever; Max-Age=x", "https://llm.example.com/", "sid=1"),
    ("sid=1; Path=/; Expires=Sun, 99 Nov 2039 99:49:37 GMT", "https://llm.example.com/", "sid=1"),
    ("sid=1; Path=/; Expires=Sun, 06 Nov 99999999999 08:49:37 GMT", "https://llm.example.com/", "sid=1"),
    ("sid=; Path=/", "https://llm.example.com/", "sid="),
]
NOT_SENT = [
    ("sid=1", "https://llm.example.com/v1"),  # the login's folder is /auth
    ("sid=1; Path=/v1", "https://llm.example.com/v10"),
    ("sid=1; Path=/", "https://evil.example.com/v1"),
    ("sid=1; Path=/", "https://example.com/v1"),
    ("sid=1; Path=/", "https://llm.example.com.evil.com/v1"),
    ("sid=1; Path=/; Domain=example.com", "https://badexample.com/v1"),
    ("sid=1; Path=/; Domain=example.com", "https://llm.example.com:8443/v1"),  # stricter than RFC 6265
    ("sid=1; Path=/", "https://llm.example.com:8443/v1"),
    ("sid=1; Path=/", "http://llm.example.com/v1"),
    ("sid=1; Path=/", "http://llm.example.com:443/v1"),
]
IGNORED = [
    "sid=1; Path=/; Domain=other.com",
    "sid=1; Path=/; Domain=com",
    "sid=1; Path=/; Domain=api.llm.example.com",
    "sid=1; Path=/; Max-Age=0",
    "sid=1; Path=/; Max-Age=-1",
    "sid=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "sid",
    "=1; Path=/",
    "",
    "sid=ö; Path=/",
    f"sid={'x' * 4096}; Path=/",
]


@pytest.mark.parametrize(("cookie", "url", "sent"), SENT)
def test_where_cookies_go(cookie: str, url: str, sent: str) -> None:
    assert call(session(), Site(cookie), url) == sent


@pytest.mark.parametrize(("cookie", "url"), NOT_SENT)
def test_where_cookies_do_not_go(cookie: str, url: str) -> None:
    """The call is not sent at all, as it would be refused; and it says why."""
    site = Site(cookie)
    with pytest.raises(AuthenticationError, match=r"has no cookie for .*cookies go only to the host"):
        call(session(), site, url)
    assert site.sent == []


@pytest.mark.parametrize("cookie", IGNORED)
def test_cookies_that_are_not_taken(cookie: str) -> None:
    with pytest.raises(AuthenticationError, match="without a cookie"):
        call(session(), Site(cookie))


def test_an_address_has_no_domain() -> None:
    auth = session("https://10.0.0.1/login")
    with pytest.raises(AuthenticationError, match="without a cookie"):
        call(auth, Site("sid=1; Domain=0.0.1"), "https://10.0.0.1/v1")
    assert call(session("https://[::1]/login"), Site("sid=1"), "https://[::1]/v1") == "sid=1"


def test_a_secure_cookie_stays_off_plain_http() -> None:
    with pytest.raises(AuthenticationError, match="has no cookie"):
        call(session("http://127.0.0.1:8/login"), Site("sid=1; Secure"), "http://127.0.0.1:8/v1")


def test_a_call_soon_after_one_without_a_cookie_is_told_the_same() -> None:
    auth, runtime = session(), VirtualRuntime()
    site = Site("sid=1; Path=/elsewhere")
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="has no cookie"):
            call(auth, site, runtime=runtime)
    assert site.logins == 2


def test_the_cookies_of_another_path_are_those_of_that_path() -> None:
    auth, runtime = session(), VirtualRuntime()
    site = Site("a=1; Path=/", "b=2; Path=/v1")
    urls = ["https://llm.example.com/v1/chat", "https://llm.example.com/v2/chat", "https://llm.example.com/v1/chat"]
    assert [call(auth, site, url, runtime=runtime) for url in urls] == ["b=2; a=1", "a=1", "b=2; a=1"]


def test_several_cookies_the_longest_path_first() -> None:
    site = Site("a=1; Path=/", "b=2; Path=/v1", "c=3; Path=/", "a=4; Path=/")
    assert call(session(), site) == "b=2; a=4; c=3"


def test_at_most_a_hundred_cookies_are_kept() -> None:
    site = Site(*(f"c{number}=1; Path=/" for number in range(250)))
    sent = (call(session(), site) or "").split("; ")
    assert (len(sent), sent[-1]) == (100, "c249=1")


def test_rolling_cookies_and_those_that_are_taken_back() -> None:
    auth, runtime = session(), VirtualRuntime()
    site = Site(
        "sid=1; Path=/", "extra=1; Path=/", later=[(200, ["sid=2; Path=/"]), (200, ["extra=; Path=/; Max-Age=0"])]
    )
    assert [call(auth, site, runtime=runtime) for _ in range(3)] == ["sid=1; extra=1", "sid=2; extra=1", "sid=2"]
    assert site.logins == 1


def test_an_answer_to_the_old_session_does_not_touch_the_new_one() -> None:
    """A server that refuses a session takes its cookie back with the same answer."""
    auth, runtime = session(), VirtualRuntime()
    site = Site("sid=#; Path=/", later=[(401, ["sid=; Path=/; Max-Age=0"])])
    assert call(auth, site, runtime=runtime) == "sid=2"
    assert call(auth, site, runtime=runtime) == "sid=2"


def test_it_logs_in_again_when_the_cookies_have_expired() -> None:
    auth, runtime = session(), VirtualRuntime()
    site = Site("sid=#; Path=/; Max-Age=60")
    assert call(auth, site, runtime=runtime) == "sid=1"
    runtime.advance(59)
    assert call(auth, site, runtime=runtime) == "sid=1"
    runtime.advance(1)
    assert call(auth, site, runtime=runtime) == "sid=2"
    assert len(site.sent) == 3  # what had no cookie was not sent


def test_a_lifetime_ends_it_in_any_case() -> None:
    auth, runtime = session(lifetime=600, margin=0), VirtualRuntime()
    site = Site("sid=#; Path=/")
    sent = []
    for _ in range(4):
        sent.append(call(auth, site, runtime=runtime))
        runtime.advance(200)
    assert sent == ["sid=1", "sid=1", "sid=1", "sid=2"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"login_url": "llm.example.com"}, "login_url must be a URL"),
        ({"login_url": "http://llm.example.com/login"}, "login_url is http://"),
        ({"login_url": "https://me:pw@llm.example.com"}, "holds a user name or password"),
        ({"fields": None}, "fields must be a mapping"),
        ({"fields": {5: "x"}}, "fields must be a mapping"),
        ({"fields": {"password": ""}}, "password: the credential is empty"),
        ({"fields": {"password": 5}}, "password must be a text, a Path or a function"),
        ({"encoding": "xml"}, 'encoding must be "form" or "json"'),
        ({"method": "PO ST"}, "method must be an HTTP method"),
        ({"headers": {"x y": "z"}}, "is no valid name of a header"),
        ({"headers": {"x": "a\r\nb"}}, "cannot carry"),
        ({"token": ""}, "token must be a path"),
        ({"token": "a..b"}, "token must be a path"),
        ({"token_header": "x:"}, "is no valid name of a header"),
        ({"lifetime": -1}, "lifetime must be"),
        ({"gone": 401}, "gone must be a function"),
        ({"margin": "x"}, "margin must be"),
        ({"timeout": None}, "timeout must be"),
    ],
)
def test_bad_settings(settings: Any, words: str) -> None:
    good = {"login_url": "https://llm.example.com/login", "fields": {"user": "me", "password": "p"}}
    with pytest.raises(ConfigurationError, match=words) as caught:
        SessionLogin(**{**good, **settings})
    assert "pw" not in str(caught.value)


def test_it_shows_nothing() -> None:
    auth = SessionLogin("https://llm.example.com/login", {"password": CANARY}, headers={"x-app": CANARY})
    call(auth, Site(f"sid={CANARY}; Path=/"))
    token = auth._renewal.token
    assert repr(auth) == "SessionLogin('https://llm.example.com')"
    assert token is not None
    assert repr(token.extras["cookies"]) == "<1 cookies>"
    assert CANARY not in f"{vars(auth)!r} {token!r} {vars(token.extras['cookies'])!r} {json.dumps(str(token.extras))}"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(auth)
