"""The page's retries, limits, metrics and logging; and the library's policies around the page's classes."""

from __future__ import annotations

import asyncio
import logging
import time
import types
from typing import Any

import pytest
from page_blocks import imports_instead, page_class, page_llm

from oarlock import ConnectionFailedError, EmptyReply, LLMTimeoutError, RateLimitError, ServerError
from oarlock.policies import Deadline, Log, Metrics, RateLimit, Retry
from oarlock.testing import VirtualRuntime
from oarlock.testing.endpoint import Drop, Hang, Status


class FakeTime(types.ModuleType):
    """`time` for one namespace: sleeping moves its clock and takes no time."""

    def __init__(self) -> None:
        super().__init__("time")
        self.now = 1_000_000.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def in_crew(llm: Any) -> Any:
    from crewai import Agent, Crew, Task

    agent = Agent(role="Assistant", goal="Help", backstory="", llm=llm)
    return Crew(agents=[agent], tasks=[Task(description="Help", agent=agent)])


# The page's retry logic.


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


def retrying(endpoint: Any, clock: FakeTime) -> Any:
    return page_llm("retry", endpoint.url, __builtins__=imports_instead(time=clock))


def test_retries_with_backoff(serve: Any, clock: FakeTime) -> None:
    endpoint = serve(Drop(), Drop(), "At last.", strict=True)
    assert retrying(endpoint, clock).call("Hi") == "At last."
    assert clock.slept == [1, 2]
    assert len(endpoint.requests) == 3


def test_retries_after_timeouts_in_a_crew(serve: Any, clock: FakeTime, impatient: None) -> None:
    endpoint = serve(Hang(), "At last.", strict=True)
    assert in_crew(retrying(endpoint, clock)).kickoff().raw == "At last."
    assert clock.slept == [1]


def test_retries_that_run_out(serve: Any, clock: FakeTime) -> None:
    endpoint = serve(Drop())
    llm = retrying(endpoint, clock)
    with pytest.raises(TimeoutError, match="LLM request failed after 3 attempts"):
        llm.call("Hi")
    assert len(endpoint.requests) == 3

    with pytest.raises(LLMTimeoutError, match="LLM request failed after 3 attempts") as caught:
        in_crew(llm).kickoff()
    assert type(caught.value.__cause__) is TimeoutError
    assert len(endpoint.requests) == 6
    assert clock.slept == [1, 2, 1, 2]


def test_other_failures_are_not_retried(serve: Any, clock: FakeTime) -> None:
    endpoint = serve(503)
    llm = retrying(endpoint, clock)
    with pytest.raises(RuntimeError, match="LLM request failed: 503"):
        llm.call("Hi")
    with pytest.raises(ServerError):
        in_crew(llm).kickoff()
    assert len(endpoint.requests) == 2
    assert clock.slept == []


async def test_page_retries_on_an_event_loop(serve: Any, clock: FakeTime) -> None:
    llm = retrying(serve(Drop(), "At last."), clock)
    assert (await in_crew(llm).akickoff()).raw == "At last."


# The page's limiter.


def limited(endpoint: Any, clock: FakeTime, per_minute: int) -> Any:
    cls = page_class("rate_limiting", __builtins__=imports_instead(time=clock))
    return cls("a-key", f"{endpoint.url}/chat/completions", requests_per_minute=per_minute)


def test_the_limiter_waits(serve: Any, clock: FakeTime) -> None:
    llm = limited(serve("Yes."), clock, 2)
    for _ in range(2):
        assert llm.call("Hi") == "Yes."
    clock.now += 20
    assert llm.call("Hi") == "Yes."
    assert clock.slept == [40.0]


def test_the_limiter_in_crews(serve: Any, clock: FakeTime) -> None:
    crew = in_crew(limited(serve("Yes."), clock, 1))
    assert [crew.kickoff().raw for _ in range(3)] == ["Yes."] * 3
    assert clock.slept == [60.0, 60.0]


def test_the_limiter_lets_through_what_is_within_it(serve: Any, clock: FakeTime) -> None:
    llm = limited(serve("Yes."), clock, 60)
    for _ in range(10):
        llm.call("Hi")
    assert clock.slept == []


# The page's metrics.


def test_metrics_of_direct_calls(serve: Any) -> None:
    llm = page_llm("metrics", serve("Yes.", 500).url)
    assert llm.get_metrics()["avg_latency"] == 0

    llm.call("Hello there, you.")
    with pytest.raises(Exception, match="500"):
        llm.call([{"role": "user", "content": "Hi"}])

    figures = llm.get_metrics()
    assert (figures["total_calls"], figures["errors"], figures["total_tokens"]) == (2, 1, 4)
    assert len(figures["latency"]) == 2
    assert figures["avg_latency"] > 0


async def test_metrics_of_crews(serve: Any) -> None:
    llm = page_llm("metrics", serve("Yes.").url)
    crew = in_crew(llm)
    crew.kickoff()
    await crew.akickoff()
    figures = llm.get_metrics()
    assert (figures["total_calls"], figures["errors"]) == (2, 0)
    assert figures["total_tokens"] > 0


# The page's logging.


def test_logging(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "crewai.llm.custom")
    llm = page_llm("logging", serve("Yes.", 500).url)

    in_crew(llm).kickoff()
    with pytest.raises(ServerError):
        in_crew(llm).kickoff()

    records = [record for record in caplog.records if record.name == "crewai.llm.custom"]
    assert [record.levelname for record in records] == ["INFO", "DEBUG", "INFO", "ERROR"]
    assert records[0].message == "Calling LLM with 2 messages"
    assert records[1].message == "LLM response received: Yes...."
    assert records[3].message.startswith("LLM call failed: 500")


# The library's policies around them.

WRAPPED = ["basic", "try_except", "jwt", "logging", "rate_limiting", "metrics", "function_calling"]


def policies(metrics: Metrics) -> tuple[Any, ...]:
    return Retry(base_delay=0), RateLimit(requests_per_minute=60_000), Deadline(30), metrics


@pytest.mark.parametrize("name", WRAPPED)
def test_within_policies(name: str, serve: Any) -> None:
    endpoint = serve(503, "Better.", "Best.", strict=True)
    metrics = Metrics()
    llm = page_llm(name, endpoint.url).with_policies(*policies(metrics))

    assert llm.call("Hi") == "Better."
    assert in_crew(llm).kickoff().raw == "Best."

    assert len(endpoint.requests) == 3
    figures = metrics.get_metrics()
    assert (figures["total_calls"], figures["errors"], figures["waits"]) == (2, 0, {"retry": 1})
    assert llm.get_metrics()["total_calls"] == 2
    assert llm.endpoint == f"{endpoint.url}/chat/completions"  # its own attributes still


@pytest.mark.parametrize("name", WRAPPED)
async def test_within_policies_on_an_event_loop(name: str, serve: Any) -> None:
    metrics = Metrics()
    llm = page_llm(name, serve(503, "Yes.").url).with_policies(*policies(metrics))

    assert await llm.acall("Hi") == "Yes."
    results = await asyncio.gather(*(in_crew(llm).akickoff() for _ in range(10)))

    assert {result.raw for result in results} == {"Yes."}
    assert metrics.get_metrics()["total_calls"] == 11


@pytest.mark.parametrize("name", WRAPPED)
def test_backoff_and_hints_on_a_virtual_clock(name: str, serve: Any) -> None:
    endpoint = serve(503, Status(429, headers={"Retry-After": "7"}), "Yes.", strict=True)
    llm = page_llm(name, endpoint.url).with_policies(Retry(base_delay=4))
    with VirtualRuntime() as runtime:
        assert in_crew(llm).kickoff().raw == "Yes."
    first, second = runtime.slept
    assert 0 <= first <= 4
    assert 7 <= second <= 8


async def test_await_on_a_virtual_clock(serve: Any) -> None:
    llm = page_llm("jwt", serve(503, "Yes.").url).with_policies(Retry())
    with VirtualRuntime() as runtime:
        assert (await in_crew(llm).akickoff()).raw == "Yes."
    assert len(runtime.slept) == 1


def test_the_librarys_limiter_on_a_virtual_clock(serve: Any) -> None:
    llm = page_llm("basic", serve("Yes.").url).with_policies(RateLimit(requests_per_minute=1))
    crew = in_crew(llm)
    with VirtualRuntime() as runtime:
        assert [crew.kickoff().raw for _ in range(3)] == ["Yes."] * 3
        assert runtime.now() >= 120


@pytest.mark.parametrize("name", ["basic", "jwt"])
def test_retries_run_out(name: str, serve: Any) -> None:
    endpoint = serve(Drop())
    llm = page_llm(name, endpoint.url).with_policies(Retry(attempts=4, base_delay=0))
    with pytest.raises(ConnectionFailedError) as caught:
        in_crew(llm).kickoff()
    assert caught.value.attempts == 4
    assert len(endpoint.requests) == 4


@pytest.mark.parametrize(("reply", "words"), [(401, "401|Authentication"), ({"choices": []}, "Invalid response")])
def test_what_cannot_heal_is_not_retried(reply: Any, words: str, serve: Any) -> None:
    endpoint = serve(reply)
    llm = page_llm("jwt", endpoint.url).with_policies(Retry(attempts=5, base_delay=0))
    with pytest.raises(ValueError, match=words):
        llm.call("Hi")
    assert len(endpoint.requests) == 1


def test_a_long_hint_is_told_instead_of_waited_for(serve: Any) -> None:
    llm = page_llm("basic", serve(Status(429, headers={"Retry-After": "3600"})).url).with_policies(Retry())
    with pytest.raises(RateLimitError) as caught:
        llm.call("Hi")
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize("name", ["basic", "metrics"])
async def test_a_deadline_ends_a_call_that_hangs(name: str, serve: Any) -> None:
    """The page waits 30 s by itself; the deadline is the earlier one, in each colour."""
    endpoint = serve(Hang())
    llm = page_llm(name, endpoint.url).with_policies(Deadline(0.1))
    started = time.monotonic()
    with pytest.raises(LLMTimeoutError):
        llm.call("Hi")
    with pytest.raises(TimeoutError):
        await in_crew(llm).akickoff()
    assert time.monotonic() - started < 15
    endpoint.stop()  # lets go of the threads that were left behind


def test_the_log_policy(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "oarlock.llm")
    llm = page_llm("jwt", serve(503, "Yes.").url, "secret-token").with_policies(Log(), Retry(base_delay=0))
    in_crew(llm).kickoff()
    assert any("waiting" in record.message for record in caplog.records)
    assert "secret-token" not in caplog.text


def test_an_answer_of_none_is_clear_within_policies(serve: Any) -> None:
    llm = page_llm("basic", serve({"choices": [{"message": {"content": None}}]}).url).with_policies(Retry())
    with pytest.raises(EmptyReply, match="returned None"):
        llm.call("Hi")
