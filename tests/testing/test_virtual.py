"""The virtual runtime: time passes only when someone sleeps, and jobs take turns in a fixed order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.llm import BaseLLM
from oarlock.contract.request import Request
from oarlock.runtime import Promise, current_blocking
from oarlock.runtime.streams import Stream, hand_over
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime
from oarlock.testing.virtual import DeadlockError


@pytest.fixture
def runtime() -> VirtualRuntime:
    return VirtualRuntime()


def sleeper(runtime: VirtualRuntime, log: list[Any], name: str, *naps: float) -> Callable[[], Any]:
    async def job() -> str:
        for nap in naps:
            await runtime.sleep(nap)
            log.append((runtime.now(), name))
        return name

    return job


def test_an_hour_passes_at_once() -> None:
    with VirtualRuntime() as runtime:
        assert ScriptedLLM(["Hello"], latency=3600).call("Hi") == "Hello"
        assert runtime.now() == 3600
        assert runtime.slept == [3600]


async def test_a_coroutine_door_ends_without_giving_way_to_the_loop() -> None:
    with VirtualRuntime() as runtime:
        door = ScriptedLLM(["Hello"], latency=3600).acall("Hi")
        with pytest.raises(StopIteration) as end:
            door.send(None)
        assert end.value.value == "Hello"
        assert runtime.now() == 3600


def test_outside_the_block_the_ordinary_runtime_is_back(runtime: VirtualRuntime) -> None:
    before = current_blocking()
    with runtime:
        assert current_blocking() is runtime
        with runtime:
            assert current_blocking() is runtime
    assert current_blocking() is before


def test_run_drives_any_door(runtime: VirtualRuntime) -> None:
    assert (
        runtime.run(ScriptedLLM(["Hello"], latency=5).acomplete(Request(messages=[{"role": "user"}]))).text == "Hello"
    )
    assert runtime.now() == 5


def test_run_refuses_what_awaits_an_event_loop(runtime: VirtualRuntime) -> None:
    with pytest.raises(RuntimeError, match="awaits something else"):
        runtime.run(asyncio.sleep(0))


def test_start_wall_clock_and_negative_sleep() -> None:
    runtime = VirtualRuntime(start=100)
    begin = runtime.time()
    runtime.run(runtime.sleep(2.5))
    runtime.run(runtime.sleep(-1))
    assert runtime.now() == 102.5
    assert runtime.time() == begin + 2.5
    assert runtime.slept == [2.5, -1]


def test_chance_and_ids_repeat() -> None:
    first, second, other = VirtualRuntime(), VirtualRuntime(), VirtualRuntime(seed=1)
    numbers = [first.random() for _ in range(5)]
    assert numbers == [second.random() for _ in range(5)] != [other.random() for _ in range(5)]
    assert all(0 <= number < 1 for number in numbers)
    ids = [first.new_id() for _ in range(3)]
    assert ids == [second.new_id() for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(len(one) == 32 and int(one, 16) for one in ids)


class TestGather:
    def test_sleeping_suspends_one_job_only(self, runtime: VirtualRuntime) -> None:
        log: list[Any] = []
        names = runtime.run(runtime.gather(sleeper(runtime, log, "a", 3, 3), sleeper(runtime, log, "b", 2, 2, 2)))
        assert names == ["a", "b"]
        assert log == [(2, "b"), (3, "a"), (4, "b"), (6, "a"), (6, "b")]
        assert runtime.now() == 6

    def test_equal_times_are_served_in_order_of_arrival(self, runtime: VirtualRuntime) -> None:
        log: list[Any] = []
        runtime.run(runtime.gather(*(sleeper(runtime, log, name, 1, 1) for name in "abc")))
        assert [name for _, name in log] == list("abcabc")

    def test_nested(self, runtime: VirtualRuntime) -> None:
        log: list[Any] = []

        async def outer() -> list[str]:
            inner = await runtime.gather(sleeper(runtime, log, "x", 1), sleeper(runtime, log, "y", 4))
            log.append((runtime.now(), "outer"))
            return inner

        assert runtime.run(runtime.gather(outer, sleeper(runtime, log, "z", 2, 3))) == [["x", "y"], "z"]
        assert log == [(1, "x"), (2, "z"), (4, "y"), (4, "outer"), (5, "z")]

    def test_the_first_failure_in_order_comes_once_all_have_ended(self, runtime: VirtualRuntime) -> None:
        log: list[Any] = []

        async def fail(after: float, error: Exception) -> None:
            await runtime.sleep(after)
            raise error

        jobs = (lambda: fail(2, KeyError("late")), lambda: fail(1, ValueError("early")), sleeper(runtime, log, "a", 9))
        with pytest.raises(KeyError):
            runtime.run(runtime.gather(*jobs))
        assert log == [(9, "a")]

    def test_none_and_one(self, runtime: VirtualRuntime) -> None:
        assert runtime.run(runtime.gather()) == []
        assert runtime.run(runtime.gather(sleeper(runtime, [], "a", 1))) == ["a"]

    def test_blocking_code_in_a_job_lets_the_others_run(self) -> None:
        log: list[Any] = []
        with VirtualRuntime() as runtime:

            async def tool() -> None:
                ScriptedLLM(["x"], latency=5).call("a blocking door, in the middle of a job")
                log.append((runtime.now(), "tool"))

            runtime.run(runtime.gather(tool, sleeper(runtime, log, "b", 2, 2, 2)))
        assert log == [(2, "b"), (4, "b"), (5, "tool"), (6, "b")]

    def test_a_stream_in_a_job(self) -> None:
        with VirtualRuntime() as runtime:

            async def work() -> str:
                for number in range(3):
                    await runtime.sleep(1)
                    await hand_over(number)
                return "end"

            async def job() -> list[tuple[float, int]]:
                return [(runtime.now(), item) for item in Stream[int, str](work)]

            both = runtime.run(runtime.gather(job, job))
        assert both == [[(1, 0), (2, 1), (3, 2)]] * 2

    def test_two_streams_whose_work_gathers(self) -> None:
        with VirtualRuntime() as runtime:

            async def work() -> str:
                await runtime.gather(lambda: runtime.sleep(1), lambda: runtime.sleep(2))
                await hand_over("item")
                return "end"

            assert list(Stream[str, str](work)) == ["item"]
            assert runtime.now() == 2

    @given(st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=2, max_size=6))
    def test_like_a_sorted_list_of_wake_times(self, naps: list[list[int]]) -> None:
        runtime, log = VirtualRuntime(), []
        runtime.run(runtime.gather(*(sleeper(runtime, log, str(n), *each) for n, each in enumerate(naps))))
        assert [when for when, _ in log] == sorted(when for when, _ in log)
        assert sorted(log) == sorted(
            (sum(each[: k + 1]), str(number)) for number, each in enumerate(naps) for k in range(len(each))
        )
        assert runtime.now() == max(sum(each) for each in naps)


class TestInvoke:
    def test_the_sync_form_runs_in_place(self, runtime: VirtualRuntime) -> None:
        async def never() -> None:
            raise AssertionError

        assert runtime.run(runtime.invoke(threading.current_thread, never)) is threading.current_thread()

    def test_an_async_only_form_runs_on_a_loop_of_its_own(self, runtime: VirtualRuntime) -> None:
        async def form(word: str) -> str:
            await asyncio.sleep(0)
            return word

        assert runtime.run(runtime.invoke(None, form, "yes")) == "yes"

    async def test_also_inside_a_running_loop_and_nested(self) -> None:
        class Inner(BaseLLM):
            async def acall(self, messages: Any) -> str:
                await asyncio.sleep(0)
                runtime.advance(2)
                return "inner"

        class Outer(BaseLLM):
            async def acall(self, messages: Any) -> str:
                await asyncio.sleep(0)
                return str(Inner().call("a blocking door, in a coroutine"))

        with VirtualRuntime() as runtime:
            assert Outer().call("Hi") == "inner"
            assert str(await Outer().acomplete(Request(messages=[{"role": "user"}]))) == "inner"
            assert runtime.now() == 4

            async def job() -> tuple[str, float]:
                return Outer().call("Hi"), runtime.now()

            assert runtime.run(runtime.gather(job, job)) == [("inner", 6), ("inner", 6)]

    def test_a_call_past_its_deadline_ends_in_a_timeout(self, runtime: VirtualRuntime) -> None:
        with pytest.raises(TimeoutError, match="2 s after its deadline"):
            runtime.run(runtime.invoke(runtime.advance, None, 5, deadline=3))
        assert runtime.run(runtime.invoke(runtime.advance, None, 5, deadline=10)) is None


class TestWait:
    def test_a_job_waits_for_another(self, runtime: VirtualRuntime) -> None:
        promise = Promise[str]()

        async def waiter() -> tuple[str, float]:
            return await runtime.wait(promise), runtime.now()

        async def giver() -> None:
            await runtime.sleep(7)
            promise.set_result("here")

        assert runtime.run(runtime.gather(waiter, waiter, giver))[:2] == [("here", 7), ("here", 7)]

    def test_done_already(self, runtime: VirtualRuntime) -> None:
        promise = Promise[str]()
        promise.set_exception(KeyError("x"))
        with pytest.raises(KeyError):
            runtime.run(runtime.wait(promise))

    def test_the_deadline_comes_first(self, runtime: VirtualRuntime) -> None:
        promise = Promise[str]()

        async def waiter() -> float:
            with pytest.raises(TimeoutError):
                await runtime.wait(promise, deadline=3)
            await runtime.sleep(10)  # the promise, done meanwhile, must not end this sleep
            return runtime.now()

        async def giver() -> None:
            await runtime.sleep(7)
            promise.set_result("late")

        assert runtime.run(runtime.gather(waiter, giver))[0] == 13

    def test_deadline_outside_gather(self, runtime: VirtualRuntime) -> None:
        with pytest.raises(TimeoutError):
            runtime.run(runtime.wait(Promise(), deadline=4))
        assert runtime.now() == 4

    def test_deadlock_is_a_clear_error(self, runtime: VirtualRuntime) -> None:
        with pytest.raises(DeadlockError, match="nobody is left to give"):
            runtime.run(runtime.wait(Promise()))
        promise = Promise[str]()

        async def waiter() -> str:
            return await runtime.wait(promise)

        async def careful() -> str:
            try:
                return await runtime.wait(Promise[str]())
            finally:
                promise.set_result("given up")

        with pytest.raises(DeadlockError, match="every other job waits too"):
            runtime.run(runtime.gather(careful, waiter))
        assert promise.result() == "given up"

    def test_a_nested_deadlock(self, runtime: VirtualRuntime) -> None:
        async def nested() -> list[Any]:
            return await runtime.gather(lambda: runtime.wait(Promise()), lambda: runtime.sleep(1))

        with pytest.raises(DeadlockError):
            runtime.run(runtime.gather(nested, lambda: runtime.sleep(5)))
        assert runtime.now() == 5


def test_many_jobs_share_one_clock() -> None:
    with VirtualRuntime() as runtime:
        llm = FunctionLLM(lambda request: runtime.advance(10) or request.messages[0]["content"])

        async def job(number: int) -> str:
            return str(llm.call(f"{number}"))

        answers = runtime.run(runtime.gather(*(lambda n=n: job(n) for n in range(200))))
    assert answers == [str(number) for number in range(200)]
    assert runtime.now() == 10


def test_step_runs_the_job(runtime: VirtualRuntime) -> None:
    assert runtime.run(runtime.step("model", "x", sleeper(runtime, [], "a", 1))) == "a"


def test_two_runtimes_do_not_mix(runtime: VirtualRuntime) -> None:
    other = VirtualRuntime()

    async def job() -> float:
        await other.sleep(5)
        await runtime.sleep(1)
        return runtime.now()

    assert runtime.run(runtime.gather(job, job)) == [1, 1]
    assert other.now() == 10
