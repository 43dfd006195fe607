"""The core without an event loop: no method ever suspends, so a coroutine ends on its first `send(None)`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import wait as wait_all
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from oarlock.runtime.clock import SystemClock
from oarlock.runtime.promise import Promise
from oarlock.runtime.protocol import Job
from oarlock.runtime.threads import ThreadPool

if TYPE_CHECKING:
    from oarlock.runtime.portal import Portals

T = TypeVar("T")


class BlockingRuntime(SystemClock):
    """Drives the core in the caller's own thread; works inside a running event loop too.

    Other threads serve in three cases only: jobs side by side, a call that has a deadline but can hang, and code that
    exists only as `async def`.
    """

    def __init__(self) -> None:
        self._threads = ThreadPool(name="oarlock-side")

    @cached_property
    def _portals(self) -> Portals:
        from oarlock.runtime.portal import Portals  # brings asyncio, which a purely blocking program never needs

        return Portals()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Drive a coroutine of the core to its end, here and now."""
        if "_portals" not in self.__dict__:
            return _ended(work)
        with self._portals.passing_over_own():
            return _ended(work)

    async def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))  # noqa: ASYNC251  this is the blocking colour

    async def invoke(
        self,
        sync: Callable[..., Any] | None,
        async_: Callable[..., Awaitable[Any]] | None,
        *args: Any,
        deadline: float | None = None,
        pool: ThreadPool | None = None,
    ) -> Any:
        if sync is None:
            assert async_ is not None, "nothing to call"
            return self._through_portal(async_, args, deadline)
        if deadline is None or pool is None:
            return sync(*args)
        with self._waiting():
            return _result(self._threads.submit(sync, *args), deadline)

    def _through_portal(
        self, async_: Callable[..., Awaitable[Any]], args: tuple[Any, ...], deadline: float | None
    ) -> Any:
        with self._portals.passing_over_own():
            return _result(self._portals.submit(async_, args), deadline)

    def _waiting(self) -> AbstractContextManager[None]:
        """Mark blocking work: if it is on a portal's thread, whatever it leads to needs another portal."""
        return self._portals.passing_over_own() if "_portals" in self.__dict__ else nullcontext()

    async def wait(self, promise: Promise[T], deadline: float | None = None) -> T:
        with self._waiting():
            return _result(promise, deadline, give_up=False)

    async def gather(self, *jobs: Job[T]) -> list[T]:
        if len(jobs) < 2:
            return [await job() for job in jobs]
        with self._waiting():
            futures = [self._threads.submit(self._drive, job) for job in jobs]
            wait_all(futures)
        return [future.result() for future in futures]

    def start(self, job: Job[T]) -> Future[T]:
        """Run a job in a thread of its own."""
        return self._threads.submit(self._drive, job)

    def stop(self, jobs: list[Future[Any]]) -> None:
        """Wait for jobs that nobody wants any more: a thread cannot be stopped."""
        with self._waiting():
            wait_all(jobs)

    async def settle(self, jobs: list[Future[Any]]) -> None:
        """Do nothing: they have ended."""

    def _drive(self, job: Job[T]) -> T:
        async def whole() -> T:
            return await job()

        return self.run(whole())

    async def step(self, kind: str, name: str, job: Job[T], key: str = "", on_resume: str = "retry") -> T:
        return await job()


def _ended(work: Coroutine[Any, Any, T]) -> T:
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("A blocking run was suspended: some code awaits something else than its runtime.")


def _result(future: Future[T], deadline: float | None, *, give_up: bool = True) -> T:
    """Wait for a future; past the deadline abandon it (a thread that hangs goes on, but nobody waits for it)."""
    try:
        return future.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except BaseException:
        if give_up and not future.done():
            future.cancel()
        raise


BLOCKING = BlockingRuntime()
