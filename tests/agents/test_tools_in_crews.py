"""Tools whose result is the answer, async tools, long ones, and tools that run crews themselves, in every runtime."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from oarlock import Agent, Crew, Task, ToolCall, current_call, tool
from oarlock.contract.events import Event, RunStarted, ToolFinished
from oarlock.policies import Budget
from oarlock.testing import ScriptedLLM, VirtualRuntime

Run = Callable[..., Any]


def run_blocking(crew: Crew, **settings: Any) -> Any:
    return crew.kickoff(**settings)


def run_async(crew: Crew, **settings: Any) -> Any:
    return asyncio.run(crew.akickoff(**settings))


def run_virtual(crew: Crew, **settings: Any) -> Any:
    with VirtualRuntime() as runtime:
        return runtime.run(crew.akickoff(**settings))


@pytest.fixture(params=[run_blocking, run_async, run_virtual])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


def crew_of(llm: Any, *tools: Any, **agent: Any) -> Crew:
    clerk = Agent(role="Clerk", goal="Know", llm=llm, tools=list(tools), **agent)
    return Crew(agents=[clerk], tasks=[Task(description="Do it", agent=clerk)])


def calls(*wanted: tuple[str, Any]) -> list[ToolCall]:
    return [ToolCall(id=f"c{n}", name=name, arguments=json.dumps(given)) for n, (name, given) in enumerate(wanted)]


def native(*replies: Any) -> ScriptedLLM:
    return ScriptedLLM(list(replies), supports_function_calling=True)


def written(name: str, given: Any) -> str:
    return f"Thought: I need it.\nAction: {name}\nAction Input: {json.dumps(given)}"


ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@tool(result_as_answer=True)
def report(text: str) -> str:
    """Report."""
    ran.append(text)
    if text == "fail":
        raise ValueError("no paper")
    return f"Report: {text}"


@tool
async def look(text: str) -> str:
    """Look."""
    await asyncio.sleep(0)
    ran.append(text)
    return f"seen {text}"


def test_a_result_is_the_answer_in_both_loops(run: Run) -> None:
    assert run(crew_of(native(calls(("report", {"text": "all well"}))), report)).raw == "Report: all well"
    assert run(crew_of(ScriptedLLM([written("report", {"text": "well"})]), report)).raw == "Report: well"


def test_a_result_that_failed_is_none(run: Run) -> None:
    failing, good = {"text": "fail"}, {"text": "now"}
    assert run(crew_of(native(calls(("report", failing)), calls(("report", good))), report)).raw == "Report: now"
    script = [written("report", failing), written("report", good)]
    assert run(crew_of(ScriptedLLM(script), report)).raw == "Report: now"
    assert run(crew_of(native(calls(("report", {"text": 1})), "as text"), report)).raw == "as text"


def test_of_calls_in_one_turn_the_first_result_that_is_an_answer_counts(run: Run) -> None:
    turn = calls(
        ("look", {"text": "sky"}),
        ("report", {"text": "fail"}),
        ("report", {"text": "one"}),
        ("report", {"text": "two"}),
    )
    llm = native(turn)
    assert run(crew_of(llm, look, report)).raw == "Report: one"
    assert sorted(ran) == ["fail", "one", "sky", "two"]
    assert len(llm.requests) == 1


def test_a_result_is_the_answer_for_guardrails_and_files_too(run: Run) -> None:
    seen: list[str] = []

    def short(output: Any) -> Any:
        seen.append(output.raw)
        return (True, output.raw) if len(output.raw) < 15 else (False, "too long")

    script = [calls(("report", {"text": "a long one"})), calls(("report", {"text": "short"}))]
    clerk = Agent(role="Clerk", goal="Know", llm=native(*script), tools=[report])
    crew = Crew(agents=[clerk], tasks=[Task(description="D", agent=clerk, guardrail=short)])
    assert run(crew).raw == "Report: short"
    assert seen == ["Report: a long one", "Report: short"]


def test_async_and_blocking_tools_side_by_side(run: Run) -> None:
    threads: list[str] = []

    @tool
    def blocking(n: int) -> str:
        """Block."""
        threads.append(threading.current_thread().name)
        return str(n)

    turn = calls(*[("look", {"text": str(n)}) for n in range(5)], *[("blocking", {"n": n}) for n in range(5)])
    llm = native(turn, "done")
    run(crew_of(llm, look, blocking))
    told = [message["content"] for message in llm.requests[-1].messages if message["role"] == "tool"]
    assert told == [*(f"seen {n}" for n in range(5)), *(str(n) for n in range(5))]
    assert len(threads) == 5


def inner_crew(answer: str) -> Crew:
    return crew_of(native(calls(("look", {"text": answer})), answer), look)


def test_a_blocking_tool_that_runs_a_crew(run: Run) -> None:
    @tool
    def ask_others(question: str) -> str:
        """Ask another crew."""
        return inner_crew(question).kickoff().raw

    llm = native(calls(("ask_others", {"question": "tea?"}), ("ask_others", {"question": "more?"})), "done")
    events: list[Event] = []
    assert run(crew_of(llm, ask_others), on_event=events.append).raw == "done"
    told = [message["content"] for message in llm.requests[-1].messages if message["role"] == "tool"]
    assert told == ["tea?", "more?"]
    assert sum(isinstance(event, RunStarted) for event in events) == 1  # the inner runs have listeners of their own
    assert sum(isinstance(event, ToolFinished) for event in events) == 2


def test_an_async_tool_that_runs_a_crew(run: Run) -> None:
    @tool
    async def ask_others(question: str) -> str:
        """Ask another crew."""
        return (await inner_crew(question).akickoff()).raw

    llm = native(calls(("ask_others", {"question": "tea?"}), ("ask_others", {"question": "more?"})), "done")
    assert run(crew_of(llm, ask_others)).raw == "done"
    told = [message["content"] for message in llm.requests[-1].messages if message["role"] == "tool"]
    assert told == ["tea?", "more?"]


@pytest.mark.parametrize("inner_is_async", [True, False])
def test_a_crew_inside_a_tool_serves_the_same_user_and_budget(run: Run, inner_is_async: bool) -> None:
    users: list[Any] = []

    @tool
    def who() -> str:
        """Say who asks."""
        users.append(current_call().user)
        return "somebody"

    def crew() -> Crew:
        return crew_of(native(calls(("who", {})), "done"), who)

    if inner_is_async:

        @tool
        async def nested() -> str:
            """Run a crew."""
            return (await crew().akickoff()).raw
    else:

        @tool
        def nested() -> str:
            """Run a crew."""
            return crew().kickoff().raw

    outer = crew_of(native(calls(("nested", {})), "done"), nested)
    outer.budget = Budget(requests=4)
    assert run(outer, user="ada").raw == "done"
    assert users == ["ada"]
    outer.tasks[0].agent.llm = native(calls(("nested", {})), "done")  # type: ignore[union-attr]
    outer.budget = Budget(requests=3)  # the inner crew's two and the first one: nothing is left for the answer
    with pytest.raises(Exception, match="budget"):
        run(outer)


def test_tools_three_crews_deep(run: Run) -> None:
    def level(n: int) -> Crew:
        @tool
        def deeper() -> str:
            """Go deeper."""
            return level(n + 1).kickoff().raw if n < 3 else "the bottom"

        return crew_of(native(calls(("deeper", {})), f"level {n}"), deeper)

    assert run(level(0)).raw == "level 0"


def test_300_calls_at_once_with_one_id_in_an_agents_turn(run: Run) -> None:
    turn = [ToolCall(id="same", name="look", arguments=json.dumps({"text": str(n)})) for n in range(300)]
    llm = ScriptedLLM([turn, "done"], supports_function_calling=True, context_window=100_000)
    assert run(crew_of(llm, look)).raw == "done"
    told = [message["content"] for message in llm.requests[-1].messages if message["role"] == "tool"]
    assert told == [f"seen {n}" for n in range(300)]
