"""How many calls there may be at the same time."""

from __future__ import annotations

import math
import os
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from oarlock.contract.context import current_call
from oarlock.contract.errors import RateLimitError
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request, waiting
from oarlock.policies.checks import positive, whole
from oarlock.runtime import Promise, Runtime, driver_of
from oarlock.runtime.blocking import BlockingRuntime

__all__ = ["Concurrency"]


class Concurrency:
    """Lets so many calls through at the same time, first come first served; the others wait for a place.

    One object may serve any number of LLMs, threads and event loops of this process; they then share the places, and so
    do copies of it (a pickle starts afresh). A stream keeps its place until it has been read or left. Calls that an LLM's
    own code makes while it has a place go along with that place, so nested calls cannot block each other.

    Args:
        limit: most calls at the same time.
        max_wait: seconds; a call that has waited so long fails. Default: only the deadline counts.

    Raises:
        ConfigurationError: a setting that cannot work.
        RateLimitError: from a call, when no place became free by the deadline or within `max_wait`; also at once when it
            never could, as a blocking call is made on a thread whose own tasks or open streams have all places.

    Example:
        >>> Concurrency(8)
        Concurrency(8)
    """

    rank: ClassVar[int] = 48

    def __init__(self, limit: int, *, max_wait: float | None = None) -> None:
        self.limit = whole("Concurrency", "limit", limit)
        self.max_wait = None if max_wait is None else positive("Concurrency", "max_wait", max_wait, zero=True)
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()  # held for a few steps, never while waiting
        self._taken = 0
        self._holders: Counter[int] = Counter()  # places by thread
        self._line: OrderedDict[_Waiter, None] = OrderedDict()  # if anybody is in it, all places are taken
        self._waiting: Counter[int] = Counter()  # those in line by thread

    def __call__(self, handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            if self in request.places or self in current_call().places:
                return await handler(runtime, request)
            thread = threading.get_ident()
            if not self._enter(thread):
                await self._queue(runtime, request, thread)
            try:
                return await handler(runtime, request.replace(places=(*request.places, self)))
            finally:
                self._leave(thread)

        return handle

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many calls wait for a place."""
        return len(self._line)

    def _enter(self, thread: int) -> bool:
        """Take a place if one is free."""
        if self._pid != os.getpid():
            self._reset()  # a fork: nobody of the parent's is here
        with self._lock:
            if self._taken >= self.limit:
                return False
            self._take(thread)
            return True

    async def _queue(self, runtime: Runtime, request: Request, thread: int) -> None:
        """Wait in line until a place is handed over."""
        started = runtime.now()
        latest = started + self.max_wait if self.max_wait is not None else math.inf
        latest = min(latest, math.inf if request.deadline is None else request.deadline)
        waiter = self._join(thread, blocking=isinstance(driver_of(runtime), BlockingRuntime), no_time=latest <= started)
        if waiter is None:
            return
        try:
            with waiting(runtime, request, "concurrency"):
                await _turn(runtime, waiter, latest)
        except BaseException:
            if not self._give_up(waiter):
                self._leave(thread)  # its place came just when it was cancelled: the next one's now
            raise
        if self._give_up(waiter):
            raise self._no_place(runtime.now() - started)

    def _join(self, thread: int, *, blocking: bool, no_time: bool) -> _Waiter | None:
        """Return a place in line; `None` if a place to go through has become free just now."""
        with self._lock:
            if self._taken < self.limit:
                self._take(thread)
                return None
            if no_time:
                raise self._no_place(0.0)
            if blocking and self._holders[thread] == self.limit:
                raise _never()
            waiter = _Waiter(thread)
            self._line[waiter] = None
            if blocking and self._waiting[thread]:
                # Tasks of the event loop on this thread are in line, and none of them can move before this call has.
                self._line.move_to_end(waiter, last=False)
            self._waiting[thread] += 1
            return waiter

    def _take(self, thread: int) -> None:
        self._taken += 1
        self._holders[thread] += 1

    def _leave(self, thread: int) -> None:
        """Give a place back: to the first in line."""
        if self._pid != os.getpid():
            return  # the place was the parent process's
        with self._lock:
            self._taken -= 1
            _count_down(self._holders, thread)
            if not self._line:
                return
            following, _ = self._line.popitem(last=False)
            _count_down(self._waiting, following.thread)
            self._take(following.thread)
        following.turn.set_result(None)

    def _give_up(self, waiter: _Waiter) -> bool:
        """Leave the line; return whether the waiter was still in it."""
        with self._lock:
            if waiter not in self._line:
                return False
            del self._line[waiter]
            _count_down(self._waiting, waiter.thread)
            return True

    def _no_place(self, waited: float) -> RateLimitError:
        return RateLimitError(
            f"All {self.limit} places for simultaneous calls were taken for the {waited:.1f} s that there was time to wait.",
            retryable=False,
        )

    def explain(self) -> str:
        """Say in words what it does."""
        longest = "" if self.max_wait is None else f", but no longer than {self.max_wait:g} s"
        return (
            f"Lets {self.limit} call{'s' if self.limit > 1 else ''} through at the same time; the others wait in the "
            f"order in which they came, as long as the deadline allows{longest}."
        )

    def __repr__(self) -> str:
        return f"Concurrency({self.limit}{'' if self.max_wait is None else f', max_wait={self.max_wait:g}'})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # the copy of an LLM asks the same endpoint

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "max_wait": self.max_wait}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()  # who has a place in another process has none here


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody in line; `turn` is kept when a place has been handed over."""

    thread: int
    turn: Promise[None] = field(default_factory=Promise)


async def _turn(runtime: Runtime, waiter: _Waiter, latest: float) -> None:
    """Wait until it is the waiter's turn, or the time is up."""
    try:
        await runtime.wait(waiter.turn, None if latest == math.inf else latest)
    except TimeoutError:
        return


def _count_down(counter: Counter[int], thread: int) -> None:
    counter[thread] -= 1
    if not counter[thread]:
        del counter[thread]


def _never() -> RateLimitError:
    return RateLimitError(
        "All places for simultaneous calls are held by tasks or open streams of this very thread, which this blocking call "
        "would keep from ever ending: use `await llm.acall()`, or read or close the stream first.",
        retryable=False,
    )
