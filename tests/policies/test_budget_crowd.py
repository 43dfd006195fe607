"""Many callers of one budget: at most one call passes a limit, in order of arrival, and nobody hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_helpers import Watch

from oarlock.contract.errors import BudgetExceededError, LLMTimeoutError, ServerError
from oarlock.contract.events import Waiting
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies import Budget, Price, Retry
from oarlock.policies.ledger import Charge, Cost, Ledger
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

PRICES = {"m": Price(input=1_000_000, output=2_000_000)}  # a token costs 1 read, 2 written


def request(name: Any = "Hi", **facts: Any) -> Request:
    return Request(messages=[{"role": "user", "content": str(name)}], **facts)


def crowd(runtime: VirtualRuntime, jobs: list[Callable[[], Any]]) -> None:
    async def whole() -> None:
        await runtime.gather(*jobs)

    runtime.run(whole())


arrivals = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 1.0, 2.5]),  # when it comes
        st.integers(1, 40),  # tokens read
        st.integers(1, 60),  # tokens written
        st.sampled_from([0.0, 1.0, 3.0]),  # how long the answer takes
        st.sampled_from([None, None, 0.5]),  # gives up after so long
        st.booleans(),  # fails at last
        st.integers(0, 2),  # attempts that failed before
    ),
    min_size=1,
    max_size=25,
)


class Model:
    """A handler that does as it was told, and adds up what it has cost."""

    def __init__(self) -> None:
        self.sums = [0, 0, 0]
        self.largest = [0, 0, 0]

    async def answer(self, runtime: Runtime, asked: Request, plan: tuple[Any, ...]) -> Reply:
        _, read, written, seconds, _, fails, before = plan
        costs = [0, 0, 0]
        try:
            for _ in range(before):
                self._cost(costs, 1, 2, 0)  # of a message of eight letters
                asked.emit(Waiting(cause="retry", seconds=0, error=ServerError("again")))
            if seconds:
                await runtime.sleep(seconds)
            if fails:
                self._cost(costs, 1, 2, 0)
                raise ServerError("down")
            self._cost(costs, 1, read, written)
            return Reply(text="ok", usage=Usage(prompt_tokens=read, completion_tokens=written, requests=1))
        finally:
            self.largest = [max(pair) for pair in zip(self.largest, costs, strict=True)]

    def _cost(self, costs: list[int], requests: int, read: int, written: int) -> None:
        for number, cost in enumerate((requests, read + written, read + 2 * written)):
            costs[number] += cost
            self.sums[number] += cost


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20), st.integers(1, 1500), st.integers(1, 2500), arrivals)
def test_at_most_one_call_passes_a_limit(
    requests: int, most_tokens: int, money: int, arrivals: list[tuple[Any, ...]]
) -> None:
    runtime = VirtualRuntime()
    budget = Budget(requests, most_tokens, money, prices=PRICES)
    model, refused = Model(), []

    def job(plan: tuple[Any, ...]) -> Callable[[], Any]:
        async def run() -> None:
            await runtime.sleep(plan[0])
            deadline = None if plan[4] is None else runtime.now() + plan[4]
            llm = ScriptedLLM([], model="m")
            handler = budget.bind(llm)(lambda runtime, asked: model.answer(runtime, asked, plan))
            try:
                await handler(runtime, request("eightlet", max_tokens=60, deadline=deadline))
            except BudgetExceededError:
                refused.append(runtime.now())
            except (ServerError, LLMTimeoutError):
                pass

        return run

    crowd(runtime, [job(plan) for plan in arrivals])
    spent = budget.spent
    assert [spent.requests, spent.tokens, spent.money] == model.sums
    limits = (requests, most_tokens, money)
    assert spent.requests is not None
    assert spent.requests <= requests
    for total, limit, largest in zip(model.sums, limits, model.largest, strict=True):
        assert total <= limit - 1 + largest
    if refused and not any(plan[6] for plan in arrivals):  # another attempt may be refused for want of room
        assert budget._ledger.reached()
    assert not budget._ledger._inside
    assert not budget._ledger._line
    assert budget._ledger._held == type(budget._ledger._held)()


def slow(cost: int, seconds: float, asked: list[str]) -> Callable[[Runtime, Request], Any]:
    async def core(runtime: Runtime, request: Request) -> Reply:
        asked.append(f"{request.messages[-1]['content']} {runtime.now():g}")
        await runtime.sleep(seconds)
        return Reply(text="ok", usage=Usage(prompt_tokens=cost, completion_tokens=1, requests=1))

    return core


def test_those_who_might_pass_the_limit_go_alone_in_order_of_arrival(runtime: VirtualRuntime, watch: Watch) -> None:
    asked: list[str] = []
    handler = watch(Budget(tokens=60)(slow(19, 2, asked)))
    outcomes: list[str] = []

    def job(name: str) -> Callable[[], Any]:
        async def run() -> None:
            try:
                await handler(runtime, request(name, max_tokens=50))
                outcomes.append(f"{name} answered")
            except BudgetExceededError:
                outcomes.append(f"{name} refused {runtime.now():g}")

        return run

    crowd(runtime, [job(name) for name in "abcde"])
    assert asked == ["a 0", "b 2", "c 4"]
    assert outcomes == ["a answered", "b answered", "c answered", "d refused 6", "e refused 6"]
    assert [(wait.cause, wait.seconds) for wait in watch.waited][:2] == [("budget", 2), ("budget", 4)]


def test_another_attempt_needs_room_beside_those_who_are_in(runtime: VirtualRuntime) -> None:
    """Both hold 1 of 2 requests: the one that fails has spent its own."""
    inner = ScriptedLLM([ServerError("down"), "ok"], latency=1)
    llm = inner.with_policies(budget := Budget(requests=2), Retry(base_delay=0))
    outcomes: list[str] = []

    async def one() -> None:
        try:
            outcomes.append((await llm.handle_request(runtime, request())).text)
        except BudgetExceededError as error:
            outcomes.append(f"{error} Because: {error.__cause__}")

    crowd(runtime, [one, one])
    assert outcomes == [
        "The budget leaves no room to try again: 1 of 2 requests, and calls in flight need the rest. Because: down",
        "ok",
    ]
    assert budget.spent.requests == 2


def test_a_limit_that_another_has_just_reached_lets_nobody_in(runtime: VirtualRuntime) -> None:
    ledger = Ledger({"requests": 1}, Cost())
    first, second = Charge(ledger, Cost(1), runtime), Charge(ledger, Cost(1), runtime)
    assert ledger.enter(first) is None
    ledger.spend(Cost(1), first)
    assert ledger.enter(second) is None
    assert not ledger.is_in(second)
    ledger.leave(first)
    ledger.leave(second)
    assert ledger.reached() == "requests"


def test_those_who_cannot_pass_it_together_go_at_once(runtime: VirtualRuntime) -> None:
    asked: list[str] = []
    handler = Budget(tokens=10_000)(slow(19, 2, asked))
    crowd(runtime, [lambda: handler(runtime, request("x", max_tokens=50))] * 20)
    assert asked == ["x 0"] * 20


def test_a_wait_ends_at_the_deadline(runtime: VirtualRuntime) -> None:
    handler = Budget(tokens=60)(slow(1, 100, []))
    failed: list[BaseException] = []

    async def impatient() -> None:
        with pytest.raises(LLMTimeoutError, match="held the rest of the budget") as caught:
            await handler(runtime, request(max_tokens=50, deadline=5.0))
        failed.append(caught.value)
        assert runtime.now() == 5

    async def patient() -> Reply:
        return await handler(runtime, request(max_tokens=50))

    crowd(runtime, [patient, impatient, patient])
    assert len(failed) == 1


def test_a_wait_ends_when_the_budgets_own_time_is_up(runtime: VirtualRuntime) -> None:
    handler = Budget(tokens=60, seconds=50)(slow(1, 100, []))

    async def waiting() -> None:
        with pytest.raises(BudgetExceededError, match=r"50\.0 of 50 seconds"):
            await handler(runtime, request(max_tokens=50))
        assert runtime.now() == 50

    crowd(runtime, [lambda: handler(runtime, request(max_tokens=50)), waiting])


def test_nobody_waits_for_ever_for_one_who_is_stuck(runtime: VirtualRuntime) -> None:
    handler = Budget(tokens=60)(slow(1, 10_000, []))

    async def waiting() -> None:
        with pytest.raises(BudgetExceededError, match="none has ended for 600 s"):
            await handler(runtime, request(max_tokens=50))

    crowd(runtime, [lambda: handler(runtime, request(max_tokens=50)), waiting])


async def test_cancelled_waiters_hold_nothing_up() -> None:
    gate = asyncio.Event()

    async def answer(messages: Any) -> Reply:
        await gate.wait()
        return Reply(text="ok", usage=Usage(prompt_tokens=1, completion_tokens=1, requests=1))

    budget = Budget(tokens=10)
    llm = FunctionLLM(answer).with_policies(budget)
    tasks = [asyncio.create_task(llm.acall("Hi")) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    gate.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(one) for one in done] == ["ok", "", "ok", "ok"]
    assert budget.spent.requests == 3


async def test_a_cancelled_call_lets_the_next_one_in_and_costs_its_prompt() -> None:
    gate = asyncio.Event()

    async def answer(messages: Any) -> str:
        await gate.wait()
        return "ok"

    budget = Budget(tokens=1000)
    llm = FunctionLLM(answer).with_policies(budget)
    first = asyncio.create_task(llm.acall("x" * 400))
    second = asyncio.create_task(llm.acall("x" * 400))
    await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    gate.set()
    assert await second == "ok"
    assert (budget.spent.requests, budget.spent.tokens) == (2, 200)


def test_threads_share_it_exactly() -> None:
    budget = Budget(requests=100)
    llm = FunctionLLM(lambda messages: "ok").with_policies(budget)

    def work(_: int) -> int:
        answered = 0
        with contextlib.suppress(BudgetExceededError):
            for _ in range(20):
                llm.call("Hi")
                answered += 1
        return answered

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 100
    assert budget.spent.requests == 100


def test_threads_wait_for_each_other() -> None:
    begun, gate = threading.Event(), threading.Event()

    def answer(messages: Any) -> Reply:
        begun.set()
        gate.wait(10)
        return Reply(text="ok", usage=Usage(prompt_tokens=1, completion_tokens=1, requests=1))

    llm = FunctionLLM(answer).with_policies(budget := Budget(tokens=10))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(llm.call, "Hi")
        begun.wait(10)
        second = pool.submit(llm.call, "Hi")
        while not budget._ledger._line:
            assert not second.done()
        gate.set()
        assert (first.result(10), second.result(10)) == ("ok", "ok")


async def test_a_blocking_call_on_the_thread_of_an_event_loop_does_not_wait_for_its_tasks() -> None:
    gate = asyncio.Event()

    async def answer(messages: Any) -> str:
        await gate.wait()
        return "ok"

    with Budget(tokens=10) as budget:
        task = asyncio.create_task(FunctionLLM(answer).acall("Hi"))
        await asyncio.sleep(0)
        assert ScriptedLLM(["now"]).call("Hi") == "now"
        gate.set()
        assert await task == "ok"
    assert budget.spent.requests == 2


def test_a_stream_that_is_open_holds_up_nobody_of_its_own_thread() -> None:
    with Budget(tokens=10) as budget:
        stream = ScriptedLLM(["one two"]).stream("Hi")
        next(stream)
        assert ScriptedLLM(["now"]).call("Hi") == "now"
        stream.close()
    assert budget.spent.requests == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_calls_of_the_parent_hold_nothing() -> None:
    begun, gate = threading.Event(), threading.Event()

    def answer(messages: Any) -> str:
        if messages[-1]["content"] == "wait":
            begun.set()
            gate.wait(10)
        return "ok"

    llm = FunctionLLM(answer).with_policies(Budget(tokens=10))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(llm.call, "wait")
        begun.wait(10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork while threads run is what this is about
            child = os.fork()
        if child == 0:
            os._exit(0 if llm.call("Hi") == "ok" else 1)
        assert os.waitpid(child, 0)[1] == 0
        gate.set()
        assert first.result(10) == "ok"
