"""Which lines show a tree, within the room there is. Pure: what a line looks like is the renderer's business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from oarlock.views.tree_parts import Kind, Piece, State
from oarlock.views.words import (
    about,
    call_words,
    counted,
    duration,
    note_words,
    plain,
    summary,
    tokens,
    tool_words,
    wait_words,
)

__all__ = ["Row", "Shown", "at_work", "ended", "run_ended"]

_MOST_STEPS: Final = 12  # of a piece that has ended; more are folded
_HEAD: Final = 3  # of these, from the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line.

    Attributes:
        depth: how far it is indented.
        mark: what stands before it: a state (`"working"`, `"waiting"`, `"finished"`, ...), `"note"`, `"answer"` or `"error"`.
        text: what it says.
        detail: what it says further, less loudly.
        figures: what stands at its end, the most important last.
        strong: it is a heading.
        whole: where it stays it takes as many lines as it needs.
    """

    depth: int
    mark: str
    text: str
    detail: str = ""
    figures: tuple[str, ...] = ()
    strong: bool = False
    whole: bool = False


class Shown(NamedTuple):
    """A piece to show.

    Attributes:
        piece: it.
        now: the time by its run's clock.
        title: what stands before its name.
    """

    piece: Piece
    now: float
    title: str = ""


def at_work(pieces: Sequence[Shown], room: int) -> list[Row]:
    """Return at most `room` lines for pieces that are at work: each gets as many as the others, one at least.

    What is at work in them comes first, then what ended last. With one line for a piece it says what is being done.
    """
    if room < 1 or not pieces:
        return []
    shown = pieces if len(pieces) <= room else pieces[: room - 1]
    more = len(pieces) - len(shown)
    share, spare = divmod(room - bool(more), max(1, len(shown)))
    rows: list[Row] = []
    for number, one in enumerate(shown):
        head, *inner = _piece_at_work(one.piece, share + (number < spare), one.now, 0)
        rows += [replace(head, text=f"{one.title}{head.text}"), *inner]
    if more:
        waiting = sum(_deepest(one.piece).waiting is not None for one in pieces[len(shown) :])
        rows.append(
            Row(
                depth=0, mark="more", text=f"and {more} more at work{f', {waiting} of them waiting' if waiting else ''}"
            )
        )
    return rows


def _piece_at_work(piece: Piece, room: int, now: float, depth: int) -> list[Row]:
    head = _row(piece, now, depth)
    open_pieces = [child for child in piece.children if not child.is_over]
    over = [child for child in piece.children if child.is_over]
    if room == 1:
        return [_with_activity(head, piece, now)]
    rest = room - 1
    inner: list[Row] = []
    if open_pieces:
        fitting = open_pieces if len(open_pieces) <= rest else open_pieces[: max(1, rest - 1)]
        hidden = len(open_pieces) - len(fitting) if rest > 1 or len(open_pieces) == 1 else 0
        share = (rest - bool(hidden)) // len(fitting)
        for child in fitting:
            inner += _piece_at_work(child, share, now, depth + 1)
        if hidden:
            inner.append(Row(depth=depth + 1, mark="more", text=f"and {hidden} more at work"))
    return [head, *_latest(over, rest - len(inner), now, depth + 1), *inner]


def _latest(pieces: Sequence[Piece], room: int, now: float, depth: int) -> list[Row]:
    """Return a line each for those that ended last, and one for the others."""
    if room < 1 or not pieces:
        return []
    if len(pieces) <= room:
        return [_row(piece, now, depth) for piece in pieces]
    kept = pieces[len(pieces) - (room - 1) :]
    folded = Row(depth=depth, mark="more", text=_folded(pieces[: len(pieces) - len(kept)]))
    return [folded, *(_row(piece, now, depth) for piece in kept)]


def _with_activity(row: Row, piece: Piece, now: float) -> Row:
    """Return a piece's line with what is done in it."""
    deepest = _deepest(piece)
    if deepest is piece:
        return row
    return replace(row, mark="waiting" if deepest.waiting else row.mark, detail=_row(deepest, now, 0).text)


def _deepest(piece: Piece) -> Piece:
    """Return what is at work in a piece, as deep in it as there is anything: the latest where there are several."""
    while (inner := next((child for child in reversed(piece.children) if not child.is_over), None)) is not None:
        piece = inner
    return piece


def ended(piece: Piece, now: float, depth: int = 0) -> list[Row]:
    """Return the lines for a piece that has ended, with the steps that it took, what came of it, and its error if it is its own."""
    return [_row(piece, now, depth), *_steps(piece, now, depth + 1), *_outcome(piece, depth + 1)]


def _steps(piece: Piece, now: float, depth: int) -> list[Row]:
    """Return the lines for what happened in a piece, in the order of time; of many steps those in the middle are folded."""
    waits = [wait for wait in piece.waits if wait.cause != "human"]  # what the human said is noted
    steps = [(wait.began, [Row(depth=depth, mark="waiting", text=wait_words(wait, now), whole=True)]) for wait in waits]
    steps += [
        (note.time, [Row(depth=depth, mark="note", text=words)]) for note in piece.notes if (words := note_words(note))
    ]
    hidden = range(_HEAD, _HEAD + len(piece.children) - _MOST_STEPS)
    for number, child in enumerate(piece.children):
        if number not in hidden:
            steps.append((child.began, ended(child, now, depth)))
        elif number == _HEAD:
            folded = _folded(piece.children[hidden.start : hidden.stop])
            steps.append((child.began, [Row(depth=depth, mark="more", text=folded)]))
    steps.sort(key=lambda step: step[0])
    return [row for _, rows in steps for row in rows]


def _folded(pieces: Sequence[Piece]) -> str:
    """Return pieces in a few words."""
    names = {Kind.call: "call", Kind.tool: "tool run", Kind.task: "task", Kind.run: "crew"}
    kinds = [(name, sum(piece.kind is kind for piece in pieces)) for kind, name in names.items()]
    failed = sum(piece.state is State.failed for piece in pieces)
    parts = [counted(count, name) for name, count in kinds if count] or [counted(len(pieces), "step")]
    return f"{', '.join(parts)} more{f', {failed} failed' if failed else ''}"


def _outcome(piece: Piece, depth: int) -> list[Row]:
    if piece.problem_of_its_own is not None:
        return [Row(depth=depth, mark="error", text=about(piece.problem, 400), whole=True)]
    if piece.kind is Kind.tool and piece.state is State.failed:
        return [Row(depth=depth, mark="error", text=plain(piece.answer, 300), whole=True)]
    if piece.answer and (piece.kind is Kind.task or piece.coworker):
        return [Row(depth=depth, mark="answer", text=plain(piece.answer, 300), whole=True)]
    return []


def run_ended(run: Piece, now: float, tasks: Sequence[Piece] = (), title: str = "") -> list[Row]:
    """Return the lines for a run that has ended: what it took, and these tasks of it, a line each."""
    first, *rest = summary(run, now)
    rows = [Row(depth=0, mark=run.state.value, text=f"{title}{first}", strong=True, whole=True)]
    for task in tasks[:_MOST_STEPS]:
        rows += [_row(task, now, 1), *_failure(task)]
    if len(tasks) > _MOST_STEPS:
        rows.append(Row(depth=1, mark="more", text=f"and {counted(len(tasks) - _MOST_STEPS, 'task')} more"))
    rows += [Row(depth=1, mark="note", text=words, whole=True) for note in run.notes if (words := note_words(note))]
    rows += [Row(depth=1, mark="waiting", text=line, whole=True) for line in rest]
    return [*rows, *_outcome(run, 1)]


def _failure(task: Piece) -> list[Row]:
    """Return the error that a task failed with, wherever it arose."""
    failed = (piece for piece in task.walk() if piece.problem is not None and piece.problem == task.problem)
    return next((_outcome(piece, 2) for piece in failed if piece.problem_of_its_own), [])


def _row(piece: Piece, now: float, depth: int) -> Row:
    mark = "waiting" if piece.waiting is not None else piece.state.value
    took = (duration(piece.lasts(now)),)
    if piece.kind is Kind.call:
        used = (tokens(piece.totals),) if piece.state is State.finished and not piece.cached else ()
        foreign = piece.agent and piece.parent is not None and piece.parent.kind is Kind.tool
        text = f"{plain(piece.agent, 40)}: {call_words(piece, now)}" if foreign else call_words(piece, now)
        return Row(depth=depth, mark=mark, text=text, figures=(*used, *took))
    if piece.kind is Kind.tool:
        answer = plain(piece.answer, 100) if piece.state is State.finished and not piece.coworker else ""
        return Row(depth=depth, mark=mark, text=tool_words(piece, now), detail=answer, figures=took)
    return _heading(piece, now, depth, mark)


def _heading(piece: Piece, now: float, depth: int, mark: str) -> Row:
    """Return the line of a task, a run, or what nothing more is known of."""
    totals = piece.totals
    figures = [
        counted(totals.calls, "call") if totals.calls else "",
        tokens(totals) if totals.usage.total_tokens else "",
    ]
    figures = [] if piece.state is State.skipped else [*figures, duration(piece.lasts(now))]
    if piece.kind is Kind.task:
        wait, words = piece.waiting, plain(piece.text or piece.name) or "a task"
        number = f"{piece.number} " if piece.number else ""
        end = {State.skipped: "skipped", State.stopped: "stopped", State.failed: "failed"}.get(piece.state, "")
        detail = (
            wait_words(wait, now)
            if wait is not None
            else " · ".join(part for part in (end, plain(piece.agent, 40)) if part)
        )
        text = f"{number}{words}"
    elif piece.kind is Kind.run:
        tasks = f"{totals.tasks_ended} of {counted(max(piece.tasks, totals.tasks), 'task')}"
        text, detail = plain(piece.name, 60) or "crew", tasks
    else:
        text, detail = plain(piece.agent, 60) or "work", ""
    return Row(
        depth=depth, mark=mark, text=text, detail=detail, figures=tuple(one for one in figures if one), strong=True
    )
