"""A runtime on a virtual clock: an hour of waiting passes in a millisecond, the same way every time."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from typing import Any, Self, TypeVar

from oarlock.runtime import Job, Promise, ThreadPool
from oarlock.runtime.ambient import use_runtime
from oarlock.testing._strands import DeadlockError, Scheduler, Strand, current_strand

__all__ = ["DeadlockError", "VirtualRuntime"]

T = TypeVar("T")

EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z: what `time()` says when `now()` says 0


class VirtualRuntime:
    """Runs everything on a virtual clock, without waiting, and the same way every time.

    As a context manager it takes the place of the ordinary runtimes: `call()` and `await acall()`, `kickoff()` and
    `await akickoff()` use it alike, and a coroutine door comes to its end without giving way to the event loop.

    Only the runtime's own time is virtual: `time.sleep` or `asyncio.sleep` in a user's `call()` really waits (a fake
    `call()` lets time pass with `advance`). An `async`-only form runs on an event loop of its own, for that one call.
    A call that overran its deadline has run to its end before `TimeoutError` is raised: nothing is abandoned.
    The jobs of a `gather` take turns: the earliest wake time first, equal times in order of arrival.

    Args:
        seed: of `random()`.
        start: what `now()` says at first, in seconds; `time()` says 2026-01-01T00:00:00Z plus that.

    Attributes:
        slept: the seconds of each sleep, in the order in which the sleeps began.

    Example:
        >>> from oarlock.testing import ScriptedLLM, VirtualRuntime
        >>> with VirtualRuntime() as runtime:
        ...     ScriptedLLM(["Hello"], latency=3600).call("Hi"), runtime.now()
        ('Hello', 3600.0)
    """

    def __init__(self, seed: int = 0, start: float = 0.0) -> None:
        self.slept: list[float] = []
        self._now = float(start)
        self._random = random.Random(seed)  # noqa: S311  not a secret
        self._ids = 0
        self._lock = threading.Lock()
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        self._entered.enter_context(use_runtime(self))
        return self

    def __exit__(self, *exc: object) -> None:
        self._entered.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Drive a coroutine of the core, or of one of the library's `async` doors, to its end.

        Raises:
            RuntimeError: it awaits something else than its runtime.
        """
        with use_runtime(self):
            try:
                work.send(None)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            work.close()
        raise RuntimeError("A virtual run was suspended: some code awaits something else than its runtime.")

    def advance(self, seconds: float) -> None:
        """Let virtual time pass in blocking code, such as a fake `call()`; other jobs run meanwhile."""
        strand = self._strand()
        if strand is None:
            self._now += max(0.0, seconds)
        else:
            strand.scheduler.sleep(strand, self._now + max(0.0, seconds))

    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return EPOCH + self._now

    def random(self) -> float:
        return self._random.random()

    def new_id(self) -> str:
        with self._lock:
            self._ids += 1
            return f"{self._ids:032x}"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    async def invoke(
        self,
        sync: Callable[..., Any] | None,
        async_: Callable[..., Awaitable[Any]] | None,
        *args: Any,
        deadline: float | None = None,
        pool: ThreadPool | None = None,
    ) -> Any:
        if sync is not None:
            result = sync(*args)
        else:
            assert async_ is not None, "nothing to call"
            result = _on_own_loop(async_, args)
        if deadline is not None and self._now > deadline:
            raise TimeoutError(f"The call ended {self._now - deadline:g} s after its deadline.")
        return result

    async def wait(self, promise: Promise[T], deadline: float | None = None) -> T:
        if not promise.done():
            self._wait(promise, deadline)
        if not promise.done():
            raise TimeoutError("The result did not come before the deadline.")
        return promise.result()

    def _wait(self, promise: Promise[Any], deadline: float | None) -> None:
        strand = self._strand()
        if strand is not None:
            strand.scheduler.wait(strand, promise, deadline)
        elif deadline is None:
            raise DeadlockError("Waiting for a result that nobody is left to give: there is no other job.")
        else:
            self._set_clock(deadline)

    async def gather(self, *jobs: Job[T]) -> list[T]:
        if len(jobs) < 2:
            return [await job() for job in jobs]
        work = [lambda job=job: self.run(_whole(job)) for job in jobs]
        strand = self._strand()
        if strand is None:
            outcomes = Scheduler(self, self.now, self._set_clock).run_all(work)
        else:
            outcomes = strand.scheduler.run_nested(strand, work)
        return [outcome.result() for outcome in outcomes]

    async def step(self, kind: str, name: str, job: Job[T], key: str = "", on_resume: str = "retry") -> T:
        return await job()

    def _strand(self) -> Strand | None:
        strand = current_strand()
        return strand if strand is not None and strand.scheduler.owner is self else None

    def _set_clock(self, now: float) -> None:
        self._now = max(self._now, now)


async def _whole(job: Job[T]) -> T:
    return await job()


def _on_own_loop(call: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run_loop(call, args)
    return ThreadPool(1, "oarlock-virtual").submit(_run_loop, call, args).result()  # one loop a thread


def _run_loop(call: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
    async def whole() -> Any:
        return await call(*args)

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # leaves the thread's own loop setting alone
        return runner.run(whole())
