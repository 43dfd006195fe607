"""A runtime that is read: what is told comes before what is awaited, and jobs beside others wait for their reader."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from oarlock.runtime import Promise, ReadRuntime, ThreadPool, driver_of
from oarlock.runtime.aio import ASYNC
from oarlock.runtime.blocking import BLOCKING
from oarlock.runtime.streams import AsyncStream, Stream
from oarlock.testing import VirtualRuntime

Work = Callable[[ReadRuntime[Any]], Coroutine[Any, Any, Any]]


@pytest.fixture(params=["blocking", "async"])
def read(request: pytest.FixtureRequest) -> Callable[[Work], list[Any]]:
    def blocking(work: Work) -> list[Any]:
        runtime = ReadRuntime[Any](BLOCKING, lambda count: f"{count} missed")
        return list(Stream(lambda: work(runtime), own_context=True))

    async def awaited(work: Work) -> list[Any]:
        runtime = ReadRuntime[Any](ASYNC, lambda count: f"{count} missed")
        return [item async for item in AsyncStream(lambda: work(runtime), own_context=True)]

    return blocking if request.param == "blocking" else lambda work: asyncio.run(awaited(work))


def test_each_way_of_awaiting_hands_over(read: Callable[[Work], list[Any]]) -> None:
    pool = ThreadPool(1)
    log: list[str] = []

    async def job() -> str:
        log.append("step")
        return "ok"

    async def work(runtime: ReadRuntime[Any]) -> str:
        done = Promise[int]()
        done.set_result(1)
        for number, wait in enumerate(
            [
                lambda: runtime.sleep(0),
                lambda: runtime.invoke(log.append, None, "invoke", pool=pool),
                lambda: runtime.wait(done),
                lambda: runtime.step("kind", "name", job),
                runtime.give_way,
            ]
        ):
            runtime.tell(number)
            runtime.tell(number + 10)
            await wait()
        return "whole"

    assert read(work) == [0, 10, 1, 11, 2, 12, 3, 13, 4, 14]
    assert log == ["invoke", "step"]


def test_jobs_side_by_side(read: Callable[[Work], list[Any]]) -> None:
    async def job(runtime: ReadRuntime[Any], number: int) -> int:
        for piece in range(100):
            runtime.tell((number, piece))
            await runtime.give_way()
        return number

    async def nested(runtime: ReadRuntime[Any]) -> int:
        return sum(await runtime.gather(*[lambda n=n: job(runtime, n) for n in (10, 20)]))

    results: list[Any] = []

    async def work(runtime: ReadRuntime[Any]) -> str:
        runtime.tell("first")
        results.append(await runtime.gather(lambda: job(runtime, 1), lambda: nested(runtime), lambda: job(runtime, 2)))
        results.append(await runtime.gather(lambda: job(runtime, 3)))
        results.append(await runtime.gather())
        return "whole"

    items = read(work)
    assert results == [[1, 30, 2], [3], []]
    assert items[0] == "first"
    assert sorted(items[1:401]) == sorted((n, piece) for n in (1, 2, 10, 20) for piece in range(100))
    for number in (1, 2, 3, 10, 20):
        assert [piece for n, piece in items[1:] if n == number] == list(range(100))


def test_jobs_that_tell_nothing(read: Callable[[Work], list[Any]]) -> None:
    async def quiet() -> int:
        return 1

    async def work(runtime: ReadRuntime[Any]) -> str:
        assert await runtime.gather(quiet, quiet) == [1, 1]
        return "whole"

    assert read(work) == []


def test_the_first_failure_is_raised_once_all_have_ended(read: Callable[[Work], list[Any]]) -> None:
    first_failed = Promise[None]()

    async def fails() -> None:
        first_failed.set_result(None)
        raise KeyError("first")

    async def work(runtime: ReadRuntime[Any]) -> str:
        async def later() -> None:
            await runtime.wait(first_failed)
            runtime.tell("still here")

        with pytest.raises(KeyError, match="first"):
            await runtime.gather(fails, later)
        runtime.tell("goes on")
        await runtime.give_way()
        return "whole"

    assert read(work) == ["still here", "goes on"]


def test_what_is_closed_on_leaving_is_closed(read: Callable[[Work], list[Any]]) -> None:
    """A job that is told that its reader has left may still call out to close what it has open."""
    log: list[str] = []
    lock = threading.Lock()

    def close() -> None:
        with lock:
            log.append("closed")

    async def work(runtime: ReadRuntime[Any]) -> str:
        async def job() -> None:
            try:
                while True:
                    runtime.tell("piece")
                    await runtime.give_way()
            finally:
                await runtime.invoke(close, None)

        await runtime.gather(job, job)
        return "whole"

    with Stream(lambda: work(ReadRuntime[Any](BLOCKING, str)), own_context=True) as stream:
        for _ in range(100):
            next(stream)
    assert log == ["closed"] * 2
    log.clear()

    async def awaited() -> None:
        async with AsyncStream(lambda: work(ReadRuntime[Any](ASYNC, str)), own_context=True) as again:
            for _ in range(100):
                await anext(again)

    asyncio.run(awaited())
    assert log == ["closed"] * 2


def test_after_leaving_nothing_is_handed_over(read: Callable[[Work], list[Any]]) -> None:
    async def work(runtime: ReadRuntime[Any]) -> str:
        try:
            runtime.tell(1)
            await runtime.sleep(0)
        finally:
            runtime.tell(2)
            await runtime.sleep(0)
        return "whole"

    with Stream(lambda: work(ReadRuntime[Any](BLOCKING, str))) as stream:
        assert next(stream) == 1

    async def awaited() -> None:
        async with AsyncStream(lambda: work(ReadRuntime[Any](ASYNC, str))) as again:
            assert await anext(again) == 1

    asyncio.run(awaited())


def test_a_runtime_without_jobs_of_their_own() -> None:
    virtual = VirtualRuntime()
    runtime = ReadRuntime[Any](virtual, str)

    async def job(number: int) -> int:
        runtime.tell(f"begins {number}")
        await runtime.sleep(number)
        runtime.tell(f"ends {number}")
        return number

    async def work() -> list[int]:
        return await runtime.gather(lambda: job(2), lambda: job(1))

    async def whole() -> list[int]:
        result = await work()
        await runtime.give_way()
        return result

    stream = Stream[str, list[int]](whole)
    assert list(stream) == ["begins 2", "begins 1", "ends 1", "ends 2"]
    assert stream.reply == [2, 1]
    assert (runtime.now(), runtime.time()) == (virtual.now(), virtual.time())


def test_drivers() -> None:
    assert driver_of(BLOCKING) is BLOCKING
    inner = ReadRuntime[Any](ASYNC, str)
    assert driver_of(ReadRuntime[Any](inner, str)) is driver_of(inner) is ASYNC
