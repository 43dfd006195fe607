"""Figures of calls: exact sums, percentiles within 5 %."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.errors import BadRequestError, ConfigurationError, RateLimitError, ServerError
from oarlock.contract.events import CacheHit, SignedIn
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies import Fallback, Log, Metrics, RateLimit, Retry
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

REPLY = Reply(text="ok", usage=Usage(prompt_tokens=7, completion_tokens=5))


def test_nothing_yet() -> None:
    figures = Metrics().get_metrics()
    assert figures == {
        "total_calls": 0,
        "errors": 0,
        "errors_by_class": {},
        "cancelled": 0,
        "total_tokens": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "retries": 0,
        "fallbacks": 0,
        "cache_hits": 0,
        "avg_latency": 0.0,
        "latency": {"p50": 0.0, "p90": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0},
        "waits": {},
        "waiting": {},
    }


def test_calls_errors_tokens_and_waits(runtime: VirtualRuntime) -> None:
    script = [REPLY, ServerError("x"), REPLY, BadRequestError("x"), BadRequestError("x"), RateLimitError("x"), REPLY]
    metrics = Metrics()
    llm = ScriptedLLM(script, latency=1).with_policies(metrics, Retry(retry_on=lambda e: e.retryable and 3))
    with runtime:
        for _ in range(2):
            llm.call("Hi")
        for _ in range(2):
            with pytest.raises(BadRequestError):
                llm.call("Hi")
        llm.call("Hi")
    figures = metrics.get_metrics()
    assert figures["total_calls"] == 5
    assert (figures["errors"], figures["errors_by_class"]) == (2, {"BadRequestError": 2})
    assert (figures["prompt_tokens"], figures["completion_tokens"], figures["total_tokens"]) == (21, 15, 36)
    assert figures["waits"] == {"retry": 2}
    assert figures["waiting"] == {"retry": 6.0}
    assert figures["avg_latency"] == pytest.approx((1 + 5 + 1 + 1 + 5) / 5)
    assert figures["latency"]["max"] == 5


def test_waits_by_cause(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([ServerError("x"), "ok"]).with_policies(Metrics(), Retry(), RateLimit(1), Log())
    with runtime:
        llm.call("Hi")
    figures = llm.get_metrics()
    assert figures["waits"] == {"retry": 1, "rate_limit": 1}
    assert sum(figures["waiting"].values()) == pytest.approx(60)


def exact(latencies: list[float], percent: int) -> float:
    return sorted(latencies)[math.ceil(Fraction(percent * len(latencies), 100)) - 1]


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=200))
def test_percentiles_are_within_5_percent(latencies: list[float]) -> None:
    runtime = VirtualRuntime()
    metrics = Metrics()
    seconds = iter(latencies)
    llm = FunctionLLM(lambda messages: runtime.advance(next(seconds)) or "ok").with_policies(metrics)
    with runtime:
        for _ in latencies:
            llm.call("Hi")
    figures = metrics.get_metrics()
    for percent in (50, 90, 95, 99):
        assert figures["latency"][f"p{percent}"] == pytest.approx(exact(latencies, percent), rel=0.05, abs=1e-6)
    assert figures["latency"]["max"] == pytest.approx(max(latencies), abs=1e-6)
    assert figures["avg_latency"] == pytest.approx(sum(latencies) / len(latencies), rel=1e-6, abs=1e-6)
    assert list(figures["latency"].values()) == sorted(figures["latency"].values())


def test_threads_add_up_exactly() -> None:
    metrics = Metrics()
    one = FunctionLLM(lambda messages: REPLY).with_policies(metrics, Retry(2, base_delay=0, budget=None))
    other = FunctionLLM(lambda messages: ServerError("x")).with_policies(metrics, Retry(2, base_delay=0, budget=None))

    def work(_: int) -> None:
        for _ in range(100):
            one.call("Hi")
            with pytest.raises(ServerError):
                other.call("Hi")
            metrics.get_metrics()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    figures = metrics.get_metrics()
    assert (figures["total_calls"], figures["errors"]) == (3200, 1600)
    assert figures["total_tokens"] == 1600 * 12
    assert figures["waits"] == {"retry": 1600}


async def test_tasks_add_up_exactly() -> None:
    llm = FunctionLLM(lambda messages: REPLY).with_policies(Metrics())
    await asyncio.gather(*(llm.acall("Hi") for _ in range(200)))
    assert llm.get_metrics()["total_tokens"] == 200 * 12


async def test_a_cancelled_call_is_no_error() -> None:
    started = asyncio.Event()

    async def forever(messages: object) -> str:
        started.set()
        await asyncio.Event().wait()
        return "never"

    llm = FunctionLLM(forever).with_policies(Metrics())
    task = asyncio.ensure_future(llm.acall("Hi"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    figures = llm.get_metrics()
    assert (figures["total_calls"], figures["cancelled"], figures["errors"]) == (1, 1, 0)


def test_a_stream_left_early_is_no_error() -> None:
    llm = ScriptedLLM(["a b c"]).with_policies(Metrics())
    with llm.stream("Hi") as stream:
        next(stream)
    figures = llm.get_metrics()
    assert (figures["total_calls"], figures["cancelled"], figures["errors"]) == (1, 1, 0)


def test_percentiles_of_very_short_and_very_long_calls() -> None:
    metrics = Metrics()
    for seconds in (0.0, 1e-9, 5e-6, 1e6):
        metrics._answered(seconds, Usage())
    figures = metrics.get_metrics()["latency"]
    assert figures["p50"] < 1e-5
    assert figures["p90"] == figures["p99"] == pytest.approx(1e6, rel=0.05)
    assert figures["max"] == 1e6


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 100, 200])
def test_the_rank_of_a_percentile_is_exact(count: int) -> None:
    metrics = Metrics()
    latencies = [2.0**n for n in range(count)]
    for seconds in latencies:
        metrics._answered(seconds, Usage())
    for percent in (50, 90, 95, 99):
        assert metrics.get_metrics()["latency"][f"p{percent}"] == pytest.approx(exact(latencies, percent), rel=0.05)


def test_retries_fallbacks_and_cache_hits(runtime: VirtualRuntime) -> None:
    down, metrics = ServerError("down"), Metrics()
    other = ScriptedLLM([down, REPLY])

    def hit(handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            request.emit(CacheHit(model="m", saved=Usage()))
            request.emit(SignedIn(method="x", why="first use"))
            return REPLY

        return handle

    llm = ScriptedLLM([down] * 3).with_policies(metrics, Fallback(other.with_policies(Retry())), Retry())
    with runtime:
        llm.call("Hi")
        ScriptedLLM([]).with_policies(metrics, hit, order="given").call("Hi")
    figures = metrics.get_metrics()
    assert (figures["total_calls"], figures["errors"]) == (2, 0)
    assert (figures["retries"], figures["fallbacks"], figures["cache_hits"]) == (3, 1, 1)
    assert figures["total_tokens"] == 24


def test_reset() -> None:
    metrics = Metrics()
    ScriptedLLM([REPLY]).with_policies(metrics).call("Hi")
    metrics.reset()
    assert metrics.get_metrics() == Metrics().get_metrics()


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_goes_on_by_itself(twin: object) -> None:
    metrics = Metrics()
    ScriptedLLM([REPLY]).with_policies(metrics).call("Hi")
    other = twin(metrics)  # type: ignore[operator]
    assert other.get_metrics() == metrics.get_metrics()
    ScriptedLLM([REPLY]).with_policies(other).call("Hi")
    assert other.get_metrics()["total_calls"] == 2
    assert metrics.get_metrics()["total_calls"] == 1


# get_metrics() of an LLM.


def test_an_llm_without_metrics_says_so() -> None:
    for llm in (ScriptedLLM(["ok"]), ScriptedLLM(["ok"]).with_policies(Retry())):
        with pytest.raises(ConfigurationError, match=r"with_policies\(Metrics\(\)\)"):
            llm.get_metrics()


def test_metrics_stay_when_policies_are_added() -> None:
    llm = ScriptedLLM(["ok"]).with_policies(Metrics()).with_policies(Retry())
    llm.call("Hi")
    assert llm.get_metrics()["total_calls"] == 1


class Counting(BaseLLM):
    """As on CrewAI's page: a class that keeps figures itself."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def call(self, messages: object) -> str:
        self.calls += 1
        return "ok"

    def get_metrics(self) -> dict[str, int]:
        return {"total_calls": self.calls, "own": 1}


def test_a_class_with_its_own_get_metrics_keeps_it() -> None:
    llm = Counting().with_policies(Retry())
    llm.call("Hi")
    assert llm.get_metrics() == {"total_calls": 1, "own": 1}


def test_the_policys_figures_come_first() -> None:
    llm = Counting().with_policies(Metrics())
    llm.call("Hi")
    assert "own" not in llm.get_metrics()
    assert llm.inner.get_metrics()["own"] == 1  # type: ignore[attr-defined]


def test_metrics_shared_between_llms() -> None:
    metrics = Metrics()
    for _ in range(3):
        ScriptedLLM(["ok"]).with_policies(metrics).call("Hi")
    assert metrics.get_metrics()["total_calls"] == 3
    assert repr(metrics) == "Metrics()"
