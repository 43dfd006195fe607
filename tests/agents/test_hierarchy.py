"""Hierarchical crews: a manager gives each task to the agents."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from oarlock import Agent, BaseLLM, ConfigurationError, Crew, Process, StepsExhaustedError, Task, ToolCall, tool
from oarlock.contract.errors import BudgetExceededError
from oarlock.policies import Budget
from oarlock.testing import FunctionLLM, ScriptedLLM

DELEGATE, ASK = "delegate_work_to_coworker", "ask_question_to_coworker"


@pytest.fixture(params=["blocking", "async"])
def kickoff(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(crew: Crew, **given: Any) -> Any:
        return crew.kickoff(**given) if request.param == "blocking" else asyncio.run(crew.akickoff(**given))

    return run


def delegate(coworker: str, task: str) -> ToolCall:
    return ToolCall(id="1", name=DELEGATE, arguments=json.dumps({"coworker": coworker, "task": task}))


def native(*script: Any) -> ScriptedLLM:
    return ScriptedLLM(script, supports_function_calling=True)


def agent_of(llm: BaseLLM | None, role: str = "Researcher", **settings: Any) -> Agent:
    return Agent(role=role, goal=f"Goal of {role}", backstory="", llm=llm, **settings)


def led(*agents: Agent, tasks: list[Task] | None = None, **settings: Any) -> Crew:
    return Crew(
        agents=list(agents), tasks=tasks or [Task(description="Report")], process=Process.hierarchical, **settings
    )


def prompt(llm: ScriptedLLM, number: int = 0) -> str:
    return "\n".join(str(message["content"]) for message in llm.requests[number].messages)


def test_the_manager_delegates_checks_sends_back_and_answers(kickoff: Callable[..., Any]) -> None:
    manager = native(delegate("researcher", "Find facts"), delegate("Researcher", "Find more"), "The report")
    researcher = ScriptedLLM(["One fact", "Three facts"])
    events: list[Any] = []
    result = kickoff(led(agent_of(researcher), manager_llm=manager), on_event=events.append)
    assert result.raw == "The report"
    assert result.tasks_output[0].agent == "Manager"
    assert {role: usage.requests for role, usage in result.usage_by_agent.items()} == {"Manager": 3, "Researcher": 2}
    assert [message["content"] for message in manager.requests[-1].messages if message["role"] == "tool"] == [
        "One fact",
        "Three facts",
    ]
    assert "You do not do the work yourself" in prompt(manager)
    assert "Report" in prompt(manager)
    assert "Find more" in prompt(researcher, 1)
    assert "You do not do the work yourself" not in prompt(researcher)


def test_a_manager_that_only_writes_text(kickoff: Callable[..., Any]) -> None:
    manager = ScriptedLLM([
        f'Thought: ask\nAction: {ASK}\nAction Input: {{"question": "How many?", "coworker": "Researcher"}}',
        "Final Answer: Three",
    ])  # fmt: skip
    assert kickoff(led(agent_of(ScriptedLLM(["3"])), manager_llm=manager)).raw == "Three"


def test_every_task_goes_through_the_manager_and_sees_what_came_before(kickoff: Callable[..., Any]) -> None:
    manager = native(delegate("A", "one"), "first", delegate("B", "two"), "second")
    tasks = [Task(description="Task 1"), Task(description="Task 2")]
    crew = led(agent_of(ScriptedLLM(["a"]), "A"), agent_of(ScriptedLLM(["b"]), "B"), tasks=tasks, manager_llm=manager)
    assert [output.raw for output in kickoff(crew).tasks_output] == ["first", "second"]
    assert "first" in prompt(manager, 2)


def test_a_task_with_an_agent_goes_to_that_one() -> None:
    manager, writer = native(delegate("A", "one"), delegate("B", "one"), "done"), agent_of(ScriptedLLM(["b"]), "B")
    crew = led(agent_of(native(), "A"), tasks=[Task(description="D", agent=writer)], manager_llm=manager)
    crew.kickoff()
    answers = [str(message["content"]) for message in manager.requests[-1].messages if message["role"] == "tool"]
    assert answers == ["Error: there is no coworker 'A'. The coworkers are: 'B'.", "b"]


def test_agents_without_an_llm_use_the_managers(kickoff: Callable[..., Any]) -> None:
    manager = native(delegate("Researcher", "Find"), "Facts", "The report")
    assert kickoff(led(agent_of(None), manager_llm=manager)).raw == "The report"
    assert "You are Researcher" in prompt(manager, 1)


def test_a_manager_agent_leads_with_its_own_tools_and_words() -> None:
    @tool
    def calendar() -> str:
        """Tell the date."""
        return "today"

    @tool
    def search() -> str:
        """Search."""
        return "found"

    model, researcher = native(delegate("Researcher", "Find"), "The report"), native("Facts")
    boss = agent_of(model, "{kind} Boss", tools=[calendar])
    task = Task(description="Report", tools=[search])
    result = led(agent_of(researcher), tasks=[task], manager_agent=boss).kickoff({"kind": "Big"})
    assert result.tasks_output[0].agent == "Big Boss"
    assert "You are Big Boss" in prompt(model)
    assert "You do not do the work yourself" in prompt(model)
    assert {schema["function"]["name"] for schema in model.requests[0].tools} == {DELEGATE, ASK, "calendar"}
    assert [schema["function"]["name"] for schema in researcher.requests[0].tools] == ["search"]


def test_a_verbose_agent_is_heard_whatever_its_role_is_filled_with(capsys: pytest.CaptureFixture[str]) -> None:
    manager = native(delegate("Loud tides", "one"), delegate("Quiet", "two"), "done")
    loud = agent_of(ScriptedLLM(["a"], model="loud-model"), "Loud {topic}", verbose=True)
    led(loud, agent_of(ScriptedLLM(["b"], model="quiet-model"), "Quiet"), manager_llm=manager).kickoff(
        {"topic": "tides"}
    )
    shown = capsys.readouterr().err
    assert "loud-model answered" in shown
    assert "quiet-model answered" not in shown
    boss = agent_of(native("done"), "{topic} Boss", verbose=True)
    led(agent_of(native()), manager_agent=boss).kickoff({"topic": "Tides"})
    assert "Agent: Tides Boss" in capsys.readouterr().err


def test_a_manager_agent_without_an_llm_uses_the_managers_llm() -> None:
    model = native("done")
    assert led(agent_of(native()), manager_agent=agent_of(None, "Boss"), manager_llm=model).kickoff().raw == "done"


def test_coworkers_who_may_delegate_turn_to_all_others(kickoff: Callable[..., Any]) -> None:
    manager = native(delegate("A", "one"), "done")
    a, b = native(delegate("B", "a part"), "a and b"), ScriptedLLM(["b"])
    crew = led(
        agent_of(a, "A", allow_delegation=True),
        agent_of(b, "B"),
        tasks=[Task(description="D", agent=None)],
        manager_llm=manager,
    )
    assert kickoff(crew).raw == "done"
    assert "a part" in prompt(b)
    assert "Manager" not in json.dumps(a.requests[0].tools)


def test_budgets_are_inherited(kickoff: Callable[..., Any]) -> None:
    manager = native(*[delegate("Researcher", "Find") for _ in range(9)])
    researcher = FunctionLLM(lambda messages: "Facts")
    with pytest.raises(BudgetExceededError, match="4 of 4 requests"):
        kickoff(led(agent_of(researcher), manager_llm=manager, budget=Budget(requests=4)))
    assert (len(manager.requests), len(researcher.requests)) == (2, 2)


def test_a_manager_who_never_answers_comes_to_an_end(kickoff: Callable[..., Any]) -> None:
    numbers = iter(range(1000))
    manager = FunctionLLM(
        lambda messages, tools: delegate("Researcher", f"Find {next(numbers)}"), supports_function_calling=True
    )
    researcher = FunctionLLM(lambda messages: "Facts")
    with pytest.raises(StepsExhaustedError, match="Agent 'Manager' gave no answer within 25 model calls"):
        kickoff(led(agent_of(researcher), manager_llm=manager))
    assert len(manager.requests) == 25


def test_tasks_side_by_side_are_managed_side_by_side() -> None:
    async def main() -> list[str]:
        both = asyncio.Barrier(2)

        class Meeting(BaseLLM):
            async def acall(self, messages: Any) -> str:
                async with asyncio.timeout(30):
                    await both.wait()  # passes only if two are here at once
                return "ok"

        tasks = [Task(description=name, async_execution=True) for name in "ab"]
        return [
            output.raw
            for output in (await led(agent_of(None), tasks=tasks, manager_llm=Meeting()).akickoff()).tasks_output
        ]

    assert asyncio.run(main()) == ["ok", "ok"]


def test_one_hierarchical_crew_runs_many_times_at_once() -> None:
    manager = FunctionLLM(
        lambda messages, tools: delegate("Researcher", "Find") if messages[-1]["role"] == "user" else "done",
        supports_function_calling=True,
    )
    crew = led(agent_of(FunctionLLM(lambda messages: "Facts")), manager_llm=manager)

    async def main() -> list[Any]:
        return await asyncio.gather(*(crew.akickoff() for _ in range(30)))

    assert {result.usage_metrics.requests for result in asyncio.run(main())} == {3}


def test_a_missing_input_of_a_coworker_fails_before_any_call() -> None:
    manager = native()
    with pytest.raises(ConfigurationError, match="'kind'"):
        led(agent_of(native(), "{kind} Researcher"), manager_llm=manager).kickoff()
    assert manager.requests == []


BOSS = agent_of(ScriptedLLM([]), "Boss")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: led(agent_of(None)), "Process.hierarchical needs a manager: pass manager_llm=... or manager_agent="),
        (lambda: led(manager_llm=native()), "Process.hierarchical needs agents=[...] for the manager to delegate to"),
        (lambda: led(BOSS, manager_agent=BOSS), "'Boss' is the manager_agent, and cannot also be among the agents"),
        (
            lambda: led(agent_of(None), tasks=[Task(description="D", agent=BOSS)], manager_agent=BOSS),
            "'Boss' is the manager_agent, and cannot also be among the agents or have a task of its own",
        ),
        (lambda: led(agent_of(None), manager_agent="Boss"), "manager_agent must be an Agent, not of the type str"),
        (
            lambda: Crew(agents=[agent_of(None)], tasks=[Task(description="D")], manager_agent=BOSS),
            "manager_agent needs process=Process.hierarchical",
        ),
    ],
)
def test_a_crew_that_cannot_be_led_is_told_at_once(build: Callable[[], Crew], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        build()


def test_a_manager_agent_without_any_llm_is_told_before_any_call() -> None:
    researcher = native()
    with pytest.raises(ConfigurationError, match="Agent 'Boss' has no LLM"):
        led(agent_of(researcher), manager_agent=agent_of(None, "Boss")).kickoff()


@pytest.mark.parametrize(("llm", "served"), [(None, "Researcher"), (ScriptedLLM([]), "nobody, as all have one")])
def test_a_managers_llm_in_a_sequential_crew_is_said_so_in_the_log(
    llm: BaseLLM | None, served: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "oarlock.agents")
    Crew(agents=[agent_of(llm)], tasks=[Task(description="D")], manager_llm=native(), name="my crew")
    assert caplog.messages == [
        f"Crew 'my crew' is sequential: its manager_llm manages nothing, it serves the agents without an LLM ({served})"
    ]
