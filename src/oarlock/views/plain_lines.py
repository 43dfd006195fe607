"""A line for each thing that happens, for logs, pipes, notebooks: no colours, nothing that moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from oarlock.views.reading import Facts, Told
from oarlock.views.run_tree import RunTree
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

__all__ = ["lines"]

_MOST_ANSWER: Final = 200  # characters


def lines(tree: RunTree, piece: Piece | None, event: Told, number: int = 0) -> list[str]:
    """Return what an event that a tree has just taken in says, in no line, or a few.

    Args:
        tree: the tree.
        piece: what `tree.add` returned.
        event: the event.
        number: tells this run from others at the same time; 0 for the only one.
    """
    if piece is None:
        return []
    facts = Facts(event)
    words = _words(piece, facts, tree.latest)
    run = f"#{number} " if number else ""
    place = run if facts.kind.startswith(("Run", "Task")) else f"{run}{_place(piece)}"
    return [f"{place}{line}" for line in words]


def _place(piece: Piece) -> str:
    """Return in which task it happened: lines of tasks side by side are to be told apart."""
    task = _task_around(piece)
    if task is None:
        return ""
    return f"  [{task.number}] " if task.number else "  "


def _task_around(piece: Piece) -> Piece | None:
    here: Piece | None = piece
    while here is not None and here.kind is not Kind.task:
        here = here.parent
    return here


def _words(piece: Piece, facts: Facts, now: float) -> list[str]:
    words = _KINDS.get(facts.kind)
    if words is not None:
        return words(piece, now)
    last = piece.notes[-1] if piece.notes else None
    noted = note_words(last) if last is not None and last.event is facts.event else ""
    return [_with_agent(piece, noted)] if noted else []


def _run_began(run: Piece, _now: float) -> list[str]:
    return [f"{_crew(run)} started: {counted(run.tasks, 'task')}"]


def _run_ended(run: Piece, now: float) -> list[str]:
    problem = run.problem_of_its_own
    return [*([f"{_crew(run)}: {about(problem, 400)}"] if problem else []), *summary(run, now)]


def _waits(piece: Piece, now: float) -> list[str]:
    return [_with_agent(piece, wait_words(piece.waits[-1], now))] if piece.waits else []


def _approval(tool: Piece, _now: float) -> list[str]:
    return [f"{plain(tool.agent, 60)} asks for approval of {plain(tool.name, 60)}"]


def _crew(run: Piece) -> str:
    return "Crew" if run.name in ("", "crew") else f"Crew {plain(run.name, 60)}"


def _task_began(task: Piece, _now: float) -> list[str]:
    return [f"{_name(task)}: {plain(task.text or task.name)}", f"  Agent: {plain(task.agent, 60)}"]


def _task_skipped(task: Piece, _now: float) -> list[str]:
    return [f"{_name(task)} skipped: {plain(task.text or task.name)}"]


def _task_finished(task: Piece, now: float) -> list[str]:
    return [f"{_name(task)} answered in {duration(task.lasts(now))}: {plain(task.answer, _MOST_ANSWER)}"]


def _task_failed(task: Piece, now: float) -> list[str]:
    problem = task.problem_of_its_own
    how = "stopped" if task.state is State.stopped else "failed"
    return [f"{_name(task)} {how} after {duration(task.lasts(now))}{f': {about(problem, 400)}' if problem else ''}"]


def _name(task: Piece) -> str:
    return f"Task {task.number}" if task.number else "Task"


def _call_ended(call: Piece, now: float) -> list[str]:
    words, took = call_words(call, now), duration(call.lasts(now))
    if call.state is State.finished:
        return [_with_agent(call, f"{words}: {tokens(call.totals)} in {took}")]
    return [_with_agent(call, f"{words} after {took}: {about(call.problem, 400)}")]


def _tool_ended(tool: Piece, now: float) -> list[str]:
    if tool.coworker and tool.state is State.finished:
        return []  # the coworker has been heard
    return [_with_agent(tool, f"{tool_words(tool, now)}: {plain(tool.answer)}")]


def _with_agent(piece: Piece, words: str) -> str:
    """Name the agent where it is not that of the task: a coworker."""
    task = _task_around(piece)
    return f"{plain(piece.agent, 40)}: {words}" if task is not None and piece.agent not in ("", task.agent) else words


_KINDS: Final[dict[str, Callable[[Piece, float], list[str]]]] = {
    "RunStarted": _run_began,
    "RunFinished": _run_ended,
    "RunFailed": _run_ended,
    "TaskStarted": _task_began,
    "TaskSkipped": _task_skipped,
    "TaskFinished": _task_finished,
    "TaskFailed": _task_failed,
    "CallFinished": _call_ended,
    "CallFailed": _call_ended,
    "ToolFinished": _tool_ended,
    "Delegated": lambda tool, now: [tool_words(tool, now)],
    "ApprovalRequested": _approval,
    "Waiting": _waits,
    "HumanAsked": _waits,
}
