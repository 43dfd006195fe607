"""Events: pieces of work that can be paired and put into a tree, and plain data without what is private."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import typing
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from oarlock import Agent, Crew, Process, Task, events, tool
from oarlock.contract import events as contract_events
from oarlock.contract.context import current_call, scope
from oarlock.contract.errors import LLMTimeoutError, OarlockError, RateLimitError, ServerError
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.policies import Concurrency, RateLimit, Retry
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

BEGIN = (events.RunStarted, events.TaskStarted, events.CallStarted, events.ToolStarted)
END = {
    events.RunFinished: events.RunStarted,
    events.RunFailed: events.RunStarted,
    events.TaskFinished: events.TaskStarted,
    events.TaskFailed: events.TaskStarted,
    events.CallFinished: events.CallStarted,
    events.CallFailed: events.CallStarted,
    events.ToolFinished: events.ToolStarted,
}


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def calls(*arguments: dict[str, int]) -> list[ToolCall]:
    return [ToolCall(id=f"c{n}", name="add", arguments=json.dumps(one)) for n, one in enumerate(arguments)]


@pytest.fixture(params=["blocking", "async"])
def kickoff(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(crew: Crew, **given: Any) -> Any:
        return crew.kickoff(**given) if request.param == "blocking" else asyncio.run(crew.akickoff(**given))

    return run


def agent(llm: Any, **given: Any) -> Agent:
    return Agent(**{"role": "Clerk", "goal": "g", "backstory": "b", "llm": llm, **given})


def tree_of(seen: list[events.Event]) -> dict[str, str | None]:
    """Check that each piece has one beginning and one end; return the parents."""
    parents: dict[str, str | None] = {}
    open_pieces: dict[str, type[events.Event]] = {}
    for event in seen:
        assert event.span_id is not None
        if isinstance(event, BEGIN):
            assert event.span_id not in parents
            assert event.parent_id is None or event.parent_id in open_pieces
            parents[event.span_id] = event.parent_id
            open_pieces[event.span_id] = type(event)
        elif type(event) in END:
            assert open_pieces.pop(event.span_id) is END[type(event)]
        else:
            assert event.span_id in open_pieces
            assert parents[event.span_id] == event.parent_id
    assert not open_pieces
    return parents


def of(kind: type[Any], seen: list[events.Event]) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


def answered(request: Request) -> Any:
    """Answer with the sum of the tools' answers, after two tool calls at once."""
    results = [m["content"] for m in request.messages if m.get("role") == "tool"]
    return f"{results}" if results else calls({"a": 1, "b": 2}, {"a": 3, "b": 4})


def test_pieces_pair_and_nest_also_side_by_side(kickoff):
    llm = FunctionLLM(answered, supports_function_calling=True)
    tasks = [Task(description=f"Task {n}", agent=agent(llm, tools=[add]), async_execution=True) for n in range(8)]
    seen: list[events.Event] = []
    result = kickoff(Crew(tasks=tasks), on_event=seen.append)

    parents = tree_of(seen)
    run = seen[0].span_id
    assert parents.pop(run) is None
    assert {event.run_id for event in seen} == {run} == {result.run_id}
    assert {event.parent_id for event in of(events.TaskStarted, seen)} == {run}
    tasks_of = {event.span_id: event.number for event in of(events.TaskStarted, seen)}
    assert sorted(tasks_of.values()) == list(range(1, 9))
    assert len(of(events.CallStarted, seen)) == len(of(events.ToolStarted, seen)) == 16
    for event in of((events.CallStarted, events.ToolStarted), seen):
        assert event.parent_id == event.task_id
        assert event.task_id in tasks_of
    assert [event.number for event in of(events.CallStarted, seen)].count(2) == 8


def test_delegated_work_lies_inside_the_tool(kickoff):
    work = json.dumps({"task": "Add", "coworker": "Clerk", "context": ""})
    manager = ScriptedLLM(
        [ToolCall(id="1", name="delegate_work_to_coworker", arguments=work), "Done."], supports_function_calling=True
    )
    crew = Crew(
        agents=[agent(ScriptedLLM(["Three."]))],
        tasks=[Task(description="Sum")],
        process=Process.hierarchical,
        manager_llm=manager,
    )
    seen: list[events.Event] = []
    kickoff(crew, on_event=seen.append)
    tree_of(seen)
    (handed,) = of(events.Delegated, seen)
    (hand_over,) = of(events.ToolStarted, seen)
    (clerks,) = [event for event in of(events.CallStarted, seen) if event.agent == "Clerk"]
    assert handed.span_id == hand_over.span_id == clerks.parent_id


def test_a_nested_run_lies_inside_its_tool(kickoff):
    seen: list[events.Event] = []
    inner = Crew(tasks=[Task(description="Inner", agent=agent(ScriptedLLM(["4"] * 2), role="Inner"))])

    @tool
    def ask() -> str:
        """Ask."""
        return inner.kickoff(on_event=seen.append).raw

    outer = agent(ScriptedLLM([ToolCall(id="1", name="ask"), "Done."], supports_function_calling=True), tools=[ask])
    kickoff(Crew(tasks=[Task(description="Outer", agent=outer)]), on_event=seen.append)
    tree_of(seen)
    first, second = of(events.RunStarted, seen)
    assert second.parent_id == of(events.ToolStarted, seen)[0].span_id
    assert second.run_id == second.span_id != first.run_id
    inner_task = of(events.TaskStarted, seen)[1]
    assert (inner_task.run_id, inner_task.parent_id) == (second.run_id, second.span_id)


def test_an_agent_alone_has_no_run_around_its_task(capsys: pytest.CaptureFixture[str]):
    seen: list[events.Event] = []
    poet = agent(ScriptedLLM(["Row."]))
    from oarlock.agents import run  # what an Agent's own doors lead to

    async def alone(runtime: VirtualRuntime) -> Any:
        with scope(listener=seen.append, run_id="r"):
            task = Task(description="A line", agent=poet)
            return await run.execute(runtime, run.assign(task, poet, poet.llm, {}), "", 1)

    VirtualRuntime().run(alone(VirtualRuntime()))
    tree_of(seen)
    assert (seen[0].span_id, seen[0].parent_id) == ("r:1", None)


def test_a_call_tells_its_attempts_and_how_long_it_really_waited():
    seen: list[events.Event] = []
    llm = ScriptedLLM([ServerError("down"), RateLimitError("slow", retry_after=30.0), "ok"], latency=1)
    with VirtualRuntime() as runtime:
        Crew(
            tasks=[Task(description="x", agent=agent(llm.with_policies(Retry(), RateLimit(requests_per_minute=1))))]
        ).kickoff(on_event=seen.append)
        (done,) = of(events.CallFinished, seen)
        assert (done.attempts, done.seconds) == (3, pytest.approx(runtime.now()))
        assert done.waited == pytest.approx(done.seconds - 3)
    waits, waited = of(events.Waiting, seen), of(events.Waited, seen)
    assert [wait.cause for wait in waits] == ["retry", "rate_limit"] * 2 == [wait.cause for wait in waited]
    assert sum(wait.seconds for wait in waited) == pytest.approx(done.waited)
    assert all(wait.span_id == done.span_id for wait in waits)
    tree_of(seen)


def test_time_is_the_runs():
    seen: list[events.Event] = []
    with VirtualRuntime() as runtime:
        begin = runtime.time()
        Crew(tasks=[Task(description="x", agent=agent(ScriptedLLM(["a"], latency=7)))]).kickoff(on_event=seen.append)
    assert [event.time - begin for event in seen] == [0, 0, 0, 7, 7, 7]


def test_failures(kickoff):
    seen: list[events.Event] = []
    llm = ScriptedLLM([ServerError("down")])
    with pytest.raises(ServerError):
        kickoff(Crew(tasks=[Task(description="x", agent=agent(llm))]), on_event=seen.append)
    tree_of(seen)
    assert [type(event) for event in seen[-3:]] == [events.CallFailed, events.TaskFailed, events.RunFailed]
    assert {str(event.error) for event in seen[-3:]} == {"down"}


class Line(BaseModel):
    text: str
    words: int


def test_what_becomes_of_answers(kickoff):
    seen: list[events.Event] = []
    said = iter(["Make it longer", None])
    llm = ScriptedLLM(
        [
            '{"text": 1}',
            '{"text": "Row", "words": 1}',
            '{"text": "Row, row", "words": 2}',
            '{"valid": true, "reason": ""}',
            '{"text": "Row, row, row", "words": 3}',
            '{"valid": true, "reason": ""}',
        ]
    )

    def two_words(output: Any) -> tuple[bool, Any]:
        enough = output.pydantic.words > 1
        return enough, output if enough else "at least two words"

    task = Task(
        description="x", agent=agent(llm), output_pydantic=Line, guardrails=[two_words, "It rhymes"], human_input=True
    )
    kickoff(Crew(tasks=[task], on_human_input=lambda output: next(said)), on_event=seen.append)
    tree_of(seen)
    assert [event.by for event in of(events.AnswerRejected, seen)] == ["structure", "guardrail", "human"]
    checks = [(event.guardrail, event.passed, event.reason) for event in of(events.GuardrailChecked, seen)]
    assert checks == [
        ("two_words", False, "at least two words"),
        ("two_words", True, ""),
        ("It rhymes", True, ""),
        ("two_words", True, ""),
        ("It rhymes", True, ""),
    ]
    assert [event.said for event in of(events.HumanAnswered, seen)] == ["Make it longer", ""]
    assert [event.answer.count("ow") for event in of(events.HumanAsked, seen)] == [2, 3]


def test_waits_end_also_when_they_are_given_up():
    seen: list[events.Event] = []
    with VirtualRuntime() as runtime:
        llm = FunctionLLM(lambda messages: runtime.advance(10) or "ok").with_policies(Concurrency(1, max_wait=3))
        tasks = [Task(description=str(n), agent=agent(llm), async_execution=True) for n in range(2)]
        with pytest.raises(RateLimitError):
            Crew(tasks=tasks).kickoff(on_event=seen.append)
    (waited,) = of(events.Waited, seen)
    (failed,) = of(events.CallFailed, seen)
    assert waited.seconds == failed.waited == 3


# As plain data.

SECRET = "canary-Zq7"
VALUES: dict[Any, Any] = {
    int: 3,
    float: 1.5,
    bool: True,
    str: SECRET,
    Usage: Usage(prompt_tokens=3, requests=1),
    Reply: Reply(text=SECRET, tool_calls=(ToolCall(id=SECRET, name="add", arguments=SECRET),), id="i", raw=SECRET),
    ToolCall: ToolCall(id="1", name="add", arguments=SECRET),
    Request: Request(messages=[{"role": "user", "content": SECRET}], tools=[add.schema], extras={"x": SECRET}),
    OarlockError: LLMTimeoutError("password=canary-Zq7", status=408),
    BaseException: ValueError("password=canary-Zq7"),
    dict: {"a": SECRET, 2: [float("nan"), {1}, object]},
    Any: Line.model_construct(text=SECRET),
}
KINDS = [getattr(events, name) for name in events.__all__ if name not in ("to_dict", "Event")]


def example(kind: type[events.Event]) -> events.Event:
    """Make an event of which every field has a value, each text but names a canary."""
    hints, given = typing.get_type_hints(kind, vars(sys.modules[__name__])), {}
    for one in dataclasses.fields(kind):
        wanted = hints[one.name]
        if type(None) in typing.get_args(wanted):
            wanted = next(part for part in typing.get_args(wanted) if part is not type(None))
        wanted = dict if typing.get_origin(wanted) is dict else wanted
        named = wanted is str and not one.metadata.get("content")
        given[one.name] = f"the {one.name}" if named else VALUES[wanted]
    return kind(**given)


@pytest.mark.parametrize("kind", KINDS)
def test_data_is_json_and_private_only_where_asked_for(kind: type[events.Event]):
    event = example(kind)
    made = events.to_dict(event)
    text = json.dumps(made, allow_nan=False)
    assert json.loads(text) == made
    assert made["event"] == kind.__name__
    assert SECRET not in text
    if "error" not in made:
        assert SECRET not in repr(event)
    whole = events.to_dict(event, content=True)
    json.dumps(whole, allow_nan=False)
    assert made.items() <= {**whole, "reply": made.get("reply")}.items() or "reply" not in made
    fields = {one.name for one in dataclasses.fields(kind)}
    assert whole.keys() == fields | {"event"}


def test_content():
    call = events.to_dict(example(events.CallStarted), content=True)
    assert call["request"] == {"messages": [{"role": "user", "content": SECRET}], "tools": ["add"]}
    done = events.to_dict(example(events.CallFinished), content=True)["reply"]
    assert done["text"] == SECRET
    assert done["tool_calls"] == [{"id": SECRET, "name": "add", "arguments": SECRET}]
    assert events.to_dict(example(events.CallFinished))["reply"]["tool_calls"] == 1
    assert events.to_dict(example(events.PartialOutput), content=True)["value"] == {"text": SECRET}
    failed = events.to_dict(example(events.CallFailed))["error"]
    assert failed == {
        "type": "LLMTimeoutError",
        "message": "password=…",
        "status": 408,
        "attempts": 1,
        "retryable": True,
    }


def test_depth_and_broken_text():
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    made = events.to_dict(events.ToolStarted(tool="t", arguments={"deep": deep, "text": "\ud800"}), content=True)
    json.dumps(made).encode()
    assert made["arguments"]["text"] == "?"


def test_every_event_is_in_one_place():
    assert {*contract_events.__all__, "to_dict"} == set(events.__all__)


def test_nothing_is_made_where_nobody_watches(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an event was made")

    for kind in KINDS:
        monkeypatch.setattr(kind, "__init__", refuse)
    llm = FunctionLLM(answered, supports_function_calling=True)
    Crew(tasks=[Task(description="x", agent=agent(llm, tools=[add]))]).kickoff()
    assert current_call().listener is None
