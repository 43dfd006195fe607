"""A bearer token: fixed, or fetched by a function and renewed when it is no longer good."""

from __future__ import annotations

import base64
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from oarlock.auth.credentials import seconds, secret_of
from oarlock.auth.single_flight import SingleFlight
from oarlock.contract.auth import Do, Flow
from oarlock.contract.classify import classify
from oarlock.contract.context import emit
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError, LLMTimeoutError
from oarlock.contract.events import SignedIn
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["BearerToken", "jwt_expiry"]

TokenAnswer = str | Secret | tuple[str | Secret, float] | Mapping[str, Any]
TokenSource = Callable[[], TokenAnswer] | Callable[[], Awaitable[TokenAnswer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    secret: Secret
    renew_at: float  # seconds since the epoch
    expires_at: float


class BearerToken:
    """Sends `Authorization: Bearer <token>`.

    A function is asked for a token when there is no valid one, not on every request: at first use, ahead of expiry, and
    once after a 401. However many threads and tasks need a token at that moment, it is asked once, and all use its answer.

    Args:
        token: the token itself, or a function without arguments, blocking or `async def`, that returns one: as a text
            (a JWT's `exp` is read), as `(token, seconds)`, or as an OAuth answer with `access_token` and `expires_in`.
        margin: seconds before expiry from which on a new one is fetched; for short-lived tokens at most a fifth of
            their life.

    Raises:
        ConfigurationError: the token is empty or cannot stand in a header.
        AuthenticationError: from a call, when the function fails or the endpoint refuses a fresh token too.

    Example:
        >>> BearerToken(lambda: "eyJ...")
        BearerToken(<function>)
    """

    def __init__(self, token: str | Secret | TokenSource, *, margin: float = 60.0) -> None:
        self._source: TokenSource | None = token if callable(token) else None
        self._margin = seconds("BearerToken", "margin", margin)
        self._renewal: SingleFlight[_Token] = SingleFlight()
        self._threads = ThreadPool(4, "oarlock-token")
        self._token: _Token | None = None
        if not callable(token):
            secret = secret_of("BearerToken", token)
            self._token = _Token(secret=secret, renew_at=math.inf, expires_at=_expiry(secret))

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request; once more with a new token if it is refused."""
        token: _Token = yield Do(lambda runtime: self._valid(runtime, request.timeout))
        response = yield _signed(request, token)
        if response.status == 401 and self._source is not None:
            token = yield Do(lambda runtime: self._other_than(runtime, request.timeout, token))
            yield _signed(request, token)

    async def _valid(self, runtime: Runtime, timeout: float | None) -> _Token:
        token = self._token
        if token is not None and runtime.time() < token.renew_at:
            return token
        return await self._renew(runtime, timeout, token, "first use" if token is None else "expired")

    async def _other_than(self, runtime: Runtime, timeout: float | None, refused: _Token) -> _Token:
        return await self._renew(runtime, timeout, refused, "refused")

    async def _renew(self, runtime: Runtime, timeout: float | None, old: _Token | None, why: str) -> _Token:
        deadline = None if timeout is None else runtime.now() + timeout
        try:
            return await self._renewal.run(
                runtime, lambda: self._fetch(runtime, deadline, why), lambda: self._newer(old), deadline
            )
        except LLMError:
            raise
        except TimeoutError as error:
            raise LLMTimeoutError("A token that another call is fetching did not come in time.") from error

    def _newer(self, old: _Token | None) -> _Token | None:
        """Return the present token if somebody has renewed the old one meanwhile."""
        return self._token if self._token is not old else None

    async def _fetch(self, runtime: Runtime, deadline: float | None, why: str) -> _Token:
        source: Any = self._source
        forms = (None, source) if _is_async(source) else (source, None)
        try:
            answer = await runtime.invoke(*forms, deadline=deadline, pool=self._threads)
            if inspect.isawaitable(answer):  # a lambda around a coroutine function, for one
                answer = await runtime.invoke(None, _awaited, answer, deadline=deadline)
            self._token = token = self._read(answer, runtime.time())
        except Exception as error:  # the boundary to the user's function
            ours = classify(error, "The token function")
            if isinstance(ours, LLMError) and ours.retryable:
                raise ours from error
            raise AuthenticationError(f"No token could be had: {ours}") from error
        lasts = None if token.expires_at == math.inf else token.expires_at - runtime.time()
        emit(SignedIn(method="BearerToken", why=why, expires_in=lasts))
        return token

    def _read(self, answer: Any, now: float) -> _Token:
        lasts: Any = None
        if isinstance(answer, tuple) and len(answer) == 2:
            answer, lasts = answer
        elif isinstance(answer, Mapping):
            answer, lasts = answer.get("access_token"), answer.get("expires_in")
        secret = secret_of("The token function's answer", answer)
        expires_at = _expiry(secret) if lasts is None else now + _lifetime(lasts)
        margin = min(self._margin, max(0.0, expires_at - now) / 5)
        return _Token(secret=secret, renew_at=expires_at - margin, expires_at=expires_at)

    def explain_refusal(self, wall_time: float) -> str | None:
        """Return what may be wrong with a token that was refused, in words, without showing it."""
        token = self._token
        if token is None or token.expires_at > wall_time:
            return None
        when = datetime.fromtimestamp(max(0.0, token.expires_at), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        if self._source is not None:
            return f"The token function gave a token that had expired at {when}."
        return f"The token expired at {when}: give BearerToken a new one, or a function that fetches one."

    def __repr__(self) -> str:
        return "BearerToken(<function>)" if self._source else "BearerToken('…')"

    def __getstate__(self) -> dict[str, Any]:
        """A fetched token stays behind; one that was given cannot be pickled, and says so."""
        return vars(self) if self._source is None else {**vars(self), "_token": None}


def _is_async(source: Any) -> bool:
    return inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__)


async def _awaited(answer: Awaitable[TokenAnswer]) -> TokenAnswer:
    return await answer


def _expiry(secret: Secret) -> float:
    expiry = jwt_expiry(secret.reveal())
    return math.inf if expiry is None else expiry


def _lifetime(value: Any) -> float:
    try:
        lasts = math.nan if isinstance(value, bool) else float(value)  # some servers write it as a text
    except (TypeError, ValueError, OverflowError):
        lasts = math.nan
    if math.isnan(lasts):
        raise ConfigurationError(
            f"The token function's answer: the lifetime must be a number of seconds, not of the type {type(value).__name__}."
        )
    return lasts


def _signed(request: HttpRequest, token: _Token) -> HttpRequest:
    return request.with_headers(("Authorization", f"Bearer {token.secret.reveal()}"))


def jwt_expiry(token: str) -> float | None:
    """Return a JWT's `exp` in seconds since the epoch (RFC 7519, 4.1.4), `None` if the token is no JWT or has none.

    The signature is not checked: the token is ours, and the endpoint judges it.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expires = math.nan if isinstance(claims["exp"], bool) else float(claims["exp"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    return expires if math.isfinite(expires) else None
