"""Sessions: log in once, keep the cookie, log in again when the session is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.message import Message
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import Request as CookieRequest

from oarlock.auth.credentials import header_name, seconds, secret_of
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.sources import SecretSource, Source, secret_source
from oarlock.auth.token_auth import TokenAuth
from oarlock.auth.token_endpoint import checked_url, origin
from oarlock.contract.auth import Flow, Send
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import Runtime

__all__ = ["SessionLogin"]

# Statuses with which servers say that a session has ended: 419 is Laravel's, 440 IIS's.
_GONE = frozenset({401, 419, 440})


class SessionLogin(TokenAuth):
    """Logs in with a request of its own, and sends the cookies it got with each call; logs in again when they no longer do.

    Cookies are kept and sent by the rules of RFC 6265: only to the host (and its domain, path and scheme) that set them.
    Those that later answers set are kept too.

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
            and 440, and a redirect to the login page.
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
        if encoding not in ("form", "json"):
            raise ConfigurationError(f'SessionLogin: encoding must be "form" or "json", not {encoding!r}.')
        if gone is not None and not callable(gone):
            raise ConfigurationError(f"SessionLogin: gone must be a function of a response, not {type(gone).__name__}.")
        self._fields: dict[str, Source] = {
            name: secret_source("SessionLogin", name, value) for name, value in fields.items()
        }
        self._encoding = encoding
        self._method = method.upper()
        self._headers = tuple((headers or {}).items())
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
        jar = CookieJar(DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain))
        _keep(jar, request, response)
        secret = self._token(response)
        if response.status >= 400 or (secret is None and not len(jar)):
            raise self._failed(response)
        expires = float("inf") if self._lifetime is None else runtime.time() + self._lifetime
        return Token(secret=secret or Secret(""), expires_at=expires, extras={"cookies": _Cookies(jar)})

    def _login(self, values: Mapping[str, str]) -> HttpRequest:
        as_json = self._encoding == "json"
        kind = "application/json" if as_json else "application/x-www-form-urlencoded"
        body = json.dumps(values) if as_json else urlencode(values)
        headers = (("content-type", kind), ("accept", "application/json, */*"), *self._headers)
        return HttpRequest(
            method=self._method, url=self._url, headers=headers, body=body.encode(), timeout=self._timeout
        )

    def _token(self, response: HttpResponse) -> Secret | None:
        if self._token_path is None or response.status >= 300:
            return None
        try:
            value: Any = json.loads(response.body)
            for step in self._token_path:
                value = value[step]
            return secret_of("SessionLogin: the token", value)
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        raise AuthenticationError(
            f"SessionLogin: the answer of {origin(self._url)} has no token at {'.'.join(self._token_path)!r}."
        )

    def _failed(self, response: HttpResponse) -> AuthenticationError:
        where = f"SessionLogin: the login at {origin(self._url)}{urlsplit(self._url).path}"
        if response.status < 400:
            return AuthenticationError(
                f"{where} answered HTTP {response.status} without a cookie: check fields and encoding."
            )
        said = scrub(response.body[:2000].decode("utf-8", "replace"), 200)
        return AuthenticationError(
            f"{where} was refused (HTTP {response.status}{f': {said}' if said else ''}): check fields.",
            status=response.status,
            retryable=response.status in (408, 429) or response.status >= 500,
        )

    def sign(self, request: HttpRequest, token: Token) -> HttpRequest:
        """Return the request with the session's cookies and token."""
        fields = []
        if cookie := _cookie_header(token.extras["cookies"].jar, request):
            fields.append(("cookie", cookie))
        if secret := token.secret.reveal():
            prefix = "Bearer " if self._token_header.lower() == "authorization" else ""
            fields.append((self._token_header, prefix + secret))
        return request.with_headers(*fields)

    def refuses(self, response: HttpResponse) -> bool:
        """Return whether the session is gone."""
        if self._gone is not None:
            return bool(self._gone(response))
        if response.status in (302, 303, 307):
            return urlsplit(response.headers.get("location", "")).path == urlsplit(self._url).path
        return response.status in _GONE

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request, and keep the cookies of its answer."""
        flow = super().flow(request)
        answer: Any = None
        try:
            while True:
                item = flow.send(answer)
                answer = yield item
                token = self._renewal.token
                if isinstance(item, HttpRequest) and token is not None:
                    _keep(token.extras["cookies"].jar, item, answer)
        except StopIteration:
            return
        finally:
            flow.close()

    def __repr__(self) -> str:
        return f"SessionLogin({origin(self._url)!r})"


class _Cookies:
    """A cookie jar that does not show what is in it."""

    def __init__(self, jar: CookieJar) -> None:
        self.jar = jar

    def __repr__(self) -> str:
        return f"<{len(self.jar)} cookies>"


class _Answer:
    """A response as `CookieJar` wants it."""

    def __init__(self, response: HttpResponse) -> None:
        self._message = Message()
        for value in response.headers.get_all("set-cookie"):
            self._message["Set-Cookie"] = value

    def info(self) -> Message:
        return self._message


def _keep(jar: CookieJar, request: HttpRequest, response: HttpResponse) -> None:
    if "set-cookie" in response.headers:
        jar.extract_cookies(_Answer(response), CookieRequest(request.url))  # type: ignore[arg-type]  # noqa: S310


def _cookie_header(jar: CookieJar, request: HttpRequest) -> str | None:
    carrier = CookieRequest(request.url)  # noqa: S310  nothing is opened
    jar.add_cookie_header(carrier)
    return carrier.get_header("Cookie")
