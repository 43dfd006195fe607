"""What is shown of runs: which lines, in which words, in how much room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from view_runs import CREWS, events_of

from oarlock.contract.errors import CircuitOpenError
from oarlock.contract.reply import Reply, Usage
from oarlock.events import (
    AnswerRejected,
    ApprovalDecided,
    ApprovalRequested,
    CallFailed,
    CallFinished,
    CallStarted,
    CircuitChanged,
    ContextShortened,
    Event,
    FellBack,
    HumanAnswered,
    HumanAsked,
    ModelDelta,
    RecordingFailed,
    RunFailed,
    RunStarted,
    SignedIn,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
    TaskStarted,
    ToolFinished,
    ToolStarted,
    Waited,
    Waiting,
)
from oarlock.views import Piece, RunTree
from oarlock.views.plain_lines import lines
from oarlock.views.rows import Row, Shown, at_work, ended, run_ended
from oarlock.views.words import call_words, money, note_words, summary, tool_words

RUN: dict[str, Any] = {"run_id": "r", "span_id": "r"}
TASK: dict[str, Any] = {"run_id": "r", "task_id": "t", "span_id": "t", "parent_id": "r", "agent": "Clerk"}
CALL: dict[str, Any] = {"run_id": "r", "task_id": "t", "span_id": "c", "parent_id": "t", "agent": "Clerk"}
TOOL: dict[str, Any] = {"run_id": "r", "task_id": "t", "span_id": "u", "parent_id": "t", "agent": "Clerk"}
BEGUN = (RunStarted(tasks=2, time=1, **RUN), TaskStarted(number=1, description="Do it", time=1, **TASK))
ASKED = CallStarted(model="m", messages=1, time=2, **CALL)


def told(*events: Any) -> RunTree:
    tree = RunTree()
    for event in events:
        tree.add(event)
    return tree


def found(tree: RunTree, piece_id: str) -> Piece:
    piece = tree.find(piece_id)
    assert piece is not None
    return piece


def in_lines(*events: Any, number: int = 0) -> list[str]:
    tree = RunTree()
    return [line for event in events for line in lines(tree, tree.add(event), event, number)]


def drawn(rows: list[Row]) -> list[str]:
    return [f"{'  ' * row.depth}{row.mark}: {row.text}" for row in rows]


def reply(text: str = "x", **given: Any) -> Reply:
    return Reply(text=text, usage=Usage(prompt_tokens=1200, completion_tokens=34), **given)


def test_a_run_line_by_line() -> None:
    assert in_lines(*events_of("delegating")) == [
        "Crew delegating started: 1 task",
        "Task 1: A line",
        "  Agent: Boss",
        "  [1] scripted asks for 1 tool: ~319 tokens in 1.0 s",
        "  [1] Boss delegates to Poet: Rhyme on boats",
        *[line for line in in_lines(*events_of("delegating")) if "waiting" in line],
        "  [1] Poet: scripted answered: ~47 tokens in " + in_lines(*events_of("delegating"))[6].rsplit(" in ", 1)[1],
        "  [1] scripted answered: ~348 tokens in 1.0 s",
        *in_lines(*events_of("delegating"))[8:],
    ]
    assert "Poet: waiting" in in_lines(*events_of("delegating"))[5]
    assert in_lines(*events_of("delegating"))[-2].endswith(
        "1 task, 3 calls in 4 requests, 1 tool run, ~714 tokens (700 read, 14 written)"
    )
    assert in_lines(*events_of("delegating"))[-1].endswith("to try again")


def test_an_error_is_said_once() -> None:
    for shown in (in_lines(*events_of("failing")), drawn(_all_ended("failing"))):
        assert sum("division by zero" in line for line in shown) == 1, shown
        assert any("1 not finished" in line for line in shown)


def _all_ended(name: str) -> list[Row]:
    (run,) = told(*events_of(name)).roots
    return [*(row for task in run.children for row in ended(task, 0)), *run_ended(run, 0)]


def test_an_error_of_the_run_itself_is_said_at_its_end() -> None:
    failed = RunFailed(seconds=3, error=KeyboardInterrupt(), time=4, **RUN)
    assert in_lines(*BEGUN, failed)[-2:] == [
        "Crew: KeyboardInterrupt",
        "Crew stopped after 3.0 s: 2 tasks (1 not finished, 1 not begun)",
    ]
    rows = drawn(run_ended(found(told(*BEGUN, failed), "r"), 4))
    assert rows == [
        "stopped: Crew stopped after 3.0 s: 2 tasks (1 not finished, 1 not begun)",
        "  error: KeyboardInterrupt",
    ]


def test_runs_side_by_side_are_told_apart() -> None:
    assert in_lines(*BEGUN, ASKED, SignedIn(method="x", why="first use", time=3, **CALL), number=2) == [
        "#2 Crew started: 2 tasks",
        "#2 Task 1: Do it",
        "#2   Agent: Clerk",
        "#2   [1] signed in (first use)",
    ]


def test_what_happened_outside_of_tasks_and_what_lasted_long() -> None:
    alone = {"span_id": "c", "time": 9000}
    assert in_lines(CallFinished(model="m", seconds=7325, reply=reply(), **alone)) == [
        "m answered: 1,234 tokens in 2 h 2 min"
    ]
    assert drawn(ended(told(SignedIn(method="x", why="expired", **alone)).roots[0], 0)) == [
        "working: work",
        "  note: signed in (expired)",
    ]
    asked = ApprovalRequested(tool="find", time=2, **TOOL)
    assert (
        in_lines(*BEGUN, ToolStarted(tool="find", time=2, **TOOL), asked)[-1] == "  [1] Clerk asks for approval of find"
    )


def test_a_run_says_what_became_of_its_record() -> None:
    failed = RecordingFailed(path="run.jsonl", why="the disk is full", time=2, **RUN)
    rows = drawn(run_ended(found(told(*BEGUN, failed), "r"), 3))
    assert "  note: the record run.jsonl is not complete: the disk is full" in rows


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Waiting(cause="rate_limit", seconds=2.0, time=3, **CALL), "waiting 2.0 s for the rate limit"),
        (Waiting(cause="concurrency", time=3, **CALL), "waiting for a free place"),
        (Waiting(cause="new_thing", seconds=90, time=3, **CALL), "waiting 1 min 30 s (new thing)"),
        (
            Waiting(cause="retry", seconds=1, error=CircuitOpenError("left alone"), time=3, **CALL),
            "waiting 1.0 s for the circuit breaker: CircuitOpenError: left alone",
        ),
        (HumanAsked(answer="x", time=3, **TASK), "waiting for a human"),
        (SignedIn(method="x", why="expired", expires_in=60, time=3, **CALL), "signed in (expired, valid for 1 min 0 s)"),
        (FellBack(from_model="a", to_model="b", error=CircuitOpenError("no"), time=3, **CALL), "fell back from a to b: CircuitOpenError: no"),
        (CircuitChanged(endpoint="e", state="open", why="2 of 3 failed", time=3, **CALL), "circuit opened for e: 2 of 3 failed"),
        (AnswerRejected(by="guardrail", reason="too long", time=3, **TASK), "answer sent back by guardrail: too long"),
        (HumanAnswered(seconds=1, said="shorter", time=3, **TASK), "the human wants a change: shorter"),
        (HumanAnswered(seconds=1, time=3, **TASK), "the human is content"),
        (ContextShortened(model="m", window=100, before=150, after=80, tool_results=1, time=3, **TASK), "m: context shortened from about 150"),
    ],
)  # fmt: skip
def test_what_happens_is_said(event: Event, said: str) -> None:
    assert in_lines(*BEGUN, ASKED, event)[-1].startswith(f"  [1] {said}")


def test_what_goes_without_saying_is_not_said() -> None:
    quiet = [
        ModelDelta(text="x", time=3, **CALL),
        Waited(cause="retry", seconds=1, time=3, **CALL),
        AnswerRejected(by="human", reason="x", time=3, **TASK),
        {"event": "Unheard", "span_id": "c", "time": 3},
        {"event": "EventsMissed", "count": 3},
    ]
    assert len(in_lines(*BEGUN, ASKED, *quiet)) == len(in_lines(*BEGUN, ASKED))


def test_calls_in_words() -> None:
    tree = told(*BEGUN, ASKED)
    call = found(tree, "c")
    assert call_words(call, 3) == "m is thinking"
    tree.add(ModelDelta(text="Row" * 400, time=3, **CALL))
    assert call_words(call, 3) == "m is writing, 1,200 characters"
    tree.add(Waiting(cause="retry", seconds=4, time=3, **CALL))
    assert call_words(call, 5) == "m waiting 2.0 s of 4.0 s to try again"
    tree.stop()
    assert call_words(call, 5) == "m was stopped"
    judged = CallStarted(model="m", messages=1, purpose="judge", time=2, **CALL)
    cached = CallFinished(model="m", seconds=0, reply=Reply(text="x", cached=True), time=3, **CALL)
    assert call_words(found(told(judged, cached), "c"), 3) == "m (as judge) answered from the cache"


def test_tools_in_words() -> None:
    tree = told(
        *BEGUN,
        ToolStarted(tool="find", arguments={"a": 1, "b": "x\x1b[2J", "c": {1}, "d": None, "e": 5}, time=2, **TOOL),
    )
    tool = found(tree, "u")
    assert tool_words(tool, 2) == r'find(a=1, b="x\u001b[2J", c="{1}", d=null, …)'
    tree.add(ApprovalRequested(tool="find", time=2, **TOOL))
    assert tool_words(tool, 4).endswith(" waiting 2.0 s for a human")
    tree.add(ApprovalDecided(tool="find", approved=False, reason="no", time=4, **TOOL))
    assert note_words(tool.notes[-1]) == "find was refused: no"
    tree.add(ToolFinished(tool="find", seconds=3, answer="Error: no", failed=True, time=5, **TOOL))
    assert tool_words(tool, 5).endswith(" failed")
    circle: dict[Any, Any] = {}
    circle["a"] = circle
    assert tool_words(found(told(ToolStarted(tool="x", arguments={"b": circle}, time=1, **TOOL)), "u"), 2) == "x(b=…)"


def test_a_skipped_task_and_one_that_failed_by_itself() -> None:
    skipped = TaskSkipped(number=2, description="Later", time=2, **RUN)
    failed = TaskFailed(seconds=2, error=ValueError("too little"), time=3, **TASK)
    assert in_lines(*BEGUN, skipped, failed)[-2:] == [
        "Task 2 skipped: Later",
        "Task 1 failed after 2.0 s: ValueError: too little",
    ]
    tree = told(*BEGUN, skipped, failed)
    assert drawn(ended(found(tree, "r:2"), 3)) == ["skipped: 2 Later"]
    assert drawn(ended(found(tree, "t"), 3)) == ["failed: 1 Do it", "  error: ValueError: too little"]


def test_of_many_steps_those_in_the_middle_are_folded() -> None:
    calls = []
    for number in range(30):
        here = {**CALL, "span_id": f"c{number}"}
        calls.append(CallStarted(model=f"m{number}", messages=1, time=2 + number, **here))
        error = CircuitOpenError("x")
        end = CallFailed(model="m", seconds=1, error=error, time=3 + number, **here) if number == 5 else None
        calls.append(end or CallFinished(model="m", seconds=1, reply=reply(), time=3 + number, **here))
    tree = told(*BEGUN, *calls, TaskFinished(seconds=31, answer="Done", time=40, **TASK))
    rows = drawn(ended(found(tree, "t"), 40))
    assert rows[:5] == [
        "finished: 1 Do it",
        "  finished: m0 answered",
        "  finished: m1 answered",
        "  finished: m2 answered",
        "  more: 18 calls more, 1 failed",
    ]
    assert rows[5:] == [*(f"  finished: m{number} answered" for number in range(21, 30)), "  answer: Done"]


def test_prices_are_shown_as_far_as_they_are_known() -> None:
    def priced(cost: str, unpriced: int = 0) -> str:
        from decimal import Decimal

        from oarlock.views import Totals

        return money(Totals(cost=Decimal(cost), unpriced=unpriced))

    assert [priced("0"), priced("0.00001"), priced("0.01234"), priced("1234.5"), priced("0.5", 2)] == [
        "", "cost under 0.0001", "cost 0.0123", "cost 1,234.50", "cost over 0.5000",
    ]  # fmt: skip


def test_a_summary_says_what_it_took() -> None:
    tree = told(*BEGUN, ASKED, SignedIn(method="x", why="y", time=2, **CALL), Waiting(cause="budget", time=2, **CALL))
    assert summary(tree.roots[0], 11) == ["Crew has run for 10.0 s: 2 tasks (1 not begun), 1 call, 1 sign-in"]
    alone = told(
        TaskStarted(agent="Poet", span_id="t", time=1),
        TaskFinished(agent="Poet", seconds=2, answer="", span_id="t", time=3),
    )
    assert summary(alone.roots[0], 3) == ["Poet finished in 2.0 s: nothing done"]


@settings(max_examples=80)
@given(st.sampled_from(sorted(CREWS)), st.data(), st.integers(0, 12))
def test_what_is_at_work_fits_into_any_room(name: str, data: st.DataObject, room: int) -> None:
    events = events_of(name)
    tree = told(*events[: data.draw(st.integers(0, len(events)))])
    pieces = [Shown(child, tree.latest) for root in tree.roots for child in root.children if not child.is_over]
    rows = at_work(pieces, room)
    assert len(rows) <= room
    if pieces and room:
        heads = [row for row in rows if row.depth == 0]
        assert len(heads) == min(len(pieces), room)


def test_with_a_line_each_it_says_what_is_being_done() -> None:
    tree = told(*BEGUN, ASKED, Waiting(cause="rate_limit", seconds=9, time=2, **CALL))
    (row,) = at_work([Shown(found(tree, "t"), 4, "#3 ")], 1)
    assert (row.mark, row.text, row.detail) == ("waiting", "#3 1 Do it", "m waiting 2.0 s of 9.0 s for the rate limit")
    assert drawn(at_work([Shown(found(tree, "t"), 4)], 2)) == [
        "working: 1 Do it",
        "  waiting: m waiting 2.0 s of 9.0 s for the rate limit",
    ]


def test_of_many_at_work_those_that_fit_are_shown_and_the_others_counted() -> None:
    tree = told(*BEGUN, ASKED, Waiting(cause="rate_limit", time=2, **CALL))
    waiting, working = Shown(found(tree, "t"), 4), Shown(told(*BEGUN).roots[0].children[0], 4)
    assert at_work([working, working, waiting, working], 2)[-1].text == "and 3 more at work, 1 of them waiting"
    assert at_work([working, waiting, working], 2)[-1].text == "and 2 more at work, 1 of them waiting"
    assert at_work([waiting, working, working], 2)[-1].text == "and 2 more at work"


def test_what_ended_before_is_folded_where_there_is_no_room() -> None:
    calls = [
        event
        for number in range(4)
        for event in (
            CallStarted(model=f"m{number}", messages=1, time=2, **{**CALL, "span_id": f"c{number}"}),
            CallFinished(model="m", seconds=1, reply=reply(), time=3, **{**CALL, "span_id": f"c{number}"}),
        )
    ]
    tree = told(*BEGUN, *calls, ASKED)
    assert drawn(at_work([Shown(found(tree, "t"), 4)], 4)) == [
        "working: 1 Do it",
        "  more: 3 calls more",
        "  finished: m3 answered",
        "  working: m is thinking",
    ]
    assert at_work([Shown(found(tree, "t"), 4)], 3)[0].figures == ("5 calls", "4,936 tokens", "3.0 s")


def test_a_run_that_shared_the_terminal_lists_its_tasks_at_its_end() -> None:
    (run,) = told(*events_of("failing")).roots
    assert drawn(run_ended(run, 0, run.children, "#2 "))[1:] == [
        "  finished: 1 One",
        "  failed: 2 Two",
        "    error: CallFailedError: FunctionLLM failed: division by zero (ZeroDivisionError)",
    ]
    many = told(RunStarted(tasks=15, time=1, **RUN), *(TaskSkipped(number=n, time=1, **RUN) for n in range(1, 16)))
    assert drawn(run_ended(many.roots[0], 1, many.roots[0].children))[-1] == "  more: and 3 tasks more"


HOSTILE = "\x1b[2J\r\nmore\x07 [bold]x[/bold] \u202eevil \udc80 \u200b end"


def test_hostile_text_stays_in_its_line() -> None:
    shown = in_lines(
        RunStarted(tasks=1, crew=HOSTILE, time=1, **RUN),
        TaskStarted(description=HOSTILE, time=1, **{**TASK, "agent": HOSTILE}),
        CallStarted(model=HOSTILE, messages=1, time=1, **CALL),
        CallFinished(model=HOSTILE, seconds=1, reply=Reply(text=HOSTILE), time=1, **CALL),
        ToolStarted(tool=HOSTILE, arguments={HOSTILE: HOSTILE}, time=1, **TOOL),
        ToolFinished(tool=HOSTILE, seconds=1, answer=HOSTILE, time=1, **TOOL),
        Waiting(cause=HOSTILE, error=CircuitOpenError(HOSTILE), time=1, **CALL),
        TaskFailed(seconds=1, error=ValueError(HOSTILE), time=1, **TASK),
    )
    for line in shown:
        assert line.isprintable(), line
        assert "[bold]x[/bold]" in line
