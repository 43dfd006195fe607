"""What one caller sees of a rate limit: burst, waits, refusals, hints of the server, settling."""

from __future__ import annotations

import contextlib
import copy
import itertools
import pickle
import time
from typing import Any

import pytest
from policy_helpers import Watch, fixed_estimate, tokens

from oarlock.contract.errors import (
    BadRequestError,
    ConfigurationError,
    LLMError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from oarlock.contract.reply import EndpointLimit, Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies import Deadline, RateLimit, Retry
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime


def ask(llm: Any, runtime: VirtualRuntime, times: int) -> list[float]:
    """Ask so many times in a row; return when the answers came."""
    came = []
    with runtime:
        for _ in range(times):
            llm.call("Hi")
            came.append(round(runtime.now(), 3))
    return came


def test_a_burst_passes_at_once_and_the_rest_evenly(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(60, burst=11))
    assert ask(llm, runtime, 15) == [0.0] * 11 + [1.2, 2.4, 3.6, 4.8]


def test_the_default_burst_is_a_twentieth(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(100))
    assert ask(llm, runtime, 6)[:6] == [0.0] * 5 + [0.625]


def test_a_limit_of_one_is_one_a_minute(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(1))
    assert ask(llm, runtime, 3) == [0.0, 60.0, 120.0]


def test_a_pause_gives_the_burst_back(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(60, burst=11))
    ask(llm, runtime, 11)
    runtime.advance(60)
    assert ask(llm, runtime, 11) == [60.0] * 11


def test_waiting_is_told(runtime: VirtualRuntime, watch: Watch) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(watch, RateLimit(1))
    ask(llm, runtime, 2)
    (wait,) = watch.waits
    assert (wait.cause, wait.error) == ("rate_limit", None)
    assert wait.seconds == pytest.approx(60)


def test_a_wait_past_the_deadline_fails_at_once(runtime: VirtualRuntime) -> None:
    inner = FunctionLLM(lambda messages: "ok")
    llm = inner.with_policies(RateLimit(2, burst=1), Deadline(10), Retry())
    ask(llm, runtime, 1)
    with runtime, pytest.raises(RateLimitError, match=r"wait 30\.0 s, longer than there is time for") as caught:
        llm.call("Hi")
    assert runtime.now() == 0
    assert caught.value.retry_after == pytest.approx(30)
    assert not caught.value.retryable
    assert len(inner.requests) == 1


def test_a_refused_request_takes_no_place(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(2, burst=1, max_wait=1))
    with runtime:
        llm.call("Hi")
        for _ in range(50):
            with pytest.raises(RateLimitError):
                llm.call("Hi")
        runtime.advance(30.001)
        assert llm.call("Hi") == "ok"


def test_max_wait_zero_never_waits(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(60, burst=1, max_wait=0))
    with runtime:
        llm.call("Hi")
        with pytest.raises(RateLimitError):
            llm.call("Hi")
    assert runtime.slept == []


def test_the_shorter_of_max_wait_and_deadline_counts(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(2, burst=1, max_wait=29), Deadline(100))
    with runtime:
        llm.call("Hi")
        with pytest.raises(RateLimitError):
            llm.call("Hi")


def test_a_sleep_that_ends_early_is_slept_again() -> None:
    class Restless(VirtualRuntime):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds / 2 if seconds > 1e-6 else seconds)

    runtime = Restless()
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(1))
    came = ask(llm, runtime, 2)
    assert came == [0.0, 60.0]
    assert runtime.now() >= 60
    assert len(runtime.slept) > 10


# Tokens.


def test_the_real_usage_is_what_counts(runtime: VirtualRuntime) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=1000), lambda request: 50)
    llm = ScriptedLLM([tokens(10)] * 20).with_policies(limit)
    assert ask(llm, runtime, 20) == [0.0] * 20


def test_what_was_used_beyond_the_estimate_is_waited_for(runtime: VirtualRuntime) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=751 + 249), lambda request: 1)
    llm = ScriptedLLM([tokens(751), tokens(1)]).with_policies(limit)
    came = ask(llm, runtime, 2)
    assert came[0] == 0.0
    assert came[1] == pytest.approx((751 + 1 - 250) * 60 / 751, abs=0.01)


def test_unknown_usage_counts_as_estimated(runtime: VirtualRuntime) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=100), lambda request: 25)
    llm = ScriptedLLM(["ok"] * 2).with_policies(limit)
    assert ask(llm, runtime, 2)[1] > 0


@pytest.mark.parametrize("usage", [Usage(prompt_tokens=-1000), Usage(prompt_tokens=5, completion_tokens=-900)])
def test_garbage_usage_gives_nothing_back(runtime: VirtualRuntime, usage: Usage) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=100), lambda request: 25)
    llm = ScriptedLLM([Reply(text="ok", usage=usage)] * 2).with_policies(limit)
    assert ask(llm, runtime, 2)[1] > 0


def test_a_failed_call_counts_as_estimated(runtime: VirtualRuntime) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=100, max_wait=0), lambda request: 25)
    llm = ScriptedLLM([BadRequestError("no"), "ok"]).with_policies(limit)
    with runtime:
        with pytest.raises(BadRequestError):
            llm.call("Hi")
        with pytest.raises(RateLimitError):
            llm.call("Hi")


def test_a_request_larger_than_the_limit_is_refused(runtime: VirtualRuntime) -> None:
    inner = ScriptedLLM(["ok"])
    llm = inner.with_policies(RateLimit(tokens_per_minute=1000), Retry())
    with runtime, pytest.raises(RateLimitError, match=r"needs about \d+ tokens, more than the limit of 1000") as caught:
        llm.call("x" * 40_000)
    assert not caught.value.retryable
    assert inner.requests == []
    assert runtime.now() == 0


def test_a_request_larger_than_the_burst_passes_after_a_pause(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["ok"]).with_policies(RateLimit(tokens_per_minute=1000))
    assert ask(llm, runtime, 1) == [0.0]


def test_both_limits_are_kept(runtime: VirtualRuntime) -> None:
    limit = fixed_estimate(RateLimit(60, 60, burst=2), lambda request: 15)
    llm = ScriptedLLM([tokens(15)] * 3).with_policies(limit)
    came = ask(llm, runtime, 3)
    assert came[1] == pytest.approx(15 * 60 / 46, abs=0.01)  # the tokens are scarcer


# Hints of the server.


def limited(seconds: float | None, **facts: Any) -> RateLimitError:
    return RateLimitError("slow down", status=429, retry_after=seconds, **facts)


def test_a_429_with_a_hint_holds_everybody_back(runtime: VirtualRuntime) -> None:
    limit = RateLimit(6000)
    first = ScriptedLLM([limited(20)]).with_policies(limit)
    second = ScriptedLLM(["ok"]).with_policies(limit)
    with runtime:
        with pytest.raises(RateLimitError):
            first.call("Hi")
        assert second.call("Hi") == "ok"
    assert runtime.now() == pytest.approx(20)


@pytest.mark.parametrize(
    "error", [limited(0), QuotaExceededError("spent", status=429), BadRequestError("x"), ServerError("x", status=500)]
)
def test_a_failure_that_waiting_does_not_heal_holds_nobody_back(runtime: VirtualRuntime, error: LLMError) -> None:
    llm = ScriptedLLM([error, "ok"]).with_policies(RateLimit(6000))
    with runtime:
        with pytest.raises(LLMError):
            llm.call("Hi")
        llm.call("Hi")
    assert runtime.now() == 0


@pytest.mark.parametrize("hint", [None, -5, float("nan"), float("inf")])
def test_a_429_without_a_usable_hint_holds_everybody_back_for_a_second(
    runtime: VirtualRuntime, hint: float | None
) -> None:
    limit = RateLimit(6000)
    first, second = ScriptedLLM([limited(hint)]).with_policies(limit), ScriptedLLM(["ok"]).with_policies(limit)
    with runtime:
        with pytest.raises(RateLimitError):
            first.call("Hi")
        assert second.call("Hi") == "ok"
    assert runtime.now() == pytest.approx(1)


def test_429s_in_a_row_hold_longer_and_longer_until_a_call_succeeds(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([limited(None)] * 7 + ["ok"] + [limited(None), "ok"]).with_policies(RateLimit(6000))
    came = []
    with runtime:
        for _ in range(10):
            with contextlib.suppress(RateLimitError):
                llm.call("Hi")
            came.append(runtime.now())
    waits = [round(later - earlier, 2) for earlier, later in itertools.pairwise(came)]
    assert waits == [1, 2, 4, 8, 16, 20, 20, 0, 1]


def test_429s_of_calls_that_were_on_their_way_together_count_once(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([limited(None)] * 10 + ["ok"], latency=1).with_policies(RateLimit(6000, burst=20))

    async def job() -> None:
        with contextlib.suppress(RateLimitError):
            await llm.acall("Hi")

    async def whole() -> None:
        await runtime.gather(*[job] * 10)
        await llm.acall("Hi")

    runtime.run(whole())
    assert runtime.now() == pytest.approx(1 + 1 + 1, abs=0.1)  # the answers, the pause, the last answer


def test_learn_false_heeds_hints_only(runtime: VirtualRuntime) -> None:
    reply = Reply(text="ok", limits=(EndpointLimit(unit="requests", limit=1, remaining=0, resets_in=30),))
    llm = ScriptedLLM([limited(None), reply, reply, limited(5), "ok"]).with_policies(RateLimit(6000, learn=False))
    came = []
    with runtime:
        for _ in range(5):
            with contextlib.suppress(RateLimitError):
                llm.call("Hi")
            came.append(round(runtime.now(), 1))
    assert came == [0, 0, 0, 0, 5]


# What answers say about the endpoint's limits.


def saying(*said: EndpointLimit, used: int = 0) -> Reply:
    return Reply(text="ok", usage=Usage(prompt_tokens=used), limits=said)


@pytest.mark.parametrize("unit", ["requests", "tokens", "input_tokens", "output_tokens", "any"])
def test_nothing_left_holds_everybody_back_until_the_reset(runtime: VirtualRuntime, unit: str) -> None:
    limit = RateLimit(6000)
    ScriptedLLM([saying(EndpointLimit(unit=unit, remaining=0, resets_in=12.5))]).with_policies(limit)
    first = ScriptedLLM([saying(EndpointLimit(unit=unit, remaining=0, resets_in=12.5))]).with_policies(limit)
    second = ScriptedLLM(["ok"]).with_policies(limit)
    assert ask(first, runtime, 1) == [0.0]
    assert ask(second, runtime, 1) == [12.5]


@pytest.mark.parametrize(
    "said", [EndpointLimit(unit="requests", remaining=1, resets_in=9), EndpointLimit(unit="tokens", remaining=0)]
)
def test_something_left_or_no_time_holds_nobody_back(runtime: VirtualRuntime, said: EndpointLimit) -> None:
    llm = ScriptedLLM([saying(said), "ok"]).with_policies(RateLimit(6000))
    assert ask(llm, runtime, 2) == [0.0, 0.0]


def test_a_reset_that_is_far_away_fails_calls_at_once(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([saying(EndpointLimit(unit="any", remaining=0, resets_in=86_400)), "ok"]).with_policies(
        RateLimit(60)
    )
    with runtime:
        llm.call("Hi")
        with pytest.raises(RateLimitError, match="another 86400 s") as caught:
            llm.call("Hi")
    assert caught.value.retry_after == pytest.approx(86_400)


def test_a_lower_limit_of_the_endpoints_slows_down_to_it(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([saying(EndpointLimit(unit="requests", limit=3))] * 6).with_policies(RateLimit(600, burst=1))
    came = ask(llm, runtime, 6)
    assert [round(later - earlier, 2) for earlier, later in itertools.pairwise(came)] == [20.0] * 5


def test_a_higher_limit_of_the_endpoints_changes_nothing(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([saying(EndpointLimit(unit="requests", limit=9000))] * 3).with_policies(RateLimit(3, burst=1))
    assert ask(llm, runtime, 3) == [0.0, 20.0, 40.0]


def test_the_endpoints_limit_may_rise_again_up_to_ours(runtime: VirtualRuntime) -> None:
    said = [saying(EndpointLimit(unit="requests", limit=limit)) for limit in (1, 100, 100, 100)]
    llm = ScriptedLLM(said).with_policies(RateLimit(3, burst=1))
    assert ask(llm, runtime, 4) == [0.0, 60.0, 80.0, 100.0]


def test_a_lower_limit_of_tokens_counts_for_what_a_request_may_need(runtime: VirtualRuntime) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=1000), lambda request: 500)
    llm = ScriptedLLM([saying(EndpointLimit(unit="tokens", limit=400.7), used=1)]).with_policies(limit)
    with runtime:
        llm.call("Hi")
        with pytest.raises(RateLimitError, match="more than the limit of 400 a minute"):
            llm.call("Hi")


@pytest.mark.parametrize("limit", [0, -5, 0.0])
def test_a_limit_of_nothing_is_garbage(runtime: VirtualRuntime, limit: float) -> None:
    llm = ScriptedLLM([saying(EndpointLimit(unit="requests", limit=limit)), "ok"]).with_policies(RateLimit(6000))
    assert ask(llm, runtime, 2) == [0.0, 0.0]


def test_garbage_usage_closes_the_gate_for_ten_minutes_at_most(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([tokens(2**53), "ok"]).with_policies(
        fixed_estimate(RateLimit(tokens_per_minute=100), lambda _: 1)
    )
    assert 600 < ask(llm, runtime, 2)[1] < 1000


def test_learn_is_yes_or_no() -> None:
    with pytest.raises(ConfigurationError, match="learn must be True or False, not 'no'"):
        RateLimit(60, learn="no")  # type: ignore[arg-type]


def test_it_explains_itself() -> None:
    assert RateLimit(600, 90_000, max_wait=5).explain() == (
        "Lets at most 600 requests (30 at once) and 90,000 tokens pass a minute, fewer where the endpoint says so; "
        "the others wait in line for up to 5 s."
    )
    assert RateLimit(tokens_per_minute=9, learn=False).explain() == (
        "Lets at most 9 tokens pass a minute; the others wait in line."
    )


def test_a_longer_hint_is_not_shortened_by_a_later_one(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([limited(20), limited(3), "ok"]).with_policies(RateLimit(6000))
    with runtime:
        for _ in range(2):
            with pytest.raises(RateLimitError):
                llm.call("Hi")
        llm.call("Hi")
    assert runtime.now() == pytest.approx(20 + 3)


def test_a_hint_of_more_than_a_minute_fails_calls_at_once(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([limited(3600), "ok"]).with_policies(RateLimit(6000))
    with runtime:
        with pytest.raises(RateLimitError):
            llm.call("Hi")
        with pytest.raises(RateLimitError, match="another 3600 s") as caught:
            llm.call("Hi")
        assert caught.value.retry_after == pytest.approx(3600)
        assert runtime.now() == 0
        runtime.advance(3600)
        assert llm.call("Hi") == "ok"


def test_an_exhausted_quota_with_a_hint_holds_back_too(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([QuotaExceededError("spent", status=429, retry_after=5), "ok"]).with_policies(RateLimit(6000))
    with runtime:
        with pytest.raises(QuotaExceededError):
            llm.call("Hi")
        llm.call("Hi")
    assert runtime.now() == pytest.approx(5)


def test_a_limiters_own_refusal_is_no_hint_for_another(runtime: VirtualRuntime) -> None:
    outer = RateLimit(6000)
    strict = ScriptedLLM(["ok"]).with_policies(outer, RateLimit(1, max_wait=0), order="given")
    other = ScriptedLLM(["ok"]).with_policies(outer)
    with runtime:
        strict.call("Hi")
        with pytest.raises(RateLimitError):
            strict.call("Hi")
        other.call("Hi")
    assert runtime.now() == 0


# Copies.


def test_copies_share_the_limit(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(1))
    twin = copy.deepcopy(llm)
    with runtime:
        llm.call("Hi")
        twin.call("Hi")
        copy.copy(llm.policies[0])
    assert runtime.now() == pytest.approx(60)


def test_a_pickle_has_the_settings_and_starts_afresh(runtime: VirtualRuntime) -> None:
    limit = RateLimit(2, 9000, burst=1, max_wait=7.5)
    with runtime:
        FunctionLLM(lambda messages: "ok").with_policies(limit).call("Hi")
        twin = pickle.loads(pickle.dumps(limit))
        assert repr(twin) == repr(limit)
        FunctionLLM(lambda messages: "ok").with_policies(twin).call("Hi")
    assert runtime.now() == 0


def test_the_repr_says_the_settings() -> None:
    assert repr(RateLimit(60, max_wait=3)) == "RateLimit(requests_per_minute=60, max_wait=3.0)"


# The other colours.


def test_blocking() -> None:
    limit = RateLimit(1, max_wait=0)
    llm = FunctionLLM(lambda messages: "ok").with_policies(limit)
    assert llm.call("Hi") == "ok"
    with pytest.raises(RateLimitError):
        llm.call("Hi")


async def test_async() -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(1, max_wait=0))
    assert await llm.acall("Hi") == "ok"
    with pytest.raises(RateLimitError):
        await llm.acall("Hi")


def test_a_stream_takes_a_place(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["a b", "c d"]).with_policies(RateLimit(1))
    with runtime:
        assert [str(delta) for delta in llm.stream("Hi")] == ["a ", "b"]
        assert "".join(str(delta) for delta in llm.stream("Hi")) == "c d"
    assert runtime.now() == pytest.approx(60)


def test_the_clock_is_monotonic(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(60, burst=2, max_wait=0))
    llm.call("Hi")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert llm.complete(Request(messages=[{"role": "user", "content": "Hi"}])).text == "ok"
