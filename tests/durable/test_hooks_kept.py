"""Hooks of a run that was cut off: what they said and changed is kept, and they are not called again for what was done."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from durable_helpers import CountingLLM, Crash, calls

from oarlock import Agent, Crew, Process, Task, Usage, tool

SEEN: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def dying_at(number: int, *answers: Any) -> CountingLLM:
    """Return an LLM that gives these answers in order, by how much of the conversation there is, and dies once."""
    died: list[bool] = []

    def answer(request: Any, before: int) -> Any:
        turn = before - len(died)
        if before == number and not died:
            died.append(True)
            raise Crash
        return answers[turn]

    return CountingLLM(answer)


@tool(idempotent=True)
def look(at: str) -> str:
    """Look at something."""
    SEEN.append(f"look {at}")
    return f"saw {at}"


def test_hooks_around_model_and_tool_calls(kickoff: Any, run_id: str) -> None:
    def before(context: Any) -> None:
        SEEN.append(f"before {context.iterations}")
        context.messages.append({"role": "user", "content": f"hint {context.iterations}"})

    def after(context: Any) -> str:
        SEEN.append(f"after {context.iterations}")
        return context.response.upper()

    def before_tool(context: Any) -> None:
        SEEN.append("before tool")
        context.tool_input["at"] += "!"

    llm = dying_at(1, calls(("look", '{"at": "sea"}')), "done")
    agent = Agent(role="Cox", goal="Steer", llm=llm, tools=[look], before_tool_call=before_tool)
    crew = Crew(tasks=[Task(description="D", agent=agent)], before_llm_call=before, after_llm_call=after)
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    first = ["before 1", "after 1", "before tool", "look sea!", "before 2"]
    assert first == SEEN
    assert kickoff(crew, run_id).raw == "DONE"
    assert [*first, "after 2"] == SEEN
    assert kickoff(crew, run_id).raw == "DONE"
    assert [*first, "after 2"] == SEEN


def test_an_answer_from_a_cache_stays_the_answer(kickoff: Any, run_id: str) -> None:
    """Though the cache has something else by now."""
    known = iter([None, "from the cache", "something else"])

    def look_up(context: Any) -> Any:
        return next(known)

    llm = dying_at(1, "asked", "third")
    agent = Agent(role="Cox", goal="Steer", llm=llm)
    tasks = [Task(description=f"Task {number}", agent=agent) for number in range(3)]
    crew = Crew(
        tasks=tasks,
        before_llm_call=lambda context: (
            look_up(context) if "Task 2" not in str(context.messages[1]["content"]) else None
        ),
    )
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    result = kickoff(crew, run_id)
    assert [output.raw for output in result.tasks_output] == ["asked", "from the cache", "third"]
    assert next(known) == "something else"


def test_hooks_around_delegated_work(kickoff: Any, run_id: str) -> None:
    def before_tool(context: Any) -> Any:
        SEEN.append(f"before {context.tool_name}")
        if context.tool_name.startswith("delegate"):
            context.tool_input["task"] = "pull harder"
        return None

    def after_tool(context: Any) -> str:
        SEEN.append(f"after {context.tool_name}")
        return f"<{context.tool_result}>"

    delegate = calls(("delegate_work_to_coworker", '{"task": "pull", "coworker": "Rower"}'))
    llm = dying_at(3, delegate, calls(("look", '{"at": "sea"}')), "pulled", "all done")
    rower = Agent(role="Rower", goal="Pull", llm=llm, tools=[look])
    crew = Crew(
        agents=[rower],
        tasks=[Task(description="Row")],
        process=Process.hierarchical,
        manager_llm=llm,
        before_tool_call=before_tool,
        after_tool_call=after_tool,
    )
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    done = [
        "before delegate_work_to_coworker",
        "before look",
        "look sea",
        "after look",
        "after delegate_work_to_coworker",
    ]
    assert done == SEEN
    assert kickoff(crew, run_id).raw == "all done"
    assert done == SEEN


class Small(CountingLLM):
    """Has a small context window."""

    def get_context_window_size(self) -> int:
        return 850


def test_a_summary_of_the_conversation_is_kept(kickoff: Any, run_id: str) -> None:
    died: list[bool] = []
    asked: list[str] = []

    def answer(request: Any, before: int) -> Any:
        asked.append("summary" if "You summarise" in str(request.messages[0]["content"]) else "turn")
        if asked.count("turn") == 5 and not died:
            died.append(True)
            raise Crash
        if asked[-1] == "summary":
            return "In short: looked."
        if len(asked) < 5:
            return dataclasses.replace(calls(("look", f'{{"at": "{len(asked)}"}}')), text="deep " * 150, usage=Usage())
        return "done"

    llm = Small(answer)
    agent = Agent(role="Cox", goal="Steer", llm=llm, tools=[look])
    crew = Crew(tasks=[Task(description="D", agent=agent)])
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    assert asked.count("summary") >= 1
    summaries = asked.count("summary")
    assert kickoff(crew, run_id).raw == "done"
    assert asked.count("summary") == summaries  # not written again
    in_flight = llm.keys[-1]
    assert [key for key in llm.keys if llm.keys.count(key) > 1] == [in_flight] * 2
