"""`Crew(budget=...)` and `Agent(budget=...)`: each run has its own count, and everything done for it is in it."""

from __future__ import annotations

from typing import Any

import pytest

from oarlock import Agent, BaseLLM, Crew, Task, tool
from oarlock.contract.errors import BudgetExceededError, ConfigurationError
from oarlock.policies import Budget
from oarlock.testing import FunctionLLM, ScriptedLLM


def agent_of(llm: BaseLLM, **facts: Any) -> Agent:
    return Agent(role="R", goal="G", backstory="B", llm=llm, **facts)


def tasks_of(agent: Agent, count: int) -> list[Task]:
    return [Task(description="D", expected_output="E", agent=agent) for _ in range(count)]


def answering() -> FunctionLLM:
    return FunctionLLM(lambda messages: "ok")


@pytest.mark.parametrize("whose", ["crew", "agent"])
def test_a_run_ends_when_its_budget_is_used_up(whose: str) -> None:
    llm, budget = answering(), Budget(requests=2)
    agent = agent_of(llm, budget=budget if whose == "agent" else None)
    crew = Crew(tasks=tasks_of(agent, 3), budget=budget if whose == "crew" else None)
    with pytest.raises(BudgetExceededError, match="2 of 2 requests"):
        crew.kickoff()
    assert len(llm.requests) == 2
    assert budget.spent.requests == 0


@pytest.mark.parametrize("whose", ["crew", "agent"])
async def test_each_run_has_its_own_count(whose: str) -> None:
    budget = Budget(requests=2)
    agent = agent_of(answering(), budget=budget if whose == "agent" else None)
    crew = Crew(tasks=tasks_of(agent, 2), budget=budget if whose == "crew" else None)
    assert len(await crew.akickoff_for_each([{}] * 5)) == 5
    assert crew.kickoff().raw == "ok"


def test_an_agents_budget_is_its_own() -> None:
    poor, rich = agent_of(answering(), budget=Budget(requests=1)), agent_of(answering())
    assert Crew(tasks=[*tasks_of(rich, 5), *tasks_of(poor, 1), *tasks_of(rich, 5)]).kickoff().raw == "ok"


def test_an_agent_alone_has_a_count_for_each_task() -> None:
    agent = agent_of(answering(), budget=Budget(requests=1))
    assert agent.kickoff("Go").raw == "ok"
    assert agent.execute_task(Task(description="D")) == "ok"


def test_a_crew_inside_a_tool_counts() -> None:
    inner = Crew(tasks=tasks_of(agent_of(answering()), 9))

    @tool
    def delegate() -> str:
        """Let others do it."""
        return inner.kickoff().raw

    model = ScriptedLLM(["""Action: delegate\nAction Input: {}"""] * 9)
    crew = Crew(tasks=tasks_of(agent_of(model, tools=[delegate]), 1), budget=Budget(requests=5))
    with pytest.raises(BudgetExceededError):
        crew.kickoff()
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "build", [lambda: agent_of(answering(), budget=5), lambda: Crew(tasks=tasks_of(agent_of(answering()), 1), budget=5)]
)
def test_something_else_is_refused(build: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"budget must be a Budget, such as Budget\(tokens=100_000\), not 5"):
        build()
