"""The numbers of a rate limit, and what they leave to each call that must wait."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from oarlock.contract.errors import RateLimitError
from oarlock.contract.request import Request

__all__ = ["PERIOD", "Quota", "latest_start", "refuse_long_wait", "too_long"]

PERIOD = 60.0
_LONGEST_HOLD = 60.0  # seconds; a server that asks for more makes calls fail at once, as in `Retry`


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much may pass a minute. `given_burst` is the user's own number of requests that may pass at once."""

    requests: int | None
    tokens: int | None
    given_burst: int | None = None

    @property
    def burst(self) -> int:
        """Requests that may pass at once after a pause."""
        assert self.requests is not None
        return max(1, self.requests // 20) if self.given_burst is None else min(self.given_burst, self.requests)

    @property
    def token_burst(self) -> int:
        """Tokens that may pass at once after a pause: enough for a large prompt."""
        assert self.tokens is not None
        return max(1, self.tokens // 4)

    def lowered(self, requests: float | None, tokens: float | None) -> Quota:
        """Return this quota with no more than that of either."""
        return replace(self, requests=_lower(self.requests, requests), tokens=_lower(self.tokens, tokens))

    def shared_among(self, workers: int) -> Quota:
        """Return what is left to each of so many."""
        return Quota(
            requests=None if self.requests is None else max(1, self.requests // workers),
            tokens=None if self.tokens is None else max(1, self.tokens // workers),
            given_burst=None if self.given_burst is None else max(1, self.given_burst // workers),
        )


def _lower(own: int | None, other: float | None) -> int | None:
    return own if own is None or other is None else max(1, min(own, math.floor(other)))


def latest_start(now: float, request: Request, max_wait: float | None) -> float:
    """Return the time after which a request is not worth sending any more."""
    latest = math.inf if max_wait is None else now + max_wait
    return latest if request.deadline is None else min(latest, request.deadline)


def refuse_long_wait(now: float, start: float, latest: float, held_until: float) -> None:
    """Refuse to wait until `start` where that is pointless.

    Raises:
        RateLimitError: it is after `latest`, or the endpoint wants to be left alone for too long.
    """
    held = held_until - now
    if held > _LONGEST_HOLD:
        raise RateLimitError(
            f"The endpoint asked not to be called for another {held:.0f} s.", retry_after=held, retryable=False
        )
    if start > latest:
        raise too_long(start - now)


def too_long(seconds: float) -> RateLimitError:
    """Return the error for a wait that there is no time for."""
    return RateLimitError(
        f"The rate limit would make this request wait {seconds:.1f} s, longer than there is time for.",
        retry_after=seconds,
        retryable=False,
    )
