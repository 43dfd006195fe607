"""`asyncio.timeout` at a fifth of its cost, for the deadline that lies around every call."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from heapq import heapify, heappop, heappush
from types import TracebackType
from weakref import WeakKeyDictionary

__all__ = ["until", "within"]

_FEW = 64  # entries of calls that are over, with which a loop's alarm may always live


class until:  # noqa: N801  used like a function
    """Run a block of a task until a deadline and no longer: `with until(deadline): await work()`.

    At the deadline, a `time.monotonic()`, the task is cancelled in the block, which then ends with `TimeoutError`. Whoever
    else cancels the task meanwhile is obeyed.
    """

    __slots__ = ("_alarm", "_cancelling", "_deadline", "_rang", "_task")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._rang = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task that can be cancelled")
        self._cancelling = task.cancelling()
        alarm = _alarms.get(loop)
        if alarm is None:
            alarm = _alarms[loop] = _Alarm()
        self._alarm = alarm
        alarm.set(loop, self._deadline, self)

    def ring(self) -> None:
        """Cancel the task: the time of the block is up."""
        assert self._task is not None
        self._rang = True
        self._task.cancel()

    @property
    def over(self) -> bool:
        """Whether the block has ended."""
        return self._task is None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        task, self._task = self._task, None
        if not self._rang:
            self._alarm.one_over()
        elif task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


def within(seconds: float | None) -> AbstractContextManager[None]:
    """Run a block of a task for so many seconds and no longer; see `until`. `None` is no limit."""
    return nullcontext() if seconds is None else until(time.monotonic() + seconds)


class _Alarm:
    """The deadlines of one event loop, of which the loop itself knows the soonest only.

    A timer for each costs more than all else here, though nearly none ever rings: a loop keeps those that were cancelled until
    they are half of all it has, and compares them in Python. It refers to no timer either, for that refers to its loop.
    """

    __slots__ = ("_count", "_deadlines", "_over", "_rings_at")

    def __init__(self) -> None:
        self._deadlines: list[tuple[float, int, until]] = []
        self._count = itertools.count()  # so that of two equal deadlines no blocks are compared
        self._over = 0  # how many of them are of no use any more
        self._rings_at = math.inf

    def set(self, loop: asyncio.AbstractEventLoop, deadline: float, block: until) -> None:
        """Ring at the deadline."""
        heappush(self._deadlines, (deadline, next(self._count), block))
        if deadline < self._rings_at:
            self._ring_at(loop, deadline)

    def one_over(self) -> None:
        """Take note that a block has ended before its deadline."""
        self._over += 1
        if self._over > _FEW and 2 * self._over > len(self._deadlines):
            self._deadlines = [entry for entry in self._deadlines if not entry[2].over]
            heapify(self._deadlines)
            self._over = 0

    def _ring_at(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._rings_at = when
        # In a context of its own: the timer outlives the call that sets it, and must not keep alive what that one knew.
        loop.call_later(when - time.monotonic(), self._ring, loop, when, context=Context())

    def _ring(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        deadlines, now = self._deadlines, max(when, time.monotonic())  # a loop may be early, by its clock's resolution
        while deadlines and (deadlines[0][0] <= now or deadlines[0][2].over):
            block = heappop(deadlines)[2]
            if block.over:
                self._over -= 1
            else:
                block.ring()
        if self._rings_at <= now:
            self._rings_at = math.inf
        if deadlines and deadlines[0][0] < self._rings_at:
            self._ring_at(loop, deadlines[0][0])


_alarms: WeakKeyDictionary[asyncio.AbstractEventLoop, _Alarm] = WeakKeyDictionary()  # a loop has one for life
