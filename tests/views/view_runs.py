"""Real runs whose events the tests of views are about."""

from __future__ import annotations

import contextlib
import functools
import json
from typing import Any

from oarlock import Agent, Crew, Process, Task, tool
from oarlock.contract.events import Event
from oarlock.contract.reply import Reply, ToolCall
from oarlock.errors import OarlockError
from oarlock.policies import RateLimit, Retry
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    if word == "nothing":
        raise ValueError("no such word")
    return f"{word} is a word"


def calling(name: str, **arguments: Any) -> Reply:
    return Reply(tool_calls=(ToolCall(id="c1", name=name, arguments=json.dumps(arguments)),))


def agent(replies: Any, role: str = "Clerk", **given: Any) -> Agent:
    llm = given.pop("llm", None) or ScriptedLLM(replies, supports_function_calling=True, latency=1)
    return Agent(**{"role": role, "goal": "g", "backstory": "b", "llm": llm, **given})


def side_by_side() -> Crew:
    limited = ScriptedLLM(["a", "b", "c"], latency=2).with_policies(RateLimit(requests_per_minute=20, burst=1))
    clerk = agent([], llm=limited)
    parts = [Task(description=f"Part {n}", name=f"part-{n}", agent=clerk, async_execution=True) for n in range(3)]
    looker = agent(
        [calling("look_up", word="tide"), calling("look_up", word="nothing"), "Tides."], "Looker", tools=[look_up]
    )
    return Crew(name="side", tasks=[*parts, Task(description="Look it up", agent=looker, context=parts)])


def delegating() -> Crew:
    boss = agent(
        [calling("delegate_work_to_coworker", task="Rhyme on boats", coworker="Poet"), "Row, row."],
        "Boss",
        allow_delegation=True,
    )
    poet = agent([], "Poet", llm=ScriptedLLM([TimeoutError("slow"), "Row."]).with_policies(Retry()))
    return Crew(name="delegating", tasks=[Task(description="A line", agent=boss)], agents=[boss, poet])


def failing() -> Crew:
    broken = agent([], "Broken", llm=FunctionLLM(lambda request: 1 / 0))
    fine = agent(["Fine."])
    return Crew(name="failing", tasks=[Task(description="One", agent=fine), Task(description="Two", agent=broken)])


def managed() -> Crew:
    boss = ScriptedLLM(
        [calling("ask_question_to_coworker", question="Which boat?", coworker="Poet"), "An oar."],
        supports_function_calling=True,
    )
    return Crew(
        name="managed",
        process=Process.hierarchical,
        manager_llm=boss,
        agents=[agent(["The Argo."], "Poet")],
        tasks=[Task(description="Name a boat", output_file=None)],
    )


CREWS = {crew.__name__: crew for crew in (side_by_side, delegating, failing, managed)}


@functools.cache
def events_of(name: str) -> tuple[Event, ...]:
    """Return the events of a run of one of these crews, with ids that no other run has."""
    seen: list[Event] = []
    with VirtualRuntime() as runtime:
        for _ in range(sorted(CREWS).index(name) * 1000):
            runtime.new_id()
        with contextlib.suppress(OarlockError):
            CREWS[name]().kickoff(on_event=seen.append)
    return tuple(seen)
