"""What both ordinary runtimes promise the core, in each colour."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from oarlock.runtime import Promise, Runtime, ThreadPool, current_blocking, drive, drive_async
from oarlock.runtime.aio import AsyncRuntime
from oarlock.runtime.ambient import current_async, use_runtime
from oarlock.runtime.blocking import BlockingRuntime
from oarlock.testing import VirtualRuntime

LIMIT = 10.0
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Colour:
    """A runtime with the way to drive it."""

    def __init__(self, runtime: Any, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self.runtime: Runtime = runtime
        self.run = run


def blocking() -> Colour:
    runtime = BlockingRuntime()
    return Colour(runtime, runtime.run)


def aio() -> Colour:
    return Colour(AsyncRuntime(), asyncio.run)


def virtual() -> Colour:
    runtime = VirtualRuntime()
    return Colour(runtime, runtime.run)


@pytest.fixture(params=[blocking, aio, virtual])
def any_colour(request: pytest.FixtureRequest) -> Colour:
    return request.param()  # type: ignore[no-any-return]


@pytest.fixture(params=[blocking, aio])
def colour(request: pytest.FixtureRequest) -> Colour:
    return request.param()  # type: ignore[no-any-return]


@pytest.fixture
def hang() -> Any:
    """A function that hangs until the test has ended."""
    go = threading.Event()
    yield lambda: go.wait(60)
    go.set()


def sync_form(*args: Any) -> tuple[str, tuple[Any, ...], str]:
    return "sync", args, variable.get()


async def async_form(*args: Any) -> tuple[str, tuple[Any, ...], str]:
    await asyncio.sleep(0)
    return "async", args, variable.get()


class TestInvoke:
    @pytest.mark.parametrize("deadline", [None, LIMIT])
    @pytest.mark.parametrize("pool", [None, ThreadPool(2)])
    @pytest.mark.parametrize("forms", [(sync_form, None), (None, async_form), (sync_form, async_form)])
    def test_every_combination(self, any_colour: Colour, forms: Any, pool: Any, deadline: float | None) -> None:
        variable.set("seen")
        until = None if deadline is None else any_colour.runtime.now() + deadline
        form, args, seen = any_colour.run(any_colour.runtime.invoke(*forms, 1, "b", deadline=until, pool=pool))
        assert (args, seen) == ((1, "b"), "seen")
        wants_async = isinstance(any_colour.runtime, AsyncRuntime)
        assert form == ("sync" if forms[0] and not (wants_async and forms[1]) else "async")

    @pytest.mark.parametrize("deadline", [None, LIMIT])
    def test_errors_pass(self, any_colour: Colour, deadline: float | None) -> None:
        def fail() -> None:
            raise KeyError("x")

        async def afail() -> None:
            raise KeyError("x")

        until = None if deadline is None else any_colour.runtime.now() + deadline
        for forms in ((fail, None), (None, afail)):
            with pytest.raises(KeyError):
                any_colour.run(any_colour.runtime.invoke(*forms, deadline=until, pool=ThreadPool(1)))

    def test_an_own_timeout_error_passes(self, any_colour: Colour) -> None:
        def fail() -> None:
            raise TimeoutError("own")

        with pytest.raises(TimeoutError, match="own"):
            any_colour.run(
                any_colour.runtime.invoke(fail, None, deadline=any_colour.runtime.now() + LIMIT, pool=ThreadPool(1))
            )

    def test_a_deadline_ends_a_sync_call_that_hangs(self, colour: Colour, hang: Any) -> None:
        with pytest.raises(TimeoutError):
            colour.run(colour.runtime.invoke(hang, None, deadline=colour.runtime.now() + 0.02, pool=ThreadPool(1)))

    def test_a_deadline_ends_and_cancels_a_coroutine_that_hangs(self, colour: Colour) -> None:
        cancelled = threading.Event()

        async def hangs() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        with pytest.raises(TimeoutError):
            colour.run(colour.runtime.invoke(None, hangs, deadline=colour.runtime.now() + 0.02))
        assert cancelled.wait(LIMIT)

    def test_a_deadline_in_the_past(self, colour: Colour, hang: Any) -> None:
        with pytest.raises(TimeoutError):
            colour.run(colour.runtime.invoke(hang, None, deadline=colour.runtime.now() - 1, pool=ThreadPool(1)))

    def test_quick_code_runs_in_place(self, any_colour: Colour) -> None:
        assert any_colour.run(any_colour.runtime.invoke(threading.current_thread, None)) is threading.current_thread()

    async def test_async_leaves_the_loop_free(self, hang: Any) -> None:
        runtime = AsyncRuntime()
        call = asyncio.ensure_future(runtime.invoke(hang, None, pool=ThreadPool(1)))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


class TestGather:
    def test_order(self, any_colour: Colour) -> None:
        async def main() -> list[int]:
            async def job(number: int) -> int:
                await any_colour.runtime.sleep(0)
                return number

            return await any_colour.runtime.gather(*(lambda n=n: job(n) for n in range(20)))

        assert any_colour.run(main()) == list(range(20))

    def test_none_and_one(self, any_colour: Colour) -> None:
        async def one() -> str:
            return "one"

        async def main() -> list[Any]:
            return [await any_colour.runtime.gather(), await any_colour.runtime.gather(one)]

        assert any_colour.run(main()) == [[], ["one"]]

    def test_side_by_side(self, colour: Colour) -> None:
        here = [Promise[int](), Promise[int]()]

        async def meet(mine: int) -> int:
            here[mine].set_result(mine)
            return await colour.runtime.wait(here[1 - mine], colour.runtime.now() + LIMIT)

        async def main() -> list[int]:
            return await colour.runtime.gather(lambda: meet(0), lambda: meet(1))

        assert colour.run(main()) == [1, 0]

    def test_the_first_failure_in_order_once_all_have_ended(self, any_colour: Colour) -> None:
        ended = []

        async def fail(error: Exception) -> None:
            raise error

        async def slow() -> None:
            await any_colour.runtime.sleep(0)
            ended.append("slow")

        async def main() -> None:
            await any_colour.runtime.gather(lambda: fail(KeyError("a")), slow, lambda: fail(ValueError("b")))

        with pytest.raises(KeyError):
            any_colour.run(main())
        assert ended == ["slow"]

    def test_a_failure_that_nobody_sees_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        async def fail() -> None:
            raise KeyError("x")

        async def main() -> None:
            with pytest.raises(KeyError):
                await AsyncRuntime().gather(fail, fail, fail)

        with caplog.at_level(logging.ERROR, "asyncio"):
            asyncio.run(main())
            gc.collect()
        assert "never retrieved" not in caplog.text

    def test_nested(self, any_colour: Colour) -> None:
        runtime = any_colour.runtime

        async def leaf(number: int) -> int:
            await runtime.sleep(0)
            return number

        async def branch(number: int) -> list[int]:
            return await runtime.gather(lambda: leaf(number), lambda: leaf(number + 1))

        async def main() -> list[list[int]]:
            return await runtime.gather(lambda: branch(0), lambda: branch(10), lambda: branch(20))

        assert any_colour.run(main()) == [[0, 1], [10, 11], [20, 21]]

    def test_jobs_see_the_context_and_keep_theirs(self, any_colour: Colour) -> None:
        async def job(word: str) -> str:
            before = variable.get()
            variable.set(word)
            await any_colour.runtime.sleep(0)
            return f"{before} {variable.get()}"

        async def main() -> list[str]:
            variable.set("outer")
            return [*await any_colour.runtime.gather(lambda: job("a"), lambda: job("b")), variable.get()]

        assert any_colour.run(main()) == ["outer a", "outer b", "outer"]

    async def test_cancelling_cancels_every_job(self) -> None:
        cancelled = []
        started = asyncio.Barrier(3)

        async def job(name: str) -> None:
            try:
                await started.wait()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cancelled.append(name)

        work = asyncio.ensure_future(AsyncRuntime().gather(lambda: job("a"), lambda: job("b")))
        await started.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert sorted(cancelled) == ["a", "b"]


class TestWait:
    def test_done(self, any_colour: Colour) -> None:
        promise = Promise[str]()
        promise.set_result("x")
        assert any_colour.run(any_colour.runtime.wait(promise)) == "x"

    def test_failed(self, any_colour: Colour) -> None:
        promise = Promise[str]()
        promise.set_exception(KeyError("x"))
        with pytest.raises(KeyError):
            any_colour.run(any_colour.runtime.wait(promise))

    def test_set_by_another_thread(self, colour: Colour) -> None:
        promise = Promise[str]()
        thread = threading.Thread(target=promise.set_result, args=("x",))
        thread.start()
        assert colour.run(colour.runtime.wait(promise, colour.runtime.now() + LIMIT)) == "x"
        thread.join()

    def test_the_deadline_leaves_the_promise_to_the_others(self, any_colour: Colour) -> None:
        promise = Promise[str]()
        with pytest.raises(TimeoutError):
            any_colour.run(any_colour.runtime.wait(promise, any_colour.runtime.now() + 0.02))
        assert not promise.cancelled()
        promise.set_result("later")
        assert any_colour.run(any_colour.runtime.wait(promise)) == "later"

    async def test_a_cancelled_waiter_leaves_the_promise_to_the_others(self) -> None:
        promise = Promise[str]()
        runtime = AsyncRuntime()
        first, second = (asyncio.ensure_future(runtime.wait(promise)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not promise.cancelled()
        promise.set_result("x")
        assert await second == "x"

    async def test_a_failure_after_the_waiter_has_left_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        promise = Promise[str]()
        with pytest.raises(TimeoutError):
            await AsyncRuntime().wait(promise, time.monotonic() - 1)
        promise.set_exception(KeyError("x"))
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        assert "never retrieved" not in caplog.text


class TestTheRest:
    def test_clocks_chance_and_ids(self, any_colour: Colour) -> None:
        runtime = any_colour.runtime
        assert runtime.now() <= runtime.now()
        assert runtime.time() > 1_700_000_000
        assert all(0 <= runtime.random() < 1 for _ in range(100))
        ids = {runtime.new_id() for _ in range(100)}
        assert len(ids) == 100
        assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)

    @pytest.mark.parametrize("seconds", [0, -1, -0.0])
    def test_no_time_to_sleep(self, any_colour: Colour, seconds: float) -> None:
        any_colour.run(any_colour.runtime.sleep(seconds))

    def test_sleep_takes_time(self, any_colour: Colour) -> None:
        before = any_colour.runtime.now()
        any_colour.run(any_colour.runtime.sleep(0.001))
        assert any_colour.runtime.now() - before >= 0.001

    def test_step_runs_the_job(self, any_colour: Colour) -> None:
        async def job() -> str:
            return "done"

        assert any_colour.run(any_colour.runtime.step("model", "name", job)) == "done"

    def test_a_blocking_run_refuses_to_be_suspended(self) -> None:
        closed = []

        async def work() -> None:
            try:
                await asyncio.sleep(0)
            finally:
                closed.append(True)

        with pytest.raises(RuntimeError, match="awaits something else than its runtime"):
            BlockingRuntime().run(work())
        assert closed == [True]

    async def test_doors_use_their_colour(self) -> None:
        async def name(runtime: Runtime) -> str:
            return type(runtime).__name__

        assert drive(name) == "BlockingRuntime"
        assert await drive_async(name) == "AsyncRuntime"
        assert type(current_async()) is AsyncRuntime
        with use_runtime(VirtualRuntime()):
            assert drive(name) == await drive_async(name) == "VirtualRuntime"
            assert type(current_async()) is VirtualRuntime
        assert type(current_blocking()) is BlockingRuntime
