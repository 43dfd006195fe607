"""`available_functions` through the doors: run, answered, asked again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oarlock.contract.errors import StepsExhaustedError, ToolError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply, ToolCall
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime


def add(a: int, b: int = 1) -> int:
    return a + b


def ask(name: str = "add", arguments: str = '{"a": 1, "b": 2}', id: str = "c1") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=arguments)


def answer_to(call: ToolCall, functions: Any = None) -> str:
    """Return what the model is told after asking for this."""
    llm = ScriptedLLM([call, "done"])
    assert llm.call("Hi", available_functions=functions or {"add": add}) == "done"
    return str(llm.requests[1].messages[-1]["content"])


class TestConversation:
    def test_run_and_asked_again(self) -> None:
        llm = ScriptedLLM([Reply(text="let me see", tool_calls=(ask(), ask(id="c2", arguments='{"a": 5}'))), "3 and 6"])
        assert llm.call("What is 1 + 2?", tools=[{"x": 1}], available_functions={"add": add}) == "3 and 6"
        first, second = llm.requests
        assert first.tools == second.tools == ({"x": 1},)
        assert len(first.messages) == 1
        question, wish, one, two = second.messages
        assert question == {"role": "user", "content": "What is 1 + 2?"}
        assert wish["content"] == "let me see"
        assert [call["id"] for call in wish["tool_calls"]] == ["c1", "c2"]
        assert one == {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "3"}
        assert two == {"role": "tool", "tool_call_id": "c2", "name": "add", "content": "6"}

    async def test_in_coroutines_and_with_policies(self) -> None:
        assert await ScriptedLLM([ask(), "3"]).acall("Hi", available_functions={"add": add}) == "3"
        assert ScriptedLLM([ask(), "3"]).with_policies().call("Hi", available_functions={"add": add}) == "3"
        with VirtualRuntime():
            assert await ScriptedLLM([ask(), "3"]).acall("Hi", available_functions={"add": add}) == "3"

    def test_an_llm_of_acall_that_returns_tool_calls(self) -> None:
        class Mine(BaseLLM):
            async def acall(self, messages: Any) -> Any:
                return "done" if messages[-1]["role"] == "tool" else [ask().as_message()]

        assert Mine().call("Hi", available_functions={"add": add}) == "done"

    def test_an_llm_that_runs_them_itself_is_given_them(self) -> None:
        class Mine(BaseLLM):
            async def acall(self, messages: Any, available_functions: Any = None) -> str:
                return str(available_functions["add"](1, 2))

        assert Mine().call("Hi", available_functions={"add": add}) == "3"

    @pytest.mark.parametrize("functions", [None, {}])
    def test_without_functions_the_tool_calls_are_the_answer(self, functions: Any) -> None:
        assert ScriptedLLM([ask()]).call("Hi", available_functions=functions) == [ask().as_message()]

    def test_complete_runs_none(self) -> None:
        llm = ScriptedLLM([ask()])
        assert llm.complete(llm._request("Hi", functions={"add": add})).tool_calls == (ask(),)

    def test_an_endless_loop_ends(self) -> None:
        llm = FunctionLLM(lambda request: ask())
        with pytest.raises(StepsExhaustedError, match="25 times"):
            llm.call("Hi", available_functions={"add": add})
        assert len(llm.requests) == 25

    def test_the_callers_list_stays_as_it_is(self) -> None:
        mine = [{"role": "user", "content": "Hi"}]
        ScriptedLLM([ask(), "3"]).call(mine, available_functions={"add": add})
        assert mine == [{"role": "user", "content": "Hi"}]


class TestWhatGoesWrongIsToldToTheModel:
    def test_an_unknown_function(self) -> None:
        assert answer_to(ask("sub")) == "Error: there is no function 'sub'. The functions are: add."
        assert "no function '__class__'" in answer_to(ask("__class__"))

    @pytest.mark.parametrize("arguments", ["{a: 1}", "{", "\x00", "add(1, 2)", "[" * 100_000])
    def test_arguments_that_are_no_json(self, arguments: str) -> None:
        answer = answer_to(ask(arguments=arguments))
        assert answer.startswith("Error: the arguments of 'add' are not JSON")
        assert len(answer) < 500

    @pytest.mark.parametrize("arguments", ["[1, 2]", "3", '"a"', "null", "true"])
    def test_arguments_that_are_no_object(self, arguments: str) -> None:
        assert "must be a JSON object" in answer_to(ask(arguments=arguments))

    def test_no_arguments(self) -> None:
        assert answer_to(ask("now", ""), {"now": lambda: "noon"}) == "noon"

    @pytest.mark.parametrize("arguments", [{}, {"c": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "": 2}])
    def test_arguments_that_do_not_fit(self, arguments: dict[str, Any]) -> None:
        assert "TypeError" in answer_to(ask(arguments=json.dumps(arguments)))

    def test_a_function_that_fails(self) -> None:
        def fails() -> None:
            raise OSError("no disk; key sk-abcdefghijklmnopqrstu")

        answer = answer_to(ask("fails", "{}"), {"fails": fails})
        assert answer == "Error: 'fails' failed: OSError: no disk; key …"

    def test_our_own_errors_raise(self) -> None:
        def fails() -> None:
            raise ToolError("limit")

        with pytest.raises(ToolError):
            answer_to(ask("fails", "{}"), {"fails": fails})

    def test_any_value_becomes_text(self) -> None:
        assert answer_to(ask("f", "{}"), {"f": lambda: None}) == "None"
        assert answer_to(ask("f", "{}"), {"f": lambda: {"a": [1]}}) == "{'a': [1]}"

    def test_a_value_that_cannot_be_shown(self) -> None:
        class Broken:
            def __str__(self) -> str:
                raise ValueError("no words")

        assert "ValueError" in answer_to(ask("f", "{}"), {"f": Broken})
