"""Asking an OAuth 2 token endpoint (RFC 6749, 3.2), and what its refusals mean."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from oarlock.auth.bearer import jwt_expiry, lifetime
from oarlock.auth.client_authentication import ClientAuthentication
from oarlock.auth.credentials import seconds, secret_of
from oarlock.auth.renewal import Token
from oarlock.contract.auth import Send
from oarlock.contract.classify import error_for_status
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import Runtime

__all__ = ["TokenEndpoint", "checked_url"]

_ATTEMPTS = 3
_BACKOFF = 0.5  # seconds, doubled for each attempt, with full jitter as in `Retry`
_SAYS = {  # RFC 6749, 5.2; RFC 8628, 3.5; RFC 8707, 2
    "invalid_client": "check client_id and client_secret (or the key), and whether the server wants client_auth={other!r}",
    "invalid_grant": "the {grant} was not accepted: it may be wrong, expired, revoked or used up",
    "invalid_scope": "check scope",
    "invalid_target": "check resource and audience",
    "unauthorized_client": "this client may not use the grant {grant_type!r}: allow it where the client is registered",
    "unsupported_grant_type": "the server does not know the grant {grant_type!r}: check token_url",
    "invalid_request": "the server misses a setting or dislikes one: check scope, audience, resource and extra",
    "access_denied": "the user or an administrator declined",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpoint:
    """A token endpoint, and how its client proves itself there.

    Attributes:
        owner: the sign-in's name, for messages.
        url: `https://...`; `http://` only for loopback, unless `allow_http`.
        client: the client's id and proof; `None` for grants without a client.
        timeout: seconds for one request to it, apart from the model's.
        allow_http: whether tokens may travel in the clear.
    """

    owner: str
    url: str
    client: ClientAuthentication | None = None
    timeout: float = 10.0
    allow_http: bool = False

    def __post_init__(self) -> None:
        checked_url(self.owner, "token_url", self.url, allow_http=self.allow_http)
        seconds(self.owner, "timeout", self.timeout)

    async def token(
        self, runtime: Runtime, send: Send, deadline: float | None, form: Mapping[str, str], grant: str = "grant"
    ) -> Token:
        """Return the token that a grant gives; `grant` names in words what may be refused.

        Raises:
            AuthenticationError: the grant was refused, or the answer is no token.
            LLMError: the endpoint could not be reached or failed, three times.
        """
        answer = await self.ask(runtime, send, deadline, form, grant)
        return token_from(self.owner, answer, runtime.time())

    async def ask(
        self, runtime: Runtime, send: Send, deadline: float | None, form: Mapping[str, str], grant: str = "grant"
    ) -> dict[str, Any]:
        """Send a form, again if what went wrong may heal, and return the JSON object of the answer."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = await send(self._request(runtime, form))
                return self._read(runtime, response, form, grant)
            except LLMError as error:
                delay = max(runtime.random() * _BACKOFF * 2**attempt, error.retry_after or 0.0)
                too_late = deadline is not None and runtime.now() + delay >= deadline
                if attempt == _ATTEMPTS or not error.retryable or too_late:
                    raise
            await runtime.sleep(delay)
        raise AssertionError("unreachable")

    def _request(self, runtime: Runtime, form: Mapping[str, str]) -> HttpRequest:
        proof = ((), {}) if self.client is None else self.client.prove(runtime, self.url)
        headers, fields = proof
        return HttpRequest(
            method="POST",
            url=self.url,
            headers=(
                ("content-type", "application/x-www-form-urlencoded"),
                ("accept", "application/json"),
                *headers,
            ),
            body=urlencode({**form, **fields}).encode(),
            timeout=self.timeout,
        )

    def _read(self, runtime: Runtime, response: HttpResponse, form: Mapping[str, str], grant: str) -> dict[str, Any]:
        try:
            answer = json.loads(response.body)
        except (ValueError, RecursionError):
            answer = None
        error = answer.get("error") if isinstance(answer, dict) else None
        if response.status == 200 and isinstance(answer, dict) and not error:
            return answer
        if isinstance(error, str) and 200 <= response.status < 500 and response.status != 429:
            raise self._refused(error, answer, form, grant, response.status)
        where = f"{self.owner}: the token endpoint {origin(self.url)}{urlsplit(self.url).path}"
        if response.status >= 500 or response.status in (408, 429):
            raise error_for_status(
                response.status,
                f"{where} answered HTTP {response.status}: {scrub(response.body[:2000].decode('utf-8', 'replace')) or 'nothing'}",
                headers=response.headers,
                wall_time=runtime.time(),
            )
        raise AuthenticationError(
            f"{where} answered HTTP {response.status} without a token ({_kind(response)}): check token_url.",
            status=response.status,
        )

    def _refused(
        self, code: str, answer: Mapping[str, Any], form: Mapping[str, str], grant: str, status: int
    ) -> AuthenticationError:
        advice = _SAYS.get(code, "see the server's documentation")
        said = answer.get("error_description")
        words = f": {scrub(said).rstrip('.')}" if isinstance(said, str) and said else ""
        facts = {
            "grant": grant,
            "grant_type": form.get("grant_type", ""),
            "other": "client_secret_post" if self.client is None else self.client.alternative,
        }
        return AuthenticationError(
            f"{self.owner}: the token endpoint {origin(self.url)} refused ({scrub(code, 60)}{words}); {advice.format(**facts)}.",
            code=scrub(code, 60),
            status=status,
        )


def token_from(owner: str, answer: Mapping[str, Any], now: float) -> Token:
    """Return the token in a token endpoint's answer (RFC 6749, 5.1)."""
    try:
        secret = secret_of(f"{owner}: access_token", answer.get("access_token"))  # type: ignore[arg-type]
        lasts = answer.get("expires_in")
        expiry = jwt_expiry(secret.reveal()) if lasts is None else now + lifetime(owner, lasts)
    except ConfigurationError as error:
        raise AuthenticationError(f"The token endpoint's answer is no token: {error}") from None
    refresh = answer.get("refresh_token")
    extras = {"refresh_token": Secret(refresh)} if isinstance(refresh, str) and refresh else {}
    if isinstance(scope := answer.get("scope"), str):
        extras["scope"] = scope  # type: ignore[assignment]
    return Token(secret=secret, expires_at=float("inf") if expiry is None else expiry, extras=extras)


def checked_url(owner: str, name: str, url: str, *, allow_http: bool = False) -> str:
    """Return a URL to which credentials may be sent.

    Raises:
        ConfigurationError: it is no `https://` URL, nor one of the loopback interface, or holds a password.
    """
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        parts.port  # noqa: B018  raises for a wrong port
    except ValueError as error:
        raise ConfigurationError(f"{owner}: {name} is no valid URL: {error}.") from None
    if parts.username or parts.password:
        raise ConfigurationError(
            f"{owner}: {name} holds a user name or password: give them as client_id and client_secret."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"{owner}: {name} must be a URL such as 'https://login.example.com/token', not {url!r}."
        )
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{owner}: {name} is http://, so that everybody on the way could read the credentials: "
            "use https://, or say allow_http=True."
        )
    return url


def origin(url: str) -> str:
    """Return scheme, host and port: all of a URL that a message may show."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, 6.3


def _kind(response: HttpResponse) -> str:
    if 300 <= response.status < 400:
        return "a redirect, which is not followed"
    start = response.body.lstrip()[:1]
    return "a page of HTML" if start == b"<" else "no JSON object" if start != b"{" else "no error code either"
