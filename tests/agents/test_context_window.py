"""Conversations are kept within the model's context window: what is shortened, in which order, and what never is."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock import (
    Agent,
    BaseLLM,
    ConfigurationError,
    ContextWindowExceededError,
    Crew,
    Process,
    Reply,
    Request,
    StepsExhaustedError,
    Task,
    ToolCall,
    Usage,
    tool,
)
from oarlock.agents.prompts import SUMMARISE
from oarlock.contract.estimates import prompt_tokens
from oarlock.contract.events import ContextShortened, Event
from oarlock.testing import FunctionLLM, ScriptedLLM

NOTE = "characters left out, for the context window ..."


@tool
def look(number: int, size: int = 1000) -> str:
    """Look at a number."""
    return f"<{number}>" + "x" * size + f"</{number}>"


def agent_of(llm: BaseLLM, role: str = "Clerk", **settings: Any) -> Agent:
    return Agent(role=role, goal="G", backstory="THE BACKSTORY", llm=llm, **{"tools": [look], **settings})


def crew_of(llm: BaseLLM, description: str = "THE TASK", **settings: Any) -> Crew:
    agent = agent_of(llm, **settings)
    return Crew(agents=[agent], tasks=[Task(description=description, expected_output="THE FORM", agent=agent)])


@pytest.fixture(params=["blocking", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., str]:
    def kickoff(crew: Crew, **given: Any) -> str:
        if request.param == "async":
            return asyncio.run(crew.akickoff(**given)).raw
        return crew.kickoff(**given).raw

    return kickoff


def call_of(**arguments: Any) -> ToolCall:
    return ToolCall(id=f"call_{arguments.get('number')}", name="look", arguments=json.dumps(arguments))


@pytest.fixture(params=["native", "react"])
def llm_of(request: pytest.FixtureRequest) -> Callable[..., ScriptedLLM]:
    def make(*script: Any, window: int = 1000, **settings: Any) -> ScriptedLLM:
        native = request.param == "native"
        items = [
            item
            if not isinstance(item, dict)
            else call_of(**item)
            if native
            else f"Thought: hm\nAction: look\nAction Input: {json.dumps(item)}"
            for item in script
        ]
        return ScriptedLLM(items, supports_function_calling=native, context_window=window, **settings)

    return make


def texts(request: Request) -> list[str]:
    return [str(message.get("content") or "") for message in request.messages]


def shortened(events: list[Event]) -> list[ContextShortened]:
    return [event for event in events if isinstance(event, ContextShortened)]


def check(request: Request, window: int) -> None:
    """Raise unless a request fits, has its system prompt and task, and pairs of tool calls and results."""
    assert prompt_tokens(request) <= window
    messages = list(request.messages)
    if SUMMARISE in str(messages[0].get("content")):
        return
    assert "THE BACKSTORY" in str(messages[0].get("content"))
    assert str(messages[1].get("content")).startswith("THE TASK")
    assert "THE FORM" in str(messages[1].get("content"))
    wanted: list[str] = []
    for message in messages[2:]:
        if message["role"] == "tool":
            assert message["tool_call_id"] == wanted.pop(0)
        else:
            assert not wanted
        for call in message.get("tool_calls") or ():
            wanted.append(call["id"])
            json.loads(call["function"]["arguments"])
    assert not wanted


# Before the call.


def test_a_short_conversation_is_left_alone(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    events: list[Event] = []
    llm = llm_of({"number": 1}, {"number": 2}, "done", window=8192)
    assert run(crew_of(llm), on_event=events.append) == "done"
    assert not shortened(events)
    assert NOTE not in str(texts(llm.requests[-1]))


def test_the_oldest_tool_results_are_shortened_first(
    run: Callable[..., str], llm_of: Callable[..., ScriptedLLM], caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    llm = llm_of({"number": 1}, {"number": 2}, {"number": 3}, "done", window=1050)
    with caplog.at_level(logging.WARNING, "oarlock.agents"):
        assert run(crew_of(llm), on_event=events.append) == "done"
    results = [text for text in texts(llm.requests[-1]) if "<" in text and ">x" in text]
    assert [NOTE in text for text in results] == [True, False, False]
    assert results[0].removeprefix("Observation: ").startswith("<1>xxx")
    assert results[0].endswith("</1>")
    (event,) = shortened(events)
    assert (event.tool_results, event.summarised, event.others, event.refused) == (1, 0, 0, False)
    assert event.before > 0.85 * 1050 >= event.after
    assert (event.window, event.model, event.agent, event.task) == (1050, "scripted", "Clerk", "THE TASK")
    assert "1 tool result cut" in caplog.text
    for request in llm.requests:
        check(request, 1050)


def test_a_result_that_is_too_large_by_itself_is_cut(
    run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]
) -> None:
    llm = llm_of({"number": 1, "size": 50_000}, "done", window=2000)
    assert run(crew_of(llm)) == "done"
    last = texts(llm.requests[-1])[-1]
    assert NOTE in last
    assert last.endswith("</1>")
    assert len(last) > 1500  # as much as there is room for, no less
    check(llm.requests[-1], 2000)


def test_what_was_recorded_before_is_not_changed(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    llm = llm_of({"number": 1}, {"number": 2}, {"number": 3}, "done", window=1100)
    run(crew_of(llm))
    assert NOTE not in str(texts(llm.requests[2]))


def test_then_the_model_writes_a_summary(run: Callable[..., str]) -> None:
    def thinks(number: int) -> Any:
        return lambda request: Reply(text=f"Thought: {'deep ' * 150}", tool_calls=(call_of(number=number, size=10),))

    events: list[Event] = []
    script: list[Any] = [thinks(1), thinks(2), thinks(3), "Saw 1 and 2.", "done"]
    llm = ScriptedLLM(script, supports_function_calling=True, context_window=850)
    assert run(crew_of(llm), on_event=events.append) == "done"
    assert events[-1].usage.requests == 5  # type: ignore[attr-defined]
    asked, last = llm.requests[3], llm.requests[4]
    assert SUMMARISE in texts(asked)[0]
    assert "THE TASK" in texts(asked)[1]
    assert not asked.tools
    assert texts(last)[2] == "What you have done so far, in short:\nSaw 1 and 2."
    assert [message["role"] for message in last.messages] == ["system", "user", "user", "assistant", "tool"]
    (event,) = shortened(events)
    assert event.summarised == 4
    assert "4 messages summarised" in event.what
    for request in llm.requests:
        check(request, 850)


def test_a_conversation_of_texts_is_summarised_in_both_colours(run: Callable[..., str]) -> None:
    """What guardrails send back makes a conversation long, too."""
    answers = iter([*(f"answer {n} " + "word " * 200 for n in range(3)), "All were too long.", "short"])
    llm = FunctionLLM(lambda messages: next(answers), context_window=1000)
    agent = agent_of(llm, tools=[])
    task = Task(
        description="THE TASK",
        expected_output="THE FORM",
        agent=agent,
        guardrail=lambda output: (len(output.raw) < 100, output.raw if len(output.raw) < 100 else "Too long."),
        guardrail_max_retries=10,
    )
    assert run(Crew(agents=[agent], tasks=[task])) == "short"
    for request in llm.requests:
        check(request, 1000)
    assert "All were too long." in str(texts(llm.requests[-1]))


def test_earlier_answers_are_cut_and_the_task_is_not(run: Callable[..., str]) -> None:
    events: list[Event] = []
    llm = ScriptedLLM(["a" * 6000, "short", "done"], context_window=1000)
    agent = agent_of(llm, tools=[], max_iter=3)
    first = Task(description="First", agent=agent)
    second = Task(description="Second", agent=agent)
    third = Task(description="THE TASK", expected_output="THE FORM", agent=agent)
    crew = Crew(agents=[agent], tasks=[first, second, third])
    assert run(crew, on_event=events.append) == "done"
    check(llm.requests[-1], 1000)
    prompt = texts(llm.requests[-1])[1]
    assert NOTE in prompt
    assert "\n\n----------\n\nshort\n" in prompt
    assert [event.others for event in shortened(events)] == [1, 1]


def test_a_model_that_writes_too_much_is_cut_as_well(run: Callable[..., str]) -> None:
    llm = ScriptedLLM(
        [ToolCall(id="1", name="nothing", arguments=json.dumps({"text": "x" * 20_000})), "done"],
        supports_function_calling=True,
        context_window=1000,
    )
    assert run(crew_of(llm)) == "done"
    check(llm.requests[-1], 1000)
    call = llm.requests[-1].messages[2]["tool_calls"][0]
    assert NOTE in json.loads(call["function"]["arguments"])["left_out"]


def test_many_calls_at_once_are_left_out_with_their_results(run: Callable[..., str]) -> None:
    events: list[Event] = []
    calls = [
        ToolCall(id=str(number), name="look", arguments=f'{{"number": {number}, "size": 99}}') for number in range(99)
    ]
    llm = ScriptedLLM([calls, "done"], supports_function_calling=True, context_window=1000)
    assert run(crew_of(llm), on_event=events.append) == "done"
    check(llm.requests[-1], 1000)
    assert "<98>" in texts(llm.requests[-1])[-1]
    (event,) = shortened(events)
    assert f"{event.left_out} messages left out" in event.what


def test_what_no_summary_is_left_for_is_left_out(run: Callable[..., str]) -> None:
    script = [call_of(number=number, size=99) for number in range(9)]
    llm = ScriptedLLM([*script, "done"], supports_function_calling=True, context_window=520)
    assert run(crew_of(llm, max_iter=10)) == "done"
    for request in llm.requests:
        check(request, 520)
    assert [message["role"] for message in llm.requests[-1].messages][-2:] == ["tool", "user"]


def test_what_cannot_fit_is_told_before_the_call(run: Callable[..., str]) -> None:
    llm = ScriptedLLM(["never"], context_window=1000)
    with pytest.raises(ContextWindowExceededError) as caught:
        run(crew_of(llm, "word " * 2000))
    said = str(caught.value)
    assert said.startswith(
        "Agent 'Clerk': what cannot be shortened, the system prompt, the task and its tools, has about 2,"
    )
    assert "and the context window of 'scripted' 1,000. Make the task shorter, or split it" in said
    assert caught.value.attempts == 0
    assert llm.requests == []


def test_nothing_is_refused_on_a_mere_assumption(run: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    """But what can be shortened is."""

    class Silent(BaseLLM):
        def __init__(self) -> None:
            super().__init__()
            self.script = iter([[call_of(number=1, size=50_000).as_message()], "done"])
            self.lengths: list[int] = []

        def call(self, messages: Any, tools: Any = None) -> Any:
            self.lengths.append(len(str(messages)))
            return next(self.script)

        def supports_function_calling(self) -> bool:
            return True

    llm = Silent()
    with caplog.at_level(logging.WARNING, "oarlock.agents"):
        assert run(crew_of(llm, "word " * 10_000)) == "done"
    assert 50_000 < llm.lengths[1] < 60_000
    assert "Nobody has said how large its window is: set context_window=, if it is larger." in caplog.text


def test_tools_that_leave_no_room_are_told_too() -> None:
    def make(number: int) -> Any:
        def function(text: str) -> str:
            return text

        return tool(f"tool_{number}")(_documented(function, "Words. " * 50))

    llm = ScriptedLLM(["never"], context_window=1000, supports_function_calling=True)
    with pytest.raises(ContextWindowExceededError, match="has about"):
        crew_of(llm, tools=[make(number) for number in range(30)]).kickoff()


def _documented(function: Any, text: str) -> Any:
    function.__doc__ = text
    return function


def test_room_is_left_for_the_answer() -> None:
    for most, cut in [(None, False), (500, True)]:
        llm = ScriptedLLM([call_of(number=1, size=2000), "done"], supports_function_calling=True, context_window=1000)
        llm.max_tokens = most
        crew_of(llm).kickoff()
        assert (NOTE in str(texts(llm.requests[-1]))) is cut


def test_the_endpoints_own_figures_count(run: Callable[..., str]) -> None:
    events: list[Event] = []
    first = Reply(tool_calls=(call_of(number=1),), usage=Usage(prompt_tokens=7000, completion_tokens=9, requests=1))
    second = Reply(tool_calls=(call_of(number=2),), usage=Usage(prompt_tokens=7900, completion_tokens=9, requests=1))
    llm = ScriptedLLM([first, second, "done"], supports_function_calling=True, context_window=9500)
    assert run(crew_of(llm), on_event=events.append) == "done"
    (event,) = shortened(events)
    assert event.before > 8075 >= event.after


def test_figures_over_several_requests_do_not_count(run: Callable[..., str]) -> None:
    events: list[Event] = []
    many = Reply(tool_calls=(call_of(number=1),), usage=Usage(prompt_tokens=70_000, completion_tokens=9, requests=20))
    llm = ScriptedLLM([many, "done"], supports_function_calling=True, context_window=9000)
    assert run(crew_of(llm), on_event=events.append) == "done"
    assert not shortened(events)


@pytest.mark.parametrize("count", [lambda text: text.split(), lambda text: len(text.split())])
def test_a_function_of_the_users_counts(run: Callable[..., str], count: Any) -> None:
    events: list[Event] = []
    llm = ScriptedLLM([call_of(number=1, size=50_000), "done"], supports_function_calling=True, context_window=1000)
    assert run(crew_of(llm, count_tokens=count), on_event=events.append) == "done"
    assert not shortened(events)  # one word
    small = ScriptedLLM(["never"], context_window=1000)
    with pytest.raises(ContextWindowExceededError, match="has about 1,6"):
        run(crew_of(small, "w " * 1500, count_tokens=count))


@pytest.mark.parametrize("answer", ["3", None, -1, True, 1.5])
def test_a_function_that_does_not_count_is_told(answer: Any) -> None:
    if answer == "3":
        answer = {"a": 1}.keys() and object()
    with pytest.raises(
        ConfigurationError, match="count_tokens must return a number of tokens, or the tokens themselves"
    ):
        crew_of(ScriptedLLM(["never"]), count_tokens=lambda text: answer).kickoff()


@pytest.mark.parametrize("size", [0, None, "8192", 1.5, True])
def test_an_llm_that_says_nothing_of_its_window_is_told(size: Any) -> None:
    class Odd(BaseLLM):
        def call(self, messages: Any) -> str:
            return "never"

        def get_context_window_size(self) -> Any:
            return size

    with pytest.raises(ConfigurationError, match=r"get_context_window_size\(\) must be a whole number of at least 1"):
        crew_of(Odd()).kickoff()


def test_it_can_be_switched_off(run: Callable[..., str]) -> None:
    refused = ContextWindowExceededError("too long")
    llm = ScriptedLLM([call_of(number=1, size=50_000), refused], supports_function_calling=True, context_window=1000)
    with pytest.raises(ContextWindowExceededError, match="too long"):
        run(crew_of(llm, respect_context_window=False))
    assert prompt_tokens(llm.requests[1]) > 10_000


def test_it_is_seen_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    llm = ScriptedLLM([call_of(number=1, size=50_000), "done"], supports_function_calling=True, context_window=1000)
    crew_of(llm, verbose=True).kickoff()
    shown = capsys.readouterr().err
    assert "scripted: context shortened from about 12," in shown
    assert "of 1,000: 1 tool result cut" in shown


def test_delegated_work_has_a_window_of_its_own(run: Callable[..., str]) -> None:
    delegate = ToolCall(
        id="1", name="delegate_work_to_coworker", arguments='{"task": "Look", "coworker": "Clerk", "context": "-"}'
    )
    manager = ScriptedLLM([delegate, "done"], supports_function_calling=True, context_window=100_000)
    worker = ScriptedLLM([call_of(number=1, size=50_000), "seen"], supports_function_calling=True, context_window=1000)
    crew = Crew(
        agents=[agent_of(worker)], tasks=[Task(description="D")], process=Process.hierarchical, manager_llm=manager
    )
    assert run(crew) == "done"
    assert prompt_tokens(worker.requests[1]) <= 1000


# After the endpoint has refused it.


def refusal() -> ContextWindowExceededError:
    return ContextWindowExceededError("HTTP 400: maximum context length is 1000 tokens", status=400)


def test_what_an_endpoint_refuses_is_shortened_once(
    run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]
) -> None:
    events: list[Event] = []
    llm = llm_of({"number": 1}, {"number": 2}, refusal(), "done", window=100_000)
    assert run(crew_of(llm), on_event=events.append) == "done"
    (event,) = shortened(events)
    assert event.refused
    assert event.after < 0.75 * event.before
    assert prompt_tokens(llm.requests[3]) < 0.75 * prompt_tokens(llm.requests[2])
    check(llm.requests[3], 1000)


@pytest.mark.parametrize(
    "said",
    [
        "request (1900 tokens) exceeds the available context size (1,024 tokens)",
        "This model's maximum context length is 1024 tokens. However, you requested 1900 tokens (1800 in the messages)",
        "prompt is too long: 1900 tokens > 1024 maximum",
    ],
)
def test_what_the_endpoint_says_of_its_window_is_heeded(
    run: Callable[..., str], llm_of: Callable[..., ScriptedLLM], said: str
) -> None:
    events: list[Event] = []
    llm = llm_of({"number": 1}, {"number": 2}, ContextWindowExceededError(said), "done", window=100_000)
    assert run(crew_of(llm), on_event=events.append) == "done"
    (event,) = shortened(events)
    assert (event.window, event.before, event.refused) == (1024, 1900, True)
    assert event.after <= 0.85 * 1024
    ratio = prompt_tokens(llm.requests[3]) / prompt_tokens(llm.requests[2])
    assert ratio < 0.85 * 1024 / 1900 + 0.1


def test_a_second_refusal_is_the_end(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    llm = llm_of({"number": 1}, {"number": 2}, refusal(), refusal(), window=100_000)
    with pytest.raises(ContextWindowExceededError, match="maximum context length"):
        run(crew_of(llm))
    assert len(llm.requests) == 4


def test_a_refused_task_that_cannot_be_shortened_is_the_end(run: Callable[..., str]) -> None:
    llm = ScriptedLLM([refusal()], context_window=100_000)
    with pytest.raises(ContextWindowExceededError, match="maximum context length"):
        run(crew_of(llm))
    assert len(llm.requests) == 1


def test_the_next_turns_keep_to_what_was_learnt(run: Callable[..., str]) -> None:
    script = [call_of(number=1), call_of(number=2), refusal(), call_of(number=3), call_of(number=4), "done"]
    llm = ScriptedLLM(script, supports_function_calling=True, context_window=100_000)
    assert run(crew_of(llm)) == "done"
    refused = prompt_tokens(llm.requests[2])
    assert all(prompt_tokens(request) <= refused for request in llm.requests[3:])


def test_a_refusal_that_was_none_is_forgotten() -> None:
    """An endpoint that later takes more than what it once refused has a larger window than that."""
    big = Reply(
        tool_calls=(call_of(number=3, size=10),), usage=Usage(prompt_tokens=9000, completion_tokens=9, requests=1)
    )
    script = [call_of(number=1), call_of(number=2), refusal(), big, "done"]
    llm = ScriptedLLM(script, supports_function_calling=True, context_window=100_000)
    events: list[Event] = []
    assert crew_of(llm).kickoff(on_event=events.append).raw == "done"
    assert len(shortened(events)) <= 2


def test_a_schema_and_a_window_may_both_be_refused() -> None:
    from pydantic import BaseModel

    from oarlock import BadRequestError

    class Answer(BaseModel):
        text: str

    class Strict(ScriptedLLM):
        def supports_json_schema(self) -> bool:
            return True

    llm = Strict(
        ["x" * 4000, BadRequestError("response_format is not supported"), refusal(), '{"text": "done"}'],
        context_window=100_000,
    )
    agent = agent_of(llm, tools=[])
    tasks = [
        Task(description="First", agent=agent),
        Task(description="THE TASK", expected_output="THE FORM", agent=agent, output_pydantic=Answer),
    ]
    assert Crew(agents=[agent], tasks=tasks).kickoff().pydantic == Answer(text="done")
    assert [request.json_schema is None for request in llm.requests] == [True, False, True, True]
    assert NOTE in texts(llm.requests[3])[1]


# Limits.


def test_an_endless_loop_ends_with_its_summaries_counted(run: Callable[..., str]) -> None:
    def answer(request: Request) -> Any:
        check(request, 1000)
        if not request.tools:
            return "In short: nothing."
        number = len(llm.requests)
        return Reply(text="deep " * 200, tool_calls=(call_of(number=number, size=3000),))

    llm = FunctionLLM(answer, supports_function_calling=True, context_window=1000)
    assert run(crew_of(llm)) == "In short: nothing."
    assert len(llm.requests) <= 25


def test_a_model_that_only_calls_tools_when_it_should_summarise_ends_too(run: Callable[..., str]) -> None:
    def answer(request: Request) -> Any:
        return Reply(text="deep " * 200, tool_calls=(call_of(number=len(llm.requests), size=3000),))

    llm = FunctionLLM(answer, supports_function_calling=True, context_window=1000)
    with pytest.raises(StepsExhaustedError):
        run(crew_of(llm))
    assert len(llm.requests) <= 25


@given(
    script=st.lists(
        st.tuples(
            st.integers(0, 800),
            st.lists(st.tuples(st.integers(0, 9000), st.sampled_from(["x", "ä", "語", "x y "])), max_size=4),
        ),
        max_size=12,
    ),
    window=st.integers(1000, 4000),
)
def test_whatever_happens_it_fits_and_stays_consistent(script: list[Any], window: int) -> None:
    @tool
    def give(size: int, what: str) -> str:
        """Give a text."""
        return what * size

    def turn(number: int, words: int, calls: list[Any]) -> Reply:
        made = tuple(
            ToolCall(id=f"{number}-{at}", name="give", arguments=json.dumps({"size": size, "what": what}))
            for at, (size, what) in enumerate(calls)
        )
        return Reply(text="thought " * words or "-", tool_calls=made)

    turns = iter([turn(number, *one) for number, one in enumerate(script) if one[1]])

    def answer(request: Request) -> Any:
        check(request, window)
        return (next(turns, None) if request.tools else None) or "done"

    llm = FunctionLLM(answer, supports_function_calling=True, context_window=window)
    assert crew_of(llm, tools=[give], max_iter=40).kickoff().raw == "done"


@given(
    edits=st.lists(
        st.sampled_from(["none", "last", "first", "empty content", "huge", "no content", "tool without call", "parts"]),
        max_size=8,
    ),
    window=st.integers(600, 3000),
)
def test_whatever_hooks_do_to_the_messages_nothing_breaks(edits: list[str], window: int) -> None:
    left = iter(edits)

    def edit(context: Any) -> None:
        match next(left, "none"):
            case "last":
                context.messages = context.messages[-1:]
            case "first":
                del context.messages[1:]
            case "empty content":
                context.messages.append({"role": "user", "content": ""})
            case "huge":
                context.messages.insert(0, {"role": "user", "content": "word " * 3000})
            case "no content":
                context.messages.append({"role": "assistant", "content": None})
            case "tool without call":
                context.messages.append({"role": "tool", "tool_call_id": "?", "content": "x" * 9000})
            case "parts":
                context.messages.append({"role": "user", "content": [{"type": "text", "text": "y" * 9000}]})

    numbers = iter(range(100))
    llm = FunctionLLM(
        lambda request: call_of(number=next(numbers)) if len(llm.requests) < 9 and request.tools else "done",
        supports_function_calling=True,
        context_window=window,
    )
    first = agent_of(ScriptedLLM(["a" * 3000]), "First", tools=[])
    second = agent_of(llm, before_llm_call=edit)
    tasks = [
        Task(description="First", agent=first),
        Task(description="THE TASK", expected_output="THE FORM", agent=second),
    ]
    try:
        assert Crew(agents=[first, second], tasks=tasks).kickoff().raw == "done"
    except ContextWindowExceededError:  # what a hook put before all the rest is not touched
        assert {"huge", "parts"} & set(edits)


@pytest.mark.model
def test_a_real_model_that_counts_otherwise_is_given_what_fits() -> None:
    """Its tokenizer makes more tokens of figures than we think: it refuses, says so, and answers the second time."""
    from oarlock import LocalLLM

    events: list[Event] = []
    figures = " ".join(f"Boat {number} has {number * 3} oars;" for number in range(150))
    with LocalLLM(temperature=0, max_tokens=8, context_window=512, on_length="return") as llm:
        agent = agent_of(llm, tools=[])
        first = Task(description="Say hello", agent=agent, guardrail=lambda output: (True, figures))
        second = Task(description="THE TASK: what is the capital of France?", agent=agent)
        assert Crew(agents=[agent], tasks=[first, second]).kickoff(on_event=events.append).raw
    assert [event.refused for event in shortened(events)] == [False, True]
