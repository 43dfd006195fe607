"""What `Crew(stream=True)` gives: the answers of a run in chunks, under the names that CrewAI's users know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from oarlock.agents.streams import AsyncRunStream, Listener, RunStream, read_run_async
from oarlock.contract.events import Event, ModelDelta, TaskStarted

if TYPE_CHECKING:
    from oarlock.agents.crew import Crew
    from oarlock.agents.outputs import CrewOutput

__all__ = ["CrewStreamingOutput", "StreamChunk", "StreamChunkType", "ToolCallChunk", "streamed", "streamed_for_each"]


class StreamChunkType(Enum):
    """What a chunk is."""

    TEXT = "text"
    TOOL_CALL = "tool_call"


class ToolCallChunk(BaseModel):
    """A piece of a tool call: its arguments may be a part only."""

    tool_id: str | None = None
    tool_name: str | None = None
    arguments: str = ""
    index: int = 0


class StreamChunk(BaseModel):
    """A piece of a model's answer; `str()` is its text.

    Attributes:
        content: the text, or the tool call's arguments.
        chunk_type: which of the two.
        task_index: the place of its task, from 0.
        task_name: the task's name.
        task_id: of this doing of the task.
        agent_role: who is at work.
        agent_id: the same.
        tool_call: for a piece of a tool call.
    """

    content: str
    chunk_type: StreamChunkType = StreamChunkType.TEXT
    task_index: int = 0
    task_name: str = ""
    task_id: str = ""
    agent_role: str = ""
    agent_id: str = ""
    tool_call: ToolCallChunk | None = None

    def __str__(self) -> str:
        return self.content


class CrewStreamingOutput(Iterator[StreamChunk], AsyncIterator[StreamChunk]):
    """A run's answers chunk by chunk, with `for` or, of `akickoff` and its like, with `async for`; then `.result`.

    It is `crew.stream()` for those who know it from CrewAI: the run begins with the first chunk that is asked for, goes no
    faster than you read, and ends when you leave. `crew.stream()` also tells what else happens.
    """

    def __init__(self, stream: RunStream[Any] | AsyncRunStream[Any], *, several: bool = False) -> None:
        self._stream = stream
        self._several = several
        self._made: list[tuple[str | None, int, StreamChunk]] = []  # with the call and the attempt that they are of
        self._numbers: dict[str | None, int] = {}  # of the tasks
        self._indexes: dict[tuple[str | None, str], int] = {}  # of the tool calls
        self._error: Exception | None = None
        self._completed = self._cancelled = False

    @property
    def is_completed(self) -> bool:
        """Whether the run is over, however it ended."""
        return self._completed

    @property
    def is_cancelled(self) -> bool:
        """Whether it was left early."""
        return self._cancelled

    @property
    def chunks(self) -> list[StreamChunk]:
        """All chunks so far; where a model was asked again, without those of the attempt that failed."""
        return [chunk for _, _, chunk in self._made]

    def get_full_text(self) -> str:
        """Return the text of all chunks so far, which is that of all answers, one after the other."""
        return "".join(chunk.content for chunk in self.chunks if chunk.chunk_type is StreamChunkType.TEXT)

    @property
    def result(self) -> CrewOutput:
        """What the run gave.

        Raises:
            RuntimeError: it has not ended, or was left.
            OarlockError: it failed; whatever its error was.
        """
        results = self.results
        return results[-1]

    @property
    def results(self) -> list[CrewOutput]:
        """What each run gave, in the order of their inputs, for `kickoff_for_each_async`; see `result`."""
        if not self._completed:
            raise RuntimeError("Streaming has not completed yet: iterate over all chunks, then take the result.")
        if self._error is not None:
            raise self._error
        if self._cancelled:
            raise RuntimeError("There is no result: the stream was left before its end.")
        return list(self._stream.result) if self._several else [self._stream.result]

    def close(self) -> None:
        """End the run early. Does nothing once it is over."""
        if self._leave() and isinstance(self._stream, RunStream):
            self._stream.close()

    async def aclose(self) -> None:
        """End the run early, from a coroutine. Does nothing once it is over."""
        if self._leave() and isinstance(self._stream, AsyncRunStream):
            await self._stream.aclose()

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> StreamChunk:
        if not isinstance(self._stream, RunStream):
            raise RuntimeError("This run is asynchronous: read it with `async for`.")
        try:
            for event in self._stream:
                chunk = self._chunk(event)
                if chunk is not None:
                    return chunk
        except Exception as error:
            self._failed(error)
            raise
        self._completed = True
        raise StopIteration

    async def __anext__(self) -> StreamChunk:
        if not isinstance(self._stream, AsyncRunStream):
            raise RuntimeError("This run is blocking: read it with `for`, or start it with `await crew.akickoff(...)`.")
        try:
            async for event in self._stream:
                chunk = self._chunk(event)
                if chunk is not None:
                    return chunk
        except Exception as error:
            self._failed(error)
            raise
        self._completed = True
        raise StopAsyncIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _leave(self) -> bool:
        if self._completed:
            return False
        self._completed = self._cancelled = True
        return True

    def _failed(self, error: Exception) -> None:
        self._error, self._completed = error, True

    def _chunk(self, event: Event) -> StreamChunk | None:
        """Return the chunk that an event is, if it is one."""
        if isinstance(event, TaskStarted):
            self._numbers[event.task_id] = event.number
        if not isinstance(event, ModelDelta) or event.purpose != "answer":
            return None
        call, attempt = event.span_id, event.attempt
        self._made = [one for one in self._made if one[0] != call or one[1] == attempt] if attempt > 1 else self._made
        chunk = StreamChunk(
            content=event.text if event.tool_call is None else event.tool_call.arguments,
            chunk_type=StreamChunkType.TEXT if event.tool_call is None else StreamChunkType.TOOL_CALL,
            task_index=self._numbers.get(event.task_id, 1) - 1,
            task_name=event.task or "",
            task_id=event.task_id or "",
            agent_role=event.agent or "",
            agent_id=event.agent or "",
            tool_call=self._tool_call(event),
        )
        self._made.append((call, attempt, chunk))
        return chunk

    def _tool_call(self, event: ModelDelta) -> ToolCallChunk | None:
        call = event.tool_call
        if call is None:
            return None
        before = sum(span == event.span_id for span, _ in self._indexes)
        index = self._indexes.setdefault((event.span_id, call.id), before)
        return ToolCallChunk(
            tool_id=call.id or None, tool_name=call.name or None, arguments=call.arguments, index=index
        )


def streamed(
    crew: Crew, inputs: Mapping[str, Any] | None, user: Any, on_event: Listener | None, record: Any, *, blocking: bool
) -> CrewStreamingOutput:
    """Return a run to be read in chunks."""
    door = crew.stream if blocking else crew.astream
    return CrewStreamingOutput(door(inputs, user=user, on_event=on_event, record=record))


def streamed_for_each(
    crew: Crew, inputs: Iterable[Mapping[str, Any]], user: Any, on_event: Listener | None, record: Any
) -> CrewStreamingOutput:
    """Return runs side by side, on an event loop, to be read in chunks as they come."""
    given = list(inputs)

    async def all_of_them(runtime: Any, told: Listener) -> list[CrewOutput]:
        runs = (lambda one=one: crew.run(runtime, one, user, told, record=record) for one in given)
        return list(await runtime.gather(*runs))

    return CrewStreamingOutput(read_run_async(all_of_them, on_event), several=True)
