"""`Crew(stream=True)`, as CrewAI's users know it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from oarlock import Agent, BaseLLM, Crew, Task, tool
from oarlock.compat.crewai.types.streaming import CrewStreamingOutput, StreamChunk, StreamChunkType
from oarlock.contract.errors import ConfigurationError, ServerError
from oarlock.contract.reply import Delta, Reply, ToolCall
from oarlock.policies import Retry
from oarlock.testing import FunctionLLM, ScriptedLLM


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def crew_of(llm: Any, count: int = 1, **given: Any) -> Crew:
    clerk = Agent(role="Clerk", goal="g", backstory="b", llm=llm, tools=given.pop("tools", []))
    tasks = [Task(description=f"Task {n} on {{topic}}", name=f"T{n}", agent=clerk) for n in range(count)]
    return Crew(agents=[clerk], tasks=tasks, stream=True, **given)


INPUTS = {"topic": "boats"}


@pytest.fixture(params=["blocking", "async"])
def chunks_of(request: pytest.FixtureRequest) -> Callable[[Crew], tuple[list[StreamChunk], CrewStreamingOutput]]:
    def blocking(crew: Crew) -> Any:
        streaming: Any = crew.kickoff(INPUTS)
        return list(streaming), streaming

    async def awaited(crew: Crew) -> Any:
        streaming: Any = await crew.kickoff_async(INPUTS)
        return [chunk async for chunk in streaming], streaming

    return blocking if request.param == "blocking" else lambda crew: asyncio.run(awaited(crew))


def test_chunks_and_the_result(chunks_of: Any) -> None:
    chunks, streaming = chunks_of(crew_of(ScriptedLLM(["Row, row.", "Go ashore."]), 2))
    assert isinstance(streaming, CrewStreamingOutput)
    seen = [(chunk.content, chunk.task_index, chunk.task_name, chunk.agent_role) for chunk in chunks]
    assert seen == [
        ("Row, ", 0, "T0", "Clerk"),
        ("row.", 0, "T0", "Clerk"),
        ("Go ", 1, "T1", "Clerk"),
        ("ashore.", 1, "T1", "Clerk"),
    ]
    assert {chunk.chunk_type for chunk in chunks} == {StreamChunkType.TEXT}
    assert len({chunk.task_id for chunk in chunks}) == 2
    assert str(chunks[0]) == "Row, "
    assert streaming.is_completed
    assert not streaming.is_cancelled
    assert streaming.chunks == chunks
    assert streaming.get_full_text() == "Row, row.Go ashore."
    assert streaming.result.raw == "Go ashore."
    assert streaming.results == [streaming.result]


def test_tool_calls(chunks_of: Any) -> None:
    calls = [ToolCall(id=str(n), name="add", arguments=f'{{"a": {n}, "b": 1}}') for n in range(2)]
    chunks, streaming = chunks_of(crew_of(ScriptedLLM([calls, "3"], supports_function_calling=True), tools=[add]))
    told = [chunk for chunk in chunks if chunk.chunk_type is StreamChunkType.TOOL_CALL]
    assert [(c.tool_call.tool_name, c.tool_call.index, c.tool_call.tool_id) for c in told if c.tool_call] == [
        ("add", 0, "0"),
        ("add", 1, "1"),
    ]
    assert told[1].content == '{"a": 1, "b": 1}'
    assert streaming.get_full_text() == "3"


def test_an_attempt_that_failed_is_no_part_of_the_text(chunks_of: Any) -> None:
    class Broken(BaseLLM):
        async def _respond(self, runtime: Any, request: Any) -> Reply:
            await request.deltas.put(Delta("a"))
            if request.attempt == 1:
                raise ServerError("down")
            await request.deltas.put(Delta("b"))
            return Reply(text="ab")

    chunks, streaming = chunks_of(crew_of(Broken().with_policies(Retry(base_delay=0))))
    assert [chunk.content for chunk in chunks] == ["a", "a", "b"]
    assert streaming.get_full_text() == "ab"


def test_an_error(chunks_of: Any) -> None:
    streams: list[Any] = []
    crew = crew_of(ScriptedLLM([ServerError("down")]))
    with pytest.raises(ServerError, match="down"):
        streams.append(chunks_of(crew))
    streaming: Any = crew_of(ScriptedLLM([ServerError("down")])).kickoff(INPUTS)
    with pytest.raises(ServerError):
        next(streaming)
    assert streaming.is_completed
    with pytest.raises(ServerError, match="down"):
        streaming.result


def test_leaving() -> None:
    llm = ScriptedLLM(["Row, row, row."] * 4)
    streaming: Any = crew_of(llm).kickoff(INPUTS)
    with pytest.raises(RuntimeError, match="not completed"):
        streaming.result
    with streaming:
        next(streaming)
    streaming.close()
    assert streaming.is_cancelled
    assert streaming.is_completed
    assert list(streaming) == []
    with pytest.raises(RuntimeError, match="left before its end"):
        streaming.result

    async def awaited() -> Any:
        again: Any = await crew_of(llm).akickoff(INPUTS)
        async with again:
            async for _ in again:
                break
        await again.aclose()
        return again

    assert asyncio.run(awaited()).is_cancelled


def test_each_with_its_own_loop() -> None:
    async def wrong() -> Any:
        streaming: Any = await crew_of(ScriptedLLM(["a"])).akickoff(INPUTS)
        with pytest.raises(RuntimeError, match="async for"):
            next(streaming)
        blocking: Any = crew_of(ScriptedLLM(["a"])).kickoff(INPUTS)
        with pytest.raises(RuntimeError, match="akickoff"):
            await anext(blocking)

    asyncio.run(wrong())


def test_for_each() -> None:
    llm = FunctionLLM(lambda messages: messages[-1]["content"].split()[-1])
    inputs = [{"topic": "oars"}, {"topic": "sails"}]
    streams: Any = crew_of(llm).kickoff_for_each(inputs)
    assert [[chunk.content for chunk in one] for one in streams] == [["oars"], ["sails"]]
    assert [one.result.raw for one in streams] == ["oars", "sails"]

    async def awaited() -> Any:
        streaming: Any = await crew_of(llm).kickoff_for_each_async(inputs)
        return {chunk.content async for chunk in streaming}, streaming

    seen, streaming = asyncio.run(awaited())
    assert seen == {"oars", "sails"}
    assert [one.raw for one in streaming.results] == ["oars", "sails"]
    assert streaming.result.raw == "sails"


def test_settings() -> None:
    crew = crew_of(ScriptedLLM(["a"]))
    with pytest.raises(ConfigurationError, match="stream"):
        Crew(tasks=crew.tasks, stream="yes")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="durable"):
        crew.kickoff(INPUTS, durable="sqlite:///runs.db")
    with pytest.raises(ConfigurationError, match="durable"):
        asyncio.run(crew.akickoff(INPUTS, run_id="1"))
    assert Crew(tasks=crew.tasks, stream=False).kickoff(INPUTS).raw == "a"
    assert Crew(config={"stream": True}, tasks=crew.tasks).streams  # type: ignore[call-arg]
