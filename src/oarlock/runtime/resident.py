"""Something `async` that lives between calls, such as a connection, on an event loop of its own."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

from oarlock.runtime.portal import Portal
from oarlock.runtime.timeouts import within

__all__ = ["Resident", "ResidentGoneError"]

T = TypeVar("T")
R = TypeVar("R")

_SHUT_SECONDS = 10.0  # for leaving; a program that has to be killed takes up to 6.5
_GRACE = 1.0  # seconds by which a blocking caller waits longer than the loop, whose own limit says more


class ResidentGoneError(Exception):
    """It ended while it was used, or was closed; the cause says why, where it is known."""


class Resident(Generic[T]):
    """An async context manager that is entered when first used, and left by `close`, on a loop in a daemon thread.

    Callers of any colour use it, from any thread and any event loop, while one and the same task holds it: what keeps
    tasks and programs of its own may be left only by the task that entered it. What has ended by itself is entered anew
    by the next call. A fork starts afresh; the end of the interpreter closes it.

    Args:
        make: returns the context manager; called in the context of the caller for whom it is entered, which it does not see
            later, since it outlives that.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._life: _Life[T] | None = None

    @property
    def alive(self) -> bool:
        """Whether it is entered, or being entered."""
        life = self._life
        return life is not None and not life.over

    def use(self, call: Callable[[T], Awaitable[R]], seconds: float | None) -> R:
        """Return what `call` gives, blocking; enter first if need be.

        Raises:
            TimeoutError: it took longer than that.
            ResidentGoneError: it ended meanwhile.
            Exception: whatever entering it, or the call, raised.
        """
        future = self._submit(call, seconds)
        try:
            return future.result(None if seconds is None else seconds + _GRACE)
        except BaseException:
            future.cancel()  # nothing, if it is what the future raised
            raise

    async def ause(self, call: Callable[[T], Awaitable[R]], seconds: float | None) -> R:
        """Return what `call` gives, from a coroutine on any loop; the same as `use`."""
        return await asyncio.wrap_future(self._submit(call, seconds))

    def _submit(self, call: Callable[[T], Awaitable[R]], seconds: float | None) -> Future[R]:
        life = self._begin()
        return life.portal.submit(life.call, (call, seconds))

    def _begin(self) -> _Life[T]:
        with self._lock:
            life = self._life
            if life is None or life.over:
                life = self._life = _Life()
                contextvars.Context().run(life.begin, self._make())  # it shall not keep what this caller serves
            return life

    def retire(self) -> None:
        """Leave it in the background; the next call enters it anew."""
        with self._lock:
            life, self._life = self._life, None
        if life is not None and not life.over:
            life.stop()

    def close(self) -> None:
        """Leave it, blocking, for at most ten seconds; safe to call twice."""
        life = self._life
        if life is not None and not life.over:
            life.stop()
            life.wait()

    async def aclose(self) -> None:
        """Leave it; the same as `close`."""
        life = self._life
        if life is not None and not life.over:
            life.stop()
            await asyncio.wait([asyncio.wrap_future(life.ended)], timeout=_SHUT_SECONDS)

    def __del__(self) -> None:
        life = self._life
        if life is not None and not life.over:
            life.stop()


class _Life(Generic[T]):
    """From entering to leaving. What is `async` here, and `_leave`, runs on the loop."""

    _opened: asyncio.Future[T]
    _over: asyncio.Future[None]

    def __init__(self) -> None:
        self.portal = _HOME.portal()
        self.pid = os.getpid()
        self.ended: Future[None] = Future()
        self._holder: asyncio.Task[None] | None = None
        self._staying: asyncio.Future[None] | None = None
        self._stopped = False

    @property
    def over(self) -> bool:
        """Whether it has ended, or belongs to the process that this one was forked from."""
        return self.ended.done() or self.pid != os.getpid()

    def begin(self, manager: AbstractAsyncContextManager[T]) -> None:
        """Start to enter it."""
        atexit.register(self._at_exit)
        self.portal.submit(self._hold, (manager,))

    async def _hold(self, manager: AbstractAsyncContextManager[T]) -> None:
        loop = asyncio.get_running_loop()
        self._opened, self._over = loop.create_future(), loop.create_future()
        self._holder = asyncio.current_task()
        failure: BaseException | None = None
        try:
            if not self._stopped:
                async with manager as it:
                    self._staying = loop.create_future()
                    self._opened.set_result(it)
                    await self._staying  # until `_leave`, or until what was entered cancels its holder
        except BaseException as error:  # noqa: BLE001  whatever it is belongs to whoever waits for it
            failure = error
        if not self._opened.done():
            self._opened.set_exception(_gone(failure))
            self._opened.exception()  # counts as seen: nobody may be waiting
        self._over.set_result(None)
        self.ended.set_result(None)
        atexit.unregister(self._at_exit)

    async def call(self, call: Callable[[T], Awaitable[R]], seconds: float | None) -> R:
        """Return what the call gives, unless it all ends before."""
        until = None if seconds is None else time.monotonic() + seconds
        it = await self._unless_over(self._opened, until)
        work = asyncio.ensure_future(call(it))
        try:
            result: R = await self._unless_over(work, until)
        finally:
            work.cancel()
        return result

    async def _unless_over(self, wanted: asyncio.Future[Any], until: float | None) -> Any:
        """Return the wanted result, if it comes before the end and in time."""
        seconds = None if until is None else max(0.0, until - time.monotonic())
        # Not by wait's own timeout: its timer, cancelled or not, would keep the caller's context alive.
        with suppress(TimeoutError), within(seconds):
            await asyncio.wait([wanted, self._over], return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done() and self._over.done():
            await asyncio.wait([wanted], timeout=_GRACE)  # the end lets it fail, too, and its own words say more
        if wanted.done():
            return wanted.result()
        raise _gone(None) if self._over.done() else TimeoutError

    def stop(self) -> None:
        """Ask it to end; called by any thread."""
        self._stopped = True
        self.portal.loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        if self._staying is not None:
            if not self._staying.done():
                self._staying.set_result(None)
        elif self._holder is not None:
            self._holder.cancel()

    def wait(self) -> None:
        """Wait, blocking, until it has ended, for at most ten seconds."""
        with contextlib.suppress(TimeoutError):
            self.ended.result(_SHUT_SECONDS)

    def _at_exit(self) -> None:
        if not self.over:
            self.stop()
            self.wait()


def _gone(cause: BaseException | None) -> BaseException:
    return cause if isinstance(cause, Exception) else ResidentGoneError("it has ended")


class _Home:
    """The loop that all residents share: made once for each process, never ended."""

    def __init__(self) -> None:
        self._portal: Portal | None = None
        self._empty()

    def portal(self) -> Portal:
        """Return it."""
        if self._pid != os.getpid():
            self._empty()
        with self._lock:
            if self._portal is None:
                self._portal = Portal(0)
            return self._portal

    def _empty(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._portal = None


_HOME = _Home()
