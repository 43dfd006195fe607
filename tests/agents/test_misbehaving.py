"""Models, tools and hooks that misbehave: what becomes of each, in both loops, blocking and async.

What a model does wrong becomes text for it; a run always ends, after at most 25 model calls, or when its time is up.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oarlock import (
    Agent,
    BaseLLM,
    Crew,
    EmptyReply,
    LLMTimeoutError,
    Process,
    Reply,
    Request,
    ResponseFormatError,
    StepsExhaustedError,
    Task,
    ToolCall,
    tool,
)
from oarlock.errors import CallFailedError, RefusalError
from oarlock.testing import FunctionLLM, ScriptedLLM

RAN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    RAN.clear()


@tool
def look(number: int) -> str:
    """Look at a number."""
    RAN.append(number)
    return f"saw {number}"


@tool
def wait_for(name: str) -> str:
    """Wait for somebody."""
    RAN.append(name)
    raise TimeoutError(f"{name} did not come")


def agent_of(llm: BaseLLM | None, role: str = "Clerk", **settings: Any) -> Agent:
    return Agent(role=role, goal="G", llm=llm, **{"tools": [look, wait_for], **settings})


def crew_of(llm: BaseLLM, **settings: Any) -> Crew:
    agent = agent_of(llm, **settings)
    return Crew(agents=[agent], tasks=[Task(description="Do it", agent=agent)])


@pytest.fixture(params=["blocking", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., str]:
    def kickoff(crew: Crew, **given: Any) -> str:
        if request.param == "async":
            return asyncio.run(crew.akickoff(**given)).raw
        return crew.kickoff(**given).raw

    return kickoff


@pytest.fixture(params=["native", "react"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What hangs waits for this; it is set when the test is over, so that no thread stays."""
    event = threading.Event()
    yield event
    event.set()


def native(*script: Any, **settings: Any) -> ScriptedLLM:
    return ScriptedLLM(script, supports_function_calling=True, **settings)


def call(name: str, arguments: Any = None, id: str = "1") -> ToolCall:
    return ToolCall(
        id=id, name=name, arguments=arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    )


def asking(loop: str, name: str, **arguments: Any) -> Any:
    """Return what a model answers that wants a tool."""
    if loop == "native":
        return call(name, arguments)
    return f"Thought: hm\nAction: {name}\nAction Input: {json.dumps(arguments)}"


def llm_of(loop: str, answer: Any, **settings: Any) -> FunctionLLM:
    return FunctionLLM(answer, supports_function_calling=loop == "native", **settings)


def told(llm: Any) -> str:
    return str(llm.requests[-1].messages[-1].get("content"))


# What a function-calling model may get wrong in one answer.

NATIVE: list[tuple[str, Any, str]] = [
    ("no JSON", call("look", "{number: 1"), "are not valid JSON"),
    ("cut JSON", call("look", '{"number": '), "are not valid JSON"),
    ("JSON twice", call("look", '{"number": 1}{"number": 2}'), "are not valid JSON"),
    ("a list", call("look", "[1]"), "must be a JSON object, not a list"),
    ("a text of JSON", call("look", json.dumps('{"number": 1}')), "must be a JSON object, not a text"),
    ("null", call("look", "null"), "must be a JSON object"),
    ("NaN", call("look", '{"number": NaN}'), "NaN"),
    ("a key twice", call("look", '{"number": 1, "number": 2}'), "stands twice"),
    ("too deep", call("look", "[" * 100_000), "nested too deeply"),
    ("a text for a number", call("look", {"number": "1"}), "'number'"),
    ("a number with a fraction", call("look", {"number": 1.5}), "'number'"),
    ("nothing", call("look", ""), "'number'"),
    ("too much", call("look", {"number": 1, "size": 2}), "'size'"),
    ("an unknown tool", call("lok", {"number": 1}), "Did you mean 'look'?"),
    ("a made-up tool", call("multi_tool_use.parallel", {}), "there is no tool 'multi_tool_use.parallel'"),
    ("a name of Python's", call("__class__", {}), "there is no tool '__class__'"),
    ("a name that could change the terminal", call("\x1b[2J", {}), "there is no tool"),
    ("a tool that raises", call("wait_for", {"name": "Ann"}), "TimeoutError: Ann did not come"),
]


@pytest.mark.parametrize(("answer", "said"), [one[1:] for one in NATIVE], ids=[one[0] for one in NATIVE])
def test_a_wrong_call_is_told_to_the_model(run: Callable[..., str], answer: Any, said: str) -> None:
    llm = native(answer, "Sorry.")
    assert run(crew_of(llm)) == "Sorry."
    assert told(llm).startswith("Error")
    assert said in told(llm)
    assert "\x1b" not in told(llm)
    assert all(isinstance(one, str) for one in RAN)


# What a model that writes text may get wrong in one answer: what it is told, or the final answer.

REACT: list[tuple[str, str, str, list[Any]]] = [
    ("an unknown tool", "Action: lok\nAction Input: {}", "Did you mean 'look'?", []),
    ("no tool", "Action:\nAction Input: {}", "there is no tool ''", []),
    ("none", "Action: None\nAction Input: {}", "there is no tool 'None'", []),
    ("a call as in Python", "Action: look(number=1)\nAction Input: {}", "there is no tool 'look(number=1)'", []),
    ("no input", "Thought: hm\nAction: look", "Your action had no input", []),
    ("wrong JSON", "Action: look\nAction Input: {number: 1}", "are not valid JSON", []),
    ("a wrong type", 'Action: look\nAction Input: {"number": "one"}', "'number'", []),
    ("Python's words", "Action: look\nAction Input: {'number': 1}", "are not valid JSON", []),
    ("a tool that raises", "Action: wait_for\nAction Input: Ann", "TimeoutError: Ann did not come", ["Ann"]),
    (
        "two actions at once: the first is done",
        'Action: look\nAction Input: {"number": 1}\nAction: look\nAction Input: {"number": 2}',
        "Observation: saw 1",
        [1],
    ),
    (
        "talk past the stop word",
        'Action: look\nAction Input: {"number": 1}\nObservation: saw 7\nThought: fine\nFinal Answer: 7',
        "Observation: saw 1",
        [1],
    ),
    ("words behind the input", 'Action: look\nAction Input: {"number": 1}\nI will wait.', "Observation: saw 1", [1]),
    (
        "another language around it",
        '思考\nAction: look\nAction Input: ```json\n{"number": 1}\n```',
        "Observation: saw 1",
        [1],
    ),
]


@pytest.mark.parametrize("stops", [True, False], ids=["stops", "does-not-stop"])
@pytest.mark.parametrize(("answer", "said", "ran"), [one[1:] for one in REACT], ids=[one[0] for one in REACT])
def test_a_wrong_action_is_told_to_the_model(
    run: Callable[..., str], answer: str, said: str, ran: list[Any], stops: bool
) -> None:
    class Writer(BaseLLM):
        """Has no stop words of its own, whatever it says."""

        def __init__(self) -> None:
            super().__init__()
            self.script = iter([answer, "Final Answer: Sorry."])
            self.seen: list[Any] = []

        def call(self, messages: Any) -> str:
            self.seen.append(messages)
            return next(self.script)

        def supports_stop_words(self) -> bool:
            return stops

    llm = Writer()
    assert run(crew_of(llm)) == "Sorry."
    assert said in llm.seen[1][-1]["content"]
    assert ran == RAN


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("I can't help with that.", "I can't help with that."),
        ('Action: look\nAction Input: {"number": 1}\nFinal Answer: 7', "7"),
        ("Final Answer: 7\nObservation: no", "7"),
        ("Thought: it is 7", "it is 7"),
        ("FINAL ANSWER: 7", "7"),
    ],
)
def test_what_counts_as_an_answer_of_a_text_model(run: Callable[..., str], answer: str, result: str) -> None:
    assert run(crew_of(ScriptedLLM([answer]))) == result
    assert RAN == []


# Answers that are none.


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, EmptyReply),
        ("", EmptyReply),
        (" \n", EmptyReply),
        ([], EmptyReply),
        (3, ResponseFormatError),
        (b"text", ResponseFormatError),
        ({"content": "text"}, ResponseFormatError),
        ([{"name": "look"}], ResponseFormatError),
        (RefusalError("m refused to answer: no"), RefusalError),
        (KeyError("choices"), CallFailedError),
    ],
)
def test_an_answer_that_is_none_is_one_clear_error(
    run: Callable[..., str], answer: Any, error: type[Exception]
) -> None:
    class Odd(BaseLLM):
        asked = 0

        def call(self, messages: Any) -> Any:
            Odd.asked += 1
            if isinstance(answer, Exception):
                raise answer
            return answer

    with pytest.raises(error):
        run(crew_of(Odd()))
    assert Odd.asked == 1


def test_a_refusal_in_the_middle_ends_the_run_with_its_words(run: Callable[..., str], loop: str) -> None:
    script = [asking(loop, "look", number=1), RefusalError("m refused to answer: not that")]
    llm = ScriptedLLM(script, supports_function_calling=loop == "native")
    with pytest.raises(RefusalError, match="not that"):
        run(crew_of(llm))


# Calls in odd company.


def test_calls_with_one_id_are_all_answered(run: Callable[..., str]) -> None:
    llm = native([call("look", {"number": 1}), call("look", {"number": 2})], "done")
    assert run(crew_of(llm)) == "done"
    assert sorted(RAN) == [1, 2]
    assert [message["content"] for message in llm.requests[1].messages if message["role"] == "tool"] == [
        "saw 1",
        "saw 2",
    ]


def test_calls_without_ids_get_some(run: Callable[..., str]) -> None:
    shape = {"type": "function", "function": {"name": "look", "arguments": '{"number": 1}'}}
    llm = native([shape, shape], "done")
    assert run(crew_of(llm)) == "done"
    ids = [message["tool_call_id"] for message in llm.requests[1].messages if message["role"] == "tool"]
    assert len(set(ids)) == 2
    assert all(ids)


def test_text_beside_calls_is_kept_and_is_no_answer(run: Callable[..., str]) -> None:
    llm = native(Reply(text="Final Answer: 7", tool_calls=(call("look", {"number": 1}),)), "8")
    assert run(crew_of(llm)) == "8"
    assert llm.requests[1].messages[-2]["content"] == "Final Answer: 7"


def test_good_and_bad_calls_in_one_answer_are_each_answered(run: Callable[..., str]) -> None:
    llm = native([call("look", {"number": 1}, "a"), call("nothing", {}, "b"), call("look", "{", "c")], "done")
    assert run(crew_of(llm)) == "done"
    answers = {message["tool_call_id"]: message["content"] for message in llm.requests[1].messages[-3:]}
    assert answers["a"] == "saw 1"
    assert answers["b"].startswith("Error: there is no tool 'nothing'")
    assert answers["c"].startswith("Error: 'look' was not run")


# Runs that would never end.


@pytest.mark.parametrize("succeeds", [True, False], ids=["that-succeed", "that-fail"])
def test_an_endless_loop_of_different_calls_ends_after_25(run: Callable[..., str], loop: str, succeeds: bool) -> None:
    def answer(request: Request) -> Any:
        number: Any = len(llm.requests)
        return asking(loop, "look", number=number if succeeds else f"number {number}")

    llm = llm_of(loop, answer)
    with pytest.raises(StepsExhaustedError, match=r"Agent 'Clerk' gave no answer within 25 model calls: .*'look'"):
        run(crew_of(llm))
    assert len(llm.requests) == 25
    assert len(RAN) == (24 if succeeds else 0)


def test_an_endless_loop_of_equal_calls_that_succeed_ends_after_25(run: Callable[..., str], loop: str) -> None:
    llm = llm_of(loop, lambda request: asking(loop, "look", number=1))
    with pytest.raises(StepsExhaustedError):
        run(crew_of(llm))
    assert len(llm.requests) == 25


def test_the_same_call_that_fails_three_times_is_the_last_but_the_answer(run: Callable[..., str], loop: str) -> None:
    def answer(request: Request) -> Any:
        if "Stop using tools now" in str(request.messages[-1].get("content")):
            return "Final Answer: I could not look."
        return asking(loop, "look", number="one")

    llm = llm_of(loop, answer)
    assert run(crew_of(llm)).removeprefix("Final Answer: ") == "I could not look."
    assert len(llm.requests) == 4


def test_one_that_never_listens_ends_with_it(run: Callable[..., str], loop: str) -> None:
    llm = llm_of(loop, lambda request: asking(loop, "look", number="one"))
    with pytest.raises(StepsExhaustedError, match="gave no answer within 4 model calls"):
        run(crew_of(llm))
    assert len(llm.requests) == 4


def test_an_action_without_input_three_times_too(run: Callable[..., str]) -> None:
    llm = FunctionLLM(lambda request: "Action: look")
    with pytest.raises(StepsExhaustedError, match="gave no answer within 4 model calls"):
        run(crew_of(llm))


def test_endless_answers_with_many_calls_each_end_after_25(run: Callable[..., str]) -> None:
    llm = FunctionLLM(
        lambda request: [call("look", {"number": n}, str(n)) for n in range(10)], supports_function_calling=True
    )
    with pytest.raises(StepsExhaustedError):
        run(crew_of(llm))
    assert len(llm.requests) == 25
    assert len(RAN) == 240


def test_an_llm_that_runs_tools_itself_for_ever_ends(run: Callable[..., str]) -> None:
    class Own(BaseLLM):
        def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> str:
            while True:
                available_functions["look"](number=len(RAN))

        def supports_function_calling(self) -> bool:
            return True

    with pytest.raises(StepsExhaustedError, match="ran tools 25 times within one model call"):
        run(crew_of(Own()))
    assert len(RAN) == 25


def test_a_guardrail_that_is_never_content_ends(run: Callable[..., str], loop: str) -> None:
    llm = llm_of(loop, lambda request: "Final Answer: no" if loop == "react" else "no")
    agent = agent_of(llm)
    task = Task(description="D", agent=agent, guardrail=lambda output: (False, "never"))
    with pytest.raises(Exception, match="failed its guardrail 4 times"):
        run(Crew(agents=[agent], tasks=[task]))
    assert len(llm.requests) == 4


@pytest.mark.parametrize("process", list(Process))
def test_agents_who_only_delegate_to_each_other_end(run: Callable[..., str], process: Process) -> None:
    requests: list[Any] = []

    def pass_on(request: Request) -> Any:
        requests.append(request)
        names = [schema["function"]["name"] for schema in request.tools]
        if "delegate_work_to_coworker" not in names:
            return "I have nobody to give it to."
        other = "Two" if "You are One" in str(request.messages[0]["content"]) else "One"
        return call("delegate_work_to_coworker", {"task": f"Do it {len(requests)}", "coworker": other})

    llm = FunctionLLM(pass_on, supports_function_calling=True, context_window=1_000_000)
    agents = [agent_of(llm, role, allow_delegation=True) for role in ("One", "Two")]
    manager = {"manager_llm": llm} if process is Process.hierarchical else {}
    crew = Crew(agents=agents, tasks=[Task(description="D", agent=agents[0])], process=process, **manager)
    with pytest.raises(StepsExhaustedError):
        run(crew)
    assert len(requests) <= 25 * 28  # pieces of work, 25 calls each at most


# Runs that take too long.


def test_a_model_call_that_hangs_is_left_behind_when_time_is_up(
    run: Callable[..., str], loop: str, released: threading.Event
) -> None:
    class Hanging(BaseLLM):
        def call(self, messages: Any, tools: Any = None) -> Any:
            if any(message["role"] == "tool" or "Observation" in str(message["content"]) for message in messages[2:]):
                released.wait(60)
            answer = asking(loop, "look", number=1)
            return [answer.as_message()] if loop == "native" else answer

        def supports_function_calling(self) -> bool:
            return loop == "native"

    with pytest.raises(LLMTimeoutError, match=r"Agent 'Clerk' was stopped after its max_execution_time of 0\.2 s"):
        run(crew_of(Hanging(), max_execution_time=0.2))
    assert RAN == [1]
    assert not released.is_set()


def test_a_coroutine_that_hangs_is_left_behind_too(run: Callable[..., str]) -> None:
    class Hanging(BaseLLM):
        async def acall(self, messages: Any) -> str:
            await asyncio.sleep(60)
            return "late"

    with pytest.raises(LLMTimeoutError, match="max_execution_time"):
        run(crew_of(Hanging(), max_execution_time=0.1))


def test_a_tool_that_hangs_is_left_behind_in_both_loops(
    run: Callable[..., str], loop: str, released: threading.Event
) -> None:
    @tool
    def hang() -> str:
        """Hang."""
        released.wait(60)
        return "late"

    llm = llm_of(loop, lambda request: asking(loop, "hang"))
    with pytest.raises(LLMTimeoutError, match="max_execution_time"):
        run(crew_of(llm, max_execution_time=0.1, tools=[hang]))
    assert not released.is_set()


def test_a_tool_that_hangs_in_delegated_work_is_left_behind(run: Callable[..., str], released: threading.Event) -> None:
    @tool
    def hang() -> str:
        """Hang."""
        released.wait(60)
        return "late"

    ask = call("delegate_work_to_coworker", {"task": "Hang", "coworker": "Other"})
    asker = agent_of(native(ask), allow_delegation=True, max_execution_time=0.2)
    other = agent_of(native(call("hang")), "Other", tools=[hang])
    with pytest.raises(LLMTimeoutError, match="Agent 'Clerk' was stopped"):
        run(Crew(agents=[asker, other], tasks=[Task(description="D", agent=asker)]))


@pytest.mark.parametrize("kind", ["before_llm_call", "after_llm_call", "before_tool_call", "after_tool_call"])
def test_a_hook_that_hangs_is_left_behind(run: Callable[..., str], kind: str, released: threading.Event) -> None:
    def hang(context: Any) -> None:
        released.wait(60)

    llm = native(call("look", {"number": 1}), "late")
    with pytest.raises(LLMTimeoutError, match="max_execution_time") as caught:
        run(crew_of(llm, max_execution_time=0.2, **{kind: hang}))
    assert "hang was still running when the time of the run was up" in str(caught.value.__cause__)
    assert not released.is_set()


def test_a_timeout_of_a_hooks_own_is_its_own(run: Callable[..., str]) -> None:
    def fail(context: Any) -> None:
        raise TimeoutError("the cache is slow")

    with pytest.raises(TimeoutError, match="the cache is slow"):
        run(crew_of(native("late"), max_execution_time=60, before_llm_call=fail))


def test_many_calls_of_a_model_that_takes_its_time_end_when_time_is_up(run: Callable[..., str], loop: str) -> None:
    from oarlock.testing import VirtualRuntime

    with VirtualRuntime() as runtime:

        def answer(request: Request) -> Any:
            runtime.advance(2)
            return asking(loop, "look", number=len(llm.requests))

        llm = llm_of(loop, answer)
        with pytest.raises(LLMTimeoutError, match="max_execution_time of 5 s"):
            crew_of(llm, max_execution_time=5).kickoff()
        assert len(llm.requests) == 3
