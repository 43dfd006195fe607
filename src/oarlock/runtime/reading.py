"""A run that is read while it goes on: what it tells waits for the reader, and it goes no further until that has been read.

Whatever the core tells (`tell`) is kept until the core next awaits its runtime; there it is handed over, item by item, and only
then does the core go on: the reader sets the pace. Jobs side by side run in threads or tasks of their own. What they tell goes
into the same short queue, which the run itself empties meanwhile; a job that finds it full waits where it next awaits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from oarlock.runtime.promise import Promise
from oarlock.runtime.protocol import Job, Runtime
from oarlock.runtime.streams import StreamLeft, hand_over
from oarlock.runtime.threads import ThreadPool

__all__ = ["ReadRuntime", "Started", "driver_of"]

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_ENOUGH = 64  # items that jobs side by side may be ahead of the reader, all together
_MOST = 10_000  # items that are kept at all: code that tells of things without awaiting anything cannot be held up


class Started(Protocol[R_co]):
    """A job that runs by itself."""

    def done(self) -> bool: ...
    def result(self) -> R_co: ...
    def add_done_callback(self, callback: Callable[[Any], object], /) -> object: ...


@runtime_checkable
class _Starting(Protocol):
    """A runtime whose jobs can go on by themselves while something else is done."""

    def start(self, job: Job[R]) -> Started[R]: ...
    def stop(self, jobs: list[Any]) -> None: ...
    async def settle(self, jobs: list[Any]) -> None: ...


class ReadRuntime(Generic[T]):
    """Another runtime, under which a run hands over what it tells.

    Args:
        inner: does the work.
        missed: makes an item that says how many were not kept.
    """

    def __init__(self, inner: Runtime, missed: Callable[[int], T]) -> None:
        self.driver = driver_of(inner)
        self._inner = inner
        self._missed = missed
        self._items: deque[T] = deque()
        self._lost = 0
        self._lock = threading.Lock()
        self._held_up: list[Promise[None]] = []  # jobs that wait for the reader
        self._bell: Promise[None] | None = None  # the run waits for news of its jobs
        self._emptying = False  # the run takes items while its jobs go on
        self._left = False  # the reader has left, or the run was cancelled
        self.now, self.time, self.random, self.new_id = inner.now, inner.time, inner.random, inner.new_id

    def tell(self, item: T) -> None:
        """Keep an item for the reader. Any thread may call this; it never waits."""
        if len(self._items) >= _MOST:
            with self._lock:
                self._lost += 1
            return
        if self._left:
            return
        self._items.append(item)
        if self._bell is not None:  # looked at after the item was added: the run looks at both the other way round
            self._ring()

    async def give_way(self) -> None:
        """Let the reader have what was told so far; return once they want more.

        Raises:
            StreamLeft: this is a job beside others, and there is no reader any more.
        """
        if _beside.get() is self:
            await self._fall_in()
            return
        while self._items and not self._left:
            item = self._take()
            try:
                await hand_over(item)
            except BaseException:
                self._leave()
                raise

    async def sleep(self, seconds: float) -> None:
        await self.give_way()
        await self._noting(self._inner.sleep(seconds))

    async def invoke(
        self,
        sync: Callable[..., Any] | None,
        async_: Callable[..., Awaitable[Any]] | None,
        *args: Any,
        deadline: float | None = None,
        pool: ThreadPool | None = None,
    ) -> Any:
        if _beside.get() is not self:  # a job that was left closes what it has open this way: it must go through
            await self.give_way()
        return await self._noting(self._inner.invoke(sync, async_, *args, deadline=deadline, pool=pool))

    async def wait(self, promise: Promise[R], deadline: float | None = None) -> R:
        await self.give_way()
        result: R = await self._noting(self._inner.wait(promise, deadline))
        return result

    async def step(self, kind: str, name: str, job: Job[R], key: str = "", on_resume: str = "retry") -> R:
        await self.give_way()
        result: R = await self._noting(self._inner.step(kind, name, job, key, on_resume))
        await self.give_way()
        return result

    async def gather(self, *jobs: Job[R]) -> list[R]:
        if len(jobs) < 2:
            return [await job() for job in jobs]
        apart = [_Beside(self, job) for job in jobs]
        if _beside.get() is self or not isinstance(self._inner, _Starting):
            return await self._noting(self._inner.gather(*apart))  # type: ignore[no-any-return]
        return await self._beside_reading(self._inner, apart)

    async def _beside_reading(self, inner: _Starting, jobs: list[_Beside[R]]) -> list[R]:
        """Run jobs side by side, and hand over meanwhile what they tell."""
        self._emptying = True
        started = [inner.start(job) for job in jobs]
        for one in started:
            one.add_done_callback(self._ring)
        try:
            while True:
                over = await self._news(started)
                await self.give_way()
                if over:
                    return [one.result() for one in started]
        except GeneratorExit:  # the stream was dropped: nothing may be awaited any more
            self._leave()
            inner.stop(started)
            raise
        except (KeyboardInterrupt, SystemExit):  # whoever presses Ctrl-C does not want to wait
            self._leave()
            raise
        except BaseException:
            self._leave_unless_over(started)
            inner.stop(started)
            await inner.settle(started)
            raise
        finally:
            self._emptying = False

    async def _news(self, started: list[Started[Any]]) -> bool:
        """Wait until there is something to hand over, or all jobs are over; return whether they are."""
        self._bell = bell = Promise[None]()
        over = all(one.done() for one in started)
        if over or self._items:
            self._bell = None
            return over
        await self._inner.wait(bell)
        return False

    def _ring(self, _: object = None) -> None:
        with self._lock:
            bell, self._bell = self._bell, None
        if bell is not None:
            bell.set_result(None)

    def _take(self) -> T:
        item = self._items.popleft()
        if self._lost and not self._items:
            with self._lock:
                lost, self._lost = self._lost, 0
            self._items.append(self._missed(lost))
        if self._held_up and len(self._items) <= _ENOUGH // 2:
            self._wake()
        return item

    async def _fall_in(self) -> None:
        """Wait, as a job beside others, until the reader has nearly caught up."""
        while True:
            with self._lock:
                if self._left:
                    raise StreamLeft
                if len(self._items) < _ENOUGH or not self._emptying:
                    return
                turn = Promise[None]()
                self._held_up.append(turn)
            # Looked at after getting in line: whoever takes an item looks the other way round, so one of the two sees it.
            if len(self._items) <= _ENOUGH // 2:
                self._wake()
            await self._inner.wait(turn)

    def _leave(self) -> None:
        """Hand over nothing more, and end the jobs that wait for the reader."""
        with self._lock:
            self._left = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            woken, self._held_up = self._held_up, []
        for turn in woken:
            turn.set_result(None)

    def _leave_unless_over(self, started: list[Started[Any]]) -> None:
        if not all(one.done() for one in started):
            self._leave()

    async def _noting(self, work: Awaitable[Any]) -> Any:
        """Await; whoever is cancelled or interrupted there hands over nothing more while it ends."""
        try:
            return await work
        except Exception:
            raise
        except BaseException:
            self._leave()
            raise


class _Beside(Generic[R]):
    """A job that runs beside others of a run."""

    __slots__ = ("_job", "_runtime")

    def __init__(self, runtime: ReadRuntime[Any], job: Job[R]) -> None:
        self._runtime = runtime
        self._job = job

    async def __call__(self) -> R:
        token = _beside.set(self._runtime)  # in the context of its own thread or task
        try:
            return await self._job()
        finally:
            _beside.reset(token)


_beside: ContextVar[ReadRuntime[Any] | None] = ContextVar("oarlock_beside", default=None)


def driver_of(runtime: Runtime) -> Runtime:
    """Return the runtime that does the work for this one: mostly itself. Two that have one driver share thread and loop."""
    driver: Runtime = getattr(runtime, "driver", runtime)
    return driver
