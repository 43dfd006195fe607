"""Hooks before and after model calls and tool calls: what they see, and what they may change, forbid or answer."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oarlock import Agent, BaseLLM, ConfigurationError, Crew, Process, Reply, Task, ToolCall, ToolError, Usage, tool
from oarlock.agents import Hooks, LLMCallHookContext, ToolCallHookContext
from oarlock.contract.events import CacheHit, CallFinished, Event, ModelDelta, ToolFinished, ToolStarted
from oarlock.errors import CallVetoedError
from oarlock.testing import ScriptedLLM, VirtualRuntime

RAN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    RAN.clear()


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    RAN.append((a, b))
    return a + b


@tool(result_as_answer=True)
def verdict(text: str) -> str:
    """Give the verdict."""
    RAN.append(text)
    return f"Verdict: {text}"


def agent_of(llm: BaseLLM | None, role: str = "Clerk", **settings: Any) -> Agent:
    return Agent(role=role, goal="G", backstory="", llm=llm, **{"tools": [add, verdict], **settings})


def crew_of(llm: BaseLLM | None, crew: dict[str, Any] | None = None, **settings: Any) -> Crew:
    agent = agent_of(llm, **settings)
    return Crew(agents=[agent], tasks=[Task(description="Do it", agent=agent)], **(crew or {}))


@pytest.fixture(params=["blocking", "async", "virtual"])
def run(request: pytest.FixtureRequest) -> Callable[..., str]:
    def kickoff(crew: Crew, **given: Any) -> str:
        if request.param == "async":
            return asyncio.run(crew.akickoff(**given)).raw
        if request.param == "virtual":
            with VirtualRuntime():
                return crew.kickoff(**given).raw
        return crew.kickoff(**given).raw

    return kickoff


def call_of(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=json.dumps(arguments))


def text_of(name: str, **arguments: Any) -> str:
    return f"Thought: hm\nAction: {name}\nAction Input: {json.dumps(arguments)}"


@pytest.fixture(params=["native", "react"])
def llm_of(request: pytest.FixtureRequest) -> Callable[..., ScriptedLLM]:
    """Make an LLM for either loop; a pair of a name and arguments in its script is a tool call."""

    def make(*script: Any) -> ScriptedLLM:
        write = call_of if request.param == "native" else text_of
        items = [write(item[0], **item[1]) if isinstance(item, tuple) else item for item in script]
        return ScriptedLLM(items, supports_function_calling=request.param == "native")

    make.loop = request.param  # type: ignore[attr-defined]
    return make


def last(llm: ScriptedLLM) -> str:
    """Return the last thing that the model was told."""
    return str(llm.requests[-1].messages[-1]["content"])


# Before a model call.


def test_a_hook_sees_each_call_of_the_model(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    seen: list[Any] = []

    def watch(context: LLMCallHookContext) -> None:
        seen.append(
            (context.iterations, len(context.messages), context.agent.role, context.task.name, context.response)
        )
        assert context.crew is crew
        assert context.llm is llm

    llm = llm_of(("add", {"a": 1, "b": 2}), "It is 3")
    crew = crew_of(llm, before_llm_call=watch)
    assert run(crew) == "It is 3"
    assert seen == [(1, 2, "Clerk", "Do it", None), (2, 4, "Clerk", "Do it", None)]


def test_the_tools_on_offer_are_named(run: Callable[..., str]) -> None:
    seen: list[tuple[str, ...]] = []
    llm = ScriptedLLM(["done"], supports_function_calling=True)
    run(crew_of(llm, before_llm_call=lambda context: seen.append(context.tools)))
    assert seen == [("add", "verdict")]


def test_what_a_hook_changes_in_the_messages_stays(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    def hint(context: LLMCallHookContext) -> None:
        if context.iterations == 1:
            context.messages.append({"role": "user", "content": "Mind the sign."})

    llm = llm_of(("add", {"a": 1, "b": 2}), "3")
    assert run(crew_of(llm, before_llm_call=hint)) == "3"
    assert [message["content"] for message in llm.requests[0].messages][-1] == "Mind the sign."
    assert [message["content"] for message in llm.requests[1].messages][2] == "Mind the sign."


def test_a_hook_may_put_other_messages_in_their_place(run: Callable[..., str]) -> None:
    def other(context: LLMCallHookContext) -> None:
        context.messages = [{"role": "user", "content": "Something else"}]

    llm = ScriptedLLM(["ok"])
    assert run(crew_of(llm, before_llm_call=other, tools=[])) == "ok"
    assert llm.requests[0].messages == ({"role": "user", "content": "Something else"},)


def test_messages_that_are_none_are_told(run: Callable[..., str]) -> None:
    with pytest.raises(ConfigurationError, match="messages is empty"):
        run(crew_of(ScriptedLLM(["ok"]), before_llm_call=lambda context: context.messages.clear()))


def test_a_hook_may_forbid_a_call(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    def only_one(context: LLMCallHookContext) -> bool:
        return context.iterations <= 1

    llm = llm_of(("add", {"a": 1, "b": 2}), "3")
    with pytest.raises(
        CallVetoedError, match=r"Agent 'Clerk': the hook .*only_one does not allow this model call"
    ) as caught:
        run(crew_of(llm, before_llm_call=only_one))
    assert len(llm.requests) == 1
    assert isinstance(caught.value, ValueError)
    assert caught.value.__notes__ == ["This happened while agent 'Clerk' worked on task 'Do it'."]


def test_what_a_hook_raises_ends_the_run(run: Callable[..., str]) -> None:
    def refuse(context: Any) -> None:
        raise PermissionError("not today")

    with pytest.raises(PermissionError, match="not today"):
        run(crew_of(ScriptedLLM([]), before_llm_call=refuse))


def test_a_cache_is_two_hooks(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    known: dict[str, Reply] = {}

    def look_up(context: LLMCallHookContext) -> Reply | None:
        return known.get(json.dumps(context.messages))

    async def keep(context: LLMCallHookContext) -> None:
        assert context.reply is not None
        known[json.dumps(context.messages)] = context.reply

    llm = llm_of(("add", {"a": 1, "b": 2}), "It is 3")
    crew = crew_of(llm, {"before_llm_call": look_up, "after_llm_call": [keep]})
    assert run(crew) == run(crew) == "It is 3"
    assert len(llm.requests) == 2
    assert RAN == [(1, 2), (1, 2)]  # the tool is no part of the answer


def test_an_answer_of_a_hook_costs_nothing_and_is_told(run: Callable[..., str]) -> None:
    events: list[Event] = []
    known = Reply(text="Known", usage=Usage(prompt_tokens=100, completion_tokens=5, requests=1))
    crew = crew_of(ScriptedLLM([]), before_llm_call=lambda context: known)
    assert run(crew, on_event=events.append) == "Known"
    assert [type(event) for event in events[2:5]] == [type(events[2]), CacheHit, CallFinished]
    assert events[-1].usage == Usage()  # type: ignore[attr-defined]


def test_an_answer_of_a_hook_may_ask_for_tools(run: Callable[..., str]) -> None:
    answers = iter([[call_of("add", a=1, b=2).as_message()], "It is 3"])
    llm = ScriptedLLM([], supports_function_calling=True)
    assert run(crew_of(llm, before_llm_call=lambda context: next(answers))) == "It is 3"
    assert RAN == [(1, 2)]


@pytest.mark.parametrize(
    ("kind", "answer", "message"),
    [
        ("before_llm_call", 3, "returned an int, which is not an answer"),
        ("before_llm_call", " ", "returned an empty text"),
        ("before_llm_call", [], "returned an empty list"),
        ("after_llm_call", 3, "returned an int; it must return a text or a Reply in place of the answer"),
        ("after_llm_call", False, "returned a bool"),
        ("after_llm_call", "", "gave an empty answer"),
        ("after_llm_call", Reply(), "gave an empty answer"),
        ("after_tool_call", 3, "returned an int; it must return a text in place of the tool's result"),
    ],
)
def test_a_hook_that_returns_nonsense_is_told(run: Callable[..., str], kind: str, answer: Any, message: str) -> None:
    llm = ScriptedLLM([call_of("add", a=1, b=2), "3"], supports_function_calling=True)
    with pytest.raises(ConfigurationError, match=rf"The hook .*lambda> {re.escape(message)}"):
        run(crew_of(llm, **{kind: lambda context: answer}))


def test_endless_answers_of_a_hook_end(run: Callable[..., str]) -> None:
    llm = ScriptedLLM([], supports_function_calling=True)
    crew = crew_of(llm, before_llm_call=lambda context: [call_of("add", a=context.iterations, b=1).as_message()])
    with pytest.raises(Exception, match="gave no answer within 25 model calls"):
        run(crew)
    assert len(RAN) == 24


# After a model call.


def test_a_hook_may_change_the_answer(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    def redact(context: LLMCallHookContext) -> str:
        assert context.response is not None
        return context.response.replace("hunter2", "***")

    events: list[Event] = []
    llm = llm_of("The password is hunter2")
    assert run(crew_of(llm, after_llm_call=redact), on_event=events.append) == "The password is ***"
    assert "hunter2" not in str([event.reply.text for event in events if isinstance(event, CallFinished)])


def test_tool_calls_stay_when_a_hook_changes_the_text(run: Callable[..., str]) -> None:
    llm = ScriptedLLM(
        [Reply(text="Let me see, hunter2", tool_calls=(call_of("add", a=1, b=2),)), "3"], supports_function_calling=True
    )
    assert run(crew_of(llm, after_llm_call=lambda context: context.response.replace("hunter2", "***"))) == "3"
    assert RAN == [(1, 2)]
    assert llm.requests[1].messages[2]["content"] == "Let me see, ***"


def test_a_reply_of_a_hook_takes_the_whole_place(run: Callable[..., str]) -> None:
    llm = ScriptedLLM([call_of("add", a=1, b=2)], supports_function_calling=True)
    assert run(crew_of(llm, after_llm_call=lambda context: Reply(text="No tools today"))) == "No tools today"
    assert RAN == []


def test_hooks_after_see_what_those_before_them_left(run: Callable[..., str]) -> None:
    crew = crew_of(
        ScriptedLLM(["a"]),
        {"after_llm_call": lambda context: f"{context.response} crew"},
        after_llm_call=[lambda context: f"{context.response} one", lambda context: True, lambda context: None],
    )
    assert run(crew) == "a one crew"


def test_a_hook_after_may_change_the_conversation(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    def note(context: LLMCallHookContext) -> None:
        if context.iterations == 1:
            context.messages[0]["content"] += " Be brief."  # type: ignore[operator]

    llm = llm_of(("add", {"a": 1, "b": 2}), "3")
    assert run(crew_of(llm, after_llm_call=note)) == "3"
    assert str(llm.requests[1].messages[0]["content"]).endswith(" Be brief.")


# Before a tool call.


def test_a_hook_may_change_the_arguments(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    def double(context: ToolCallHookContext) -> None:
        assert (context.tool_name, context.tool.name, context.failed) == ("add", "add", False)
        assert (context.agent.role, context.task.name, context.crew) == ("Clerk", "Do it", crew)
        context.tool_input["a"] *= 2

    events: list[Event] = []
    llm = llm_of(("add", {"a": 1, "b": 2}), "4")
    crew = crew_of(llm, before_tool_call=double)
    assert run(crew, on_event=events.append) == "4"
    assert RAN == [(2, 2)]
    assert [event.arguments for event in events if isinstance(event, ToolStarted)] == [{"a": 2, "b": 2}]


def test_other_arguments_are_checked_too(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    def spoil(context: ToolCallHookContext) -> None:
        context.tool_input = {"a": "one", "b": object()}

    llm = llm_of(("add", {"a": 1, "b": 2}), "sorry")
    assert run(crew_of(llm, before_tool_call=spoil)) == "sorry"
    assert "was not run: the arguments must be plain JSON values" in last(llm)
    assert RAN == []


def test_other_arguments_may_be_put_in_place(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    def other(context: ToolCallHookContext) -> None:
        context.tool_input = {"a": 5, "b": 6}

    assert run(crew_of(llm_of(("add", {"a": 1, "b": 2}), "11"), before_tool_call=other)) == "11"
    assert RAN == [(5, 6)]


def test_a_hook_may_forbid_a_tool(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    after: list[Any] = []
    events: list[Event] = []
    llm = llm_of(("add", {"a": 1, "b": 2}), "I may not")
    crew = crew_of(
        llm,
        before_tool_call=lambda context: context.tool_name != "add",
        after_tool_call=lambda context: after.append((context.failed, context.raw_tool_result)),
    )
    assert run(crew, on_event=events.append) == "I may not"
    assert last(llm).endswith("Error: 'add' was not run: it is not allowed here.")
    assert RAN == []
    assert after == [(True, None)]  # who watches sees every attempt
    assert [event.failed for event in events if isinstance(event, ToolFinished)] == [True]


def test_a_hook_may_say_why(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    def small_only(context: ToolCallHookContext) -> None:
        if context.tool_input["a"] > 10:
            raise ToolError("only numbers up to 10 are allowed.")

    llm = llm_of(("add", {"a": 11, "b": 2}), ("add", {"a": 10, "b": 2}), "12")
    assert run(crew_of(llm, before_tool_call=small_only)) == "12"
    assert "Error: 'add' was not run: only numbers up to 10 are allowed." in str(llm.requests[1].messages)
    assert RAN == [(10, 2)]


def test_the_same_forbidden_call_three_times_ends_the_tools(run: Callable[..., str]) -> None:
    llm = ScriptedLLM([call_of("add", a=1, b=2)] * 3 + ["I give up"], supports_function_calling=True)
    assert run(crew_of(llm, before_tool_call=lambda context: False)) == "I give up"
    assert not llm.requests[-1].tools


@pytest.mark.parametrize(("known", "text"), [("three", "three"), ({"sum": 3}, '{"sum": 3}'), (3, "3")])
def test_a_hook_may_answer_in_place_of_a_tool(
    run: Callable[..., str], llm_of: Callable[..., ScriptedLLM], known: Any, text: str
) -> None:
    llm = llm_of(("add", {"a": 1, "b": 2}), "ok")
    assert run(crew_of(llm, before_tool_call=lambda context: known)) == "ok"
    assert last(llm) in (text, f"Observation: {text}")
    assert RAN == []


def test_the_result_of_a_hook_may_be_the_answer(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    llm = llm_of(("verdict", {"text": "good"}))
    assert run(crew_of(llm, before_tool_call=lambda context: "Cached verdict")) == "Cached verdict"
    assert RAN == []


def test_the_first_hook_that_decides_is_the_last_one_asked(run: Callable[..., str]) -> None:
    asked: list[str] = []
    llm = ScriptedLLM([call_of("add", a=1, b=2), "ok"], supports_function_calling=True)
    crew = crew_of(
        llm,
        {"before_tool_call": [lambda context: asked.append("crew"), lambda context: True]},
        before_tool_call=[lambda context: asked.append("agent") or False, lambda context: asked.append("never")],
    )
    run(crew)
    assert asked == ["crew", "agent"]


def test_hooks_see_no_tools_that_do_not_exist_and_no_broken_arguments(run: Callable[..., str]) -> None:
    seen: list[Any] = []
    broken = ToolCall(id="2", name="add", arguments="{oops")
    llm = ScriptedLLM([[call_of("nothing"), broken], "ok"], supports_function_calling=True)
    assert run(crew_of(llm, before_tool_call=seen.append, after_tool_call=seen.append)) == "ok"
    assert seen == []


def test_wrong_arguments_are_seen_by_both(run: Callable[..., str]) -> None:
    seen: list[Any] = []
    llm = ScriptedLLM([call_of("add", a="one"), "ok"], supports_function_calling=True)
    crew = crew_of(
        llm,
        before_tool_call=lambda context: seen.append(context.tool_input),
        after_tool_call=lambda context: seen.append(context.failed),
    )
    run(crew)
    assert seen == [{"a": "one"}, True]


# After a tool call.


def test_a_hook_may_change_the_result(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    seen: list[Any] = []

    async def spell(context: ToolCallHookContext) -> str | None:
        seen.append((context.tool_result, context.raw_tool_result))
        return "three" if context.tool_result == "3" else None

    events: list[Event] = []
    llm = llm_of(("add", {"a": 1, "b": 2}), "ok")
    assert run(crew_of(llm, after_tool_call=[spell, spell]), on_event=events.append) == "ok"
    assert last(llm) in ("three", "Observation: three")
    assert seen == [("3", 3), ("three", 3)]
    assert [event.answer for event in events if isinstance(event, ToolFinished)] == ["three"]


def test_a_changed_result_may_be_the_answer(run: Callable[..., str], llm_of: Callable[..., ScriptedLLM]) -> None:
    llm = llm_of(("verdict", {"text": "good"}))
    crew = crew_of(llm, after_tool_call=lambda context: context.tool_result.upper())
    assert run(crew) == "VERDICT: GOOD"


# Everywhere.


def test_tools_that_an_llm_runs_itself_have_hooks_too(run: Callable[..., str]) -> None:
    class Own(BaseLLM):
        def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> str:
            return f"{available_functions['add'](a=1, b=2)}, {available_functions['add'](a=100, b=2)}"

        def supports_function_calling(self) -> bool:
            return True

    crew = crew_of(
        Own(),
        before_tool_call=lambda context: context.tool_input["a"] < 100,
        after_tool_call=lambda context: f"<{context.tool_result}>",
    )
    assert run(crew) == "<3>, <Error: 'add' was not run: it is not allowed here.>"
    assert RAN == [(1, 2)]


def test_a_crews_hooks_hold_for_delegated_work(run: Callable[..., str]) -> None:
    seen: list[Any] = []

    def watch(context: LLMCallHookContext | ToolCallHookContext) -> None:
        what = context.tool_name if isinstance(context, ToolCallHookContext) else "model"
        seen.append((context.agent.role, what))

    delegate = call_of("delegate_work_to_coworker", task="Add", coworker="Clerk", context="1 and 2")
    manager = ScriptedLLM([delegate, "It is 3"], supports_function_calling=True)
    worker = ScriptedLLM([call_of("add", a=1, b=2), "3"], supports_function_calling=True)
    agent = agent_of(worker)
    crew = Crew(
        agents=[agent],
        tasks=[Task(description="Do it")],
        process=Process.hierarchical,
        manager_llm=manager,
        before_llm_call=watch,
        before_tool_call=watch,
    )
    assert run(crew) == "It is 3"
    assert seen == [
        ("Manager", "model"),
        ("Manager", "delegate_work_to_coworker"),
        ("Clerk", "model"),
        ("Clerk", "add"),
        ("Clerk", "model"),
        ("Manager", "model"),
    ]


def test_a_veto_ends_a_delegated_run_too(run: Callable[..., str]) -> None:
    ask = call_of("ask_question_to_coworker", question="Why?", coworker="Other")
    asker = agent_of(ScriptedLLM([ask], supports_function_calling=True), allow_delegation=True)
    other = agent_of(ScriptedLLM([]), "Other", before_llm_call=lambda context: False)
    with pytest.raises(CallVetoedError, match="Agent 'Other'"):
        run(Crew(agents=[asker, other], tasks=[Task(description="D", agent=asker)]))


def test_one_agents_hooks_are_not_those_of_another(run: Callable[..., str]) -> None:
    seen: list[str] = []
    one = agent_of(ScriptedLLM(["a"]), "One", before_llm_call=lambda context: seen.append(context.agent.role))
    two = agent_of(ScriptedLLM(["b"]), "Two")
    run(
        Crew(agents=[one, two], tasks=[Task(description=role, agent=agent) for role, agent in [("1", one), ("2", two)]])
    )
    assert seen == ["One"]


def test_an_agent_alone_has_its_hooks() -> None:
    seen: list[Any] = []
    agent = agent_of(ScriptedLLM(["a", "b"]), before_llm_call=lambda context: seen.append(context.crew))
    assert agent.kickoff("Hi").raw == "a"
    assert agent.execute_task(Task(description="Hi")) == "b"
    assert seen == [None, None]


def test_a_hook_that_is_set_later_counts(run: Callable[..., str]) -> None:
    crew = crew_of(ScriptedLLM(["a"]))
    crew.agents[0].after_llm_call = lambda context: f"<{context.response}>"
    assert run(crew) == "<a>"


@pytest.fixture
def everywhere() -> Iterator[list[str]]:
    seen: list[str] = []
    Hooks.everywhere = Hooks(
        before_llm_call=(lambda context: seen.append("everywhere"),),
        after_llm_call=(lambda context: seen.append("end"),),
    )
    yield seen
    Hooks.everywhere = None


def test_hooks_for_the_whole_process_are_around_all_others(run: Callable[..., str], everywhere: list[str]) -> None:
    crew = crew_of(
        ScriptedLLM(["a"]),
        {"before_llm_call": lambda context: everywhere.append("crew")},
        before_llm_call=lambda context: everywhere.append("agent"),
        after_llm_call=lambda context: everywhere.append("agent"),
    )
    run(crew)
    assert everywhere == ["everywhere", "crew", "agent", "agent", "end"]


def test_a_hook_may_ask_a_human(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def approve(context: ToolCallHookContext) -> bool:
        return context.request_human_input(f"Run {context.tool_name}?\x1b[2J", "yes or no:") == "yes"

    monkeypatch.setattr("sys.stdin", io.StringIO("no\nyes\n"))
    script = [call_of("add", a=1, b=2), call_of("add", a=3, b=4), "7"]
    assert crew_of(ScriptedLLM(script, supports_function_calling=True), before_tool_call=approve).kickoff().raw == "7"
    assert RAN == [(3, 4)]
    shown = capsys.readouterr()
    assert "Run add?[2J" in shown.err
    assert shown.out == "yes or no: yes or no: "
    with pytest.raises(ConfigurationError, match="needs somebody to ask, and this is no terminal"):
        crew_of(ScriptedLLM(script, supports_function_calling=True), before_tool_call=approve).kickoff()


@pytest.mark.parametrize("kind", ["before_llm_call", "after_llm_call", "before_tool_call", "after_tool_call"])
@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (3, "must be a function or a list of functions, not 3"),
        ([print, "x"], "must be a function or a list of functions, not "),
        (lambda: None, "lambda> must take one argument, the context of the call"),
        (lambda one, two: None, "lambda> must take one argument, the context of the call"),
    ],
)
def test_a_hook_that_is_none_is_told_when_it_is_given(kind: str, hook: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Agent 'Clerk': .*{kind}.*{message}"):
        agent_of(None, **{kind: hook})
    with pytest.raises(ConfigurationError, match=f"Crew: .*{kind}.*{message}"):
        crew_of(None, {kind: hook})


def test_contexts_show_no_texts() -> None:
    shown: list[str] = []
    llm = ScriptedLLM([call_of("add", a=1, b=424242), "3"], supports_function_calling=True)
    crew = crew_of(llm, before_llm_call=lambda context: shown.append(repr(context)))
    crew.agents[0].before_tool_call = lambda context: shown.append(repr(context))
    crew.kickoff()
    assert shown[0].startswith("LLMCallHookContext(agent=")
    assert "424242" not in "".join(shown)


def pieces_of(crew: Crew, colour: str) -> list[str]:
    async def read() -> list[Event]:
        return [event async for event in crew.astream()]

    events = asyncio.run(read()) if colour == "async" else list(crew.stream())
    return [event.text for event in events if isinstance(event, ModelDelta)]


@pytest.mark.parametrize("colour", ["blocking", "async"])
class TestStreams:
    def test_what_a_hook_may_change_is_handed_over_when_it_has(self, colour: str) -> None:
        llm = ScriptedLLM(["The password is hunter2 today", "Nothing secret here"])
        crew = crew_of(llm, after_llm_call=lambda context: context.response.replace("hunter2", "***"), tools=[])
        assert pieces_of(crew, colour) == ["The password is *** today"]

    def test_hooks_that_change_no_answer_hold_nothing_up(self, colour: str) -> None:
        crew = crew_of(ScriptedLLM(["one two three"]), before_llm_call=lambda context: None, tools=[])
        assert pieces_of(crew, colour) == ["one ", "two ", "three"]

    def test_an_answer_of_a_hook_is_one_piece(self, colour: str) -> None:
        answers = iter([[call_of("add", a=1, b=2).as_message()], "It is 3"])
        llm = ScriptedLLM([], supports_function_calling=True)
        crew = crew_of(llm, before_llm_call=lambda context: next(answers))
        assert pieces_of(crew, colour) == ["", "It is 3"]
