"""A credential that is good for a while: held for all callers, renewed by one of them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from oarlock.auth.single_flight import SingleFlight
from oarlock.contract.auth import Do
from oarlock.contract.context import emit
from oarlock.contract.errors import AuthenticationError, LLMError, LLMTimeoutError, OarlockError
from oarlock.contract.events import SignedIn
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime

__all__ = ["MARGIN", "Renewal", "Token"]

MARGIN = (
    60.0  # seconds before its expiry at which a token is renewed; google-auth and MSAL take 3 to 5 minutes, botocore 15
)
_SHORT_LIVED = 5  # the margin is at most a fifth of a token's life
_JITTER = 0.2  # so that a fleet that signed in together does not renew together
# After the second failure in a row nobody tries for a second; the pause doubles from failure to failure.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_REFUSED_AGAIN = 10.0  # seconds in which a token that replaced a refused one, and is refused too, is not replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What signs requests until it expires.

    Attributes:
        secret: the token itself.
        expires_at: seconds since the epoch; infinite when it does not say.
        extras: what else came with it, such as a refresh token; secrets in it are `Secret`.

    Example:
        >>> Token(secret=Secret("t1cket"), expires_at=1_800_000_000.0).secret
        Secret('…')
    """

    secret: Secret
    expires_at: float = math.inf
    extras: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    token: Token
    renew_at: float  # wall time
    since: float  # monotonic
    why: str


Fetch = Callable[[Token | None, float | None], Awaitable[Token]]
"""Fetches a token; is told which one it replaces, and the time (`runtime.now()`) at which nobody waits for it any more."""


class Renewal:
    """Holds one token and has it renewed ahead of its expiry and when it was refused, once for all threads and tasks.

    While one renews a token that is still good, the others use it; when that fails, so does whoever tried. A failed
    renewal is tried again by the next who needs it; from the second failure in a row on that waits for a second, then
    two, up to 30, and meanwhile the failure is everybody's answer, at once.

    Args:
        method: the sign-in's name, for events and messages.
        margin: seconds ahead of expiry, at most a fifth of a token's life.

    Attributes:
        held: `at_hand`, for a flow to yield.
    """

    def __init__(self, method: str, margin: float = MARGIN) -> None:
        self._method = method
        self._margin = margin
        self._flight: SingleFlight[_Held] = SingleFlight()
        self._held: _Held | None = None
        self._failures = 0
        self._failure: LLMError | None = None
        self._again_at = -math.inf
        self.held = Do(self.at_hand)

    @property
    def token(self) -> Token | None:
        """The present token, good or not."""
        return None if self._held is None else self._held.token

    async def at_hand(self, runtime: Runtime, _send: Any = None) -> Token | None:
        """Return the present token unless it is time to renew it: the usual case, which must cost next to nothing."""
        held = self._held
        return held.token if held is not None and runtime.time() < held.renew_at else None

    async def valid(self, runtime: Runtime, fetch: Fetch, deadline: float | None) -> Token:
        """Return a token that is good now.

        Raises:
            LLMError: none could be had; an `AuthenticationError` unless it may heal by itself.
        """
        held, now = self._held, runtime.time()
        if held is None:
            return await self._renew(runtime, fetch, deadline, None, "first use")
        if now < held.renew_at:
            return held.token
        if now >= held.token.expires_at:
            return await self._renew(runtime, fetch, deadline, held, "expired")
        if self._flight.busy:
            return held.token
        try:
            return await self._renew(runtime, fetch, _half_of(deadline, runtime.now()), held, "expired")
        except OarlockError:
            return held.token

    async def other_than(self, runtime: Runtime, fetch: Fetch, deadline: float | None, refused: Token) -> Token | None:
        """Return a token to try in place of a refused one, `None` where a new one was refused just before."""
        held = self._held
        if held is not None and held.token is not refused:
            return held.token
        if held is not None and held.why == "refused" and runtime.now() < held.since + _REFUSED_AGAIN:
            return None
        return await self._renew(runtime, fetch, deadline, held, "refused")

    async def _renew(
        self, runtime: Runtime, fetch: Fetch, deadline: float | None, old: _Held | None, why: str
    ) -> Token:
        def newer() -> _Held | None:
            return self._held if self._held is not old else None

        try:
            work = partial(self._fetched, runtime, fetch, deadline, old, why)
            held = await self._flight.run(runtime, work, newer, deadline)
        except LLMError:
            raise
        except TimeoutError as error:
            raise LLMTimeoutError("A token that another call is fetching did not come in time.") from error
        return held.token

    async def _fetched(
        self, runtime: Runtime, fetch: Fetch, deadline: float | None, old: _Held | None, why: str
    ) -> _Held:
        if self._failure is not None and runtime.now() < self._again_at:
            raise _again(self._failure, self._again_at - runtime.now())
        try:
            token = await fetch(None if old is None else old.token, deadline)
        except LLMError as error:
            self._failed(runtime, error)
            raise
        self._failures, self._failure = 0, None
        lasts = token.expires_at - runtime.time()
        margin = min(self._margin, max(0.0, lasts) / _SHORT_LIVED) * (1 - _JITTER * runtime.random())
        self._held = held = _Held(token=token, renew_at=token.expires_at - margin, since=runtime.now(), why=why)
        emit(SignedIn(method=self._method, why=why, expires_in=None if lasts == math.inf else lasts))
        return held

    def _failed(self, runtime: Runtime, error: LLMError) -> None:
        self._failures += 1
        if self._failures == 1:
            return
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._failures - 2, 10), _LONGEST_PAUSE)
        # Without its traceback, which holds the frames, and with them whatever was in their variables.
        self._failure, self._again_at = _bare(error), runtime.now() + pause
        if error.retryable and error.retry_after is None:
            error.retry_after = pause  # so that no attempt is wasted on the pause

    def __getstate__(self) -> dict[str, Any]:
        """Tokens and failures stay behind in copies for elsewhere."""
        return {"_method": self._method, "_margin": self._margin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_method"], state["_margin"])  # type: ignore[misc]

    def __deepcopy__(self, memo: Any) -> Renewal:
        return self  # the copy of an LLM signs in as the same; its token is good for both


def _half_of(deadline: float | None, now: float) -> float | None:
    """Return when to give up renewing a token that is still good: the call that it was meant for wants its time too."""
    return None if deadline is None else now + (deadline - now) / 2


def _bare(error: LLMError) -> LLMError:
    make, arguments, facts = error.__reduce__()
    copy: LLMError = make(*arguments)
    vars(copy).update(facts)
    return copy


def _again(failure: LLMError, pause: float) -> LLMError:
    error = _bare(failure)
    if error.retryable and error.retry_after is None:
        error.retry_after = pause
    if isinstance(error, AuthenticationError):
        error.args = (f"{failure} (The sign-in failed a moment ago; it is tried again in {pause:.0f} s.)",)
    return error
