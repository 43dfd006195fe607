"""Reading a run: events as they happen, at the reader's pace, and nothing left behind, whoever leaves when."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from oarlock import Agent, BaseLLM, ChatLLM, Crew, Process, Task, tool
from oarlock.contract.context import current_call, emit
from oarlock.contract.errors import ConfigurationError, LLMTimeoutError, ServerError, TruncatedStream
from oarlock.contract.reply import Delta, Reply, ToolCall
from oarlock.contract.request import Request
from oarlock.events import (
    CallFailed,
    CallFinished,
    CallStarted,
    Delegated,
    Event,
    EventsMissed,
    ModelDelta,
    RunFailed,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
    ToolFinished,
    ToolStarted,
    Waited,
    Waiting,
)
from oarlock.policies import Concurrency, Fallback, Retry
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, LoopbackEndpoint, ScriptedLLM, VirtualRuntime
from oarlock.testing.endpoint import ToolCalls

Read = Callable[[Any, Callable[[Event], Any]], Any]


@pytest.fixture(params=["blocking", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def read(colour: str) -> Read:
    """Return a function that reads a crew's run to its end, calling one of yours with each event, and returns the result."""

    def blocking(crew: Crew, see: Callable[[Event], Any], **given: Any) -> Any:
        stream = crew.stream(**given)
        for event in stream:
            see(event)
        return stream.result

    async def awaited(crew: Crew, see: Callable[[Event], Any], **given: Any) -> Any:
        stream = crew.astream(**given)
        async for event in stream:
            see(event)
        return stream.result

    if colour == "blocking":
        return blocking
    return lambda crew, see, **given: asyncio.run(awaited(crew, see, **given))


@pytest.fixture
def leave(colour: str) -> Callable[[Crew, Callable[[Event], bool]], None]:
    """Return a function that reads a crew's run until one of yours says so, and leaves by `break`."""

    def blocking(crew: Crew, until: Callable[[Event], bool]) -> None:
        for event in crew.stream():
            if until(event):
                break

    async def awaited(crew: Crew, until: Callable[[Event], bool]) -> None:
        stream = crew.astream()
        async with stream:
            async for event in stream:
                if until(event):
                    break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    return blocking if colour == "blocking" else lambda crew, until: asyncio.run(awaited(crew, until))


def agent(llm: Any, **given: Any) -> Agent:
    return Agent(**{"role": "Clerk", "goal": "g", "backstory": "b", "llm": llm, **given})


def crew_of(llm: Any, count: int = 1, **given: Any) -> Crew:
    clerk = agent(llm, **given)
    return Crew(tasks=[Task(description=f"Task {n}", agent=clerk, async_execution=count > 1) for n in range(count)])


class Fountain(BaseLLM):
    """Streams for as long as anybody reads; `given` counts the pieces, `closed` those that ended early."""

    def __init__(self, pieces: int = 10**9) -> None:
        super().__init__()
        self.pieces, self.given, self.closed = pieces, 0, 0

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        assert request.deltas is not None
        try:
            for _ in range(self.pieces):
                self.given += 1
                await request.deltas.put(Delta("x" * 10_000))
        except BaseException:
            self.closed += 1
            raise
        return Reply(text="done")


class Broken(BaseLLM):
    """Gives two pieces and fails, so many times; then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        super().__init__()
        self.failures, self.error = failures, error

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        assert request.deltas is not None
        for text in ("a", "b"):
            await request.deltas.put(Delta(text))
        if self.failures:
            self.failures -= 1
            raise self.error
        await request.deltas.put(Delta("c"))
        return Reply(text="abc")


class TestWhatIsRead:
    def test_events_and_the_result(self, read: Read) -> None:
        seen: list[Event] = []
        result = read(crew_of(ScriptedLLM(["Row, row."])), seen.append)
        kinds = [RunStarted, TaskStarted, CallStarted, ModelDelta, ModelDelta, CallFinished, TaskFinished, RunFinished]
        assert [type(event) for event in seen] == kinds
        assert [str(event) for event in seen if isinstance(event, ModelDelta)] == ["Row, ", "row."]
        assert result.raw == "Row, row."
        assert len({event.span_id for event in seen[2:6]}) == 1

    def test_things_are_told_before_they_are_waited_for(self, read: Read) -> None:
        log: list[str] = []

        class Slow(BaseLLM):
            def call(self, messages: Any) -> str:
                log.append("asked")
                return "ok"

        read(crew_of(Slow()), lambda event: log.append(type(event).__name__))
        assert log[2:5] == ["CallStarted", "asked", "ModelDelta"]

    def test_an_llm_that_cannot_stream_gives_one_piece(self, read: Read) -> None:
        class Plain(BaseLLM):
            def call(self, messages: Any) -> str:
                return "All of it."

        seen: list[Event] = []
        read(crew_of(Plain()), seen.append)
        assert [event.text for event in seen if isinstance(event, ModelDelta)] == ["All of it."]

    def test_waits(self, colour: str) -> None:
        llm = ScriptedLLM([ServerError("down"), "ok"]).with_policies(Retry())
        times: list[tuple[type[Event], float]] = []
        with VirtualRuntime() as runtime:
            times.extend((type(event), runtime.now()) for event in crew_of(llm).stream())
        at = dict(times)
        assert at[CallStarted] == at[Waiting] < at[Waited] == at[ModelDelta]

    def test_tools_in_the_native_loop(self, read: Read) -> None:
        @tool
        def add(a: int, b: int) -> int:
            """Add."""
            return a + b

        calls = [ToolCall(id=str(n), name="add", arguments=json.dumps({"a": n, "b": 1})) for n in range(2)]
        seen: list[Event] = []
        result = read(crew_of(ScriptedLLM([calls, "Sum"], supports_function_calling=True), tools=[add]), seen.append)
        assert result.raw == "Sum"
        assert [event.tool_call for event in seen if isinstance(event, ModelDelta)][:2] == calls
        assert sorted(event.answer for event in seen if isinstance(event, ToolFinished)) == ["1", "2"]

    def test_tool_calls_of_an_endpoint_come_in_pieces(self, read: Read) -> None:
        @tool
        def add(a: int, b: int) -> int:
            """Add."""
            return a + b

        calls = ToolCalls([("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})])
        seen: list[Event] = []
        with LoopbackEndpoint([calls, "3 and 7"]) as endpoint:
            read(crew_of(ChatLLM("m", endpoint.url), tools=[add]), seen.append)
        arguments: dict[str, str] = {}
        for event in seen:
            if isinstance(event, ModelDelta) and event.tool_call is not None:
                assert event.tool_call.name == "add"
                arguments[event.tool_call.id] = arguments.get(event.tool_call.id, "") + event.tool_call.arguments
        assert [json.loads(text) for text in arguments.values()] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
        (*_, last) = [event for event in seen if isinstance(event, CallFinished)]
        assert not last.reply.usage.estimated

    def test_a_model_whose_own_code_asks_for_tools_gives_them_as_pieces(self, read: Read) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
        answers = iter([[call], "Sum"])

        class Plain(BaseLLM):
            def supports_function_calling(self) -> bool:
                return True

            def call(self, messages: Any, tools: Any = None) -> Any:
                return next(answers)

        @tool
        def add() -> int:
            """Add."""
            return 3

        seen: list[Event] = []
        read(crew_of(Plain(), tools=[add]), seen.append)
        pieces = [event for event in seen if isinstance(event, ModelDelta)]
        assert [(piece.text, piece.tool_call) for piece in pieces] == [("", ToolCall.of(call)), ("Sum", None)]

    def test_the_react_loop(self, read: Read) -> None:
        @tool
        def add() -> int:
            """Add."""
            return 3

        seen: list[Event] = []
        llm = ScriptedLLM(["Thought: sum\nAction: add\nAction Input: {}", "Final Answer: 3"])
        assert read(crew_of(llm, tools=[add]), seen.append).raw == "3"
        by_call: dict[Any, str] = {}
        for event in seen:
            if isinstance(event, ModelDelta):
                by_call[event.span_id] = by_call.get(event.span_id, "") + event.text
        assert list(by_call.values()) == ["Thought: sum\nAction: add\nAction Input: {}", "Final Answer: 3"]

    def test_judges_are_told_apart(self, read: Read) -> None:
        llm = ScriptedLLM(["Row", '{"valid": true, "reason": ""}'])
        seen: list[Event] = []
        read(Crew(tasks=[Task(description="x", agent=agent(llm), guardrail="Short")]), seen.append)
        answer = "".join(e.text for e in seen if isinstance(e, ModelDelta) and e.purpose == "answer")
        assert answer == "Row"
        assert [event.purpose for event in seen if isinstance(event, CallStarted)] == ["answer", "judge"]

    def test_delegated_work(self, read: Read) -> None:
        work = json.dumps({"task": "Add", "coworker": "Clerk", "context": ""})
        hand_over = ToolCall(id="1", name="delegate_work_to_coworker", arguments=work)
        crew = Crew(
            agents=[agent(ScriptedLLM(["Three."]))],
            tasks=[Task(description="Sum")],
            process=Process.hierarchical,
            manager_llm=ScriptedLLM([hand_over, "Done."], supports_function_calling=True),
        )
        seen: list[Event] = []
        read(crew, seen.append)
        inside = [type(event) for event in seen if event.agent == "Clerk"]
        assert inside == [CallStarted, ModelDelta, CallFinished]
        assert sum(isinstance(event, Delegated) for event in seen) == 1

    def test_an_agent_alone(self) -> None:
        poet = agent(ScriptedLLM(["Row."] * 2))
        stream = poet.stream("A line")
        assert [type(event) for event in stream][:3] == [TaskStarted, CallStarted, ModelDelta]
        assert stream.result.raw == "Row."

        async def awaited() -> Any:
            again = poet.astream("A line")
            kinds = [type(event) async for event in again]
            return kinds, again.result.raw

        assert asyncio.run(awaited()) == (
            [TaskStarted, CallStarted, ModelDelta, CallFinished, TaskFinished],
            "Row.",
        )

    def test_listeners_hear_first(self, read: Read) -> None:
        heard: list[Event] = []
        seen: list[Event] = []

        def see(event: Event) -> None:
            assert event in heard
            seen.append(event)

        read(crew_of(ScriptedLLM(["Row, row."])), see, on_event=heard.append)
        assert seen == heard

    def test_a_run_inside_a_tool_is_another_one(self, read: Read) -> None:
        inner = crew_of(ScriptedLLM(["four"] * 9))
        texts: list[str] = []

        @tool
        def ask() -> str:
            """Ask."""
            inner.kickoff()
            texts.extend(event.text for event in inner.stream() if isinstance(event, ModelDelta))
            return "4"

        llm = ScriptedLLM([[ToolCall(id=str(n), name="ask") for n in range(2)], "4"], supports_function_calling=True)
        seen: list[Event] = []
        read(crew_of(llm, tools=[ask]), seen.append)
        assert texts == ["four"] * 2
        assert [event.text for event in seen if isinstance(event, ModelDelta) and event.text] == ["4"]
        assert all(event.run_id == seen[0].run_id for event in seen)

    def test_nothing_is_asked_for_in_pieces_unless_it_is_read(self) -> None:
        llm = ScriptedLLM(["a"] * 2)
        crew_of(llm).kickoff(on_event=lambda event: None)
        list(crew_of(llm).stream())
        assert [request.deltas is None for request in llm.requests] == [True, False]


class TestSideBySide:
    def test_tools_are_told_of_while_they_run(self, read: Read) -> None:
        go = threading.Event()

        @tool
        def hold() -> str:
            """Hold."""
            go.wait()
            return "held"

        calls = [ToolCall(id=str(n), name="hold") for n in range(2)]
        seen: list[Event] = []

        def started(event: Event) -> None:
            seen.append(event)
            if sum(isinstance(one, ToolStarted) for one in seen) == 2:
                go.set()

        llm = ScriptedLLM([calls, "ok"], supports_function_calling=True)
        assert read(crew_of(llm, tools=[hold]), started).raw == "ok"

    def test_tasks(self, read: Read) -> None:
        seen: list[Event] = []
        result = read(crew_of(FunctionLLM(lambda messages: "Row, row, row."), 10), seen.append)
        assert len(result.tasks_output) == 10
        for number in range(1, 11):
            own = [event for event in seen if event.task_id == f"{result.run_id}:{number}"]
            kinds = [TaskStarted, CallStarted, ModelDelta, ModelDelta, ModelDelta, CallFinished, TaskFinished]
            assert [type(event) for event in own] == kinds
        assert [type(seen[0]), type(seen[-1])] == [RunStarted, RunFinished]

    def test_tasks_with_tools_side_by_side(self, read: Read) -> None:
        @tool
        def add(a: int) -> int:
            """Add."""
            return a

        calls = [ToolCall(id=str(n), name="add", arguments=json.dumps({"a": n})) for n in range(5)]

        def answer(request: Request) -> Any:
            return "ok" if any(message.get("role") == "tool" for message in request.messages) else calls

        seen: list[Event] = []
        llm = FunctionLLM(answer, supports_function_calling=True)
        read(crew_of(llm, 6, tools=[add]), seen.append)
        assert sum(isinstance(event, ToolFinished) for event in seen) == 30

    def test_on_the_virtual_clock(self) -> None:
        with VirtualRuntime() as runtime:
            seen = list(crew_of(ScriptedLLM(["a"] * 4, latency=5), 4).stream())
            assert runtime.now() == 5
        assert sum(isinstance(event, ModelDelta) for event in seen) == 4

    def test_a_failure(self, read: Read) -> None:
        def answer(request: Request) -> Any:
            if "Task 1" in str(request.messages):
                raise ServerError("down")
            return "ok"

        seen: list[Event] = []
        with pytest.raises(ServerError, match="down"):
            read(crew_of(FunctionLLM(answer), 3), seen.append)
        assert isinstance(seen[-1], RunFailed)


class TestPace:
    def test_a_run_goes_no_further_than_its_reader(self, colour: str) -> None:
        fountain = Fountain()
        crew = crew_of(fountain)

        def blocking() -> None:
            pieces = (event for event in crew.stream() if isinstance(event, ModelDelta))
            for number in range(1, 100):
                next(pieces)
                assert fountain.given == number

        async def awaited() -> None:
            async with crew.astream() as stream:
                pieces = (event async for event in stream if isinstance(event, ModelDelta))
                for number in range(1, 100):
                    await anext(pieces)
                    await asyncio.sleep(0)
                    assert fountain.given == number

        blocking() if colour == "blocking" else asyncio.run(awaited())
        assert fountain.closed == 1

    def test_nor_do_many_side_by_side(self, colour: str) -> None:
        """A GB would be there at once, if anything went ahead of its reader."""
        fountain = Fountain()
        crew = crew_of(fountain, 5)
        most = 100 + 64 + 2 * 5  # what was read, what may be ahead, and what each holds

        def blocking() -> None:
            with crew.stream() as stream:
                for _ in range(100):
                    next(stream)
                assert fountain.given <= most

        async def awaited() -> None:
            async with crew.astream() as stream:
                for _ in range(100):
                    await anext(stream)
                for _ in range(1000):
                    await asyncio.sleep(0)
                assert fountain.given <= most

        blocking() if colour == "blocking" else asyncio.run(awaited())
        assert 1 <= fountain.closed <= 5

    def test_an_endpoint_is_read_no_faster_either(self) -> None:
        sent = 0

        def text() -> Iterator[str]:
            nonlocal sent
            for _ in range(100_000):
                sent += 1
                yield "x" * 10_000

        with LoopbackEndpoint([text()]) as endpoint:
            llm = ChatLLM("m", endpoint.url, timeout=60)
            with crew_of(llm).stream() as stream:
                pieces = (event for event in stream if isinstance(event, ModelDelta))
                for _ in range(10):
                    next(pieces)
        assert sent < 5_000  # 50 MB of 1 GB: what the buffers of two sockets hold

    def test_what_nobody_can_hold_up_is_counted(self, read: Read) -> None:
        @tool
        def chatter() -> str:
            """Chatter."""
            for _ in range(25_000):
                emit(Waiting(cause="chatter"))
            return "done"

        seen: list[Event] = []
        llm = ScriptedLLM([ToolCall(id="1", name="chatter"), "ok"], supports_function_calling=True)
        read(crew_of(llm, tools=[chatter]), seen.append)
        kept = sum(isinstance(event, Waiting) for event in seen)
        (missed,) = [event.count for event in seen if isinstance(event, EventsMissed)]
        assert 9_000 < kept <= 10_000
        assert 25_000 <= kept + missed <= 25_002  # the tool's own beginning was kept or missed, and its end
        assert isinstance(seen[-1], RunFinished)


class TestErrors:
    def test_an_error_comes_after_the_last_event(self, colour: str) -> None:
        crew = crew_of(ScriptedLLM([ServerError("down")]))
        seen: list[Event] = []

        async def awaited() -> Any:
            stream = crew.astream()
            with pytest.raises(ServerError, match="down"):
                async for event in stream:
                    seen.append(event)  # noqa: PERF401
            return stream

        if colour == "blocking":
            stream: Any = crew.stream()
            with pytest.raises(ServerError, match="down"):
                for event in stream:
                    seen.append(event)  # noqa: PERF402
        else:
            stream = asyncio.run(awaited())
        assert [type(event) for event in seen][-2:][1:] == [RunFailed]
        assert any(isinstance(event, CallFailed) for event in seen)
        with pytest.raises(RuntimeError, match="not ended, or not well"):
            stream.result

    def test_what_cannot_begin_says_so_at_the_first_event(self) -> None:
        clerk = agent(ScriptedLLM(["a"]))
        stream = Crew(tasks=[Task(description="{topic}", agent=clerk)]).stream()
        with pytest.raises(ConfigurationError, match="topic"):
            next(stream)

    def test_a_broken_stream_is_tried_again(self, read: Read) -> None:
        llm = Broken(2, TruncatedStream("cut", text="ab")).with_policies(Retry(base_delay=0))
        seen: list[Event] = []
        assert read(crew_of(llm), seen.append).raw == "abc"
        pieces = [(event.attempt, event.text) for event in seen if isinstance(event, ModelDelta)]
        assert pieces == [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a"), (3, "b"), (3, "c")]
        assert [event.attempts for event in seen if isinstance(event, CallFinished)] == [3]

    def test_another_model_goes_on_after_a_broken_stream(self, read: Read) -> None:
        llm = Broken(1, ServerError("down")).with_policies(Fallback(ScriptedLLM(["from another"])))
        seen: list[Event] = []
        assert read(crew_of(llm), seen.append).raw == "from another"
        pieces = [(event.attempt, event.text) for event in seen if isinstance(event, ModelDelta)]
        assert pieces == [(1, "a"), (1, "b"), (2, "from "), (2, "another")]

    def test_a_plain_stream_is_not(self) -> None:
        llm = Broken(1, ServerError("down")).with_policies(Retry(base_delay=0))
        with pytest.raises(ServerError):
            list(llm.stream("Hi"))


INTERRUPTED = """
import os, signal, threading
from oarlock import Agent, Crew, Task, tool
from oarlock.contract.reply import ToolCall
from oarlock.testing import ScriptedLLM

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's is ignored

@tool
def press() -> str:
    "Press Ctrl-C."
    os.kill(os.getpid(), signal.SIGINT)  # as a terminal does: to the process, not to the thread of this tool
    return hold()

@tool
def hold() -> str:
    "Hold for ever."
    threading.Event().wait()

calls = [ToolCall(id=name, name=name) for name in ("hold", "press")]
clerk = Agent(role="Clerk", goal="g", llm=ScriptedLLM([calls], supports_function_calling=True), tools=[press, hold])
try:
    list(Crew(tasks=[Task(description="x", agent=clerk)]).stream())
except KeyboardInterrupt:
    print("interrupted")
"""


class TestLeaving:
    @pytest.mark.parametrize("count", [1, 4])
    def test_by_break(self, leave: Any, count: int) -> None:
        fountain = Fountain()
        place = Concurrency(4)
        leave(crew_of(fountain.with_policies(place), count), lambda event: isinstance(event, ModelDelta))
        assert 1 <= fountain.closed <= count
        assert fountain.given <= 70
        assert place._taken == 0

    def test_by_break_and_nothing_else(self) -> None:
        fountain = Fountain()

        async def awaited() -> None:
            async for event in crew_of(fountain, 3).astream():
                if isinstance(event, ModelDelta):
                    break
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)

        asyncio.run(awaited())
        assert 1 <= fountain.closed <= 3

    @pytest.mark.parametrize("count", [1, 3])
    def test_by_an_error(self, leave: Any, count: int) -> None:
        fountain = Fountain()

        def fail(event: Event) -> bool:
            if isinstance(event, ModelDelta):
                raise KeyError("mine")
            return False

        with pytest.raises(KeyError, match="mine"):
            leave(crew_of(fountain, count), fail)
        gc.collect()
        assert 1 <= fountain.closed <= count

    @pytest.mark.parametrize("count", [1, 3])
    def test_by_being_cancelled(self, count: int) -> None:
        fountain, reached = Fountain(), asyncio.Event()

        async def consume() -> None:
            async for event in crew_of(fountain, count).astream():
                if isinstance(event, ModelDelta):
                    reached.set()
                    await asyncio.Event().wait()

        async def main() -> None:
            consumer = asyncio.ensure_future(consume())
            await reached.wait()
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            del consumer
            gc.collect()
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)

        asyncio.run(main())
        assert 1 <= fountain.closed <= count

    @pytest.mark.parametrize("count", [1, 3])
    def test_by_being_cancelled_while_a_model_thinks(self, count: int) -> None:
        log: list[str] = []
        thinking = asyncio.Event()

        class Slow(BaseLLM):
            async def acall(self, messages: Any) -> str:
                thinking.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    log.append("ended")
                return ""

        async def consume() -> None:
            async for _ in crew_of(Slow(), count).astream():
                pass

        async def main() -> None:
            consumer = asyncio.ensure_future(consume())
            await thinking.wait()
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(main())
        assert log
        assert len(log) <= count

    @pytest.mark.parametrize("count", [1, 3])
    def test_at_the_end_of_the_program(self, count: int) -> None:
        """The event loop ends before it comes to what was let go of."""
        fountain = Fountain()

        async def main() -> None:
            async for event in crew_of(fountain, count).astream():
                if isinstance(event, ModelDelta):
                    break

        asyncio.run(main())
        gc.collect()
        assert 1 <= fountain.closed <= count

    def test_with_the_event_loop(self) -> None:
        """What is suspended when its loop ends is closed when it is let go of, without a word."""
        for count in (1, 3):
            fountain = Fountain()

            async def begin(crew: Crew) -> Any:
                stream = crew.astream()
                for _ in range(9):
                    await anext(stream)
                return stream

            stream = asyncio.run(begin(crew_of(fountain, count)))
            del stream
            gc.collect()
            assert 1 <= fountain.closed <= count

    def test_no_further_task_begins(self, leave: Any) -> None:
        asked: list[str] = []

        def answer(request: Request) -> str:
            asked.append(str(request.messages[-1]["content"]))
            return "ok"

        clerk = agent(FunctionLLM(answer))
        tasks = [Task(description=f"Task {n}", agent=clerk) for n in range(3)]
        leave(Crew(tasks=tasks), lambda event: isinstance(event, TaskFinished))
        assert len(asked) == 1

    def test_side_by_side_those_at_work_are_awaited(self) -> None:
        working, go = threading.Event(), threading.Event()
        log: list[str] = []

        @tool
        def hold() -> str:
            """Hold."""
            working.set()
            go.wait()
            log.append("held")
            return "held"

        @tool
        def quick() -> str:
            """Go."""
            working.wait()
            return "quick"

        calls = [ToolCall(id="1", name="hold"), ToolCall(id="2", name="quick")]
        llm = ScriptedLLM([calls, "never"], supports_function_calling=True)
        with crew_of(llm, tools=[hold, quick]).stream() as stream:
            for event in stream:
                if isinstance(event, ToolFinished):
                    go.set()
                    break
        assert log == ["held"]
        assert llm.remaining == 1

    def test_by_a_key_nobody_is_awaited(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.stdout, done.returncode) == ("interrupted\n", 0), done.stderr

    def test_before_it_began(self) -> None:
        llm = ScriptedLLM(["a"])
        stream = crew_of(llm).stream()
        stream.close()
        assert list(stream) == []
        assert llm.remaining == 1

    def test_listeners_hear_of_it(self, colour: str) -> None:
        heard: list[Event] = []
        crew = crew_of(Fountain())
        if colour == "blocking":
            with crew.stream(on_event=heard.append) as stream:
                next(stream)
        else:

            async def awaited() -> None:
                async with crew.astream(on_event=heard.append) as stream:
                    await anext(stream)

            asyncio.run(awaited())
        assert isinstance(heard[-1], RunFailed)

    def test_a_connection_is_freed(self, leave: Any) -> None:
        endless: Callable[[], Iterator[str]] = lambda: iter(functools.partial(str, "word "), None)
        with LoopbackEndpoint([endless(), "Again."]) as endpoint:
            llm = ChatLLM("m", endpoint.url).with_policies(Concurrency(1))
            leave(crew_of(llm), lambda event: isinstance(event, ModelDelta))
            assert crew_of(llm).kickoff().raw == "Again."


class TestContext:
    def test_the_reader_is_outside_of_the_run(self, read: Read) -> None:
        def see(event: Event) -> None:
            assert current_call().run_id is None
            assert current_call().listener is None

        read(crew_of(ScriptedLLM(["Row, row."])), see)

    def test_runs_may_be_read_in_turn(self) -> None:
        one, other = crew_of(ScriptedLLM(["a b c"])), crew_of(ScriptedLLM(["d e f"]))
        for first, second in zip(one.stream(), other.stream(), strict=True):
            assert type(first) is type(second)
            assert first.run_id != second.run_id

        async def awaited() -> None:
            streams = [crew_of(ScriptedLLM(["a b"])).astream() for _ in range(2)]
            for _ in range(7):
                events = [await anext(stream) for stream in streams]
                assert len({event.run_id for event in events}) == 2

        asyncio.run(awaited())

    def test_variables_of_both_stay_apart(self, read: Read) -> None:
        variable = contextvars.ContextVar("variable", default="outside")
        inside: list[str] = []

        def answer(messages: Any) -> str:
            inside.append(variable.get())
            return "a b"

        variable.set("reader")
        read(crew_of(FunctionLLM(answer)), lambda event: variable.set(type(event).__name__))
        assert inside == ["reader"]

    def test_many_at_once(self) -> None:
        async def one(number: int) -> str:
            stream = crew_of(ScriptedLLM([f"{number} times"] * 2), 2).astream()
            async for _ in stream:
                await asyncio.sleep(0)
            return stream.result.raw

        async def main() -> list[str]:
            return await asyncio.gather(*(one(number) for number in range(50)))

        assert asyncio.run(main()) == [f"{number} times" for number in range(50)]

    def test_a_timeout_of_the_readers(self) -> None:
        class Slow(BaseLLM):
            async def acall(self, messages: Any) -> str:
                await asyncio.Event().wait()
                return ""

        async def main() -> None:
            stream: AsyncIterator[Event] = crew_of(Slow()).astream()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    async for _ in stream:
                        pass
            assert [event async for event in stream] == []

        asyncio.run(main())

    def test_max_execution_time_holds(self, read: Read) -> None:
        go = threading.Event()
        clerk = agent(FunctionLLM(lambda messages: (go.wait() and "") or "never"), max_execution_time=0.05)
        seen: list[Event] = []
        with pytest.raises(LLMTimeoutError, match="max_execution_time"):
            read(Crew(tasks=[Task(description="x", agent=clerk)]), seen.append)
        go.set()
        assert isinstance(seen[-1], RunFailed)
