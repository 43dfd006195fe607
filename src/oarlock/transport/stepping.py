"""Finish a client's coroutine in the calling thread, without an event loop of its own.

pyreqwest's coroutines wait for one thing only: their own worker thread, through `create_future` and
`call_soon_threadsafe` of the running loop. `_Stepper` is such a loop reduced to a lock. It makes a blocking wait that
ends at a timeout and at Ctrl-C, which the client's own blocking calls do not: they wait in native code.
"""

from __future__ import annotations

import _thread
from asyncio import _get_running_loop, _set_running_loop
from collections.abc import Coroutine, Iterator
from time import monotonic
from typing import Any, TypeVar

__all__ = ["finish"]

T = TypeVar("T")


class _Wakeup:
    """Stands for the future on which a coroutine waits; what is waited for is the stepper's lock."""

    __slots__ = ()

    def __iter__(self) -> Iterator[_Wakeup]:
        yield self


_WAKEUP = _Wakeup()


class _Stepper:
    """The two methods of an event loop that pyreqwest calls."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def create_future(self) -> _Wakeup:
        return _WAKEUP

    def call_soon_threadsafe(self, *_: object) -> None:
        """Called by the client's worker thread: there is news."""
        if self._lock.locked():
            self._lock.release()

    def wait_until(self, until: float | None) -> None:
        """Wait for news, at most until this time of the monotonic clock."""
        seconds = -1.0 if until is None else min(max(0.0, until - monotonic()), _thread.TIMEOUT_MAX)
        if not self._lock.acquire(timeout=seconds):
            raise TimeoutError


def finish(coroutine: Coroutine[Any, Any, T], timeout: float | None) -> T:
    """Run a coroutine of pyreqwest to its end in this thread.

    Raises:
        TimeoutError: it took longer than `timeout` seconds; the coroutine is closed, which gives up its request.
    """
    stepper: Any = _Stepper()
    outer = _get_running_loop()
    until: float | None = None
    try:
        while True:
            _set_running_loop(stepper)
            try:
                value = coroutine.send(None)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                _set_running_loop(outer)
            if value is None:  # woken while it ran: step again
                continue
            if until is None and timeout is not None:
                until = monotonic() + timeout
            stepper.wait_until(until)
    except BaseException:  # also KeyboardInterrupt in the wait: the request must not go on behind it
        coroutine.close()
        raise
