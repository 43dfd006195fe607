"""`with budget:`: what counts, wherever in it, and that nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from oarlock import Agent, BaseLLM, Crew, Task, tool
from oarlock.contract.context import current_call
from oarlock.contract.errors import BudgetExceededError, ServerError
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.policies import Budget, Fallback, Retry
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime


def costing(total: int, text: str = "ok") -> Reply:
    return Reply(text=text, usage=Usage(prompt_tokens=total - 1, completion_tokens=1, requests=1))


def agent_of(llm: BaseLLM, *tools: Any) -> Agent:
    return Agent(role="R", goal="G", backstory="B", llm=llm, tools=list(tools))


def crew_of(*llms: BaseLLM) -> Crew:
    agents = [agent_of(llm) for llm in llms]
    return Crew(agents=agents, tasks=[Task(description="D", expected_output="E", agent=agent) for agent in agents])


def test_every_llm_inside_counts_and_none_outside() -> None:
    budget = Budget(requests=100)
    one, two = ScriptedLLM(["a"] * 9), ScriptedLLM(["b"] * 9)
    one.call("Hi")
    with budget:
        one.call("Hi")
        two.with_policies(Retry()).call("Hi")
        list(two.stream("Hi"))
    two.call("Hi")
    assert budget.spent.requests == 3
    assert current_call().budgets == ()


def test_a_crew_counts() -> None:
    with Budget(requests=2) as budget, pytest.raises(BudgetExceededError, match="2 of 2 requests"):
        crew_of(*(ScriptedLLM(["fine"]) for _ in range(3))).kickoff()
    assert budget.left.requests == 0


async def test_a_crew_on_an_event_loop_counts() -> None:
    with Budget(requests=100) as budget:
        await asyncio.gather(*(crew_of(ScriptedLLM(["a"]), ScriptedLLM(["b"])).akickoff() for _ in range(5)))
    assert budget.spent.requests == 10


async def test_tasks_that_begin_outside_do_not_count() -> None:
    llm = FunctionLLM(lambda messages: "ok")
    gate = asyncio.Event()

    async def outside() -> None:
        await gate.wait()
        await llm.acall("Hi")

    task = asyncio.create_task(outside())
    with Budget(requests=100) as budget:
        gate.set()
        await task
        await llm.acall("Hi")
    assert budget.spent.requests == 1


def test_a_model_that_a_tool_asks_counts() -> None:
    helper = ScriptedLLM([costing(5, "42")])

    @tool
    def oracle(question: str) -> str:
        """Ask somebody else."""
        return str(helper.call(question))

    model = ScriptedLLM(
        [ToolCall(id="1", name="oracle", arguments='{"question": "?"}'), costing(10)], supports_function_calling=True
    )
    with Budget(tokens=100_000) as budget:
        agent_of(model, oracle).kickoff("Go")
    assert budget.spent.requests == 3


def test_a_budget_used_up_inside_a_tool_ends_the_run() -> None:
    helper = ScriptedLLM(["42"] * 9)

    @tool
    def oracle() -> str:
        """Ask somebody else."""
        return "".join(str(helper.call("?")) for _ in range(9))

    model = ScriptedLLM([ToolCall(id="1", name="oracle"), "done"], supports_function_calling=True)
    with Budget(requests=4), pytest.raises(BudgetExceededError):
        agent_of(model, oracle).kickoff("Go")
    assert len(helper.requests) == 3


@pytest.mark.parametrize("as_policy", [False, True])
def test_entered_twice_or_also_a_policy_counts_once(as_policy: bool) -> None:
    budget = Budget(requests=100)
    llm: BaseLLM = ScriptedLLM(["a"] * 9)
    if as_policy:
        llm = llm.with_policies(budget)
    with budget:
        with budget:
            llm.call("Hi")
        llm.call("Hi")
        assert current_call().budgets == (budget,)
    assert budget.spent.requests == 2


def test_nested_budgets_all_count_and_none_exceeds_the_one_around() -> None:
    llm = ScriptedLLM(["a"] * 99)
    with Budget(requests=3) as outer:
        with Budget(requests=10) as inner:
            llm.call("Hi")
        with inner:
            llm.call("Hi")
            llm.call("Hi")
            with pytest.raises(BudgetExceededError, match="3 of 3 requests"):
                llm.call("Hi")
    assert (outer.spent.requests, inner.spent.requests) == (3, 3)
    llm.with_policies(inner).call("Hi")
    assert inner.spent.requests == 4


def test_leaving_undoes_the_last_entering() -> None:
    one, other = Budget(requests=1), Budget(requests=1)
    with one, other:
        with one:
            assert current_call().budgets == (one, other, one)
        assert current_call().budgets == (one, other)


class Voter(BaseLLM):
    """Asks another model several times for one answer."""

    def __init__(self, inner: BaseLLM, times: int) -> None:
        super().__init__()
        self.inner = inner
        self.times = times

    def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> str:
        return [str(self.inner.call(messages)) for _ in range(self.times)][-1]


def test_a_model_that_asks_others_costs_what_they_cost() -> None:
    budget = Budget(requests=100)
    with budget:
        Voter(ScriptedLLM([costing(10)] * 3), 3).with_policies().call("x" * 4000)
    assert (budget.spent.requests, budget.spent.tokens) == (3, 30)


def test_a_model_around_a_model_around_a_model_counts_once() -> None:
    budget = Budget(requests=100)
    with budget:
        Voter(Voter(ScriptedLLM([costing(10)] * 4), 2).with_policies(budget), 2).with_policies().call("x" * 4000)
    assert (budget.spent.requests, budget.spent.tokens) == (4, 40)


def test_calls_inside_a_call_end_when_the_budget_is_used_up() -> None:
    inner = ScriptedLLM(["a"] * 99)
    with Budget(requests=5) as budget, pytest.raises(BudgetExceededError):
        Voter(inner, 99).with_policies().call("Hi")
    assert len(inner.requests) == 5
    assert budget.spent.requests == 5


def test_a_call_inside_a_call_waits_for_nobody() -> None:
    """The one around holds all that is left, and cannot end before the one inside."""
    with Budget(tokens=10) as budget:
        assert Voter(ScriptedLLM([costing(7)]), 1).with_policies().call("Hi") == "ok"
    assert budget.spent.tokens == 7


class Toolsmith(BaseLLM):
    """Runs a tool itself, inside its call, as the page shows, and reports what it used."""

    def __init__(self, usage: Usage) -> None:
        super().__init__()
        self.usage = usage

    def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> Any:
        answer = available_functions["oracle"]() if available_functions else "none"
        return Reply(text=answer, usage=self.usage)

    def supports_function_calling(self) -> bool:
        return True


def test_a_tool_inside_a_call_is_work_of_its_own() -> None:
    helper = ScriptedLLM([costing(20)])

    @tool
    def oracle() -> str:
        """Ask somebody else."""
        return str(helper.call("?"))

    with Budget(tokens=100) as budget:
        agent_of(Toolsmith(Usage(prompt_tokens=30, completion_tokens=1, requests=1)), oracle).kickoff("Go")
    assert (budget.spent.requests, budget.spent.tokens) == (2, 51)


def test_attempts_of_a_model_that_asks_others_are_counted_once(runtime: VirtualRuntime) -> None:
    inner = ScriptedLLM([ServerError("down"), costing(10)])
    with runtime, Budget(requests=100) as budget:
        Voter(inner, 1).with_policies(Retry()).call("x" * 400)
    assert (budget.spent.requests, budget.spent.tokens) == (2, 110)


def test_falling_back_counts_those_who_failed(runtime: VirtualRuntime) -> None:
    first, second = ScriptedLLM([ServerError("down")] * 9), ScriptedLLM([costing(10)])
    budget = Budget(requests=100)
    llm = first.with_policies(budget, Retry(attempts=2), Fallback(second))
    with runtime, budget:
        llm.call("x" * 400)
    assert (budget.spent.requests, budget.spent.tokens) == (3, 210)


def test_own_code_that_asks_through_super_counts() -> None:
    class Mine(ScriptedLLM):
        def call(self, *args: Any, **kwargs: Any) -> Any:
            return super().call(*args, **kwargs)

    with Budget(requests=100) as budget:
        Mine([costing(10)]).call("Hi")
        Mine([costing(10)]).with_policies().call("Hi")
    assert (budget.spent.requests, budget.spent.tokens) == (2, 20)


def test_it_is_left_when_the_block_raises() -> None:
    with pytest.raises(KeyError), Budget(requests=1):
        raise KeyError
    assert current_call().budgets == ()


def test_it_reaches_threads_that_the_library_starts(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: "ok")
    request = Request(messages=[{"role": "user", "content": "Hi"}])
    jobs: list[Callable[[], Any]] = [lambda: llm.handle_request(runtime, request)] * 5

    async def whole() -> None:
        await runtime.gather(*jobs)

    with Budget(requests=100) as budget:
        runtime.run(whole())
    assert budget.spent.requests == 5
