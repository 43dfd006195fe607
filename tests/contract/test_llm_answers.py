"""What a `call()` may return, where its text ends, and how a `call()` that calls itself for ever ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.answers import cut_at_stop
from oarlock.contract.context import scope
from oarlock.contract.errors import EmptyReply, ResponseFormatError, StepsExhaustedError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.testing import ScriptedLLM

HI = Request(messages=[{"role": "user", "content": "Hi"}])
CALL = ToolCall(id="1", name="add", arguments='{"a": 1}')


class Person(pydantic.BaseModel):
    name: str


class Gives(BaseLLM):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def call(self, messages: Any) -> Any:
        return self.answer


class AGives(BaseLLM):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def acall(self, messages: Any) -> Any:
        return self.answer


class TestRight:
    def test_a_reply(self) -> None:
        reply = Reply(text="x", usage=Usage(prompt_tokens=5), finish_reason="length", id="7")
        assert Gives(reply).complete(HI) == reply

    @pytest.mark.parametrize(
        "calls",
        [
            [CALL],
            (CALL,),
            [CALL.as_message()],
            [{"id": "1", "function": {"name": "add", "arguments": {"a": 1}}}],
            [SimpleNamespace(id="1", type="function", function=SimpleNamespace(name="add", arguments='{"a": 1}'))],
        ],
    )
    def test_tool_calls(self, calls: Any) -> None:
        reply = Gives(calls).complete(HI)
        assert reply.tool_calls == (CALL,)
        assert reply.text == ""

    def test_calls_without_ids_get_some(self) -> None:
        reply = Gives([{"function": {"name": "a"}}, {"function": {"name": "b", "arguments": None}}]).complete(HI)
        assert [(call.id, call.arguments) for call in reply.tool_calls] == [("call_0", "{}"), ("call_1", "{}")]

    async def test_a_pydantic_object(self) -> None:
        person = Person(name="Ada")
        reply = Gives(person).complete(HI)
        assert (reply.value, reply.text) == (person, '{"name":"Ada"}')
        assert Gives(person).with_policies().call("Hi") is person
        assert await Gives(person).acall("Hi") is person


class TestWrong:
    @pytest.mark.parametrize(
        "answer", [None, "", "  \n", [], (), Reply(), Reply(text=" ", finish_reason="content_filter")]
    )
    @pytest.mark.parametrize("kind", [Gives, AGives])
    def test_empty(self, kind: type[Gives], answer: Any) -> None:
        with pytest.raises(EmptyReply, match=rf"{kind.__name__}\.a?call\(\)") as caught:
            kind(answer).complete(HI)
        assert not caught.value.retryable
        assert "content_filter" in str(caught.value) or not getattr(answer, "finish_reason", None)

    @pytest.mark.parametrize(
        "answer",
        [
            7,
            1.5,
            True,
            b"bytes",
            {"choices": []},
            object(),
            Person,
            [1],
            ["a"],
            {"a"},
            Exception("returned"),
            (word for word in "ab"),
        ],
        ids=lambda value: type(value).__name__,
    )
    @pytest.mark.parametrize("kind", [Gives, AGives])
    def test_no_answer_at_all(self, kind: type[Gives], answer: Any) -> None:
        with pytest.raises(ResponseFormatError, match=rf"{kind.__name__}\.a?call\(\) returned"):
            kind(answer).complete(HI)

    @pytest.mark.parametrize(
        "calls", [[CALL, {"id": "x"}], [{"function": {}}], [{"function": {"name": 3}}], [CALL, CALL, ""]]
    )
    def test_a_list_of_something_else(self, calls: Any) -> None:
        with pytest.raises(ResponseFormatError, match=rf"whose item {len(calls) - 1} "):
            Gives(calls).complete(HI)

    def test_the_message_says_what_came(self) -> None:
        with pytest.raises(ResponseFormatError, match=r'a dict with the keys \["choices", "id"\]'):
            Gives({"id": 1, "choices": []}).complete(HI)
        with pytest.raises(ResponseFormatError, match="item 1"):
            Gives([CALL, 5]).complete(HI)

    @given(
        st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.binary(), st.lists)
        | st.dictionaries(st.text(), st.text())
    )
    def test_whatever_comes_there_is_a_reply_or_our_error(self, answer: Any) -> None:
        try:
            assert Gives(answer).complete(HI).text
        except ResponseFormatError:
            assert not isinstance(answer, str) or not answer.strip()


class TestStop:
    def test_a_text_is_a_list_of_one(self) -> None:
        llm = Gives("x")
        llm.stop = "END"  # type: ignore[assignment]
        assert llm.stop == ["END"]
        llm.stop = None  # type: ignore[assignment]
        assert llm.stop == []
        words = ["A"]
        llm.stop = words
        words.append("B")
        assert llm.stop == ["A"]

    def test_appending_works(self) -> None:
        llm = ScriptedLLM(["a END b"])
        llm.stop.append("END")
        assert llm.call("Hi") == "a "

    def test_appending_touches_no_other_llm(self) -> None:
        llm = Gives("a END b")  # its __init__ forgets super().__init__()
        llm.stop.append("END")
        assert llm.stop == ["END"]
        assert llm.complete(HI).text == "a "
        assert Gives("x").stop == []

    def test_own_and_running(self) -> None:
        seen: list[list[str]] = []

        class Looks(BaseLLM):
            def call(self, messages: Any) -> str:
                seen.append(self.stop)
                return "a Observation: b END c"

        llm = Looks(stop=["END"])
        assert llm.complete(HI.replace(stop=("Observation:", "END"))).text == "a "
        assert seen == [["END", "Observation:"]]
        assert llm.stop == ["END"]
        assert llm.complete(HI).text == "a Observation: b "

    def test_two_runs_at_once_see_their_own(self) -> None:
        class Looks(BaseLLM):
            async def acall(self, messages: Any) -> str:
                await asyncio.sleep(0)
                return ",".join(word.lower() for word in self.stop)

        async def main() -> list[Reply]:
            return await asyncio.gather(*(llm.acomplete(HI.replace(stop=(f"STOP{n}",))) for n in range(20)))

        llm = Looks(stop=["END"])
        assert [reply.text for reply in asyncio.run(main())] == [f"end,stop{n}" for n in range(20)]
        with scope(stop=("S",)):
            assert llm.stop == ["END", "S"]
        assert llm.stop == ["END"]

    def test_a_class_attribute_of_their_own(self) -> None:
        class Own(BaseLLM):
            stop = ["END"]  # type: ignore[assignment]  # noqa: RUF012

            def call(self, messages: Any) -> str:
                return "a END b"

        llm = Own()
        assert llm.stop == ["END"]
        assert llm.complete(HI).text == "a "
        llm.stop.append("X")
        assert Own().stop == ["END"]
        assert Own(stop="Y").stop == ["Y"]
        with scope(stop=("S",)):
            assert llm.stop == ["END", "X", "S"]

    def test_where_the_call_ignores_them_the_library_cuts(self) -> None:
        assert Gives("Action: x\nObservation: y").complete(HI.replace(stop=("\nObservation:",))).text == "Action: x"

    def test_an_object_is_not_cut(self) -> None:
        person = Person(name="END")
        assert Gives(person).complete(HI.replace(stop=("END",))).text == '{"name":"END"}'

    @given(st.text("ab."), st.lists(st.text("ab.", max_size=2), max_size=3))
    def test_cut(self, text: str, stop: list[str]) -> None:
        cut = cut_at_stop(text, stop)
        words = [word for word in stop if word]
        assert text.startswith(cut)
        assert not any(word in cut for word in words)
        assert cut == text or any(text[len(cut) :].startswith(word) for word in words)
        assert cut_at_stop(cut, stop) == cut


class TestEndlessRecursion:
    """The page's own tool loop: where the model keeps asking for a function, the page's `call()` calls itself for ever."""

    def test_blocking(self) -> None:
        entered = 0

        class Loops(BaseLLM):
            def call(self, messages: Any) -> Any:
                nonlocal entered
                entered += 1
                return self.call(messages)

        with pytest.raises(StepsExhaustedError, match=r"Loops\.call\(\) called itself 25 times"):
            Loops().complete(HI)
        assert entered == 25
        with pytest.raises(StepsExhaustedError):  # and again: each model call counts from the start
            Loops().complete(HI)
        assert entered == 50

    async def test_in_coroutines(self) -> None:
        class Loops(BaseLLM):
            async def acall(self, messages: Any) -> Any:
                return await self.acall(messages)

        with pytest.raises(StepsExhaustedError):
            await Loops().acomplete(HI)
        with pytest.raises(StepsExhaustedError):
            Loops().complete(HI)

    def test_many_calls_one_after_the_other_are_fine(self) -> None:
        class Once(BaseLLM):
            def call(self, messages: Any) -> str:
                return "x"

        class Asks(BaseLLM):
            def call(self, messages: Any) -> str:
                return str(len([Once().complete(HI) for _ in range(60)]))

        llm = Asks()
        assert [llm.complete(HI).text for _ in range(30)] == ["60"] * 30

    def test_twenty_turns_are_fine(self) -> None:
        class Counts(BaseLLM):
            def call(self, messages: Any) -> Any:
                return self.call([*messages, {"role": "tool"}]) if len(messages) < 20 else f"{len(messages)}"

        assert Counts().complete(HI).text == "20"
