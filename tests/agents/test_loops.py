"""The two loops: function calling, and tools through text."""

import asyncio
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock import Agent, BadRequestError, BaseLLM, Crew, EmptyReply, Reply, StepsExhaustedError, Task, ToolCall, tool
from oarlock.agents.outputs import AgentAction, AgentFinish
from oarlock.agents.react import Action, Final, Malformed, parse
from oarlock.testing import FunctionLLM, ScriptedLLM

RAN: list[tuple] = []


@pytest.fixture(autouse=True)
def nothing_has_run():
    RAN.clear()


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    RAN.append((a, b))
    return a + b


@tool
async def shout(text: str) -> str:
    """Say it loudly."""
    await asyncio.sleep(0)
    return text.upper()


@tool
def broken() -> str:
    """Do nothing well."""
    raise OSError("the disk is on fire")


@tool(result_as_answer=True)
def verdict(text: str) -> str:
    """Give the final verdict."""
    return f"Verdict: {text}"


TOOLS = [add, shout, broken, verdict]


def call(name: str, arguments: object = None, id: str = "call_1") -> ToolCall:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return ToolCall(id=id, name=name, arguments=text)


def react(name: str, arguments: object) -> str:
    return f"Thought: I need a tool\nAction: {name}\nAction Input: {json.dumps(arguments)}"


def crew_of(llm: BaseLLM, **settings) -> Crew:
    agent = Agent(role="Worker", goal="Work", backstory="Busy.", llm=llm, **{"tools": TOOLS, **settings})
    return Crew(agents=[agent], tasks=[Task(description="Do it", expected_output="It", agent=agent)])


def run_blocking(llm: BaseLLM, **settings) -> str:
    return crew_of(llm, **settings).kickoff().raw


def run_async(llm: BaseLLM, **settings) -> str:
    return asyncio.run(crew_of(llm, **settings).akickoff()).raw


@pytest.fixture(params=[run_blocking, run_async])
def run(request):
    return request.param


class TestNative:
    def test_a_tool_is_run_and_its_answer_sent_back(self, run):
        llm = ScriptedLLM([call("add", {"a": 1, "b": 2}), "It is 3."], supports_function_calling=True)
        assert run(llm) == "It is 3."
        first, second = llm.requests
        assert {schema["function"]["name"] for schema in first.tools} == {"add", "shout", "broken", "verdict"}
        assistant, answer = second.messages[-2:]
        assert assistant["tool_calls"][0]["function"]["name"] == "add"
        assert answer == {"role": "tool", "tool_call_id": "call_1", "name": "add", "content": "3"}

    def test_several_calls_in_one_message_are_all_answered_in_order(self, run):
        calls = [call("add", {"a": n, "b": n}, f"call_{n}") for n in range(5)] + [call("shout", {"text": "hi"}, "last")]
        llm = ScriptedLLM([calls, "done"], supports_function_calling=True)
        assert run(llm) == "done"
        answers = [message for message in llm.requests[1].messages if message["role"] == "tool"]
        assert [answer["content"] for answer in answers] == ["0", "2", "4", "6", "8", "HI"]
        assert [answer["tool_call_id"] for answer in answers] == [*(f"call_{n}" for n in range(5)), "last"]

    @pytest.mark.parametrize(
        ("bad", "said"),
        [
            (call("subtract", {"a": 1}), "subtract"),
            (call("__init__"), "__init__"),
            (call("add", "{not json"), "JSON"),
            (call("add", "[1, 2]"), "object"),
            (call("add", {"a": "one", "b": 2}), "a"),
            (call("add", {"a": 1}), "b"),
            (call("add", {"a": 1, "b": 2, "c": 3}), "c"),
            (call("broken"), "the disk is on fire"),
        ],
    )
    def test_what_the_model_or_tool_does_wrong_becomes_text(self, run, bad, said):
        llm = ScriptedLLM([bad, "sorry"], supports_function_calling=True)
        assert run(llm) == "sorry"
        told = llm.requests[1].messages[-1]
        assert told["role"] == "tool"
        assert told["content"].startswith("Error")
        assert said in told["content"]
        assert RAN == []

    def test_a_result_may_be_the_answer(self, run):
        llm = ScriptedLLM([call("verdict", {"text": "good"}), "never asked"], supports_function_calling=True)
        assert run(llm) == "Verdict: good"
        assert len(llm.requests) == 1

    def test_the_last_turn_must_answer_without_tools(self, run):
        llm = ScriptedLLM(
            [call("add", {"a": 1, "b": 1}), call("add", {"a": 2, "b": 2}), "enough"], supports_function_calling=True
        )
        assert run(llm, max_iter=3) == "enough"
        assert llm.requests[1].tools
        assert not llm.requests[2].tools
        assert "final answer" in llm.requests[2].messages[-1]["content"]

    def test_an_endless_tool_loop_ends_within_its_limit(self, run):
        numbers = iter(range(1000))
        llm = FunctionLLM(
            lambda messages, tools: Reply(tool_calls=(call("add", {"a": next(numbers), "b": 1}),)),
            supports_function_calling=True,
        )
        with pytest.raises(StepsExhaustedError, match=r"no answer within 25 model calls.*'add'"):
            run(llm)
        assert len(RAN) == 24

    def test_the_same_failing_call_is_not_repeated_for_ever(self, run):
        bad = call("add", {"a": "one", "b": 2})
        llm = ScriptedLLM([bad, bad, bad, "I give up"], supports_function_calling=True)
        assert run(llm) == "I give up"
        assert not llm.requests[3].tools

    def test_step_callbacks_see_tools_and_the_answer(self, run):
        steps = []
        llm = ScriptedLLM([call("add", {"a": 1, "b": 2}), "3"], supports_function_calling=True)
        run(llm, step_callback=steps.append)
        assert [type(step) for step in steps] == [AgentAction, AgentFinish]
        assert (steps[0].tool, steps[0].result, steps[1].output) == ("add", "3", "3")

    def test_one_model_call_is_the_least(self, run):
        assert run(ScriptedLLM(["plain"], supports_function_calling=True), max_iter=1) == "plain"


class TestDegrading:
    def test_a_model_that_refuses_tools_goes_on_with_text(self, run, caplog):
        llm = ScriptedLLM(
            [BadRequestError("this model does not support tools"), react("add", {"a": 1, "b": 2}), "Final Answer: 3"],
            supports_function_calling=True,
        )
        with caplog.at_level(logging.WARNING, "oarlock.agents"):
            assert run(llm) == "3"
        assert "going on with tools as text" in caplog.text
        assert not llm.requests[1].tools
        assert "Action Input:" in llm.requests[1].messages[0]["content"]

    def test_a_call_that_loses_tool_calls_goes_on_with_text(self, run):
        replies = iter([None, react("add", {"a": 1, "b": 2}), "Final Answer: 3"])

        class Basic(BaseLLM):  # as the first example of the page: returns message["content"], null with tool calls
            def call(self, messages, tools=None, callbacks=None, available_functions=None):
                return next(replies)

            def supports_function_calling(self):
                return True

        assert run(Basic()) == "3"

    def test_another_bad_request_is_not_mistaken(self, run):
        llm = ScriptedLLM([BadRequestError("temperature is out of range")], supports_function_calling=True)
        with pytest.raises(BadRequestError, match="temperature"):
            run(llm)

    def test_an_empty_answer_without_tools_is_told(self, run):
        with pytest.raises(EmptyReply):
            run(ScriptedLLM([Reply(text=" ")]), tools=[])


class TestOwnFunctions:
    """LLMs that run tools themselves, through `available_functions`."""

    def test_the_llm_runs_a_tool_itself(self, run):
        class Own(BaseLLM):
            def call(self, messages, tools=None, callbacks=None, available_functions=None):
                return f"got {available_functions['add'](a=1, b=2)}"

            def supports_function_calling(self):
                return True

        assert run(Own()) == "got 3"

    def test_wrong_types_never_run(self, run):
        class Own(BaseLLM):
            def call(self, messages, tools=None, callbacks=None, available_functions=None):
                return available_functions["add"](a="one", b=[])

            def supports_function_calling(self):
                return True

        assert "Error" in run(Own())
        assert RAN == []


class TestReact:
    def test_a_tool_is_used_through_text(self, run):
        llm = ScriptedLLM([react("add", {"a": 1, "b": 2}), "Thought: I know\nFinal Answer: It is 3."])
        assert run(llm) == "It is 3."
        first, second = llm.requests
        assert first.stop == ("\nObservation:",)
        assert not first.tools
        assert "add" in first.messages[0]["content"]
        assert second.messages[-1] == {"role": "user", "content": "Observation: 3"}

    def test_talk_past_the_stop_word_is_cut(self, run):
        llm = ScriptedLLM(
            [react("add", {"a": 1, "b": 2}) + "\nObservation: 99\nFinal Answer: 99", "Final Answer: 3"],
            supports_stop_words=True,  # says so, and does not
        )
        assert run(llm) == "3"
        assert "99" not in str(llm.requests[1].messages)

    def test_an_action_without_input_is_corrected(self, run):
        llm = ScriptedLLM(["Thought: hm\nAction: add", react("add", {"a": 1, "b": 2}), "Final Answer: 3"])
        assert run(llm) == "3"
        assert "Your action had no input" in llm.requests[1].messages[-1]["content"]

    def test_an_unknown_tool_is_told(self, run):
        llm = ScriptedLLM([react("substract", {}), "Final Answer: sorry"])
        assert run(llm) == "sorry"
        assert "Observation: Error" in llm.requests[1].messages[-1]["content"]

    def test_a_bare_value_goes_to_the_only_parameter(self, run):
        llm = ScriptedLLM(["Action: shout\nAction Input: hello there", "Final Answer: ok"])
        assert run(llm) == "ok"
        assert llm.requests[1].messages[-1]["content"] == "Observation: HELLO THERE"

    def test_a_result_may_be_the_answer(self, run):
        assert run(ScriptedLLM([react("verdict", {"text": "good"})])) == "Verdict: good"

    def test_the_last_turn_must_answer(self, run):
        llm = ScriptedLLM([react("add", {"a": 1, "b": 1}), "It is 2"])
        assert run(llm, max_iter=2) == "It is 2"
        assert "final answer" in llm.requests[1].messages[-1]["content"]

    def test_the_loop_ends(self, run):
        llm = FunctionLLM(lambda messages, tools: react("add", {"a": 1, "b": 1}))
        with pytest.raises(StepsExhaustedError, match="gave no answer within 4 model calls: it kept calling tools"):
            run(llm, max_iter=4)
        assert len(RAN) == 3

    def test_step_callbacks_see_both(self, run):
        steps = []
        llm = ScriptedLLM([react("add", {"a": 1, "b": 2}), "Final Answer: 3"])
        run(llm, step_callback=steps.append)
        assert [type(step) for step in steps] == [AgentAction, AgentFinish]

    @pytest.mark.parametrize(
        ("text", "step"),
        [
            ("It is 4.", Final("It is 4.")),
            ("Thought: easy\nFinal Answer: 4", Final("4")),
            ("Final Answer:\nline one\nline two", Final("line one\nline two")),
            ("Thought: x\nAction: add\nAction Input: {}\nFinal Answer: 4", Final("4")),
            ("Thought: just thinking", Final("just thinking")),
            ('Action: add\nAction Input: {"a": 1}', Action("add", '{"a": 1}')),
            ('Action: `add`\nAction Input: ```json\n{"a": 1}\n```', Action("add", '{"a": 1}')),
            ('**Action:** add\n**Action Input:** {"a": 1}', Action("add", '{"a": 1}')),
            ('Action: add\nAction Input: {"a": 1} and so on', Action("add", '{"a": 1}')),
            ("action: add\naction input: {}", Action("add", "{}")),
            ("Action: add", Malformed("add")),
            ("Action Input: {}\nAction: add", Malformed("add")),
        ],
    )
    def test_parsing(self, text, step):
        assert parse(text) == step

    @given(st.text())
    def test_any_text_is_read(self, text):
        assert isinstance(parse(text), Final | Action | Malformed)

    @given(
        st.lists(st.sampled_from(["Thought:", "Action:", "Action Input:", "Final Answer:", "\n", " ", "{", "}", "x"]))
    )
    def test_any_order_of_the_words_is_read(self, words):
        assert isinstance(parse("".join(words)), Final | Action | Malformed)
