"""The scripted model and the model that is a function."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import oarlock.testing
from oarlock.contract.context import current_call
from oarlock.contract.errors import (
    CallFailedError,
    EmptyReply,
    LLMTimeoutError,
    OarlockError,
    RateLimitError,
    ResponseFormatError,
)
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.testing import FunctionLLM, ScriptedLLM, ScriptExhaustedError, VirtualRuntime

HI = Request(messages=[{"role": "user", "content": "Hi"}])
CALL = ToolCall(id="1", name="add", arguments='{"a": 1}')


class TestItems:
    def test_texts_in_order_and_requests_kept(self) -> None:
        llm = ScriptedLLM(["one", "two"])
        assert [llm.call("a"), llm.call([{"role": "user", "content": "b"}])] == ["one", "two"]
        assert [request.messages[0]["content"] for request in llm.requests] == ["a", "b"]
        assert llm.remaining == 0

    async def test_coroutine_doors(self) -> None:
        llm = ScriptedLLM(["one", "two"])
        assert await llm.acall("a") == "one"
        assert (await llm.acomplete(HI)).text == "two"

    def test_a_whole_reply(self) -> None:
        reply = Reply(text="x", usage=Usage(prompt_tokens=3), finish_reason="length")
        assert ScriptedLLM([reply]).complete(HI) == reply

    @pytest.mark.parametrize("item", [CALL, [CALL], [CALL.as_message()]])
    def test_tool_calls(self, item: Any) -> None:
        assert ScriptedLLM([item]).complete(HI).tool_calls == (CALL,)

    def test_one_item_by_itself(self) -> None:
        assert ScriptedLLM("whole text").call("Hi") == "whole text"
        assert ScriptedLLM(CALL).complete(HI).tool_calls == (CALL,)

    def test_functions_of_the_request(self) -> None:
        llm = ScriptedLLM(
            [lambda request: request.messages[0]["content"], lambda _: lambda _: CALL, lambda _: KeyError]
        )
        assert llm.call("echo") == "echo"
        assert llm.complete(HI).tool_calls == (CALL,)
        with pytest.raises(CallFailedError):
            llm.call("Hi")

    @pytest.mark.parametrize("error", [KeyError("k"), KeyError, lambda _: {}["k"]])
    def test_exceptions_are_classified_like_a_users(self, error: Any) -> None:
        with pytest.raises(CallFailedError) as caught:
            ScriptedLLM([error]).call("Hi")
        assert isinstance(caught.value.__cause__, KeyError)

    def test_our_own_errors_come_as_they_are(self) -> None:
        error = RateLimitError("slow down", retry_after=2)
        with pytest.raises(RateLimitError) as caught:
            ScriptedLLM([error]).call("Hi")
        assert caught.value is error
        assert caught.value.__cause__ is None

    def test_what_is_no_exception_of_an_application_passes(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            ScriptedLLM([KeyboardInterrupt()]).call("Hi")

    @pytest.mark.parametrize(("item", "kind"), [("", EmptyReply), (None, EmptyReply), ({}, ResponseFormatError)])
    def test_a_wrong_answer_fails_like_a_users(self, item: Any, kind: type[Exception]) -> None:
        with pytest.raises(kind, match="ScriptedLLM"):
            ScriptedLLM([item]).call("Hi")


class TestScript:
    def test_used_up(self) -> None:
        llm = ScriptedLLM(["one", "two"], model="m")
        llm.call("a")
        llm.call("b")
        with pytest.raises(
            ScriptExhaustedError, match=r"script of 2, and this is request 3\..*is: the last words"
        ) as caught:
            llm.call("the last words")
        assert isinstance(caught.value, OarlockError)
        assert isinstance(caught.value, AssertionError)

    def test_each_item_goes_to_one_call(self) -> None:
        llm = ScriptedLLM([lambda request, n=n: f"{n}:{request.messages[0]['content']}" for n in range(200)])
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda n: llm.call(f"{n}"), range(200)))
        assert sorted(int(answer.partition(":")[0]) for answer in answers) == list(range(200))
        for number, request in enumerate(llm.requests):  # and the nth request got the nth item
            assert f"{number}:{request.messages[0]['content']}" in answers

    def test_copies_go_their_own_way(self) -> None:
        llm = ScriptedLLM(["one", "two", "three"])
        llm.call("a")
        for other in (copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
            assert other.call("b") == "two"
            assert len(other.requests) == 2
        assert llm.call("b") == "two"

    def test_what_it_says_about_itself(self) -> None:
        llm = ScriptedLLM([], model="m", supports_function_calling=True, supports_stop_words=False, context_window=99)
        assert llm.model == "m"
        assert llm.supports_function_calling()
        assert not llm.supports_stop_words()
        assert llm.get_context_window_size() == 99
        assert ScriptedLLM([]).supports_stop_words()
        assert not ScriptedLLM([]).supports_function_calling()

    def test_texts_end_at_stop_words(self) -> None:
        llm = ScriptedLLM(["a Observation: b END c"] * 2)
        llm.stop = ["END"]
        assert llm.complete(HI.replace(stop=("Observation:",))).text == "a "
        assert llm.call("Hi") == "a Observation: b "


class TestLatency:
    def test_sleeps_through_the_runtime(self) -> None:
        with VirtualRuntime() as runtime:
            ScriptedLLM(["x"], latency=9).call("Hi")
        assert runtime.slept == [9]

    @pytest.mark.parametrize("limit", [{"timeout": 3}, {"deadline": 3}, {"timeout": 3, "deadline": 5}])
    def test_a_limit_cuts_it_short(self, limit: dict[str, Any]) -> None:
        with VirtualRuntime() as runtime, pytest.raises(LLMTimeoutError):
            ScriptedLLM(["x"], latency=9).complete(HI.replace(**limit))
        assert runtime.now() == 3

    def test_a_limit_that_is_not_reached(self) -> None:
        with VirtualRuntime() as runtime:
            assert ScriptedLLM(["x"], latency=9).complete(HI.replace(timeout=9)).text == "x"
        assert runtime.now() == 9


class TestStreams:
    def test_word_by_word(self) -> None:
        stream = ScriptedLLM(["  one two\nthree "]).stream("Hi")
        assert [str(delta) for delta in stream] == ["  ", "one ", "two\n", "three "]
        assert stream.reply.text == "  one two\nthree "

    async def test_word_by_word_async(self) -> None:
        stream = ScriptedLLM(["one two"]).astream("Hi")
        assert [str(delta) async for delta in stream] == ["one ", "two"]
        assert stream.reply.text == "one two"

    def test_tool_calls(self) -> None:
        stream = ScriptedLLM([Reply(text="wait", tool_calls=(CALL,))]).stream("Hi")
        assert [(delta.text, delta.tool_call) for delta in stream] == [("wait", None), ("", CALL)]

    def test_an_error(self) -> None:
        with pytest.raises(CallFailedError):
            list(ScriptedLLM([KeyError("x")]).stream("Hi"))


class TestFunction:
    @pytest.mark.parametrize(
        "function",
        [
            lambda messages, tools: f"{messages[0]['content']} {len(tools)}",
            lambda *both: f"{both[0][0]['content']} {len(both[1])}",
            lambda request: f"{request.messages[0]['content']} {len(request.tools)}",
            partial(lambda extra, request: f"{request.messages[0]['content']} {len(request.tools)}", "x"),
        ],
    )
    async def test_what_it_is_given(self, function: Any) -> None:
        llm = FunctionLLM(function)
        assert llm.complete(HI.replace(tools=({}, {}))).text == "Hi 2"
        assert (await llm.acomplete(HI)).text == "Hi 0"
        assert len(llm.requests) == 2

    def test_messages_alone(self) -> None:
        assert FunctionLLM(lambda messages: messages[0]["content"]).call("Hi") == "Hi"

    async def test_async(self) -> None:
        async def function(request: Request) -> str:
            return "awaited"

        class Callable:
            async def __call__(self, request: Request) -> ToolCall:
                return CALL

        assert await FunctionLLM(function).acall("Hi") == FunctionLLM(function).call("Hi") == "awaited"
        assert (await FunctionLLM(Callable()).acomplete(HI)).tool_calls == (CALL,)

    def test_what_it_raises_is_classified(self) -> None:
        def function(request: Request) -> str:
            raise TimeoutError("slow")

        with pytest.raises(LLMTimeoutError, match="FunctionLLM") as caught:
            FunctionLLM(function).call("Hi")
        assert isinstance(caught.value.__cause__, TimeoutError)

    def test_it_may_return_an_exception(self) -> None:
        with pytest.raises(RateLimitError):
            FunctionLLM(lambda request: RateLimitError("x")).call("Hi")

    def test_its_time_is_limited(self) -> None:
        with VirtualRuntime() as runtime, pytest.raises(LLMTimeoutError):
            FunctionLLM(lambda request: runtime.advance(9) or "late").complete(HI.replace(timeout=3))

    async def test_a_blocking_one_does_not_block_the_event_loop(self) -> None:
        here = threading.current_thread()
        assert await FunctionLLM(lambda request: str(threading.current_thread() is here)).acall("Hi") == "False"
        assert FunctionLLM(lambda request: str(threading.current_thread() is here)).call("Hi") == "True"

    def test_streams_word_by_word(self) -> None:
        assert [str(delta) for delta in FunctionLLM(lambda request: "one two").stream("Hi")] == ["one ", "two"]

    def test_outside_any_run(self) -> None:
        assert FunctionLLM(lambda request: str(current_call().run_id)).call("Hi") == "None"


class TestSubclasses:
    def test_a_call_of_its_own_around_super(self) -> None:
        class Loud(ScriptedLLM):
            def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
                return str(super().call(messages, *args, **kwargs)).upper()

        assert Loud(["hello"]).call("Hi") == "HELLO"
        assert Loud(["hello"]).complete(HI).text == "HELLO"
        assert str(next(Loud(["hello"]).stream("Hi"))) == "HELLO"


class TestNames:
    def test_every_public_name_is_there(self) -> None:
        for name in oarlock.testing.__all__:
            assert getattr(oarlock.testing, name).__name__ == name
        assert dir(oarlock.testing) == sorted(oarlock.testing.__all__)

    def test_no_other(self) -> None:
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            oarlock.testing.nothing

    def test_nothing_is_imported_until_used(self) -> None:
        code = (
            "import sys, oarlock.testing; print([name for name in sys.modules if name.startswith('oarlock.testing.')])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "[]\n"
