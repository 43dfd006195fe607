"""Streams: the consumer sets the pace, and whatever ends early is cleaned up."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from oarlock.runtime.streams import AsyncStream, Stream, hand_over
from oarlock.testing import VirtualRuntime


def work(log: list[Any], count: int = 3) -> Callable[[], Coroutine[Any, Any, str]]:
    async def run() -> str:
        try:
            for number in range(count):
                log.append(f"makes {number}")
                await hand_over(number)
            return "whole"
        finally:
            log.append("closed")

    return run


def fails() -> Callable[[], Coroutine[Any, Any, str]]:
    async def run() -> str:
        await hand_over(0)
        raise KeyError("x")

    return run


class TestBlocking:
    def test_a_stream_that_nobody_reads_does_nothing(self):
        log: list[Any] = []
        Stream[int, str](work(log))
        Stream[int, str](work(log)).close()
        assert log == []

    def test_items_then_the_reply(self) -> None:
        stream = Stream[int, str](work([]))
        assert list(stream) == [0, 1, 2]
        assert stream.reply == "whole"
        assert list(stream) == []

    def test_nothing_runs_ahead(self) -> None:
        log: list[Any] = []
        stream = Stream[int, str](work(log))
        assert log == []
        for item in stream:
            log.append(f"takes {item}")  # noqa: PERF401
        assert log == ["makes 0", "takes 0", "makes 1", "takes 1", "makes 2", "takes 2", "closed"]

    def test_the_reply_comes_at_the_end_only(self) -> None:
        stream = Stream[int, str](work([]))
        for _ in range(3):
            next(stream)
            with pytest.raises(RuntimeError, match="not ended"):
                stream.reply
        assert next(stream, "end") == "end"
        assert stream.reply == "whole"

    @pytest.mark.parametrize("started", [False, True])
    def test_closing_early(self, started: bool) -> None:
        log: list[Any] = []
        stream = Stream[int, str](work(log))
        if started:
            next(stream)
        stream.close()
        stream.close()
        assert log == (["makes 0", "closed"] if started else [])
        assert list(stream) == []
        with pytest.raises(RuntimeError):
            stream.reply

    def test_with(self) -> None:
        log: list[Any] = []
        with Stream[int, str](work(log)) as stream:
            next(stream)
        assert log[-1] == "closed"

    def test_an_error(self) -> None:
        stream = Stream[int, str](fails())
        assert next(stream) == 0
        with pytest.raises(KeyError):
            next(stream)
        assert list(stream) == []
        with pytest.raises(RuntimeError):
            stream.reply

    def test_a_stream_inside_another(self) -> None:
        async def outer() -> str:
            for item in Stream[int, str](work([])):
                await hand_over(item * 10)
            return "outer"

        assert list(Stream[int, str](outer)) == [0, 10, 20]

    def test_an_abandoned_one_is_cleaned_up(self) -> None:
        log: list[Any] = []
        stream = Stream[int, str](work(log))
        next(stream)
        del stream
        assert log[-1] == "closed"


class TestAsync:
    async def test_items_then_the_reply(self) -> None:
        stream = AsyncStream[int, str](work([]))
        assert [item async for item in stream] == [0, 1, 2]
        assert stream.reply == "whole"
        assert [item async for item in stream] == []

    async def test_nothing_runs_ahead(self) -> None:
        log: list[Any] = []
        async for item in AsyncStream[int, str](work(log)):
            log.append(f"takes {item}")
            await asyncio.sleep(0)
        assert log == ["makes 0", "takes 0", "makes 1", "takes 1", "makes 2", "takes 2", "closed"]

    async def test_the_work_may_await_the_loop_between_items(self) -> None:
        async def run() -> str:
            for number in range(3):
                await asyncio.sleep(0)
                await hand_over(await asyncio.wait_for(asyncio.sleep(0, number), 10))
            return "whole"

        stream = AsyncStream[int, str](run)
        assert [item async for item in stream] == [0, 1, 2]
        assert stream.reply == "whole"

    async def test_the_reply_comes_at_the_end_only(self) -> None:
        stream = AsyncStream[int, str](work([], 1))
        await anext(stream)
        with pytest.raises(RuntimeError, match="not ended"):
            stream.reply
        assert await anext(stream, "end") == "end"
        assert stream.reply == "whole"

    @pytest.mark.parametrize("started", [False, True])
    async def test_closing_early(self, started: bool) -> None:
        log: list[Any] = []
        stream = AsyncStream[int, str](work(log))
        if started:
            await anext(stream)
        await stream.aclose()
        await stream.aclose()
        assert log == (["makes 0", "closed"] if started else [])
        assert [item async for item in stream] == []

    async def test_closing_waits_for_the_clean_up(self) -> None:
        log: list[str] = []

        async def run() -> str:
            try:
                await hand_over(1)
            finally:
                for _ in range(3):
                    await asyncio.sleep(0)
                log.append("clean")
            return "whole"

        async with AsyncStream[int, str](run) as stream:
            assert await anext(stream) == 1
        assert log == ["clean"]

    async def test_an_error(self) -> None:
        stream = AsyncStream[int, str](fails())
        assert await anext(stream) == 0
        with pytest.raises(KeyError):
            await anext(stream)
        assert [item async for item in stream] == []

    async def test_an_error_while_cleaning_up(self) -> None:
        async def run() -> str:
            try:
                await hand_over(1)
            finally:
                raise KeyError("broken")
            return "whole"

        stream = AsyncStream[int, str](run)
        await anext(stream)
        with pytest.raises(KeyError):
            await stream.aclose()

    async def test_an_item_while_closing_is_refused(self) -> None:
        async def run() -> str:
            try:
                await hand_over(1)
            finally:
                await hand_over(2)
            return "whole"

        stream = AsyncStream[int, str](run)
        await anext(stream)
        with pytest.raises(RuntimeError, match="while closing"):
            await stream.aclose()

    async def test_a_consumer_cancelled_in_mid_await_reaches_the_works_finally(self) -> None:
        log: list[str] = []
        reached = asyncio.Event()

        async def run() -> str:
            await hand_over(1)
            try:
                reached.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                log.append("cancelled")
                raise
            finally:
                await asyncio.sleep(0)
                log.append("clean")
            return "whole"

        async def consume() -> None:
            async for item in AsyncStream[int, str](run):
                log.append(f"takes {item}")  # noqa: PERF401

        consumer = asyncio.ensure_future(consume())
        await reached.wait()
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        assert log == ["takes 1", "cancelled", "clean"]

    async def test_a_timeout_around_the_consumer(self) -> None:
        log: list[str] = []

        async def run() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                log.append("clean")
            return "whole"

        stream = AsyncStream[int, str](run)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(stream)
        assert log == ["clean"]
        assert [item async for item in stream] == []

    async def test_a_timeout_inside_the_work(self) -> None:
        async def run() -> str:
            await hand_over(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            await hand_over(2)
            return "whole"

        assert [item async for item in AsyncStream[int, str](run)] == [1, 2]

    async def test_many_at_once(self) -> None:
        async def consume(number: int) -> list[int]:
            async def run() -> str:
                for step in range(5):
                    await asyncio.sleep(0)
                    await hand_over(number * 10 + step)
                return "whole"

            return [item async for item in AsyncStream[int, str](run)]

        each = await asyncio.gather(*(consume(number) for number in range(50)))
        assert each == [[number * 10 + step for step in range(5)] for number in range(50)]

    async def test_on_the_virtual_clock(self) -> None:
        with VirtualRuntime() as runtime:

            async def run() -> str:
                await runtime.sleep(60)
                await hand_over(runtime.now())
                return "whole"

            assert [item async for item in AsyncStream[float, str](run)] == [60]


async def test_an_error_shows_nothing_of_what_was_awaited_before() -> None:
    """A future's repr has its result, a token for one; tracebacks may show the variables of every frame."""

    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "Zq7canary")
        await future
        del future
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed") as caught:
        async for _ in AsyncStream(work):
            pass
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "Zq7canary" not in "".join(trace.format())
