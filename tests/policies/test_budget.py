"""What one caller sees of a budget: totals, refusals, what counts and what does not."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from policy_helpers import Watch, tokens

from oarlock.contract.errors import (
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigurationError,
    LLMTimeoutError,
    RateLimitError,
    ServerError,
    TruncatedStream,
)
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies import Amounts, Budget, Price, Retry
from oarlock.runtime import Runtime
from oarlock.testing import ScriptedLLM, VirtualRuntime

PRICES = {"gpt-x": Price(input=2.5, output=10.0, cached_input=1.25)}


def ask(llm: Any, times: int, message: str = "Hi") -> int:
    """Ask so many times; return how many answers came before the budget was used up."""
    for number in range(times):
        try:
            llm.call(message)
        except BudgetExceededError:
            return number
    return times


def answering(reply: Any, **settings: Any) -> ScriptedLLM:
    return ScriptedLLM([reply] * 1000, **settings)


# Requests.


def test_so_many_requests_and_no_more() -> None:
    inner = answering("ok")
    budget = Budget(requests=3)
    assert ask(inner.with_policies(budget), 10) == 3
    assert len(inner.requests) == 3
    assert (budget.spent.requests, budget.spent.tokens, budget.spent.money) == (3, 0, None)
    assert budget.left == Amounts(requests=0)


def test_the_refusal_names_the_limit_what_is_spent_and_what_is_allowed() -> None:
    llm = answering("ok").with_policies(Budget(requests=1000, tokens=50))
    ask(llm, 1, "x" * 400)
    with pytest.raises(BudgetExceededError, match=r"^The budget is used up: 100 of 50 tokens\.$"):
        llm.call("Hi")


async def test_it_works_for_coroutines() -> None:
    llm = answering("ok").with_policies(Budget(requests=1))
    assert await llm.acall("Hi") == "ok"
    with pytest.raises(BudgetExceededError, match=r"1 of 1 requests"):
        await llm.acall("Hi")


def test_one_budget_serves_several_llms() -> None:
    budget = Budget(requests=5)
    assert ask(answering("a").with_policies(budget), 3) == 3
    assert ask(answering("b").with_policies(budget), 3) == 2


def test_every_attempt_is_a_request(runtime: VirtualRuntime) -> None:
    inner = ScriptedLLM([ServerError("down")] * 2 + ["ok"])
    budget = Budget(requests=10)
    with runtime:
        inner.with_policies(budget, Retry()).call("Hi")
    assert budget.spent.requests == 3


def test_the_last_request_is_not_tried_again(runtime: VirtualRuntime) -> None:
    inner = answering(ServerError("down"))
    budget = Budget(requests=4)
    llm = inner.with_policies(budget, Retry(attempts=3))
    with runtime:
        with pytest.raises(ServerError):
            llm.call("Hi")
        with pytest.raises(BudgetExceededError, match="4 of 4 requests") as caught:
            llm.call("Hi")
    assert isinstance(caught.value.__cause__, ServerError)
    assert len(inner.requests) == 4


def test_a_model_that_asks_several_times_for_one_answer_says_so() -> None:
    budget = Budget(requests=10)
    answering(Reply(text="ok", usage=Usage(prompt_tokens=1, completion_tokens=1, requests=4))).with_policies(
        budget
    ).call("Hi")
    assert budget.spent.requests == 4


# Tokens.


def test_tokens_count_as_reported() -> None:
    budget = Budget(tokens=100)
    assert ask(answering(tokens(40)).with_policies(budget), 9) == 3
    assert budget.spent.tokens == 120
    assert budget.left.tokens == 0


def test_missing_usage_is_estimated() -> None:
    budget = Budget(tokens=1000)
    answering("x" * 40).with_policies(budget).call("y" * 80)
    assert budget.spent.tokens == 30


@pytest.mark.parametrize(
    "usage",
    [
        Usage(prompt_tokens=-1000, completion_tokens=-1),
        Usage(prompt_tokens=float("nan"), completion_tokens=True),  # type: ignore[arg-type]
        Usage(prompt_tokens=20, requests=-5, cached_prompt_tokens=-1000),
        Usage(completion_tokens=10, requests="many", cached_prompt_tokens=10**9),  # type: ignore[arg-type]
        Usage(prompt_tokens=None, completion_tokens=0.5),  # type: ignore[arg-type]
    ],
)
def test_garbage_usage_never_lowers_the_spend(usage: Usage) -> None:
    budget = Budget(tokens=1000, prices=PRICES)
    answering(Reply(text="x" * 40, usage=usage), model="gpt-x").with_policies(budget).call("y" * 80)
    assert budget.spent.tokens == 30
    assert budget.spent.requests == 1
    assert budget.spent.money is not None
    assert budget.spent.money >= Decimal("0.000125")


def test_a_cached_answer_is_free() -> None:
    budget = Budget(tokens=10)
    answering(Reply(text="x" * 400, cached=True)).with_policies(budget).call("Hi")
    assert (budget.spent.requests, budget.spent.tokens) == (0, 0)


# Failures.


@pytest.mark.parametrize(
    ("error", "requests", "spent"),
    [
        (ServerError("500"), 1, 20),
        (LLMTimeoutError("late"), 1, 20),
        (AuthenticationError("401"), 1, 0),
        (RateLimitError("429", status=429), 1, 0),
        (RateLimitError("our own limit", retryable=False), 0, 0),
        (CircuitOpenError("left alone"), 0, 0),
        (ConfigurationError("wrong"), 0, 0),
        (TruncatedStream("cut", text="z" * 40), 1, 30),
    ],
)
def test_a_failure_costs_what_may_have_been_used(error: Exception, requests: int, spent: int) -> None:
    budget = Budget(tokens=1000)
    llm = answering(error).with_policies(budget)
    with pytest.raises(type(error)):
        llm.call("y" * 80)
    assert (budget.spent.requests, budget.spent.tokens) == (requests, spent)


def test_a_stream_that_is_left_costs_what_had_come() -> None:
    budget = Budget(tokens=1000)
    llm = answering("one two three four").with_policies(budget)
    stream = llm.stream("y" * 80)
    next(stream), next(stream)
    stream.close()
    assert (budget.spent.requests, budget.spent.tokens) == (1, 22)


def test_a_whole_stream_costs_what_it_reports() -> None:
    budget = Budget(tokens=1000)
    assert "".join(map(str, answering(tokens(50)).with_policies(budget).stream("Hi"))) == "ok"
    assert budget.spent.tokens == 50


# Money.


def test_money_is_exact() -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=100, cached_prompt_tokens=400, requests=1)
    budget = Budget(money=1, prices=PRICES)
    llm = answering(Reply(text="ok", usage=usage), model="gpt-x").with_policies(budget)
    ask(llm, 10)
    assert budget.spent.money == 10 * Decimal("0.003")
    assert budget.left.money == Decimal("0.97")


def test_many_small_sums_add_up_exactly() -> None:
    budget = Budget(money=1, prices={"m": Price(input=0.1, output=0)})
    llm = answering(Reply(text="ok", usage=Usage(prompt_tokens=1, requests=1)), model="m").with_policies(budget)
    ask(llm, 1000)
    assert budget.spent.money == Decimal("0.0001")


def test_money_runs_out() -> None:
    usage = Usage(prompt_tokens=100_000, completion_tokens=1, requests=1)
    llm = answering(Reply(text="ok", usage=usage), model="gpt-x").with_policies(
        Budget(money=Decimal("0.5"), prices=PRICES)
    )
    assert ask(llm, 5) == 2
    with pytest.raises(BudgetExceededError, match=r"0\.50002 of 0\.5 in money"):
        llm.call("Hi")


@pytest.mark.parametrize("name", ["gpt-x", "gpt-x-2026-01-01", "gpt-x-20260101", "gpt-x@001", "gpt-x:latest"])
def test_a_date_does_not_change_the_price(name: str) -> None:
    budget = Budget(money=1, prices=PRICES)
    answering(tokens(1000), model=name).with_policies(budget).call("Hi")
    assert budget.spent.money == Decimal("0.0025")


def test_the_longest_of_the_names_that_fit_counts() -> None:
    table = {"m": Price(input=1, output=1), "m-2026": Price(input=5, output=5)}
    budget = Budget(money=1, prices=table)
    answering(tokens(1000), model="m-2026-001").with_policies(budget).call("Hi")
    assert budget.spent.money == Decimal("0.005")


@pytest.mark.parametrize("name", ["gpt-x-mini", "gpt-xl", "gpt", "gpt-x-32k"])
def test_a_model_without_a_price_is_refused_before_the_first_call(name: str) -> None:
    inner = answering("ok", model=name)
    with pytest.raises(ConfigurationError, match=f"no price for the model '{name}', only for 'gpt-x'"):
        inner.with_policies(Budget(money=1, prices=PRICES)).call("Hi")
    with pytest.raises(ConfigurationError), Budget(money=1, prices=PRICES):
        inner.call("Hi")
    assert inner.requests == []


@pytest.mark.parametrize(
    ("named", "cost"), [("gpt-x", "0.0025"), ("big", "0.02"), ("unheard-of", "0.0025"), (7, "0.0025")]
)
def test_the_model_that_answered_counts_if_it_has_a_price(named: Any, cost: str) -> None:
    budget = Budget(money=1, prices={**PRICES, "big": Price(input=20, output=20)})
    reply = Reply(text="ok", model=named, usage=Usage(prompt_tokens=1000, requests=1))
    answering(reply, model="gpt-x").with_policies(budget).call("Hi")
    assert budget.spent.money == Decimal(cost)


# Time.


def test_time_counts_from_the_first_call(runtime: VirtualRuntime) -> None:
    llm = answering("ok").with_policies(budget := Budget(seconds=60))
    with runtime:
        runtime.advance(1000)
        llm.call("Hi")
        runtime.advance(59)
        llm.call("Hi")
        assert budget.left.seconds == pytest.approx(1)
        runtime.advance(1)
        with pytest.raises(BudgetExceededError, match=r"60\.0 of 60 seconds"):
            llm.call("Hi")
    assert budget.left.seconds == 0


def test_a_running_call_is_cut_off_when_the_time_is_up(runtime: VirtualRuntime) -> None:
    llm = answering("ok", latency=40).with_policies(Budget(seconds=60))
    with runtime:
        llm.call("Hi")
        with pytest.raises(BudgetExceededError, match="seconds") as caught:
            llm.call("Hi")
    assert isinstance(caught.value.__cause__, LLMTimeoutError)
    assert runtime.now() == 60


def test_an_earlier_deadline_stays(runtime: VirtualRuntime) -> None:
    seen: list[float | None] = []

    async def core(runtime: Runtime, request: Request) -> Reply:
        seen.append(request.deadline)
        raise LLMTimeoutError("late")

    handler = Budget(seconds=60)(core)
    request = Request(messages=[], deadline=5.0)
    with pytest.raises(LLMTimeoutError):
        runtime.run(_answer(handler, runtime, request))
    assert seen == [5.0]


async def _answer(handler: Handler, runtime: Runtime, request: Request) -> Reply:
    return await handler(runtime, request)


# Settings.


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (Budget, "at least one of requests, tokens, money and seconds"),
        (lambda: Budget(requests=0), "requests must be a whole number of at least 1, not 0"),
        (lambda: Budget(requests=True), "requests must be a whole number"),
        (lambda: Budget(tokens=1.5), "tokens must be a whole number"),  # type: ignore[arg-type]
        (lambda: Budget(tokens=-1), "tokens must be a whole number"),
        (lambda: Budget(seconds=0), "seconds must be a finite number, above zero"),
        (lambda: Budget(seconds=float("nan")), "seconds must be a finite number"),
        (lambda: Budget(money=1), "money needs prices"),
        (lambda: Budget(money=0, prices=PRICES), "money must be a finite number, above zero"),
        (lambda: Budget(money=Decimal("NaN"), prices=PRICES), "money must be a finite number"),
        (lambda: Budget(money=Decimal(-1), prices=PRICES), "money must be a finite number"),
        (lambda: Budget(money="5", prices=PRICES), "money must be a finite number"),  # type: ignore[arg-type]
        (lambda: Budget(requests=1, prices={}), "prices must be a mapping"),
        (lambda: Budget(requests=1, prices=[1]), "prices must be a mapping"),  # type: ignore[arg-type]
        (lambda: Budget(requests=1, prices={"m": 2.5}), "names of models to Price"),  # type: ignore[dict-item]
        (lambda: Price(input=-1, output=1), "input must be a finite number, zero or more"),
        (lambda: Price(input=1, output=float("inf")), "output must be a finite number"),
        (lambda: Price(input=1, output=1, cached_input="1"), "cached_input must be a finite number"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build()


def test_a_price_may_be_a_decimal() -> None:
    assert Price(input=Decimal("0.15"), output=0).input == Decimal("0.15")


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(requests=1000), "a total of 1,000 requests is used up"),
        (Budget(tokens=50_000, seconds=90), "a total of 50,000 tokens or 90 seconds is used up"),
        (Budget(money=2.5, prices=PRICES), "a total of 2.5 in money is used up"),
    ],
)
def test_it_explains_itself(budget: Budget, words: str) -> None:
    assert words in budget.explain()


def test_its_repr_shows_the_limits() -> None:
    assert repr(Budget(requests=1, tokens=2, seconds=3)) == "Budget(requests=1, tokens=2, seconds=3)"


# Copies.


def test_a_copy_spends_from_the_same_purse_and_a_fresh_one_does_not() -> None:
    budget = Budget(requests=2)
    llm = answering("ok").with_policies(budget)
    assert ask(copy.deepcopy(llm), 2) == 2
    assert ask(copy.copy(llm), 1) == 0
    assert copy.copy(budget) is budget
    assert budget.fresh().left.requests == 2


def test_a_pickle_remembers_what_is_spent(runtime: VirtualRuntime) -> None:
    budget = Budget(requests=3, seconds=60)
    with runtime:
        ask(answering("ok").with_policies(budget), 2)
        runtime.advance(20)
        twin = pickle.loads(pickle.dumps(budget))
        assert twin.left == Amounts(requests=1, seconds=40)
        ask(answering("ok").with_policies(twin), 1)
        runtime.advance(10)
        assert twin.left == Amounts(requests=0, seconds=30)


def test_waiting_is_not_told_when_nobody_waits(watch: Watch) -> None:
    answering("ok").with_policies(watch, Budget(tokens=10)).call("Hi")
    assert watch.waits == []
