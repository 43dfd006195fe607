"""The core on the caller's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from oarlock.runtime.clock import SystemClock
from oarlock.runtime.hop import run_in_thread
from oarlock.runtime.promise import Promise
from oarlock.runtime.protocol import Job
from oarlock.runtime.threads import ThreadPool
from oarlock.runtime.timeouts import until

T = TypeVar("T")


class AsyncRuntime(SystemClock):
    """Drives the core on asyncio; blocking code from outside runs in threads, so the loop never stands still."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def invoke(
        self,
        sync: Callable[..., Any] | None,
        async_: Callable[..., Awaitable[Any]] | None,
        *args: Any,
        deadline: float | None = None,
        pool: ThreadPool | None = None,
    ) -> Awaitable[Any]:
        # No coroutine where the awaitable itself will do: each frame that waits costs memory and the collector's time.
        if async_ is not None:
            return async_(*args) if deadline is None else _within(deadline, async_, *args)
        assert sync is not None, "nothing to call"
        if pool is None:
            return _in_place(sync, *args)
        return _in_thread(pool, sync, args) if deadline is None else _within(deadline, run_in_thread, pool, sync, args)

    async def wait(self, promise: Promise[T], deadline: float | None = None) -> T:
        waiting = asyncio.shield(asyncio.wrap_future(promise))
        if deadline is None:
            return await waiting
        with until(deadline):
            return await waiting

    async def gather(self, *jobs: Job[T]) -> list[T]:
        if len(jobs) < 2:
            return [await job() for job in jobs]
        tasks = [asyncio.ensure_future(job()) for job in jobs]
        try:
            await asyncio.wait(tasks)
        except BaseException:  # cancelled: nothing may go on unseen
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise
        for task in tasks:
            if not task.cancelled():
                task.exception()  # counts as seen: only the first failure is raised, and asyncio logs no other
        return [task.result() for task in tasks]

    def start(self, job: Job[T]) -> asyncio.Future[T]:
        """Run a job in a task of its own."""
        return asyncio.ensure_future(job())

    def stop(self, jobs: list[asyncio.Future[Any]]) -> None:
        """Cancel jobs that nobody wants any more."""
        for job in jobs:
            with suppress(RuntimeError):  # its event loop has closed over it
                job.cancel()

    async def settle(self, jobs: list[asyncio.Future[Any]]) -> None:
        """Wait for them to end, however they do."""
        await asyncio.wait(jobs)
        for job in jobs:
            if not job.cancelled():
                job.exception()  # counts as seen, so that asyncio does not log it

    def step(self, kind: str, name: str, job: Job[T], key: str = "", on_resume: str = "retry") -> Awaitable[T]:
        return job()


async def _within(deadline: float, call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    with until(deadline):
        return await call(*args)


async def _in_thread(pool: ThreadPool, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return await run_in_thread(pool, call, args)


async def _in_place(call: Callable[..., Any], *args: Any) -> Any:
    return call(*args)


ASYNC = AsyncRuntime()
