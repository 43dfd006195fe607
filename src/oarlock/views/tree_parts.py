# ruff: noqa: SLF001  pieces know one another's totals
"""What a `RunTree` is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from oarlock.contract.reply import Usage
from oarlock.views.reading import Problem, Told

__all__ = ["Kind", "Note", "Piece", "State", "Totals", "Wait", "Waits"]


class Kind(StrEnum):
    """What a piece of work is. `unknown`: something happened in it, and what would tell has not been seen."""

    run = "run"
    task = "task"
    call = "call"
    tool = "tool"
    unknown = "unknown"


class State(StrEnum):
    """How a piece of work stands. `stopped`: it was cancelled, or what is around it ended first."""

    working = "working"
    finished = "finished"
    failed = "failed"
    stopped = "stopped"
    skipped = "skipped"


@dataclass(slots=True, kw_only=True)
class Wait:
    """A time in which a piece of work could not go on.

    Attributes:
        cause: `"retry"`, `"rate_limit"`, `"concurrency"`, `"budget"`, ...; `"human"` where somebody is asked.
        began: when, in seconds since the epoch.
        expected: how many seconds it should take, where that is known.
        seconds: how many it took; `None` while it lasts.
        problem: the error that it is for.
        attempt: the attempt that had failed, for a retry.
    """

    cause: str
    began: float
    expected: float | None = None
    seconds: float | None = None
    problem: Problem | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that happened in a piece of work and is neither its beginning, its end, nor a wait.

    Attributes:
        kind: the name of the event's class: `"SignedIn"`, `"FellBack"`, `"GuardrailChecked"`, ...
        event: the event, as it was given.
        time: when, in seconds since the epoch.
    """

    kind: str
    event: Told
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How many waits of one cause have ended, and how many seconds they took."""

    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Totals:
    """What a piece of work took, with all that was done in it. Parts side by side each count: seconds of waiting add up.

    Attributes:
        tasks: tasks that have begun, or were skipped.
        tasks_ended: of these, those that are over, however they ended.
        tasks_failed: of these, those that failed or were stopped.
        calls: model calls that have begun.
        calls_failed: of these, those that failed for good.
        requests: what the calls that have ended took: one each, and one for each further attempt.
        tools: runs of tools that have begun.
        tools_failed: of these, those whose answer is an error.
        cached: calls that were answered from a cache.
        usage: tokens of the calls that were answered.
        cost: what those cost, as far as there are prices.
        unpriced: calls that were answered, and for whose model there is no price.
        sign_ins: credentials that were got.
        waits: by cause.
    """

    tasks: int = 0
    tasks_ended: int = 0
    tasks_failed: int = 0
    calls: int = 0
    calls_failed: int = 0
    requests: int = 0
    tools: int = 0
    tools_failed: int = 0
    cached: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    sign_ins: int = 0
    waits: dict[str, Waits] = field(default_factory=dict)

    @property
    def waited(self) -> float:
        """Seconds of all waits."""
        return sum(wait.seconds for wait in self.waits.values())

    def include(self, other: Totals) -> None:
        """Add another piece's."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.usage += other.usage
        self.cost += other.cost
        for cause, wait in other.waits.items():
            self.add_wait(cause, wait.count, wait.seconds)

    def add_wait(self, cause: str, count: int, seconds: float) -> None:
        """Add waits of a cause."""
        known = self.waits.get(cause, Waits())
        self.waits[cause] = Waits(count=known.count + count, seconds=known.seconds + seconds)


_COUNTS = (
    "tasks", "tasks_ended", "tasks_failed", "calls", "calls_failed", "requests", "tools", "tools_failed", "cached",
    "unpriced", "sign_ins",
)  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class Piece:
    """A piece of work: a run, a task, a model call, a tool's run. Read it; only its tree writes.

    Attributes:
        id: the `span_id` of its events.
        kind: which of these it is.
        state: how it stands.
        parent: the piece around it.
        children: the pieces in it, in the order in which they began.
        agent: the role of the agent at work; under a tool with which an agent delegates, that of the coworker.
        name: of the crew, of the task, of the model, of the tool.
        text: what is to be done: a task's description, or the work that was delegated.
        number: a task's place in its crew, a call's among its agent's; 0 if that is not known.
        tasks: how many tasks a run has.
        purpose: of a call: `"answer"`, `"judge"`, `"summary"`.
        coworker: whom a tool handed the work to.
        question: it was a question.
        arguments: a tool's, where they are known.
        began: when, in seconds since the epoch: at the latest when it was first heard of.
        seconds: how long it took; `None` while it lasts.
        attempts: requests that a call took, or takes so far.
        written: characters of a streamed answer that have come.
        written_in: the attempt that they are of.
        tool_calls: for how many tools a call's answer asks.
        cached: the answer is that of an equal call before.
        usage: of a call, what its answer cost; of a task and a run, what they say of themselves at their end.
        cost: of a call, in money; `None` if there is no price.
        answer: what came of it.
        problem: why it failed.
        waits: its own waits, the present one last.
        notes: what else happened in it.
        begin: the event that began it, as it was given.
        end: the event that ended it.
    """

    id: str
    kind: Kind = Kind.unknown
    state: State = State.working
    parent: Piece | None = None
    children: list[Piece] = field(default_factory=list)
    parent_id: str | None = None
    run_id: str | None = None
    agent: str = ""
    name: str = ""
    text: str = ""
    number: int = 0
    tasks: int = 0
    purpose: str = "answer"
    coworker: str = ""
    question: bool = False
    arguments: Mapping[str, Any] | None = None
    began: float = 0.0
    seconds: float | None = None
    attempts: int = 1
    written: int = 0
    tool_calls: int = 0
    cached: bool = False
    usage: Usage = field(default_factory=Usage)
    cost: Decimal | None = None
    answer: str = ""
    problem: Problem | None = None
    waits: list[Wait] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    begin: Told | None = None
    end: Told | None = None
    written_in: int = 0
    _totals: Totals | None = None
    _forgotten: Totals | None = None

    @property
    def is_over(self) -> bool:
        """It has ended, one way or another."""
        return self.state is not State.working

    @property
    def waiting(self) -> Wait | None:
        """What it waits for now."""
        return next((wait for wait in reversed(self.waits) if wait.seconds is None), None)

    @property
    def problem_of_its_own(self) -> Problem | None:
        """Its error, unless that is one of a piece in it, which has it too: an error is best shown once, where it arose."""
        if self.problem is None or any(
            self.problem in (piece.problem for piece in child.walk()) for child in self.children
        ):
            return None
        return self.problem

    @property
    def totals(self) -> Totals:
        """What it took, with all that was done in it."""
        if self._totals is None:
            for piece in reversed(list(self._walk_changed())):  # those within before those around, however deep it is
                piece._count()
        assert self._totals is not None, "counted just now"
        return self._totals

    def lasts(self, now: float) -> float:
        """Return for how many seconds it has gone on, or how many it took."""
        return max(0.0, now - self.began) if self.seconds is None else self.seconds

    def walk(self) -> Iterator[Piece]:
        """Yield it and all pieces in it, each before those in it."""
        ahead = [self]
        while ahead:
            piece = ahead.pop()
            yield piece
            ahead.extend(reversed(piece.children))

    def changed(self) -> None:
        """Let totals be counted anew, its own and those of all around it."""
        piece: Piece | None = self
        while piece is not None and piece._totals is not None:  # around one that is to be counted all are
            piece._totals = None
            piece = piece.parent

    def forget_children(self) -> None:
        """Let go of the pieces in it, and keep their totals."""
        gone = Totals() if self._forgotten is None else self._forgotten
        for child in self.children:
            gone.include(child.totals)
        self._forgotten = gone
        self.children.clear()
        self.changed()

    def _walk_changed(self) -> Iterator[Piece]:
        ahead = [self]
        while ahead:
            piece = ahead.pop()
            yield piece
            ahead.extend(child for child in piece.children if child._totals is None)

    def _count(self) -> None:
        totals = self._own_totals()
        if self._forgotten is not None:
            totals.include(self._forgotten)
        for child in self.children:
            totals.include(child.totals)
        self._totals = totals

    def _own_totals(self) -> Totals:
        made = Totals(sign_ins=sum(note.kind == "SignedIn" for note in self.notes))
        if self.kind is Kind.task:
            made.tasks, made.tasks_ended = 1, int(self.is_over)
            made.tasks_failed = int(self.state in (State.failed, State.stopped))
        elif self.kind is Kind.call:
            made.calls, made.calls_failed = 1, int(self.state is State.failed)
            made.requests = self.attempts if self.is_over and not self.cached else 0
            made.cached = int(self.cached)
            if self.state is State.finished:
                made.usage, made.cost = self.usage, self.cost or Decimal(0)
                made.unpriced = int(self.cost is None and not self.cached)
        elif self.kind is Kind.tool:
            made.tools, made.tools_failed = 1, int(self.state is State.failed)
        for wait in self.waits:
            if wait.seconds is not None:
                made.add_wait(wait.cause, 1, wait.seconds)
        return made
