"""Asking an OAuth 2 token endpoint (RFC 6749, 3.2), and what its refusals mean."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from oarlock.auth.bearer import good_until, lifetime
from oarlock.auth.client_authentication import ClientAuthentication
from oarlock.auth.credentials import seconds, secret_of
from oarlock.auth.renewal import Token
from oarlock.contract.auth import Send
from oarlock.contract.classify import error_for_status
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError, LLMTimeoutError
from oarlock.contract.http import HttpRequest, HttpResponse, is_loopback
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import Runtime

__all__ = ["TokenEndpoint", "checked_url"]

_ATTEMPTS = 3
_BACKOFF = 0.5  # seconds, doubled for each attempt, with full jitter as in `Retry`
_SAYS = {  # RFC 6749, 5.2; RFC 8628, 3.5; RFC 8707, 2
    "invalid_client": "check client_id and client_secret (or the key), and whether the server wants client_auth={other!r}",
    "invalid_grant": "the server did not accept the {grant}: wrong, expired, revoked or used up",
    "invalid_scope": "check scope",
    "invalid_target": "check resource and audience",
    "unauthorized_client": "this client may not use the grant {grant_type!r}: allow it where the client is registered",
    "unsupported_grant_type": "the server does not know the grant {grant_type!r}: check token_url",
    "invalid_request": "the server misses a setting or dislikes one: check scope, audience, resource and extra",
    "access_denied": "the user or an administrator declined",
    "expired_token": "nobody signed in while the code was good: call again for a new one",
}
_HEALING = {"server_error", "temporarily_unavailable"}  # RFC 6749, 4.1.2.1; some token endpoints say it with a 400
_LONGEST_WAIT = 60.0  # seconds: a longer `Retry-After` is not waited for
_PUBLIC = {"grant_type", "client_id", "scope", "audience", "resource", "client_assertion_type"}
_SHORTEST_SECRET = 6  # characters, as in `oarlock.llms.redaction`
_FOREIGN_TYPES = {"dpop", "mac", "pop"}  # tokens that need a proof with each request (RFC 9449, for one)


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
                return await self._ask_once(runtime, send, deadline, form, grant)
            except LLMError as error:
                delay = max(runtime.random() * _BACKOFF * 2**attempt, error.retry_after or 0.0)
                too_late = deadline is not None and runtime.now() + delay >= deadline
                if attempt == _ATTEMPTS or not error.retryable or too_late or delay > _LONGEST_WAIT:
                    raise
            await runtime.sleep(delay)
        raise AssertionError("unreachable")

    async def _ask_once(
        self, runtime: Runtime, send: Send, deadline: float | None, form: Mapping[str, str], grant: str
    ) -> dict[str, Any]:
        headers, proof = ((), {}) if self.client is None else self.client.prove(runtime, self.url)
        fields = {**form, **proof}
        left = self.timeout if deadline is None else min(self.timeout, deadline - runtime.now())
        if left <= 0:
            raise LLMTimeoutError(f"{self._where}: no time was left to ask it.")
        try:
            response = await send(self._request(headers, fields, left))
        except LLMError as error:
            raise self._unreached(error) from error
        try:
            return self._read(runtime, response, form, grant)
        except LLMError as error:
            failure = error
        secrets = [value for name, value in fields.items() if name not in _PUBLIC]
        if self.client is not None and self.client.secret is not None:
            secrets.append(self.client.secret.reveal())
        failure.args = (_without(str(failure), secrets),)
        raise failure

    def _request(self, headers: tuple[tuple[str, str], ...], fields: Mapping[str, str], timeout: float) -> HttpRequest:
        form = ("content-type", "application/x-www-form-urlencoded")
        return HttpRequest(
            method="POST",
            url=self.url,
            headers=(form, ("accept", "application/json"), *headers),
            body=urlencode(fields).encode(),
            timeout=timeout,
        )

    @property
    def _where(self) -> str:
        return f"{self.owner}: the token endpoint {origin(self.url)}{urlsplit(self.url).path}"

    def _unreached(self, error: LLMError) -> LLMError:
        """Return an error of the connection's, with the settings to look at."""
        ours = copy.copy(error)
        late = isinstance(error, LLMTimeoutError)
        advice = f"timeout, which is {self.timeout:g} s for it" if late else "token_url, proxy and verify"
        ours.args = (f"{self._where} gave no answer: {str(error).rstrip('.')}. Check {advice}.",)
        return ours

    def _read(self, runtime: Runtime, response: HttpResponse, form: Mapping[str, str], grant: str) -> dict[str, Any]:
        try:
            answer = json.loads(response.body)
        except (ValueError, RecursionError):
            answer = None
        error = answer.get("error") if isinstance(answer, dict) else None
        status = response.status
        if 200 <= status < 300 and isinstance(answer, dict) and not error:
            return answer
        code = error if isinstance(error, str) else None  # no OAuth server, but a gateway, sends an object
        heals = status >= 500 or status in (408, 429) or code in _HEALING
        if code is not None and not heals:
            raise self._refused(code, answer, form, grant, status)
        if heals:
            said = scrub(response.body[:2000].decode("utf-8", "replace")) or "nothing"
            raise error_for_status(
                503 if code in _HEALING else status,
                f"{self._where} answered HTTP {status}: {said}",
                headers=response.headers,
                wall_time=runtime.time(),
            )
        advice = "client_id and client_secret" if status in (401, 403) else "token_url"
        raise AuthenticationError(
            f"{self._where} answered HTTP {status} without a token ({_kind(response)}): check {advice}.", status=status
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
        expires_at = good_until(secret, now) if lasts is None else now + lifetime(owner, lasts)
    except ConfigurationError as error:
        raise AuthenticationError(f"The token endpoint's answer is no token: {error}") from None
    kind = answer.get("token_type")
    if isinstance(kind, str) and kind.lower() in _FOREIGN_TYPES:
        raise AuthenticationError(
            f"{owner}: the token endpoint gave a token of the type {scrub(kind, 20)!r}, which needs a proof with each request; "
            "only bearer tokens can be used: have the client registered for those."
        )
    refresh = answer.get("refresh_token")
    extras: dict[str, Any] = {"refresh_token": Secret(refresh)} if isinstance(refresh, str) and refresh else {}
    if isinstance(scope := answer.get("scope"), str) and scope:
        extras["scope"] = scope
    return Token(secret=secret, expires_at=expires_at, extras=extras)


def _without(text: str, secrets: Iterable[str]) -> str:
    """Return a message without what was sent: some servers quote it in their errors."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return text


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
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{owner}: {name} is http://, so that everybody on the way could read the credentials: "
            "use https://, or say allow_http=True."
        )
    return url


def origin(url: str) -> str:
    """Return scheme, host and port: all of a URL that a message may show."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _kind(response: HttpResponse) -> str:
    if 300 <= response.status < 400:
        return "a redirect, which is not followed"
    start = response.body.lstrip()[:1]
    return "a page of HTML" if start == b"<" else "no JSON object" if start != b"{" else "no error code either"
