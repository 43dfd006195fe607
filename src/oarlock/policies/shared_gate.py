"""The gate of many processes: meters in Redis, and a line before them in each process."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from oarlock.contract.errors import ConnectionFailedError, RateLimitError
from oarlock.contract.request import Request, waiting
from oarlock.policies.gcra import interval
from oarlock.policies.line import Line, Waiter
from oarlock.policies.local_gate import LocalGate, LocalPass
from oarlock.policies.quota import PERIOD, Quota, latest_start, refuse_long_wait
from oarlock.policies.redis_store import RedisStore, SharedPass, StoreAnswer
from oarlock.runtime import Runtime

__all__ = ["SharedGate"]

# Seconds after which the first in line asks again though its turn has not come: others may have given up theirs.
_LONGEST_SLEEP = 1.0
_SHORTEST_SLEEP = 0.001  # Redis' clock and ours may differ by a hair
_PAUSE = (
    1.0  # seconds for which a lost store is not asked, so that a line before a hanging one is not served one by one
)
_PAUSE_WITH_SPARE = 10.0  # the same where calls go on meanwhile, each attempt holding some up


class SharedGate:
    """Lets requests through as the quota in a store allows; the first in this process' line asks for all of them.

    Across processes the order is nearly that of arrival: whoever has to wait is given a turn, and asks again when it
    has come. Nothing is reserved ahead, so one who gives up, or dies, takes nothing with it.

    Args:
        quota: how much may pass, over all processes.
        needed: how many tokens to reserve for a request; may refuse it.
        max_wait: seconds that a request waits at most.
        store: where the meters are.
        workers: how many processes share the quota. While the store is lost each serves its part of it; `None`: calls
            fail then.
    """

    def __init__(
        self,
        quota: Quota,
        needed: Callable[[Request], int],
        max_wait: float | None,
        store: RedisStore,
        workers: int | None,
    ) -> None:
        self._quota = quota
        self._needed = needed
        self._max_wait = max_wait
        self._store = store
        self._workers = workers or 1
        self._spare = None if workers is None else LocalGate(quota.shared_among(workers), needed, max_wait)
        self._held_until = float("-inf")
        self._told_until = float("-inf")  # the part of the hold that the store knows
        self._lost_until = float("-inf")
        self._loss: ConnectionFailedError | None = None
        self._last: tuple[float, StoreAnswer] | None = None  # the newest refusal and when it came
        self._lock = threading.Lock()  # held for a few additions, never while waiting
        self.line = Line(self._lock)

    def pass_now(self, now: float, tokens: int) -> SharedPass | LocalPass | None:
        """Let a request of so many tokens through without asking the store: only while it is lost."""
        if self._spare is None or now >= self._lost_until or self.line.waiters:
            return None
        return self._spare.pass_now(now, tokens)

    async def queue(self, runtime: Runtime, request: Request) -> SharedPass | LocalPass:
        """Wait in line, then ask the store until it lets the request through.

        Raises:
            RateLimitError: it would take too long.
            ConnectionFailedError: the store is lost and there is no spare, or its set-up is wrong.
        """
        now = runtime.now()
        latest = latest_start(now, request, self._max_wait)
        tokens = self._needed(request)
        with self._lock:
            start = self._at_least(now, len(self.line), self.line.weight + tokens)
            refuse_long_wait(now, start, latest, self._held_until)
            waiter = self.line.join(runtime, due=max(start, now + self._store.patience), weight=tokens)
        try:
            with ExitStack() as wait:
                if start > now:
                    wait.enter_context(waiting(runtime, request, "rate_limit", seconds=start - now))
                if not await self.line.wait(runtime, waiter, latest):
                    raise RateLimitError(
                        f"The time for this request was up after {runtime.now() - now:.1f} s in line for the rate limit.",
                        retryable=False,
                    )
                passed = await self._ask(runtime, request, waiter, latest, None if start > now else wait)
        finally:
            self.line.leave(waiter, runtime.now())
        if passed is None:
            assert self._spare is not None
            return self._spare.pass_now(runtime.now(), self._needed(request)) or await self._spare.queue(
                runtime, request
            )
        return passed

    async def _ask(
        self, runtime: Runtime, request: Request, waiter: Waiter, latest: float, wait: ExitStack | None
    ) -> SharedPass | None:
        """Ask until it is time; `None` if the store is lost and the spare serves. `wait`: nobody was told of waiting yet."""
        turn: float | None = None
        while True:
            tokens, now = self._needed(request), runtime.now()
            waiter.due = now + self._store.patience
            most = latest - now if turn is None else -1.0
            answer = await self._answer(runtime, request, tokens, most)
            if answer is None:
                return None
            if answer.passed is not None:
                return answer.passed
            now = runtime.now()
            turn = now + answer.wait if turn is None else turn
            start = max(turn, now + answer.wait)
            self._last = now, answer
            if answer.held > 0:
                self.hold(now + answer.held)
                self._told_until = self._held_until
            refuse_long_wait(now, start, latest, self._held_until)
            if wait is not None:
                wait.enter_context(waiting(runtime, request, "rate_limit", seconds=start - now))
                wait = None
            waiter.due = start
            await runtime.sleep(min(max(start - now, _SHORTEST_SLEEP), _LONGEST_SLEEP))

    async def _answer(self, runtime: Runtime, request: Request, tokens: int, most: float) -> StoreAnswer | None:
        now = runtime.now()
        if now >= self._lost_until:
            told, hold = self._news(now)
            try:
                answer = await self._store.take(
                    runtime, self._quota, tokens, most=most, hold=hold, deadline=request.deadline
                )
            except ConnectionFailedError as error:
                self._lose(runtime.now(), error)
            else:
                self._told_until, self._loss = told, None
                return answer
        if self._spare is not None:
            return None
        raise _again(self._loss)

    def _lose(self, now: float, loss: ConnectionFailedError) -> None:
        """Note that the store is lost; raise where nothing will heal it."""
        if not loss.retryable:
            raise loss
        with self._lock:
            fresh, self._loss = self._loss is None, loss
            self._lost_until = now + (_PAUSE if self._spare is None else _PAUSE_WITH_SPARE)
        if fresh and self._spare is not None:
            self._spare.fill(now)  # what the store let through just before still counts

    def _at_least(self, now: float, ahead: int, tokens: int) -> float:
        """Return a time before which the store will not let so much through, as far as its newest refusal tells."""
        start = max(now, self._held_until)
        if self._last is None:
            return start
        when, answer = self._last
        quota = self._quota
        if quota.requests is not None and when + answer.requests > now:
            each = interval(quota=quota.requests, burst=quota.burst, period=PERIOD)
            start = max(start, when + answer.requests + ahead * each)
        if quota.tokens is not None and when + answer.tokens > now:
            start = max(start, when + answer.tokens)
        return start

    def settle(self, runtime: Runtime, granted: SharedPass | LocalPass, used: int) -> Awaitable[None] | None:
        """Correct what was reserved for a request to what it used; where the store has to be told, return the telling."""
        if isinstance(granted, SharedPass):
            return self._settle(runtime, granted, used)
        assert self._spare is not None
        return self._spare.settle(runtime, granted, used)

    async def _settle(self, runtime: Runtime, granted: SharedPass, used: int) -> None:
        now = runtime.now()
        if now < self._lost_until:
            return  # it then counts as estimated
        told, hold = self._news(now)
        try:
            await self._store.settle(runtime, self._quota, granted, used, hold=hold)
        except ConnectionFailedError as error:
            self._lose_quietly(runtime.now(), error)
        else:
            self._told_until = told

    def levels(self, now: float) -> dict[str, float]:
        """Return nothing: the meters are in the store, which is not asked for this."""
        return {}

    def hold(self, until: float) -> None:
        """Let nobody in this process through before then; `tell` lets the others know."""
        with self._lock:
            self._held_until = max(self._held_until, until)
        if self._spare is not None:
            self._spare.hold(until)

    async def tell(self, runtime: Runtime) -> None:
        """Tell the store of a hold that it does not know yet."""
        now = runtime.now()
        told, hold = self._news(now)
        if hold <= 0 or now < self._lost_until:
            return
        try:
            await self._store.hold(runtime, hold)
        except ConnectionFailedError as error:
            self._lose_quietly(runtime.now(), error)
        else:
            self._told_until = told

    def _news(self, now: float) -> tuple[float, float]:
        """Return until when to hold, and for how many seconds that is if the store does not know it yet, else 0.

        What it knows is not told again: with the way there and back it would grow each time.
        """
        until = self._held_until
        return until, (until - now if until > self._told_until else 0.0)

    def _lose_quietly(self, now: float, loss: ConnectionFailedError) -> None:
        """Note a loss that must not take away the answer which is there already."""
        if loss.retryable:
            self._lose(now, loss)

    def retune(self, now: float, quota: Quota) -> None:
        """Go on with another quota for the same meters."""
        self._quota = quota
        if self._spare is not None:
            self._spare.retune(now, quota.shared_among(self._workers))


def _again(loss: ConnectionFailedError | None) -> ConnectionFailedError:
    """Return the error anew: one object raised in several threads would gather all their frames."""
    assert loss is not None
    return ConnectionFailedError(str(loss), code=loss.code)
