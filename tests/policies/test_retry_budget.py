"""The budget from which retries are paid: prices, what comes back, who shares it."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock import ChatLLM
from oarlock.contract.errors import ConfigurationError, ConnectionFailedError, LLMError, RateLimitError, ServerError
from oarlock.contract.request import Request
from oarlock.policies import Retry, RetryBudget
from oarlock.policies.locks import ForkSafeLock
from oarlock.policies.retry_budget import budget_of
from oarlock.testing import ScriptedLLM, VirtualRuntime

DOWN = ServerError("down", status=503)
BUSY = RateLimitError("busy", status=429)


class NamedLLM(ScriptedLLM):
    """A scripted model that stands for an endpoint."""

    def __init__(self, replies: Any, endpoint: str | None) -> None:
        super().__init__(replies)
        self._endpoint = endpoint

    def endpoint_name(self) -> str | None:
        return self._endpoint


def failing(endpoint: str | None = None, error: LLMError = DOWN) -> NamedLLM:
    return NamedLLM([lambda request: error] * 1000, endpoint)


def fail(llm: Any, times: int = 1) -> LLMError:
    for _ in range(times):
        with pytest.raises(LLMError) as caught:
            llm.call("Hi")
    return caught.value


@pytest.mark.parametrize(("error", "most"), [(DOWN, 135), (BUSY, 200)])
def test_an_outage_is_not_multiplied(runtime: VirtualRuntime, error: LLMError, most: int) -> None:
    inner = failing(error=error)
    llm = inner.with_policies(Retry())
    with runtime:
        fail(llm, 100)
    assert len(inner.requests) == most


def test_a_used_up_budget_lets_the_error_through_as_it_is(runtime: VirtualRuntime) -> None:
    error = ServerError("down", status=503, retry_after=2)
    inner = failing("gpt-x at https://llm.example.com/v1", error)
    llm = inner.with_policies(Retry(100))
    with runtime:
        caught = fail(llm, 3)
    assert caught is error
    assert (str(caught), caught.retryable, caught.attempts, caught.retry_after) == ("down", True, 1, 2)
    note = (
        "It was not sent again: the retry budget of gpt-x at https://llm.example.com/v1 is used up by earlier failures."
    )
    assert caught.__notes__ == [note]
    assert pickle.loads(pickle.dumps(caught)).__notes__ == [note]


def test_an_error_that_ends_by_attempts_has_no_note(runtime: VirtualRuntime) -> None:
    with runtime:
        assert not hasattr(fail(failing(error=ServerError("down")).with_policies(Retry())), "__notes__")


def test_only_a_retry_that_would_happen_is_paid(runtime: VirtualRuntime) -> None:
    budget = RetryBudget()
    with runtime:
        for error in (LLMError("no"), RateLimitError("later", retry_after=3600)):
            fail(failing(error=error).with_policies(Retry(budget=budget)))
        fail(failing().with_policies(Retry(1, budget=budget)))
    assert budget.left == 500


@pytest.mark.parametrize(
    ("replies", "left"),
    [
        (["ok"], 101),
        ([DOWN, "ok"], 100),
        ([BUSY, "ok"], 100),
        ([DOWN, DOWN, "ok"], 86),
        ([DOWN, BUSY, "ok"], 86),
        ([BUSY, DOWN, "ok"], 95),
    ],
)
def test_what_comes_back(runtime: VirtualRuntime, replies: list[Any], left: int) -> None:
    """1 after a clean success, the price of the last retry after one that needed retries."""
    budget = RetryBudget()
    while budget.left > 100:
        budget.pay(BUSY)
    with runtime:
        ScriptedLLM(replies).with_policies(Retry(budget=budget)).call("Hi")
    assert budget.left == left


def test_it_never_holds_more_than_its_capacity(runtime: VirtualRuntime) -> None:
    budget = RetryBudget()
    with runtime:
        ScriptedLLM(["ok"] * 5).with_policies(Retry(budget=budget)).call("Hi")
    assert budget.left == 500
    budget.pay(BUSY)
    budget.give_back(100)
    assert budget.left == 500


@given(st.lists(st.sampled_from(["fail", "throttle", "back"])), st.integers(14, 100))
def test_it_never_leaves_its_bounds(steps: list[str], capacity: int) -> None:
    budget, expected = RetryBudget(capacity), capacity
    for step in steps:
        if step == "back":
            budget.give_back()
            expected = min(capacity, expected + 1)
        else:
            error, price = (DOWN, 14) if step == "fail" else (BUSY, 5)
            paid = budget.pay(error)
            assert paid == (price if expected >= price else None)
            expected -= paid or 0
        assert budget.left == expected
        assert 0 <= budget.left <= capacity


# Who shares one.


def test_all_llms_of_an_endpoint_share_one(runtime: VirtualRuntime) -> None:
    llms = [failing("m at https://a.example.com") for _ in range(100)]
    stacks = [llm.with_policies(Retry()) for llm in llms]
    with runtime:
        for stack in stacks:
            fail(stack)
        assert sum(len(llm.requests) for llm in llms) == 135
        other = failing("m at https://b.example.com")
        fail(other.with_policies(Retry()))
    assert len(other.requests) == 3


def test_llms_without_a_name_have_one_each(runtime: VirtualRuntime) -> None:
    retry = Retry()
    with runtime:
        for _ in range(2):
            inner = failing()
            fail(inner.with_policies(retry), 100)
            assert len(inner.requests) == 135


def test_the_last_llm_of_an_endpoint_takes_its_budget_along(runtime: VirtualRuntime) -> None:
    with runtime:
        for _ in range(2):
            inner = NamedLLM([lambda request: ServerError("down")] * 200, "m at https://c.example.com")
            llm = inner.with_policies(Retry())
            fail(llm, 100)
            assert len(inner.requests) == 135
            del inner, llm
            gc.collect()


def test_chat_llms_share_theirs() -> None:
    first, second = (ChatLLM("m", "http://127.0.0.1:9/v1") for _ in range(2))
    other = ChatLLM("n", "http://127.0.0.1:9/v1")
    budgets = [budget_of(llm.endpoint_name()) for llm in (first, second, other)]
    assert budgets[0] is budgets[1] is not budgets[2]


def test_one_of_ones_own(runtime: VirtualRuntime) -> None:
    budget = RetryBudget(28)
    llms = [failing("m at https://d.example.com"), failing("m at https://e.example.com")]
    with runtime:
        for llm in llms:
            fail(llm.with_policies(Retry(budget=budget)))
    assert [len(llm.requests) for llm in llms] == [3, 1]


def test_none_at_all(runtime: VirtualRuntime) -> None:
    inner = failing("m at https://f.example.com")
    with runtime:
        fail(inner.with_policies(Retry(budget=None)), 100)
        assert ScriptedLLM([DOWN, "ok"]).with_policies(Retry(budget=None)).call("Hi") == "ok"
    assert len(inner.requests) == 300


def test_the_bare_policy_has_its_own(runtime: VirtualRuntime) -> None:
    inner = failing()
    handler = Retry()(inner.handle_request)
    for _ in range(100):
        with pytest.raises(ServerError):
            runtime.run(handler(runtime, Request(messages=[{"role": "user", "content": "Hi"}])))  # type: ignore[arg-type]
    assert len(inner.requests) == 135


# Copies, threads, settings.


def test_a_copy_is_the_same_and_a_pickle_begins_full() -> None:
    budget = RetryBudget(100, retry_cost=3, throttled_retry_cost=2)
    budget.pay(DOWN)
    assert copy.copy(budget) is copy.deepcopy(budget) is budget
    again = pickle.loads(pickle.dumps(budget))
    assert repr(again) == repr(budget) == "RetryBudget(capacity=100, retry_cost=3, throttled_retry_cost=2)"
    assert (budget.left, again.left) == (97, 100)


def test_a_copied_or_pickled_llm_still_retries(runtime: VirtualRuntime) -> None:
    for twin in (copy.copy, copy.deepcopy, lambda llm: pickle.loads(pickle.dumps(llm))):
        llm = ScriptedLLM([DOWN, "ok"]).with_policies(Retry(budget=RetryBudget()))
        with runtime:
            assert twin(llm).call("Hi") == "ok"


def test_threads_take_exactly_what_there_is() -> None:
    budget = RetryBudget(14 * 400)
    paid: list[int | None] = []

    def spend() -> None:
        paid.extend(budget.pay(DOWN) for _ in range(100))

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (paid.count(14), paid.count(None), budget.left) == (400, 400, 0)


def test_a_fork_does_not_inherit_a_held_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = ForkSafeLock()
    with lock:
        monkeypatch.setattr("os.getpid", lambda: -1)  # what a child that was forked just now would see
        with lock:
            pass
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["capacity", "retry_cost", "throttled_retry_cost"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", None])
def test_settings(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"RetryBudget: {name} must be a whole number of at least 1"):
        RetryBudget(**{name: value})


def test_a_retry_must_be_affordable() -> None:
    with pytest.raises(ConfigurationError, match=r"retry_cost must not be above capacity \(10\), and is 14"):
        RetryBudget(10)


@pytest.mark.parametrize("value", ["none", 500, True, RetryBudget])
def test_retry_takes_a_budget_or_nothing(value: Any) -> None:
    with pytest.raises(ConfigurationError, match='Retry: budget must be a RetryBudget, "endpoint" or None, not'):
        Retry(budget=value)


# In words.


def test_retry_explains_itself() -> None:
    assert Retry().explain() == (
        "Sends a request up to 3 times: after a lost connection, a timeout or HTTP 408, 409, 429 or 5xx it waits a random "
        "time of up to 0.5 s, doubled each time up to 8 s (after a 429 1 s and 20 s), and at least as long as the server "
        "asks, if that is no more than 60 s; each retry costs 14 (5 after a 429) of a budget of 500, shared by all calls to "
        "the endpoint, and a call that succeeds at once gives 1 back."
    )
    own = Retry(5, retry_on=lambda error: True, budget=RetryBudget(50)).explain()
    assert "after a failure that retry_on accepts it waits" in own
    assert "a budget of 50, shared by all calls that were given it" in own
    assert Retry(budget=None).explain().endswith("if that is no more than 60 s.")
    assert Retry(1).explain() == "Sends a request once, and never again."


def test_a_lost_store_of_a_shared_limit_costs_nothing(runtime: VirtualRuntime) -> None:
    lost = ConnectionFailedError("no store", code="limit_store")
    inner = failing("m at https://d.example.com", lost)
    with runtime:
        fail(inner.with_policies(Retry()), 100)
    assert len(inner.requests) == 300
