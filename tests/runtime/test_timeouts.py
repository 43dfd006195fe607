"""Deadlines on an event loop."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

from oarlock.runtime.aio import ASYNC
from oarlock.runtime.timeouts import until

LONG = 60.0


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def at_once() -> str:
    return "done"


def within(seconds: float, call: Any) -> Any:
    """Call something as the core does it, with a deadline."""
    return ASYNC.invoke(None, call, deadline=time.monotonic() + seconds)


def test_what_ends_in_time_gives_its_result() -> None:
    async def main() -> list[Any]:
        return [await within(LONG, at_once), await asyncio.gather(*(within(LONG, at_once) for _ in range(3)))]

    assert asyncio.run(main()) == ["done", ["done"] * 3]


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
def test_what_does_not_end_is_cancelled_at_its_deadline(seconds: float) -> None:
    async def main() -> int:
        with pytest.raises(TimeoutError) as caught:
            await within(seconds, never)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(main()) == 0


def test_what_fails_meanwhile_fails_as_it_does() -> None:
    async def fail() -> None:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        asyncio.run(within(LONG, fail))


def test_deadlines_ring_in_their_order_whenever_they_were_set() -> None:
    order: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        with pytest.raises(TimeoutError):
            await within(seconds, never)
        order.append(name)

    async def main() -> None:
        first = asyncio.create_task(wait("third", 0.06))
        await asyncio.sleep(0)
        await asyncio.gather(first, wait("first", 0.02), wait("second", 0.04))

    asyncio.run(main())
    assert order == ["first", "second", "third"]


def test_a_deadline_rings_among_many_that_are_over() -> None:
    async def main() -> None:
        waiting = asyncio.create_task(within(0.05, never))
        for _ in range(500):
            await within(LONG, at_once)
            await within(0.01, at_once)
        with pytest.raises(TimeoutError):
            await waiting
        with pytest.raises(TimeoutError):
            await within(0.01, never)

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [LONG, -1.0])
def test_whoever_else_cancels_the_task_is_obeyed(seconds: float) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(within(seconds, never))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_the_inner_of_two_deadlines_leaves_the_outer_one_standing() -> None:
    async def inner() -> str:
        with pytest.raises(TimeoutError):
            await within(0.01, never)
        return "went on"

    async def main() -> Any:
        return await within(LONG, inner)

    assert asyncio.run(main()) == "went on"


def test_there_is_no_deadline_without_a_task() -> None:
    async def main() -> None:
        failures: list[BaseException] = []

        def outside() -> None:
            try:
                with until(time.monotonic()):
                    pass
            except RuntimeError as error:
                failures.append(error)

        asyncio.get_running_loop().call_soon(outside)
        await asyncio.sleep(0)
        assert "needs a task" in str(failures)

    asyncio.run(main())


def test_an_event_loop_is_let_go_of_though_deadlines_were_set_on_it() -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(within(LONG, at_once))
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
