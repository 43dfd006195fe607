"""CrewAI's event bus, for scripts that were written for it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from oarlock import ConfigurationError, ServerError, tool
from oarlock.compat.crewai import Agent, Crew, Task
from oarlock.compat.crewai import events as e
from oarlock.compat.crewai.events import BaseEvent, BaseEventListener, CrewAIEventsBus, Depends, crewai_event_bus
from oarlock.contract.reply import ToolCall
from oarlock.testing import ScriptedLLM


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with crewai_event_bus.scoped_handlers():
        yield


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


CALLS = [
    ToolCall(id="1", name="add", arguments='{"a": 1, "b": 2}'),
    ToolCall(id="2", name="add", arguments='{"a": "x", "b": 2}'),
]


def crew_of(llm: Any, **given: Any) -> Crew:
    agent = Agent(role="Clerk", goal="g", backstory="b", llm=llm, tools=[add])
    task = Task(description="Sum of {numbers}", expected_output="x", agent=agent, name="Sum", **given.pop("task", {}))
    return Crew(name="office", agents=[agent], tasks=[task], **given)


def told(*kinds: type[BaseEvent]) -> list[tuple[Any, Any]]:
    seen: list[tuple[Any, Any]] = []
    for kind in kinds or (BaseEvent,):
        crewai_event_bus.on(kind)(lambda source, event: seen.append((source, event)))
    return seen


INPUTS = {"numbers": "1 and 2"}


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_a_run(colour: str) -> None:
    seen = told()
    crew = crew_of(ScriptedLLM([CALLS, "Three."], supports_function_calling=True))
    heard: list[Any] = []
    if colour == "blocking":
        result: Any = crew.kickoff(INPUTS, on_event=heard.append)
    else:
        result = asyncio.run(crew.akickoff(INPUTS, on_event=heard.append))
    kinds = [type(event).__name__.removesuffix("Event") for _, event in seen]
    assert kinds[:5] == [
        "CrewKickoffStarted",
        "TaskStarted",
        "AgentExecutionStarted",
        "LLMCallStarted",
        "LLMCallCompleted",
    ]
    assert sorted(kinds[5:9]) == ["ToolUsageError", "ToolUsageFinished", "ToolUsageStarted", "ToolUsageStarted"]
    assert kinds[9:] == [
        "LLMCallStarted",
        "LLMCallCompleted",
        "AgentExecutionCompleted",
        "TaskCompleted",
        "CrewKickoffCompleted",
    ]
    assert heard
    of = {type(event): (source, event) for source, event in seen}
    agent, task = crew.agents[0], crew.tasks[0]

    source, began = of[e.CrewKickoffStartedEvent]
    assert source is began.crew is crew
    assert (began.crew_name, began.inputs, began.type) == ("office", INPUTS, "crew_kickoff_started")
    source, done = of[e.CrewKickoffCompletedEvent]
    assert (done.output, done.total_tokens) == (result, result.usage_metrics.total_tokens)

    source, working = of[e.AgentExecutionStartedEvent]
    assert source is working.agent is agent
    assert working.agent.role == working.agent_role == "Clerk"
    assert (working.task, working.tools, working.task_prompt) == (task, [add], "Sum of 1 and 2")
    assert of[e.AgentExecutionCompletedEvent][1].output == "Three."
    assert of[e.TaskStartedEvent][1].task is task
    assert of[e.TaskCompletedEvent][1].output.raw == "Three."

    source, call = of[e.LLMCallStartedEvent]
    assert source is agent.llm
    assert call.tools[0]["function"]["name"] == "add"
    assert call.messages[-1]["role"] == "tool"
    answered = [event for _, event in seen if isinstance(event, e.LLMCallCompletedEvent)]
    assert answered[0].response[0]["function"]["name"] == "add"
    assert [event.call_type.value for event in answered] == ["tool_call", "llm_call"]
    assert answered[1].response == "Three."
    assert answered[1].call_id == call.call_id
    assert answered[1].usage["total_tokens"] > 0

    used = of[e.ToolUsageFinishedEvent][1]
    assert (used.tool_name, used.tool_args, used.output, used.from_cache) == ("add", {"a": 1, "b": 2}, "3", False)
    assert used.started_at <= used.finished_at
    assert "wrong arguments" in of[e.ToolUsageErrorEvent][1].error
    for _, event in seen:
        json.dumps(event.to_json())
        assert event.timestamp.tzinfo is not None


def test_failures() -> None:
    seen = told()
    with pytest.raises(ServerError):
        crew_of(ScriptedLLM([ServerError("down")])).kickoff(INPUTS)
    ended = [(type(event).__name__, event.error) for _, event in seen[-4:]]
    assert ended == [
        ("LLMCallFailedEvent", "down"),
        ("AgentExecutionErrorEvent", "down"),
        ("TaskFailedEvent", "down"),
        ("CrewKickoffFailedEvent", "down"),
    ]


def test_guardrails() -> None:
    seen = told(e.LLMGuardrailStartedEvent, e.LLMGuardrailCompletedEvent)

    def short(output: Any) -> tuple[bool, Any]:
        return len(output.raw) < 4, "too long"

    agent = Agent(role="Clerk", goal="g", backstory="b", llm=ScriptedLLM(["Three", "3"]))
    Crew(tasks=[Task(description="x", expected_output="y", agent=agent, guardrail=short)]).kickoff()
    ended = [event for _, event in seen if isinstance(event, e.LLMGuardrailCompletedEvent)]
    assert (ended[0].success, ended[0].retry_count, ended[0].error) == (False, 0, "too long")
    assert (ended[1].success, ended[1].retry_count) == (True, 1)
    assert len(seen) == 4


def test_chunks() -> None:
    seen = told(e.LLMStreamChunkEvent)
    agent = Agent(role="Clerk", goal="g", backstory="b", tools=[add])
    agent.llm = ScriptedLLM([CALLS[:1], "Row, row."], supports_function_calling=True)
    streaming: Any = Crew(
        agents=[agent], tasks=[Task(description="x", expected_output="y", agent=agent)], stream=True
    ).kickoff()
    assert len(list(streaming)) == len(seen) == 3
    first = seen[0][1]
    assert (first.tool_call.function.name, first.chunk) == ("add", '{"a": 1, "b": 2}')
    assert [event.chunk for _, event in seen[1:]] == ["Row, ", "row."]


def test_a_listener_class() -> None:
    log: list[str] = []

    class Mine(BaseEventListener):
        def setup_listeners(self, crewai_event_bus: CrewAIEventsBus) -> None:
            @crewai_event_bus.on(e.CrewKickoffStartedEvent)
            def began(source: Any, event: Any) -> None:
                log.append(f"{event.crew_name} began")

            @crewai_event_bus.on(e.TaskCompletedEvent)
            async def ended(source: Any, event: Any) -> None:
                await asyncio.sleep(0)
                log.append(f"{event.output.raw} came")

    Mine()
    crew = crew_of(ScriptedLLM(["3"] * 2))
    crew.kickoff(INPUTS)
    asyncio.run(crew.akickoff(INPUTS))
    assert log == ["office began", "3 came"] * 2


class Launched(BaseEvent):
    type: str = "launched"
    boat: str


def test_handlers(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    def second(source: Any, event: Launched) -> None:
        log.append(f"second {event.boat}")

    def third(source: Any, event: Launched) -> None:
        log.append("third")

    crewai_event_bus.register_handler(Launched, third, Depends(second))
    crewai_event_bus.register_handler(Launched, second, [])

    @crewai_event_bus.on(Launched)
    def fails(source: Any, event: Launched) -> None:
        raise KeyError("mine")

    with caplog.at_level(logging.ERROR, "oarlock.compat"):
        crewai_event_bus.emit(None, Launched(boat="Argo"))
    assert log == ["second Argo", "third"]
    assert "A handler of Launched failed" in caplog.text

    async def awaited() -> None:
        @crewai_event_bus.on(Launched)
        async def slow(source: Any, event: Launched) -> None:
            await asyncio.sleep(0)
            log.append("slow")

        await crewai_event_bus.aemit(None, Launched(boat="Argo"))

    log.clear()
    asyncio.run(awaited())
    assert log == ["second Argo", "third", "slow"]
    crewai_event_bus.off(Launched, second)
    crewai_event_bus.off(Launched, third)
    log.clear()
    crewai_event_bus.emit(None, Launched(boat="Argo"))
    assert log == ["slow"]
    assert crewai_event_bus.flush()
    crewai_event_bus.validate_dependencies()
    crewai_event_bus.shutdown()
    assert not crewai_event_bus.has_handlers
    with pytest.raises(ConfigurationError, match="no type of events"):
        crewai_event_bus.on(str)(fails)  # type: ignore[arg-type]


def test_circles_end() -> None:
    log: list[int] = []

    def one(source: Any, event: Any) -> None:
        log.append(1)

    def two(source: Any, event: Any) -> None:
        log.append(2)

    crewai_event_bus.register_handler(Launched, one, Depends(two))
    crewai_event_bus.register_handler(Launched, two, Depends(one))
    crewai_event_bus.emit(None, Launched(boat="Argo"))
    assert sorted(log) == [1, 2]


def test_scopes() -> None:
    seen = told(Launched)
    with crewai_event_bus.scoped_handlers():
        inner = told(Launched)
        crewai_event_bus.emit(None, Launched(boat="a"))
    crewai_event_bus.emit(None, Launched(boat="b"))
    assert [event.boat for _, event in inner] == ["a"]
    assert [event.boat for _, event in seen] == ["b"]


def test_nobody_listens() -> None:
    heard: list[Any] = []
    crew_of(ScriptedLLM(["3"])).kickoff(INPUTS, on_event=heard.append)
    assert heard


def test_structured_answers() -> None:
    from pydantic import BaseModel

    class Sum(BaseModel):
        value: int

    seen = told(e.TaskCompletedEvent)
    crew_of(ScriptedLLM(['{"value": 3}']), task={"output_pydantic": Sum}).kickoff(INPUTS)
    crew_of(ScriptedLLM(['{"value": 3}']), task={"output_json": Sum}).kickoff(INPUTS)
    assert seen[0][1].output.pydantic == Sum(value=3)
    assert seen[1][1].output.json_dict == {"value": 3}
