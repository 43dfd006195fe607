"""The tree of a run: what it says of real runs, and that no order, gap or nonsense makes it contradict itself."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from view_runs import CREWS, events_of

from oarlock.contract.reply import Reply, Usage
from oarlock.events import (
    CallFinished,
    CallStarted,
    EventsMissed,
    HumanAnswered,
    HumanAsked,
    ModelDelta,
    RunFailed,
    RunFinished,
    RunStarted,
    SignedIn,
    TaskFinished,
    TaskSkipped,
    TaskStarted,
    ToolStarted,
    Waited,
    Waiting,
    to_dict,
)
from oarlock.views import Kind, Piece, RunTree, State, Totals


def tree_of(events: Any, **given: Any) -> RunTree:
    tree = RunTree(**given)
    for event in events:
        tree.add(event)
    check(tree)
    return tree


def check(tree: RunTree) -> None:
    """Check that a tree is one, that what has ended has nothing at work in it, and that its totals are those of its pieces."""
    seen: set[int] = set()
    for piece in tree.walk():
        assert id(piece) not in seen
        seen.add(id(piece))
        assert tree.find(piece.id) is piece
        assert piece.seconds is None or piece.seconds >= 0
        assert all(child.parent is piece for child in piece.children)
        if piece.is_over:
            assert piece.waiting is None
            assert all(child.is_over for child in piece.children)
        assert piece.totals == counted(piece)
    assert all(root.parent is None for root in tree.roots)


def counted(piece: Piece) -> Totals:
    totals = Totals()
    for one in piece.walk():
        alone = Piece(**{name: getattr(one, name) for name in COPIED})
        totals.include(alone.totals)
    return totals


COPIED = ("id", "kind", "state", "attempts", "cached", "usage", "cost", "waits", "notes")


def outline(piece: Piece) -> tuple[Any, ...]:
    own = (
        piece.id,
        piece.kind,
        piece.state,
        piece.name,
        piece.agent,
        piece.number,
        piece.seconds,
        piece.answer,
        piece.text,
    )
    waits = [(wait.cause, wait.seconds, wait.problem) for wait in piece.waits]
    return (
        *own,
        piece.problem,
        waits,
        [note.kind for note in piece.notes],
        [outline(child) for child in piece.children],
    )


def shown(piece: Piece, depth: int = 0) -> list[str]:
    line = f"{'  ' * depth}{piece.kind} {piece.name} {piece.state}"
    return [line, *(line for child in piece.children for line in shown(child, depth + 1))]


def test_a_run_is_a_tree_with_delegated_work_in_its_place() -> None:
    (run,) = tree_of(events_of("delegating")).roots
    assert shown(run) == [
        "run delegating finished",
        "  task A line finished",
        "    call scripted finished",
        "    tool delegate_work_to_coworker finished",
        "      call scripted finished",
        "    call scripted finished",
    ]
    tool = run.children[0].children[1]
    assert (tool.coworker, tool.text, tool.question, tool.agent) == ("Poet", "Rhyme on boats", False, "Boss")
    (call,) = tool.children
    assert (call.agent, call.attempts, call.waits[0].cause, call.answer) == ("Poet", 2, "retry", "Row.")
    assert call.waits[0].problem is not None
    assert call.waits[0].problem.type == "LLMTimeoutError"
    assert (run.totals.calls, run.totals.requests, run.totals.tools) == (3, 4, 1)
    assert run.totals.waits["retry"].count == 1
    assert run.totals.waited == call.waits[0].seconds


def test_tasks_side_by_side_wait_for_a_rate_limit_and_their_tools_fail() -> None:
    (run,) = tree_of(events_of("side_by_side")).roots
    assert [(task.name, task.number, task.state.value) for task in run.children[:3]] == [
        (f"part-{n}", n + 1, "finished") for n in range(3)
    ]
    assert (run.tasks, run.totals.tasks, run.totals.tasks_ended, run.totals.tasks_failed) == (4, 4, 4, 0)
    assert run.totals.waits["rate_limit"].count == 2
    assert (run.totals.tools, run.totals.tools_failed) == (2, 1)
    assert run.usage.total_tokens == run.totals.usage.total_tokens
    assert run.children[3].children[0].tool_calls == 1


def test_an_error_belongs_to_where_it_arose() -> None:
    (run,) = tree_of(events_of("failing")).roots
    assert (run.state, run.totals.tasks_failed, run.totals.calls_failed) == (State.failed, 1, 1)
    own = [piece.kind for piece in run.walk() if piece.problem_of_its_own]
    assert own == [Kind.call]
    assert run.problem is not None
    assert "division by zero" in str(run.problem)


@pytest.mark.parametrize("name", CREWS)
def test_dictionaries_make_the_same_tree(name: str) -> None:
    whole = tree_of(events_of(name))
    plain = tree_of(to_dict(event, content=True) for event in events_of(name))
    assert outline(plain.roots[0]) == outline(whole.roots[0])
    spare = tree_of(to_dict(event) for event in events_of(name))
    assert [piece.state for piece in spare.walk()] == [piece.state for piece in whole.walk()]
    assert spare.roots[0].totals == whole.roots[0].totals


@settings(max_examples=40)
@given(st.randoms(use_true_random=False))
def test_runs_side_by_side_do_not_mix(order: random.Random) -> None:
    left = {name: list(events_of(name)) for name in CREWS}
    tree = RunTree()
    while left:
        name = order.choice(sorted(left))
        tree.add(left[name].pop(0))
        if not left[name]:
            del left[name]
    check(tree)
    alone = {root.id: outline(root) for name in CREWS for root in tree_of(events_of(name)).roots}
    assert {root.id: outline(root) for root in tree.roots} == alone


@settings(max_examples=60)
@given(st.sampled_from(sorted(CREWS)), st.data())
def test_any_order_and_any_gaps_make_a_consistent_tree(name: str, data: st.DataObject) -> None:
    events = events_of(name)
    picked = data.draw(st.lists(st.sampled_from(range(len(events))), max_size=len(events) + 5))
    tree = tree_of(events[at] for at in picked)
    tree.stop()
    check(tree)
    assert all(piece.is_over for piece in tree.walk())


@settings(max_examples=40)
@given(st.sampled_from(sorted(CREWS)), st.data())
def test_a_tree_may_begin_late_and_end_early(name: str, data: st.DataObject) -> None:
    events = events_of(name)
    first = data.draw(st.integers(0, len(events)))
    last = data.draw(st.integers(first, len(events)))
    tree = tree_of(events[first:last])
    if first == 0 and last:
        assert [root.kind for root in tree.roots] == [Kind.run]  # all hangs together
    tree.add(RunFailed(seconds=1.0, error=KeyboardInterrupt(), span_id=events[0].span_id, time=tree.latest))
    check(tree)


IDS = st.sampled_from(["a", "b", "c", "d", None])
NONSENSE = st.sampled_from(
    [None, True, -1, 0, 3, 10**30, 0.5, float("nan"), float("inf"), "", "x", {"message": 5}, [], [1]]
)
KINDS = "RunStarted RunFinished RunFailed TaskStarted TaskFinished TaskFailed TaskSkipped CallStarted CallFinished CallFailed "
KINDS += "ToolStarted ToolFinished Waiting Waited ModelDelta PartialOutput HumanAsked HumanAnswered Delegated CacheHit FellBack SignedIn"
FIELDS = "time seconds number tasks task agent model tool cause reply usage error description answer failed attempts text attempt count"


@settings(max_examples=60)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"event": st.sampled_from([*KINDS.split(), "Unheard", ""]), "span_id": IDS, "parent_id": IDS},
            optional={"run_id": IDS, "task_id": IDS, **dict.fromkeys(FIELDS.split(), NONSENSE)},
        ),
        max_size=12,
    )
)
def test_nonsense_makes_a_consistent_tree(events: list[dict[str, Any]]) -> None:
    tree_of(events)


def test_pieces_that_were_there_first_are_hung_under_those_around_them() -> None:
    call = CallStarted(model="m", messages=1, span_id="c", parent_id="t", task_id="t", run_id="r", time=3)
    tree = tree_of([call])
    assert [root.id for root in tree.roots] == ["c"]
    tree.add(RunStarted(tasks=1, span_id="r", run_id="r", time=4))
    tree.add(TaskStarted(span_id="t", parent_id="r", run_id="r", task_id="t", time=4))
    check(tree)
    assert [root.id for root in tree.roots] == ["r"]
    assert [piece.id for piece in tree.walk()] == ["r", "t", "c"]


def test_what_ended_without_having_begun_is_known_by_its_end() -> None:
    end = CallFinished(model="m", seconds=2.0, reply=Reply(text="x"), span_id="c", time=10)
    (call,) = tree_of([end]).roots
    assert (call.kind, call.name, call.began, call.seconds) == (Kind.call, "m", 8.0, 2.0)


def test_a_run_that_is_driven_again_is_at_work_again() -> None:
    begin = RunStarted(tasks=1, span_id="r", time=1)
    tree = tree_of([begin, RunFailed(seconds=1, error=ValueError(), span_id="r", time=2)])
    assert tree.roots[0].state is State.failed
    tree.add(RunStarted(tasks=1, span_id="r", time=5))
    assert (tree.roots[0].state, tree.roots[0].problem, tree.roots[0].lasts(7)) == (State.working, None, 2)


def test_skipped_tasks_answers_that_are_written_humans_and_missing_events() -> None:
    tree = tree_of(
        [
            RunStarted(tasks=2, span_id="r", run_id="r", time=1),
            TaskSkipped(number=1, description="Not now", task="one", span_id="r", run_id="r", time=1),
            TaskStarted(number=2, task="two", span_id="r:2", parent_id="r", run_id="r", task_id="r:2", time=1),
            CallStarted(model="m", messages=1, span_id="c", parent_id="r:2", time=1),
            ModelDelta(text="Row", span_id="c", time=2),
            ModelDelta(text="Boats", attempt=2, span_id="c", time=2),
            SignedIn(method="ApiKey", why="first use", span_id="c", time=2),
            HumanAsked(answer="x", span_id="r:2", time=3),
            EventsMissed(count=4, time=3),
        ]
    )
    skipped, task = tree.roots[0].children
    assert (skipped.state, skipped.name, skipped.number) == (State.skipped, "one", 1)
    assert (task.children[0].written, tree.missed) == (5, 4)
    assert task.waiting is not None
    assert task.waiting.cause == "human"
    tree.add(HumanAnswered(seconds=7.5, span_id="r:2", time=10))
    totals = tree.roots[0].totals
    assert (totals.waits["human"].seconds, totals.sign_ins, totals.tasks, totals.tasks_ended) == (7.5, 1, 2, 1)


def test_a_wait_whose_beginning_was_not_seen_counts_and_one_that_is_cut_off_ends() -> None:
    tree = tree_of(
        [
            CallStarted(model="m", messages=1, span_id="c", time=1),
            Waited(cause="rate_limit", seconds=3, span_id="c", time=5),
            Waiting(cause="retry", seconds=9, attempt=1, span_id="c", time=6),
        ]
    )
    (call,) = tree.roots
    assert (call.totals.waited, call.attempts) == (3, 2)
    tree.add(TaskStarted(span_id="t", time=8))
    tree.stop()
    check(tree)
    assert call.totals.waits["retry"].seconds == 2


def test_prices_make_costs() -> None:
    def prices(model: str, usage: Usage) -> Decimal | None:
        return Decimal(usage.total_tokens) / 100 if model == "m" else None

    reply = Reply(text="x", usage=Usage(prompt_tokens=10, completion_tokens=5, requests=1))
    tree = tree_of(
        [
            TaskStarted(span_id="t", time=1),
            CallFinished(model="m", seconds=1, reply=reply, span_id="c1", parent_id="t", time=2),
            CallFinished(model="other", seconds=1, reply=reply, span_id="c2", parent_id="t", time=3),
        ],
        prices=prices,
    )
    assert (tree.roots[0].totals.cost, tree.roots[0].totals.unpriced) == (Decimal("0.15"), 1)


def test_what_is_forgotten_still_counts() -> None:
    events = events_of("side_by_side")
    tree = RunTree()
    for event in events:
        piece = tree.add(event)
        if piece is not None and isinstance(event, TaskFinished):
            tree.forget(piece)
    kept = tree_of(events)
    assert tree.roots[0].totals == kept.roots[0].totals
    assert len(list(tree.walk())) == 5
    tree.roots[0].state = State.working
    tree.forget(tree.roots[0])
    assert len(list(tree.walk())) == 5  # it is at work


def test_a_stray_that_is_forgotten_is_not_waited_for() -> None:
    tree = tree_of(
        [
            TaskStarted(span_id="t", task_id="t", time=1),
            ToolStarted(tool="x", span_id="u", parent_id="nowhere", task_id="t", time=2),
            TaskFinished(seconds=1, answer="", span_id="t", task_id="t", time=3),
        ]
    )
    tree.forget(tree.roots[0])
    tree.add(RunFinished(seconds=3, usage=Usage(), span_id="nowhere", time=4))
    assert [root.id for root in tree.roots] == ["nowhere"]


def test_what_belongs_to_nothing_is_passed_over() -> None:
    assert tree_of([{"event": "TaskStarted"}, {}, {"span_id": "x"}]).roots == []
