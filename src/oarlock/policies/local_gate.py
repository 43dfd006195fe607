"""The gate of one process: meters in memory, and a line before them."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

from oarlock.contract.request import Request, waiting
from oarlock.policies.gcra import Gcra
from oarlock.policies.line import Line, Waiter
from oarlock.policies.quota import PERIOD, Quota, latest_start, refuse_long_wait, too_long
from oarlock.policies.sliding_window import SlidingWindow
from oarlock.runtime import Runtime

__all__ = ["LocalGate", "LocalPass"]

LocalPass = tuple[int, int]  # the token meter's ticket, and the tokens that were taken


class LocalGate:
    """Lets requests through as the quota allows, first come first served over all threads and loops of the process.

    Args:
        quota: how much may pass.
        needed: how many tokens to reserve for a request; may refuse it.
        max_wait: seconds that a request waits at most.
    """

    def __init__(self, quota: Quota, needed: Callable[[Request], int], max_wait: float | None) -> None:
        self._needed = needed
        self._max_wait = max_wait
        self._requests = None if quota.requests is None else _request_meter(quota)
        self._tokens = None if quota.tokens is None else _token_meter(quota)
        self._held_until = float("-inf")
        self._lock = threading.Lock()  # held for a few additions, never while waiting
        self.line = Line(self._lock)

    def pass_now(self, now: float, tokens: int) -> LocalPass | None:
        """Let a request of so many tokens through if it need not wait."""
        with self._lock:
            return None if self.line.waiters or self._start(now, 1, tokens) > now else self._take(now, tokens)

    async def queue(self, runtime: Runtime, request: Request) -> LocalPass:
        """Wait in line. The meters are asked when a request's turn has come, so corrections and hints reach all in line.

        Raises:
            RateLimitError: it would take too long.
        """
        now = runtime.now()
        latest = latest_start(now, request, self._max_wait)
        tokens = self._needed(request)
        with self._lock:
            start = self._start(now, len(self.line) + 1, self.line.weight + tokens)
            refuse_long_wait(now, start, latest, self._held_until)
            waiter = self.line.join(runtime, due=start, weight=tokens)
        try:
            with waiting(runtime, request, "rate_limit", seconds=start - now):
                return await self._turn(runtime, request, waiter, latest, tokens)
        finally:
            self.line.leave(waiter, runtime.now())

    async def _turn(self, runtime: Runtime, request: Request, waiter: Waiter, latest: float, tokens: int) -> LocalPass:
        if not await self.line.wait(runtime, waiter, latest):  # what came in between has made it later
            now = runtime.now()
            with self._lock:
                raise too_long(self._start(now, 1, tokens) - now)
        while True:
            tokens, now = self._needed(request), runtime.now()
            with self._lock:
                waiter.due = start = self._start(now, 1, tokens)
                if start <= now:
                    return self._take(now, tokens)
                refuse_long_wait(now, start, latest, self._held_until)
            await runtime.sleep(start - now)

    def settle(self, runtime: Runtime, granted: LocalPass, used: int) -> Awaitable[None] | None:
        """Correct what was reserved for a request to what it used; return what is still to be awaited for that: nothing."""
        if self._tokens is not None:
            with self._lock:
                self._tokens.settle(*granted, used)
        return None

    def hold(self, until: float) -> None:
        """Let nobody through before then."""
        with self._lock:
            self._held_until = max(self._held_until, until)

    async def tell(self, runtime: Runtime) -> None:
        """Tell other processes of a hold: there are none."""

    def fill(self, now: float) -> None:
        """Start without a burst."""
        with self._lock:
            for meter in (self._requests, self._tokens):
                if meter is not None:
                    meter.fill(now)

    def levels(self, now: float) -> dict[str, float]:
        """Return how full each meter is; see `Gcra.level`."""
        meters = {"requests": self._requests, "tokens": self._tokens}
        with self._lock:
            return {unit: meter.level(now) for unit, meter in meters.items() if meter is not None}

    def retune(self, now: float, quota: Quota) -> None:
        """Go on with another quota for the same meters."""
        with self._lock:
            if self._requests is not None and quota.requests is not None:
                self._requests.retune(now, quota=quota.requests, burst=quota.burst, period=PERIOD)
            if self._tokens is not None and quota.tokens is not None:
                self._tokens.retune(now, quota=quota.tokens, burst=quota.token_burst, period=PERIOD)

    def _start(self, now: float, requests: int, tokens: int) -> float:
        """Return when so much may pass."""
        start = max(self._held_until, now)
        if self._tokens is not None and (earliest := self._tokens.earliest(tokens)) > start:
            start = earliest
        if self._requests is not None and (earliest := self._requests.earliest(requests)) > start:
            start = earliest
        return start

    def _take(self, now: float, tokens: int) -> LocalPass:
        if self._requests is not None:
            self._requests.take(now, 1)
        return (0, 0) if self._tokens is None else (self._tokens.take(now, tokens), tokens)


def _request_meter(quota: Quota) -> Gcra | SlidingWindow:
    assert quota.requests is not None
    if quota.burst == quota.requests > 1:  # a meter that spreads what is left of the quota would have nothing to spread
        return SlidingWindow(quota=quota.requests, period=PERIOD)
    return Gcra(quota=quota.requests, burst=quota.burst, period=PERIOD)


def _token_meter(quota: Quota) -> Gcra:
    assert quota.tokens is not None
    return Gcra(quota=quota.tokens, burst=quota.token_burst, period=PERIOD)
