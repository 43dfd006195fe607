"""How long a retry waits: full jitter, the server's hints, the deadline."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.classify import error_for_status
from oarlock.contract.errors import LLMError, LLMTimeoutError, RateLimitError, ServerError
from oarlock.policies import Deadline, Retry
from oarlock.testing import ScriptedLLM, VirtualRuntime
from oarlock.testing.virtual import EPOCH


def waits(error: LLMError, retry: Retry, seed: int = 0, deadline: float | None = None) -> list[float]:
    """Return the waits of a call that always fails."""
    runtime = VirtualRuntime(seed=seed)
    llm = ScriptedLLM([lambda request: error] * 100)
    policies: list[Any] = [retry, *([Deadline(deadline)] if deadline else [])]
    with runtime, pytest.raises(type(error)) as caught:
        llm.with_policies(*policies).call("Hi")
    assert caught.value.attempts == len(runtime.slept) + 1 == len(llm.requests)
    return runtime.slept


delays = st.floats(0, 1000)


def batched(items: list[float], size: int) -> list[list[float]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


@given(st.integers(0, 10_000), st.integers(1, 12), delays, delays)
def test_full_jitter(seed: int, attempts: int, base: float, cap: float) -> None:
    slept = waits(ServerError("x"), Retry(attempts, base_delay=base, max_delay=cap), seed)
    assert len(slept) == attempts - 1
    assert all(0 <= wait <= min(base * 2**i, cap) for i, wait in enumerate(slept))


@given(st.integers(0, 10_000), delays, delays)
def test_a_429_has_its_own_bounds(seed: int, base: float, cap: float) -> None:
    retry = Retry(6, base_delay=0, max_delay=0, throttled_base_delay=base, throttled_max_delay=cap)
    assert all(0 <= wait <= min(base * 2**i, cap) for i, wait in enumerate(waits(RateLimitError("x"), retry, seed)))
    assert waits(ServerError("x"), retry, seed) == [0] * 5


def test_the_defaults() -> None:
    """Base 0.5 s and cap 8 s; throttled 1 s and 20 s; the whole range is used."""
    servers = [waits(ServerError("x"), Retry(8), seed) for seed in range(300)]
    throttled = [waits(RateLimitError("x"), Retry(8), seed) for seed in range(300)]
    for i in range(7):
        for runs, bound in ((servers, min(0.5 * 2**i, 8)), (throttled, min(1.0 * 2**i, 20))):
            mine = [slept[i] for slept in runs]
            assert max(mine) <= bound
            assert max(mine) > 0.95 * bound
            assert min(mine) < 0.05 * bound


def test_many_attempts_do_not_overflow() -> None:
    retry = Retry(100, base_delay=0.001, max_delay=0.01, budget=None)
    assert len(waits(ServerError("x"), retry)) == 99


@given(st.integers(0, 1000), st.floats(0.001, 60))
def test_a_hint_is_a_floor_with_a_fifth_of_jitter(seed: int, hint: float) -> None:
    retry = Retry(2, throttled_base_delay=0)
    (wait,) = waits(RateLimitError("x", retry_after=hint), retry, seed)
    assert hint <= wait <= hint * 1.2


def test_clients_told_the_same_come_back_spread() -> None:
    """Twenty that were told 2 s: none early, and never all within 0.2 s; here for 200 such crowds."""
    rolls = [waits(RateLimitError("x", retry_after=2), Retry(2), seed)[0] for seed in range(4000)]
    for crowd in batched(rolls, 20):
        assert min(crowd) >= 2
        assert max(crowd) - min(crowd) >= 0.2


def test_a_hint_does_not_shorten_the_backoff() -> None:
    retry = Retry(2, base_delay=100, max_delay=100)
    for seed in range(50):
        (wait,) = waits(ServerError("x", retry_after=0.01), retry, seed)
        assert wait == pytest.approx(max(0.01 * 1.0, 100 * random.Random(seed).random()), abs=0.01)


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({"retry-after-ms": "1500", "retry-after": "30"}, 1.5),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:07 GMT"}, 7.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_hints_of_the_headers(headers: dict[str, str], hint: float, status: int) -> None:
    retry = Retry(2, base_delay=0, throttled_base_delay=0)
    (wait,) = waits(error_for_status(status, "x", headers=headers, wall_time=EPOCH), retry)
    assert hint <= wait <= hint * 1.2


@pytest.mark.parametrize("text", ["soon", "-5", "nan", "inf", "", "Thu, 99 Jan 2026 00:00:07 GMT"])
def test_garbage_hints_leave_the_backoff(text: str) -> None:
    error = error_for_status(429, "x", headers={"retry-after": text}, wall_time=EPOCH)
    (wait,) = waits(error, Retry(2))
    assert 0 <= wait <= 1


@pytest.mark.parametrize("hint", [-5.0, float("nan"), float("-inf")])
def test_garbage_hints_of_a_users_error_leave_the_backoff(hint: float) -> None:
    (wait,) = waits(RateLimitError("x", retry_after=hint), Retry(2))
    assert 0 <= wait <= 1


@pytest.mark.parametrize("hint", [60.001, 3600.0, float("inf")])
def test_a_long_hint_fails_at_once_and_stands_in_the_error(runtime: VirtualRuntime, hint: float) -> None:
    llm = ScriptedLLM([RateLimitError("x", retry_after=hint), "ok"])
    with runtime, pytest.raises(RateLimitError) as caught:
        llm.with_policies(Retry()).call("Hi")
    assert (caught.value.retry_after, caught.value.attempts, runtime.slept) == (hint, 1, [])


def test_how_long_is_too_long_can_be_set(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([RateLimitError("x", retry_after=600), "ok"])
    with runtime:
        assert llm.with_policies(Retry(max_retry_after=600)).call("Hi") == "ok"
    assert 600 <= runtime.now() <= 720


def test_a_hint_past_the_deadline_fails_at_once(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([RateLimitError("x", retry_after=30), "ok"])
    with runtime, pytest.raises(RateLimitError) as caught:
        llm.with_policies(Retry(), Deadline(20)).call("Hi")
    assert (caught.value.retry_after, runtime.now(), runtime.slept) == (30, 0, [])


@given(st.integers(0, 1000), st.floats(0.1, 30))
def test_no_wait_goes_past_the_deadline(seed: int, deadline: float) -> None:
    slept = waits(ServerError("x"), Retry(50), seed, deadline)
    assert sum(slept) < deadline


def test_no_retry_once_the_time_is_up(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([lambda request: LLMTimeoutError("slow")] * 3, latency=10)
    with runtime, pytest.raises(LLMTimeoutError) as caught:
        llm.with_policies(Retry(base_delay=0), Deadline(10)).call("Hi")
    assert caught.value.attempts == len(llm.requests) == 1
