"""Which policy stands outside which, which takes the place of which, and policies of one's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from policy_helpers import Watch

from oarlock.contract.errors import ConfigurationError, LLMTimeoutError, RateLimitError, ServerError
from oarlock.contract.policy import Handler, Policy
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies import Concurrency, Deadline, Fallback, Log, Metrics, RateLimit, Retry
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

DOWN = ServerError("down")


def kinds(llm: Any) -> list[str]:
    return [type(policy).__name__ for policy in llm.policies]


def test_the_ranks() -> None:
    ranks = [policy.rank for policy in (Log, Metrics, Deadline, Fallback, Retry, Concurrency, RateLimit)]
    assert ranks == [10, 20, 30, 35, 40, 48, 50]
    assert all(isinstance(one, Policy) for one in (Log(), Metrics(), Deadline(1), Retry(), RateLimit(1)))


def test_the_default_order_is_by_rank() -> None:
    llm = ScriptedLLM([]).with_policies(RateLimit(60), Retry(), Deadline(1), Metrics(), Log())
    assert kinds(llm) == ["Log", "Metrics", "Deadline", "Retry", "RateLimit"]


def test_policies_that_come_later_are_sorted_in() -> None:
    llm = ScriptedLLM([]).with_policies(RateLimit(60), Deadline(1)).with_policies(Retry()).with_policies(Log())
    assert kinds(llm) == ["Log", "Deadline", "Retry", "RateLimit"]


def test_given_order_is_kept() -> None:
    llm = ScriptedLLM([]).with_policies(RateLimit(60), Retry(), Log(), order="given")
    assert kinds(llm) == ["RateLimit", "Retry", "Log"]


def test_no_other_order() -> None:
    with pytest.raises(ConfigurationError, match=r'order must be "default" or "given", not \'best\''):
        ScriptedLLM([]).with_policies(Retry(), order="best")


def test_attempts_take_places_only_where_the_limit_is_inside(runtime: VirtualRuntime) -> None:
    with runtime:
        outside = ScriptedLLM([DOWN, DOWN, "ok"])
        outside.with_policies(RateLimit(1), Retry(base_delay=0), order="given").call("Hi")
        assert runtime.now() == 0
        ScriptedLLM([DOWN, DOWN, "ok"]).with_policies(RateLimit(1), Retry(base_delay=0)).call("Hi")
        assert runtime.now() == pytest.approx(120)


def test_metrics_outside_count_calls_and_inside_attempts(runtime: VirtualRuntime) -> None:
    outside, inside = Metrics(), Metrics()
    with runtime:
        ScriptedLLM([DOWN, "ok"]).with_policies(outside, Retry()).call("Hi")
        ScriptedLLM([DOWN, "ok"]).with_policies(Retry(), inside, order="given").call("Hi")
    assert (outside.get_metrics()["total_calls"], inside.get_metrics()["total_calls"]) == (1, 2)


def test_one_of_a_class_takes_the_place_of_another(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([DOWN] * 20)
    policed = llm.with_policies(Retry(5)).with_policies(Retry(2)).with_policies(Retry(3))
    assert kinds(policed) == ["Retry"]
    with runtime, pytest.raises(ServerError):
        policed.call("Hi")
    assert len(llm.requests) == 3


def test_those_given_together_all_apply(runtime: VirtualRuntime) -> None:
    """Such as a limit per minute of one's own and one that a whole team shares."""
    team = RateLimit(1)
    llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(60, burst=2), team)
    other = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(60, burst=1), team)
    assert kinds(llm) == ["RateLimit", "RateLimit"]
    with runtime:
        llm.call("Hi")
        other.call("Hi")
        assert runtime.now() == pytest.approx(60)
    assert kinds(llm.with_policies(RateLimit(5))) == ["RateLimit"]


def test_one_derived_from_a_class_takes_its_place_too() -> None:
    class MyRetry(Retry):
        pass

    llm = ScriptedLLM([]).with_policies(Retry(), Deadline(1))
    assert kinds(llm.with_policies(MyRetry())) == ["Deadline", "MyRetry"]
    assert kinds(llm.with_policies(MyRetry()).with_policies(Retry())) == ["Deadline", "Retry"]


def test_classes_of_ones_own_with_a_common_base_do_not() -> None:
    class Base:
        rank = 5

        def __call__(self, handler: Handler) -> Handler:
            return handler

    class One(Base):
        pass

    class Other(Base):
        pass

    assert kinds(ScriptedLLM([]).with_policies(One()).with_policies(Other())) == ["One", "Other"]


# Orders that multiply retries.


class MyRetry(Retry):
    """A retry of one's own."""


@pytest.mark.parametrize("order", ["default", "given"])
@pytest.mark.parametrize("second", [Retry(2), MyRetry(2)])
def test_two_retries_are_refused(order: str, second: Retry) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ScriptedLLM([]).with_policies(Retry(5), Deadline(9), second, order=order)
    assert str(caught.value) == (
        f"Retry(attempts=5) stands outside {second!r}, and there must be one retry loop only, or attempts would multiply: "
        "leave one of them out."
    )


def test_a_retry_outside_a_fallback_that_retries_is_refused() -> None:
    other = ScriptedLLM([], model="other").with_policies(Retry(2), Deadline(9))
    for fallback in (Fallback(other), Fallback(by_error={ServerError: [ScriptedLLM([]), other]})):
        with pytest.raises(ConfigurationError, match=r"Retry\(attempts=3\) stands outside Fallback") as caught:
            ScriptedLLM([]).with_policies(Retry(), fallback, order="given")
        assert "whose 'other' retries too, so attempts would multiply: put Fallback outside Retry" in str(caught.value)
        ScriptedLLM([]).with_policies(Retry(), fallback)
        ScriptedLLM([]).with_policies(fallback, Retry(), order="given")


def test_so_is_one_whose_fallbacks_fallback_retries() -> None:
    last = ScriptedLLM([], model="last").with_policies(Retry(2))
    middle = ScriptedLLM([], model="middle").with_policies(Fallback(last))
    with pytest.raises(ConfigurationError, match="whose 'middle' retries too"):
        ScriptedLLM([]).with_policies(Retry(), Fallback(middle), order="given")


def test_a_retry_outside_a_fallback_that_does_not_retry_is_fine(runtime: VirtualRuntime) -> None:
    first, other = ScriptedLLM([DOWN, "ok"]), ScriptedLLM([DOWN])
    with runtime:
        assert first.with_policies(Retry(), Fallback(other), order="given").call("Hi") == "ok"


def test_policies_set_on_a_class_are_checked_at_the_first_call() -> None:
    class Twice(ScriptedLLM):
        policies = (Retry(), Retry())

    with pytest.raises(ConfigurationError, match="there must be one retry loop only"):
        Twice(["ok"]).call("Hi")


def test_what_only_has_the_name_of_a_ready_policy_is_none() -> None:
    namesake = type("Retry", (), {"__call__": lambda self, handler: handler})()
    ScriptedLLM([]).with_policies(namesake, Retry(), order="given")


def test_the_llm_itself_stays_as_it_was() -> None:
    inner = ScriptedLLM([DOWN, "ok"])
    inner.with_policies(Retry())
    assert inner.policies == ()
    with pytest.raises(ServerError):
        inner.call("Hi")


# Policies of one's own.


def shout(handler: Handler) -> Handler:
    async def handle(runtime: Runtime, request: Request) -> Reply:
        reply = await handler(runtime, request)
        return dataclasses.replace(reply, text=reply.text.upper())

    return handle


def brackets(handler: Handler) -> Handler:
    async def handle(runtime: Runtime, request: Request) -> Reply:
        reply = await handler(runtime, request)
        return dataclasses.replace(reply, text=f"<x {reply.text}>")

    return handle


def test_functions_are_policies() -> None:
    assert ScriptedLLM(["ok"]).with_policies(shout).call("Hi") == "OK"


def test_functions_stand_outside_in_the_order_given() -> None:
    assert ScriptedLLM(["ok"]).with_policies(shout, brackets).call("Hi") == "<X OK>"
    assert ScriptedLLM(["ok"]).with_policies(brackets, shout).call("Hi") == "<x OK>"


def test_functions_do_not_replace_each_other() -> None:
    assert ScriptedLLM(["ok"]).with_policies(shout).with_policies(brackets).call("Hi") == "<X OK>"


def test_a_class_may_have_a_rank(runtime: VirtualRuntime) -> None:
    class Between:
        rank = 45
        attempts: list[int] = []  # noqa: RUF012

        def __call__(self, handler: Handler) -> Handler:
            async def handle(runtime: Runtime, request: Request) -> Reply:
                self.attempts.append(request.attempt)
                return await handler(runtime, request)

            return handle

    between = Between()
    llm = ScriptedLLM([DOWN, "ok"]).with_policies(between, RateLimit(60), Retry())
    assert kinds(llm) == ["Retry", "Between", "RateLimit"]
    with runtime:
        llm.call("Hi")
    assert between.attempts == [1, 2]


def test_a_policy_may_answer_by_itself() -> None:
    def closed(handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            return Reply(text="we are closed")

        return handle

    inner = ScriptedLLM([])
    assert inner.with_policies(closed, Retry(), RateLimit(1)).call("Hi") == "we are closed"
    assert inner.requests == []


def test_a_policy_may_raise_errors_that_a_retry_outside_heals(runtime: VirtualRuntime) -> None:
    calls = 0

    def shaky(handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            nonlocal calls
            calls += 1
            if calls < 3:
                raise ServerError("from a policy")
            return await handler(runtime, request)

        return handle

    with runtime:
        assert ScriptedLLM(["ok"]).with_policies(Retry(), shaky, order="given").call("Hi") == "ok"


@pytest.mark.parametrize("wrong", [Retry, "Retry", 3, None])
def test_what_is_no_policy_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="A policy is an object"):
        ScriptedLLM([]).with_policies(wrong)


# All together.


def test_all_five_in_both_colours(runtime: VirtualRuntime, watch: Watch) -> None:
    script: list[Any] = [DOWN, RateLimitError("busy", status=429, retry_after=4), "ok"] * 2
    llm = ScriptedLLM(script, latency=0.5).with_policies(
        watch, Log(), Metrics(), Deadline(120), Retry(), RateLimit(60, 90_000)
    )
    with runtime:
        assert llm.call("Hi") == "ok"

        async def asynchronously() -> Any:
            return await llm.acall("Hi")

        assert runtime.run(asynchronously()) == "ok"
    figures = llm.get_metrics()
    assert (figures["total_calls"], figures["errors"], figures["waits"]["retry"]) == (2, 0, 4)
    assert {wait.cause for wait in watch.waits} <= {"retry", "rate_limit"}


async def test_all_five_for_many_at_once() -> None:
    metrics = Metrics()

    async def jobs(runtime: VirtualRuntime) -> list[Any]:
        llm = FunctionLLM(lambda messages: runtime.advance(2) or "ok")
        policed = llm.with_policies(Log(), metrics, Deadline(30), Retry(), RateLimit(60, burst=1))

        async def job() -> str:
            try:
                return str(await policed.acall("Hi"))
            except (RateLimitError, LLMTimeoutError) as error:
                return type(error).__name__

        return await runtime.gather(*[job] * 50)

    runtime = VirtualRuntime()
    answers = runtime.run(jobs(runtime))
    assert answers[:28] == ["ok"] * 28
    assert answers.count("LLMTimeoutError") == 2  # they began in time, and took two seconds
    assert answers.count("RateLimitError") == 20
    assert metrics.get_metrics()["total_calls"] == 50
