"""A bearer token: fixed, or fetched by a function and renewed when it is no longer good."""

from __future__ import annotations

import base64
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from oarlock.auth.credentials import secret_of
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.token_auth import TokenAuth
from oarlock.contract.auth import Flow, Send
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["BearerToken", "good_until", "jwt_expiry", "lifetime"]

TokenAnswer = str | Secret | tuple[str | Secret, float] | Mapping[str, Any]
TokenSource = Callable[[], TokenAnswer] | Callable[[], Awaitable[TokenAnswer]]


class BearerToken(TokenAuth):
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

    def __init__(self, token: str | Secret | TokenSource, *, margin: float = MARGIN) -> None:
        super().__init__(margin=margin)
        self._source: TokenSource | None = token if callable(token) else None
        self._threads = ThreadPool(4, "oarlock-token")
        self._fixed = (
            None
            if callable(token)
            else Token(secret=(fixed := secret_of("BearerToken", token)), expires_at=_expiry(fixed))
        )

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request; once more with a new token if it is refused."""
        if self._fixed is not None:
            yield self.sign(request, self._fixed)
        else:
            yield from super().flow(request)

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Ask the function."""
        source: Any = self._source
        forms = (None, source) if _is_async(source) else (source, None)
        try:
            answer = await runtime.invoke(*forms, deadline=deadline, pool=self._threads)
            if inspect.isawaitable(answer):  # a lambda around a coroutine function, for one
                answer = await runtime.invoke(None, _awaited, answer, deadline=deadline)
            return _read(answer, runtime.time())
        except Exception as error:  # the boundary to the user's function
            ours = classify(error, "The token function")
            if isinstance(ours, LLMError) and ours.retryable:
                if ours is error:
                    raise
                raise ours from error
            raise AuthenticationError(f"No token could be had: {ours}") from error

    def explain_refusal(self, wall_time: float) -> str | None:
        """Return what may be wrong with a token that was refused, in words, without showing it."""
        token = self._fixed or self._renewal.token
        if token is None:
            return None
        expired_at = min(token.expires_at, _expiry(token.secret))
        if expired_at > wall_time:
            return None
        when = datetime.fromtimestamp(max(0.0, expired_at), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        if self._source is not None:
            return f"The token function gave a token that had expired at {when}."
        return f"The token expired at {when}: give BearerToken a new one, or a function that fetches one."

    def __repr__(self) -> str:
        return "BearerToken(<function>)" if self._source else "BearerToken('…')"


def _read(answer: Any, now: float) -> Token:
    lasts: Any = None
    if isinstance(answer, tuple) and len(answer) == 2:
        answer, lasts = answer
    elif isinstance(answer, Mapping):
        answer, lasts = answer.get("access_token"), answer.get("expires_in")
    secret = secret_of("The token function's answer", answer)
    if lasts is not None:
        return Token(secret=secret, expires_at=now + lifetime("The token function's answer", lasts))
    return Token(secret=secret, expires_at=good_until(secret, now))


def _is_async(source: Any) -> bool:
    return inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__)


async def _awaited(answer: Awaitable[TokenAnswer]) -> TokenAnswer:
    return await answer


def _expiry(secret: Secret) -> float:
    expiry = jwt_expiry(secret.reveal())
    return math.inf if expiry is None else expiry


def lifetime(owner: str, value: Any) -> float:
    """Return seconds that a token lasts, as a server or a function says them.

    Raises:
        ConfigurationError: it is no number.
    """
    try:
        lasts = math.nan if isinstance(value, bool) else float(value)  # some servers write it as a text
    except (TypeError, ValueError, OverflowError):
        lasts = math.nan
    if math.isnan(lasts):
        raise ConfigurationError(
            f"{owner}: the lifetime must be a number of seconds, not of the type {type(value).__name__}."
        )
    return lasts


def good_until(secret: Secret, now: float) -> float:
    """Return until when, by our clock, a token is good that was issued just now; infinite if it does not say.

    A JWT says it by its issuer's clock. Where that cannot be ours, as the token would have expired already or be issued
    in the future, it is good for as long as it was made for (`exp` - `iat`), from now.
    """
    claims = _claims(secret.reveal())
    expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
    if expires is None:
        return math.inf
    if issued is not None and issued < expires and (expires <= now or issued > now):
        return now + (expires - issued)
    return expires


def jwt_expiry(token: str) -> float | None:
    """Return a JWT's `exp` in seconds since the epoch (RFC 7519, 4.1.4), `None` if the token is no JWT or has none.

    The signature is not checked: the token is ours, and the endpoint judges it.
    """
    return _moment(_claims(token), "exp")


def _claims(token: str) -> Mapping[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    try:
        moment = math.nan if value is None or isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if math.isfinite(moment) else None
