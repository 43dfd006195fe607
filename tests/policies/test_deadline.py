"""The time of a whole call: what hangs is given up, what would wait past it does not begin to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from oarlock.contract.context import current_call
from oarlock.contract.errors import LLMTimeoutError, RateLimitError, ServerError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.request import Request
from oarlock.policies import Deadline, RateLimit, Retry
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

SOON = 0.02  # seconds: these tests wait for a deadline that is sure to pass


@pytest.fixture
def never() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()  # lets abandoned threads end


def hanging(never: threading.Event) -> BaseLLM:
    class Hangs(BaseLLM):
        def call(self, messages: Any) -> str:
            never.wait()
            return "too late"

    return Hangs()


def test_a_blocking_call_that_hangs_is_given_up(never: threading.Event) -> None:
    llm = hanging(never).with_policies(Deadline(SOON))
    with pytest.raises(LLMTimeoutError, match=r"Hangs\.call\(\) gave no answer before its time was up") as caught:
        llm.call("Hi")
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.retryable


async def test_it_is_given_up_on_the_loop_too(never: threading.Event) -> None:
    with pytest.raises(LLMTimeoutError, match="gave no answer before its time was up"):
        await hanging(never).with_policies(Deadline(SOON)).acall("Hi")


@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_a_coroutine_that_hangs_is_cancelled(colour: str) -> None:
    cancelled = threading.Event()

    class Hangs(BaseLLM):
        async def acall(self, messages: Any) -> str:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return "too late"

    llm = Hangs().with_policies(Deadline(SOON))
    with pytest.raises(LLMTimeoutError, match=r"Hangs\.acall\(\) gave no answer"):
        llm.call("Hi") if colour == "call" else await llm.acall("Hi")
    assert cancelled.wait(10)


def test_a_hanging_call_is_not_tried_again(never: threading.Event) -> None:
    """Its time was all the time there is."""
    with pytest.raises(LLMTimeoutError) as caught:
        hanging(never).with_policies(Deadline(SOON), Retry(base_delay=0)).call("Hi")
    assert caught.value.attempts == 1


def test_a_deadline_inside_a_retry_is_one_for_each_attempt(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["late"] * 3, latency=10)
    with runtime, pytest.raises(LLMTimeoutError) as caught:
        llm.with_policies(Retry(base_delay=0), Deadline(5), order="given").call("Hi")
    assert caught.value.attempts == 3
    assert runtime.now() == 15


def test_an_answer_in_time_is_an_answer(runtime: VirtualRuntime) -> None:
    with runtime:
        assert ScriptedLLM(["ok"], latency=4.9).with_policies(Deadline(5)).call("Hi") == "ok"


def test_a_stream_is_given_up(runtime: VirtualRuntime) -> None:
    with runtime, pytest.raises(LLMTimeoutError):
        list(ScriptedLLM(["a b"], latency=10).with_policies(Deadline(5)).stream("Hi"))


@pytest.mark.parametrize("seconds", [(5, 3), (3, 5)])
def test_of_two_the_earlier_counts(runtime: VirtualRuntime, seconds: tuple[float, float]) -> None:
    llm = ScriptedLLM(["ok"], latency=4)
    with runtime, pytest.raises(LLMTimeoutError):
        llm.with_policies(*(Deadline(one) for one in seconds), order="given").call("Hi")
    assert llm.requests[0].deadline == 3
    assert runtime.now() == 3


def test_it_does_not_extend_that_of_the_request(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["ok", "ok"])
    messages = [{"role": "user", "content": "Hi"}]
    with runtime:
        for deadline in (2.0, 200.0):
            llm.with_policies(Deadline(60)).complete(Request(messages=messages, deadline=deadline))  # type: ignore[arg-type]
    assert [request.deadline for request in llm.requests] == [2.0, 60.0]


def test_a_call_inside_a_call_has_no_more_time(runtime: VirtualRuntime) -> None:
    inner = ScriptedLLM(["ok"])
    outer = FunctionLLM(lambda messages: "unused")

    class Asks(BaseLLM):
        def call(self, messages: Any) -> Any:
            assert current_call().deadline == 5
            return inner.with_policies(Deadline(60)).call("Hi")

    with runtime:
        Asks().with_policies(Deadline(5)).call("Hi")
    assert inner.requests[0].deadline == 5
    assert outer.requests == []


def test_it_covers_waits_and_all_attempts(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([ServerError("down")] * 50, latency=1)
    with runtime, pytest.raises(ServerError) as caught:
        llm.with_policies(Deadline(7.5), Retry(50, retry_on=lambda error: 1.0)).call("Hi")
    assert caught.value.attempts == 4
    assert runtime.now() == 7  # another second's wait would go past it: the last failure is the answer
    assert {request.deadline for request in llm.requests} == {7.5}


def test_it_covers_the_waits_of_a_limiter(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["ok"] * 5).with_policies(Deadline(25), RateLimit(6, burst=1))
    with runtime:
        llm.call("Hi")

        async def whole() -> list[str]:
            async def job() -> str:
                try:
                    return str(await llm.acall("Hi"))
                except RateLimitError:
                    return "no time"

            return await runtime.gather(job, job, job, job)

        assert runtime.run(whole()) == ["ok", "ok", "no time", "no time"]
        assert runtime.now() == pytest.approx(20)


def test_each_call_has_its_own_time(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["ok"] * 3, latency=4).with_policies(Deadline(5))
    with runtime:
        assert [llm.call("Hi") for _ in range(3)] == ["ok"] * 3


def test_the_repr() -> None:
    assert (repr(Deadline(60)), repr(Deadline(0.5))) == ("Deadline(60)", "Deadline(0.5)")
