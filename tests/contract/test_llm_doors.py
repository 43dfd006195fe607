"""Every door of every kind of LLM, from everywhere: plain code, a running event loop, threads, inside one another."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oarlock.contract.context import current_call, scope
from oarlock.contract.errors import CallFailedError, ConfigurationError, LLMTimeoutError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply, ToolCall
from oarlock.contract.request import Request
from oarlock.testing import ScriptedLLM, VirtualRuntime

HI = Request(messages=[{"role": "user", "content": "Hi"}])


class CallOnly(BaseLLM):
    def call(self, messages: Any, tools: Any = None) -> str:
        return "answer"


class ACallOnly(BaseLLM):
    async def acall(self, messages: Any, tools: Any = None) -> str:
        await asyncio.sleep(0)
        return "answer"


class CompleteOnly(BaseLLM):
    def complete(self, request: Request) -> Reply:
        return Reply(text="answer")


class ACompleteOnly(BaseLLM):
    async def acomplete(self, request: Request) -> Reply:
        await asyncio.sleep(0)
        return Reply(text="answer")


class BothCalls(BaseLLM):
    def call(self, messages: Any) -> str:
        return "answer"

    async def acall(self, messages: Any) -> str:
        await asyncio.sleep(0)
        return "answer"


class Ready(BaseLLM):
    async def _respond(self, runtime: Any, request: Request) -> Reply:
        await runtime.sleep(0)
        return Reply(text="answer")


KINDS = [CallOnly, ACallOnly, CompleteOnly, ACompleteOnly, BothCalls, Ready]


def each_blocking_door(llm: BaseLLM) -> list[str]:
    stream = llm.stream("Hi")
    pieces = [str(delta) for delta in stream]
    return [llm.call("Hi"), llm.complete(HI).text, "".join(pieces), stream.reply.text]


async def each_coroutine_door(llm: BaseLLM) -> list[str]:
    stream = llm.astream("Hi")
    pieces = [str(delta) async for delta in stream]
    return [await llm.acall("Hi"), (await llm.acomplete(HI)).text, "".join(pieces), stream.reply.text]


@pytest.mark.parametrize("kind", KINDS)
class TestDoors:
    def test_blocking(self, kind: type[BaseLLM]) -> None:
        assert each_blocking_door(kind()) == ["answer"] * 4

    async def test_coroutines(self, kind: type[BaseLLM]) -> None:
        assert await each_coroutine_door(kind()) == ["answer"] * 4

    async def test_blocking_inside_a_running_loop(self, kind: type[BaseLLM]) -> None:
        assert each_blocking_door(kind()) == ["answer"] * 4

    def test_from_threads(self, kind: type[BaseLLM]) -> None:
        llm = kind()
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda _: each_blocking_door(llm), range(24))) == [["answer"] * 4] * 24

    async def test_many_tasks(self, kind: type[BaseLLM]) -> None:
        llm = kind()
        assert await asyncio.gather(*(llm.acall("Hi") for _ in range(50))) == ["answer"] * 50

    def test_with_policies(self, kind: type[BaseLLM]) -> None:
        assert each_blocking_door(kind().with_policies()) == ["answer"] * 4

    async def test_with_policies_in_coroutines(self, kind: type[BaseLLM]) -> None:
        assert await each_coroutine_door(kind().with_policies()) == ["answer"] * 4

    async def test_on_the_virtual_clock(self, kind: type[BaseLLM]) -> None:
        with VirtualRuntime():
            assert each_blocking_door(kind()) == ["answer"] * 4
            assert await each_coroutine_door(kind()) == ["answer"] * 4

    def test_on_several_event_loops(self, kind: type[BaseLLM]) -> None:
        llm = kind()
        for _ in range(2):
            assert asyncio.run(each_coroutine_door(llm)) == ["answer"] * 4


class Nested(BaseLLM):
    """An LLM that exists only as a coroutine, and calls another one in the blocking way."""

    def __init__(self, inner: BaseLLM | None) -> None:
        self.inner = inner

    async def acall(self, messages: Any) -> str:
        await asyncio.sleep(0)
        return f"({self.inner.call(messages)})" if self.inner else "core"


class TestNesting:
    THREE = Nested(Nested(Nested(None)))

    def test_blocking(self) -> None:
        assert self.THREE.call("Hi") == "((core))"

    def test_twice_on_the_same_portals(self) -> None:
        assert [self.THREE.call("Hi") for _ in range(3)] == ["((core))"] * 3

    async def test_in_a_coroutine(self) -> None:
        assert await self.THREE.acall("Hi") == "((core))"
        assert (await self.THREE.acomplete(HI)).text == "((core))"

    async def test_blocking_inside_a_running_loop(self) -> None:
        assert self.THREE.call("Hi") == "((core))"

    def test_from_threads_at_once(self) -> None:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(self.THREE.call, ["Hi"] * 12)) == ["((core))"] * 12

    def test_six_deep_and_two_at_a_level(self) -> None:
        class Twice(Nested):
            async def acall(self, messages: Any) -> str:
                await asyncio.sleep(0)
                if self.inner is None:
                    return "x"
                return f"{self.inner.call(messages)}{self.inner.call(messages)}"

        llm = Twice(None)
        for _ in range(6):
            llm = Twice(llm)
        assert llm.call("Hi") == "x" * 64


class TestColour:
    async def test_a_blocking_call_does_not_block_the_loop(self) -> None:
        reached, go = threading.Event(), threading.Event()

        class Waits(BaseLLM):
            def call(self, messages: Any) -> str:
                reached.set()
                assert go.wait(10)
                return "done"

        task = asyncio.ensure_future(Waits().acall("Hi"))
        while not reached.is_set():
            await asyncio.sleep(0)  # the loop turns while the call waits
        go.set()
        assert await task == "done"

    async def test_each_colour_takes_its_own_form(self) -> None:
        class Both(BaseLLM):
            def call(self, messages: Any) -> str:
                return "call"

            async def acall(self, messages: Any) -> str:
                return "acall"

        assert Both().complete(HI).text == "call"
        assert (await Both().acomplete(HI)).text == "acall"

    async def test_at_most_max_threads_at_once(self) -> None:
        running, most, lock = 0, 0, threading.Lock()

        class Counts(BaseLLM):
            max_threads = 3

            def call(self, messages: Any) -> str:
                nonlocal running, most
                with lock:
                    running += 1
                    most = max(most, running)
                with lock:
                    running -= 1
                return "x"

        llm = Counts()
        await asyncio.gather(*(llm.acall("Hi") for _ in range(60)))
        assert most <= 3

    def test_an_interrupt_passes(self) -> None:
        class Stops(BaseLLM):
            def call(self, messages: Any) -> str:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Stops().complete(HI)


class TestErrors:
    @pytest.mark.parametrize("kind", KINDS[:4])
    def test_own_code_is_classified_at_every_door(self, kind: type[BaseLLM]) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise OSError("disk")

        async def afail(*args: Any, **kwargs: Any) -> Any:
            raise OSError("disk")

        name = next(iter(kind._written))
        llm = type("Fails", (BaseLLM,), {name: afail if name.startswith("a") else fail})()
        doors = [
            door
            for word, door in {
                "call": lambda: llm.call("Hi"),
                "complete": lambda: llm.complete(HI),
                "stream": lambda: list(llm.stream("Hi")),
                "policies": lambda: llm.with_policies().call("Hi"),
            }.items()
            if word != name
        ]
        for door in doors:
            with pytest.raises(CallFailedError, match=rf"^Fails.{name}\(\) failed: disk \(OSError\)") as caught:
                door()
            assert isinstance(caught.value.__cause__, OSError)

    @pytest.mark.parametrize("wrong", [None, 7, {"role": "user"}, [], ["Hi"], [{"content": "Hi"}]])
    @pytest.mark.parametrize("door", ["call", "stream"])
    def test_wrong_messages(self, door: str, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="messages"):
            getattr(ScriptedLLM(["x"]), door)(wrong)

    async def test_wrong_messages_in_coroutines(self) -> None:
        with pytest.raises(ConfigurationError):
            await ScriptedLLM(["x"]).acall([])
        with pytest.raises(ConfigurationError):
            ScriptedLLM(["x"]).astream([])


class TestContext:
    def test_a_call_knows_its_attempt_deadline_and_key(self) -> None:
        seen = []

        class Looks(BaseLLM):
            def call(self, messages: Any) -> str:
                seen.append(current_call())
                return "x"

        with VirtualRuntime(start=100), scope(run_id="r", agent="a"):
            Looks().complete(HI.replace(attempt=2, deadline=130, timeout=10, idempotency_key="k"))
        (call,) = seen
        assert (call.run_id, call.agent, call.attempt, call.deadline, call.idempotency_key) == ("r", "a", 2, 110, "k")

    def test_it_ends_with_its_time(self) -> None:
        with VirtualRuntime() as runtime:

            class Slow(BaseLLM):
                def call(self, messages: Any) -> str:
                    runtime.advance(60)
                    return "late"

            with pytest.raises(LLMTimeoutError, match=r"Slow.call\(\) gave no answer before its time was up"):
                Slow().complete(HI.replace(timeout=30))

    def test_a_hanging_call_is_given_up(self) -> None:
        go = threading.Event()

        class Hangs(BaseLLM):
            def call(self, messages: Any) -> str:
                go.wait(30)
                return "late"

        try:
            with pytest.raises(LLMTimeoutError):
                Hangs().complete(HI.replace(timeout=0.05))
        finally:
            go.set()

    async def test_also_in_a_coroutine(self) -> None:
        go = threading.Event()

        class Hangs(BaseLLM):
            def call(self, messages: Any) -> str:
                go.wait(30)
                return "late"

        class AHangs(BaseLLM):
            async def acall(self, messages: Any) -> str:
                await asyncio.Event().wait()
                return "never"

        try:
            for llm in (Hangs(), AHangs()):
                with pytest.raises(LLMTimeoutError):
                    await llm.acomplete(HI.replace(timeout=0.05))
        finally:
            go.set()

    def test_an_own_timeout_before_the_deadline_says_what_it_says(self) -> None:
        class Own(BaseLLM):
            def call(self, messages: Any) -> str:
                raise TimeoutError("LLM request timed out")

        with pytest.raises(LLMTimeoutError, match="LLM request timed out"):
            Own().complete(HI.replace(timeout=1000))

    def test_limits_go_on_through_super(self) -> None:
        class Outer(ScriptedLLM):
            def call(self, messages: Any) -> Any:
                return super().call(messages)

        llm = Outer(["a STOP b"])
        with VirtualRuntime():
            assert llm.complete(HI.replace(timeout=30, idempotency_key="k", stop=("STOP",))).text == "a "
        (request,) = llm.requests
        assert (request.deadline, request.idempotency_key, request.stop) == (30, "k", ("STOP",))


class TestToolCallAnswers:
    def test_without_functions_a_call_returns_them(self) -> None:
        call = ToolCall(id="1", name="add", arguments="{}")
        assert ScriptedLLM([call]).call("Hi", tools=[{}]) == [call.as_message()]

    async def test_in_coroutines(self) -> None:
        call = ToolCall(id="1", name="add", arguments="{}")
        assert await ScriptedLLM([call]).acall("Hi", tools=[{}]) == [call.as_message()]
