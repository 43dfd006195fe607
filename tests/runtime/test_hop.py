"""From an event loop into a thread and back."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from oarlock.runtime import ThreadPool
from oarlock.runtime.hop import run_in_thread

LIMIT = 10
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_many_at_once_each_get_their_own_outcome() -> None:
    pool = ThreadPool(8)

    def half(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number // 2

    futures = [run_in_thread(pool, half, (number,)) for number in range(1000)]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        assert (outcome.args if isinstance(outcome, ValueError) else outcome) == (
            (number,) if number % 2 else number // 2
        )


async def test_blocking_work_gets_as_many_threads_as_there_are() -> None:
    pool = ThreadPool(20)
    all_here = threading.Barrier(20)
    await asyncio.gather(*(run_in_thread(pool, all_here.wait, (LIMIT,)) for _ in range(20)))


async def test_the_context_is_seen_and_not_changed() -> None:
    variable.set("mine")

    def look() -> str:
        seen = variable.get()
        variable.set("theirs")
        return seen

    assert await run_in_thread(ThreadPool(1), look, ()) == "mine"
    assert variable.get() == "mine"


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), KeyboardInterrupt()])
async def test_whatever_is_raised_reaches_who_waits(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await _seen(run_in_thread(ThreadPool(1), fail, ()))


async def _seen(future: asyncio.Future[Any]) -> Any:
    """Take the outcome without letting asyncio throw it into a task: a `SystemExit` there would end the loop."""
    await asyncio.wait([future])
    error = future.exception()
    if error is not None:
        raise error
    return future.result()


async def test_a_stop_iteration_becomes_another_error() -> None:
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await run_in_thread(ThreadPool(1), next, (iter(()),))
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_what_is_cancelled_while_it_queues_never_begins() -> None:
    pool = ThreadPool(1)
    go = threading.Event()
    begun: list[int] = []
    busy = run_in_thread(pool, go.wait, (LIMIT,))
    queued = [run_in_thread(pool, begun.append, (number,)) for number in range(3)]
    queued[1].cancel()
    go.set()
    await asyncio.gather(busy, *queued, return_exceptions=True)
    assert begun == [0, 2]


async def test_the_outcome_of_what_is_cancelled_while_it_runs_is_dropped() -> None:
    pool = ThreadPool(1)
    running, go = threading.Event(), threading.Event()

    def work() -> bool:
        running.set()
        return go.wait(LIMIT)

    future = run_in_thread(pool, work, ())
    await asyncio.to_thread(running.wait, LIMIT)
    future.cancel()
    go.set()
    assert await run_in_thread(pool, int, ()) == 0  # comes after it, by the same thread
    assert future.cancelled()


def test_a_loop_that_has_closed_is_not_told() -> None:
    pool = ThreadPool(1)
    go = threading.Event()

    async def leave_something_behind() -> None:
        future = run_in_thread(pool, go.wait, (LIMIT,))
        future.cancel()
        run_in_thread(pool, go.wait, (LIMIT,))

    asyncio.run(leave_something_behind())
    go.set()
    assert pool.submit(lambda: "goes on").result(LIMIT) == "goes on"


def test_loops_in_several_threads_share_a_pool() -> None:
    pool = ThreadPool(4)

    async def sums() -> int:
        return sum(await asyncio.gather(*(run_in_thread(pool, abs, (-1,)) for _ in range(200))))

    def in_a_loop(results: list[int]) -> None:
        results.append(asyncio.run(sums()))

    results: list[int] = []
    threads = [threading.Thread(target=in_a_loop, args=(results,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert results == [200] * 4
