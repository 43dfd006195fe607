"""Sessions: log in once, keep the cookie, log in again when the session is gone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from oarlock.auth.cookies import Cookies
from oarlock.auth.credentials import header_name, seconds, secret_of
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.sources import SecretSource, Source, secret_source
from oarlock.auth.token_auth import TokenAuth
from oarlock.auth.token_endpoint import checked_url, origin
from oarlock.contract.auth import Do, Flow, Send
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import Runtime

__all__ = ["SessionLogin"]

# Statuses with which servers say that a session has ended: 419 is Laravel's, 440 IIS's.
_GONE: Final = frozenset({401, 419, 440})
_SHORTEST: Final = 4  # characters of a field's value that is taken out of messages
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOTHING: Final = HttpResponse(status=401)  # stands for the answer to a request for which the session has nothing


class SessionLogin(TokenAuth):
    """Logs in with a request of its own, and sends the cookies it got with each call; logs in again when they no longer do.

    Cookies are kept and sent by the rules of RFC 6265 (only to the host that set them, or their domain, path and scheme),
    and, more strictly, only to the port of the login. Those that later answers set are kept too; when all have expired it
    logs in again. A redirect after the login is not followed; the cookies that came with it count.

    Args:
        login_url: where to log in, `https://...`.
        fields: of the form or JSON: names and values; a secret one may be a text, a `Secret`, the `Path` of a file or a
            function, blocking or `async def`, as in `{"user": "me", "password": read_password}`.
        encoding: `"form"` (default) or `"json"`.
        method: of the login request.
        headers: further headers of the login request.
        token: where the answer's JSON has a token that is to be sent as well, as a path such as `"session.token"`.
        token_header: the header that carries it; as `Authorization` it is sent as a bearer token.
        lifetime: seconds after which to log in again in any case; default: when the session is gone.
        gone: a function that is given a response and says whether the session has ended; default: the statuses 401, 419
            and 440, and a redirect to the login, that is to the path of `login_url` or one with "login" or "signin" in it.
        margin: seconds before the end of `lifetime` from which on it logs in again.
        timeout: seconds for the login request.
        allow_http: allow a login over plain HTTP off this machine.

    Raises:
        ConfigurationError: a setting that cannot work.
        AuthenticationError: from a call, when the login fails or gives neither a cookie nor a token.

    Example:
        >>> SessionLogin("https://llm.example.com/login", {"user": "me", "password": "s3cret"})
        SessionLogin('https://llm.example.com')
    """

    def __init__(
        self,
        login_url: str,
        fields: Mapping[str, SecretSource],
        *,
        encoding: str = "form",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        token_header: str = "Authorization",  # noqa: S107  a name
        lifetime: float | None = None,
        gone: Callable[[HttpResponse], bool] | None = None,
        margin: float = MARGIN,
        timeout: float = 10.0,
        allow_http: bool = False,
    ) -> None:
        super().__init__(margin=margin)
        self._url = checked_url("SessionLogin", "login_url", login_url, allow_http=allow_http)
        if not isinstance(fields, Mapping) or not all(isinstance(name, str) and name for name in fields):
            raise ConfigurationError("SessionLogin: fields must be a mapping of names to values.")
        if not isinstance(method, str) or not method.isalpha():
            raise ConfigurationError(f"SessionLogin: method must be an HTTP method such as 'POST', not {method!r}.")
        if token is not None and (not isinstance(token, str) or not all(token.split("."))):
            raise ConfigurationError(f"SessionLogin: token must be a path such as 'session.token', not {token!r}.")
        if encoding not in ("form", "json"):
            raise ConfigurationError(f'SessionLogin: encoding must be "form" or "json", not {encoding!r}.')
        if gone is not None and not callable(gone):
            raise ConfigurationError(f"SessionLogin: gone must be a function of a response, not {type(gone).__name__}.")
        self._fields: dict[str, Source] = {
            name: secret_source("SessionLogin", name, value, in_header=False) for name, value in fields.items()
        }
        self._encoding = encoding
        self._method = method.upper()
        self._headers = {
            header_name("SessionLogin", name): secret_of(f"SessionLogin: {name}", value)
            for name, value in (headers or {}).items()
        }
        self._token_path = token.split(".") if token else None
        self._token_header = header_name("SessionLogin", token_header)
        self._lifetime = None if lifetime is None else seconds("SessionLogin", "lifetime", lifetime)
        self._gone = gone
        self._timeout = seconds("SessionLogin", "timeout", timeout)

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Log in."""
        values = {name: (await source.get(runtime, deadline)).reveal() for name, source in self._fields.items()}
        request = self._login(values)
        response = await send(request)
        now = runtime.time()
        cookies = Cookies(self._url)
        cookies.keep(request, response, now)
        secret = self._token(response)
        if response.status >= 400 or (secret is None and not cookies):
            raise self._failed(response, values)
        expires = math.inf if self._lifetime is None else now + self._lifetime
        return Token(secret=secret or Secret(""), expires_at=expires, extras={"cookies": cookies})

    def _login(self, values: Mapping[str, str]) -> HttpRequest:
        as_json = self._encoding == "json"
        kind = "application/json" if as_json else "application/x-www-form-urlencoded"
        body = json.dumps(values) if as_json else urlencode(values)
        request = HttpRequest(
            method=self._method,
            url=self._url,
            headers=(("content-type", kind), ("accept", "application/json, */*")),
            body=body.encode(),
            timeout=self._timeout,
        )
        return request.with_headers(*((name, value.reveal()) for name, value in self._headers.items()))

    def _token(self, response: HttpResponse) -> Secret | None:
        if self._token_path is None or response.status >= 300:
            return None
        try:
            value: Any = json.loads(response.body)
            for step in self._token_path:
                value = value[int(step)] if isinstance(value, list) else value[step]
            return secret_of("SessionLogin: the token", value)
        except (ValueError, TypeError, LookupError, RecursionError):
            pass
        raise AuthenticationError(
            f"SessionLogin: the answer of {origin(self._url)} has no token at {'.'.join(self._token_path)!r}."
        )

    def _failed(self, response: HttpResponse, values: Mapping[str, str]) -> AuthenticationError:
        where = f"SessionLogin: the login at {origin(self._url)}{urlsplit(self._url).path}"
        if response.status < 400:
            return AuthenticationError(
                f"{where} answered HTTP {response.status} without a cookie: check login_url, fields and encoding, "
                "or say with token where the answer has a token."
            )
        said = response.body[:20_000].decode("utf-8", "replace")
        for value in values.values():
            said = said.replace(value, "…") if len(value) >= _SHORTEST else said
        said = scrub(said, 200).rstrip(".")
        return AuthenticationError(
            f"{where} was refused (HTTP {response.status}{f': {said}' if said else ''}): check login_url and fields.",
            status=response.status,
            retryable=response.status in (408, 429) or response.status >= 500,
        )

    def sign(self, request: HttpRequest, token: Token) -> HttpRequest:
        """Return the request with the session's cookies and token; the request itself if there is nothing for it."""
        fields = []
        if cookie := token.extras["cookies"].header(request.url):
            fields.append(("cookie", cookie))
        if secret := token.secret.reveal():
            prefix = "Bearer " if self._token_header.lower() == "authorization" else ""
            fields.append((self._token_header, prefix + secret))
        return request.with_headers(*fields) if fields else request

    def refuses(self, response: HttpResponse) -> bool:
        """Return whether the session is gone."""
        if response is _NOTHING:
            return True
        if self._gone is not None:
            return _asked(self._gone, response)
        if response.status in _REDIRECTS:
            path = urlsplit(response.headers.get("location", "")).path
            return path == urlsplit(self._url).path or any(word in path.lower() for word in ("login", "signin"))
        return response.status in _GONE

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request, and keep the cookies of its answer; once more with a new session if this one is gone."""
        renewal = self.renewal()
        token: Token = (yield renewal.held) or (yield self.renewed(renewal, request))
        response = yield from self._answer(request, token)
        if self.refuses(response):
            newer: Token | None = yield self.replaced(renewal, request, token)
            if newer is not None:
                response = yield from self._answer(request, newer)
        if response is _NOTHING:
            raise AuthenticationError(
                f"SessionLogin: the session at {origin(self._url)} has no cookie for {origin(request.url)}: cookies go only "
                "to the host (or its domain), path, scheme and port of the login that they were set for."
            )

    def _answer(self, request: HttpRequest, token: Token) -> Generator[HttpRequest | Do, Any, HttpResponse]:
        """Send the request with the session's cookies, and keep those of its answer."""
        cookies: Cookies = token.extras["cookies"]
        if cookies.expire:
            cookies.drop_expired((yield _TIME))
        signed = self.sign(request, token)
        if signed is request:
            return _NOTHING
        response: HttpResponse = yield signed
        if "set-cookie" in response.headers:
            cookies.keep(signed, response, (yield _TIME))
        return response

    def __repr__(self) -> str:
        return f"SessionLogin({origin(self._url)!r})"


async def _time(runtime: Runtime, _send: Send) -> float:
    return runtime.time()


_TIME: Final = Do(_time)


def _asked(gone: Callable[[HttpResponse], bool], response: HttpResponse) -> bool:
    try:
        return bool(gone(response))
    except Exception as error:  # noqa: BLE001  the boundary to the user's function
        problem = str(classify(error, "The function gone of SessionLogin"))
    raise AuthenticationError(problem)
