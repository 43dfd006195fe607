"""The tree of what a run does: events in, pieces of work out. It knows nothing of terminals, browsers or files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final, TypeAlias

from oarlock.contract.reply import Usage
from oarlock.views.reading import Facts, Told
from oarlock.views.tree_parts import Kind, Note, Piece, State, Wait

__all__ = ["Prices", "RunTree"]

Prices: TypeAlias = Callable[[str, Usage], Decimal | None]
"""What an answer of a model costs, by the model's name and the answer's usage; `None` where there is no price."""

_HUMAN: Final = "human"
_BEGINS: Final = {"RunStarted": Kind.run, "TaskStarted": Kind.task, "CallStarted": Kind.call, "ToolStarted": Kind.tool}
_ENDS: Final = {
    "RunFinished": (Kind.run, State.finished),
    "RunFailed": (Kind.run, State.failed),
    "TaskFinished": (Kind.task, State.finished),
    "TaskFailed": (Kind.task, State.failed),
    "CallFinished": (Kind.call, State.finished),
    "CallFailed": (Kind.call, State.failed),
    "ToolFinished": (Kind.tool, State.finished),
}
_STOPS: Final = ("CancelledError", "GeneratorExit", "KeyboardInterrupt", "StreamLeft")  # nothing went wrong


class RunTree:
    """The pieces of work of a run, or of several, as far as its events have come.

    Give it events as they happen (`crew.kickoff(on_event=tree.add)`, `for event in crew.stream(...)`), or the dictionaries that
    `oarlock.events.to_dict` made of them. Any number of runs may share a tree, and their events may come in any order and with
    any gaps: what is told of a piece whose beginning was not seen makes the piece; a piece hangs under the nearest piece around
    it that is known; what has ended has nothing at work in it. It takes one event at a time: hold a lock where several threads tell.

    Args:
        prices: what answers cost, for `Piece.cost` and `Totals.cost`.

    Attributes:
        roots: the pieces that have nothing around them: runs, tasks of agents without a crew.
        latest: the time of the latest event, in seconds since the epoch.
        missed: how many events are known to be missing.

    Example:
        >>> from oarlock.contract.events import CallFinished, CallStarted, RunStarted, TaskStarted
        >>> from oarlock.contract.reply import Reply
        >>> tree = RunTree()
        >>> for event in (
        ...     RunStarted(tasks=2, crew="rowers", span_id="r", time=10.0),
        ...     TaskStarted(task="Rhyme", agent="Poet", span_id="r:1", parent_id="r", time=10.0),
        ...     CallStarted(model="m", messages=2, span_id="c", parent_id="r:1", time=10.5),
        ...     CallFinished(model="m", seconds=1.5, reply=Reply(text="Row."), span_id="c", parent_id="r:1", time=12.0),
        ... ):
        ...     piece = tree.add(event)
        >>> [(piece.kind.value, piece.name, piece.state.value) for piece in tree.walk()]
        [('run', 'rowers', 'working'), ('task', 'Rhyme', 'working'), ('call', 'm', 'finished')]
        >>> tree.roots[0].totals.calls, tree.roots[0].lasts(tree.latest)
        (1, 2.0)
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self.roots: list[Piece] = []
        self.latest = 0.0
        self.missed = 0
        self._prices = prices
        self._pieces: dict[str, Piece] = {}
        self._strays: dict[str, list[Piece]] = {}  # by the id of a piece around them that has not been heard of

    def find(self, piece_id: str | None) -> Piece | None:
        """Return the piece of an id."""
        return None if piece_id is None else self._pieces.get(piece_id)

    def walk(self) -> Iterator[Piece]:
        """Yield all pieces, each before those in it."""
        for root in self.roots:
            yield from root.walk()

    def add(self, event: Told) -> Piece | None:
        """Take in what happened; return the piece that it is about, `None` where it is about none."""
        facts = Facts(event)
        time = facts.number("time")
        self.latest = max(self.latest, time or 0.0)
        if facts.kind == "EventsMissed":
            self.missed += facts.whole("count")
        piece_id = facts.id("span_id") or facts.id("task_id") or facts.id("run_id")
        if piece_id is None or not facts.kind:
            return None
        when = self.latest if time is None else time
        if facts.kind == "TaskSkipped":
            return self._skip(piece_id, facts, when)
        piece = self._piece(piece_id, facts, when)
        if facts.kind in _BEGINS:
            self._begin(piece, _BEGINS[facts.kind], facts, when)
        elif facts.kind in _ENDS:
            self._end(piece, *_ENDS[facts.kind], facts, when)
        else:
            _happen(piece, facts, when)
        piece.changed()
        return piece

    def forget(self, piece: Piece) -> None:
        """Let go of all pieces in a piece that has ended, and of itself if it has none around it.

        For a view of runs that have no end. Totals of the pieces around it stay as they are. What is told later of a piece that
        was let go of is taken for a new one.
        """
        if not piece.is_over:
            return
        for one in piece.walk():
            if one is not piece or piece.parent is None:
                self._let_go(one)
        if piece.parent is None:
            self.roots.remove(piece)
        else:
            piece.forget_children()

    def _let_go(self, piece: Piece) -> None:
        self._pieces.pop(piece.id, None)
        strays = self._strays.get(piece.parent_id or "", [])
        if piece in strays:
            strays.remove(piece)

    # Where pieces hang.

    def _piece(self, piece_id: str, facts: Facts, when: float) -> Piece:
        """Return the piece of an id, which may be a new one."""
        known = self._pieces.get(piece_id)
        if known is not None:
            return known
        piece = Piece(id=piece_id, began=when, run_id=facts.id("run_id"), agent=facts.text("agent"))
        self._pieces[piece_id] = piece
        self._hang(piece, facts)
        for stray in self._strays.pop(piece_id, ()):
            if stray.parent_id == piece_id and not _is_around(stray, piece):
                self._move(stray, piece)
        return piece

    def _hang(self, piece: Piece, facts: Facts) -> None:
        """Put a new piece where it belongs, or, while that is not known, under the task or the run around it."""
        if facts.kind in _BEGINS or facts.id("span_id") == piece.id:
            piece.parent_id = facts.id("parent_id")
        parent = self._pieces.get(piece.parent_id or "")
        if piece.parent_id is not None and parent is None:
            self._strays.setdefault(piece.parent_id, []).append(piece)
        around = (parent, self._pieces.get(facts.id("task_id") or ""), self._pieces.get(piece.run_id or ""))
        self._move(piece, next((one for one in around if one is not None and one is not piece), None))

    def _move(self, piece: Piece, parent: Piece | None) -> None:
        if piece.parent is not None:
            piece.parent.children.remove(piece)
            piece.parent.changed()
        elif piece in self.roots:
            self.roots.remove(piece)
        piece.parent = parent
        if parent is None:
            self.roots.append(piece)
            return
        parent.children.append(piece)
        parent.changed()
        if parent.is_over:
            _stop(piece, self.latest)

    # What becomes of them.

    def _begin(self, piece: Piece, kind: Kind, facts: Facts, when: float) -> None:
        if piece.begin is not None and piece.is_over:  # a run that is driven again
            piece.state, piece.seconds, piece.problem, piece.end = State.working, None, None, None
            piece.waits = [wait for wait in piece.waits if wait.seconds is not None]
        piece.kind, piece.begin, piece.began = kind, facts.event, when
        piece.agent = facts.text("agent") or piece.agent
        piece.number = facts.whole("number")
        if kind is Kind.run:
            piece.name, piece.tasks = facts.text("crew"), facts.whole("tasks")
        elif kind is Kind.task:
            piece.name, piece.text = facts.text("task"), facts.text("description")
        elif kind is Kind.call:
            piece.name, piece.purpose = facts.text("model"), facts.text("purpose") or "answer"
        else:
            piece.name, piece.arguments = facts.text("tool"), facts.mapping("arguments")
        if piece.parent is not None and piece.parent.is_over:
            _stop(piece, when)

    def _end(self, piece: Piece, kind: Kind, state: State, facts: Facts, when: float) -> None:
        if piece.state not in (State.working, State.stopped):
            return
        lasted = facts.number("seconds")
        if piece.begin is None:
            piece.kind, piece.began = kind, when - (lasted or 0.0)
        piece.state = State.failed if kind is Kind.tool and facts.flag("failed") else state
        piece.end, piece.problem = facts.event, facts.problem()
        if piece.problem is not None and piece.problem.type in _STOPS:
            piece.state = State.stopped
        piece.seconds = max(0.0, when - piece.began) if lasted is None else lasted
        if kind is Kind.call:
            self._answered(piece, facts)
        else:
            piece.usage, piece.answer = facts.usage("usage"), facts.text("answer")
        if kind is Kind.tool:
            piece.name, piece.cached = piece.name or facts.text("tool"), facts.flag("cached")
        elif kind is Kind.task:
            piece.name = piece.name or facts.text("task")
        for wait in piece.waits:
            _over(wait, when)
        for child in piece.children:
            _stop(child, when)

    def _answered(self, call: Piece, facts: Facts) -> None:
        call.name = call.name or facts.text("model")
        call.attempts = max(1, facts.whole("attempts"))
        call.answer, call.tool_calls = facts.reply_text("text"), facts.reply_tool_calls()
        call.usage, call.cached = facts.reply_usage(), facts.of_reply("cached") is True or call.cached
        if self._prices is not None and call.state is State.finished and not call.cached:
            answered_by = facts.reply_text("model")
            cost = self._prices(answered_by, call.usage) if answered_by else None
            call.cost = self._prices(call.name, call.usage) if cost is None else cost

    def _skip(self, run_id: str, facts: Facts, when: float) -> Piece:
        number = facts.whole("number")
        task_id = f"{run_id}:{number}"  # the id that the task would have had
        piece = self._pieces.get(task_id)
        if piece is None:
            piece = self._pieces[task_id] = Piece(id=task_id, began=when, run_id=facts.id("run_id"))
            piece.parent_id = run_id
            self._move(piece, self._piece(run_id, facts, when))
        piece.kind, piece.state, piece.seconds, piece.end = Kind.task, State.skipped, 0.0, facts.event
        piece.number, piece.name, piece.text = number, facts.text("task"), facts.text("description")
        piece.agent = facts.text("agent")
        piece.changed()
        return piece

    def stop(self, piece: Piece | None = None) -> None:
        """Nothing more will come, of this piece or at all: whatever is at work was stopped."""
        for one in self.roots if piece is None else [piece]:
            _stop(one, self.latest)
        if piece is not None:
            piece.changed()


def _is_around(piece: Piece, inner: Piece) -> bool:
    here: Piece | None = inner
    while here is not None and here is not piece:
        here = here.parent
    return here is piece


def _stop(piece: Piece, when: float) -> None:
    """End a piece, and what is in it, that has not ended by itself."""
    for one in piece.walk():
        if not one.is_over:
            one.state = State.stopped
            one.seconds = max(0.0, when - one.began)
        for wait in one.waits:
            _over(wait, when)
        one.changed()


def _over(wait: Wait, when: float) -> None:
    if wait.seconds is None:
        wait.seconds = max(0.0, when - wait.began)


def _happen(piece: Piece, facts: Facts, when: float) -> None:
    """Take in what neither begins nor ends a piece."""
    kind = facts.kind
    if kind == "ModelDelta":
        _written(piece, facts)
        return
    if kind == "PartialOutput":
        return
    if kind == "Waiting":
        _wait(piece, facts, when)
        return
    if kind == "Waited":
        _waited(piece, facts.text("cause"), facts.number("seconds"), when)
        return
    piece.notes.append(Note(kind=kind, event=facts.event, time=when))
    if kind in ("HumanAsked", "ApprovalRequested"):
        piece.waits.append(_checked(piece, Wait(cause=_HUMAN, began=when), when))
    elif kind in ("HumanAnswered", "ApprovalDecided"):
        _waited(piece, _HUMAN, facts.number("seconds"), when)
    elif kind == "Delegated":
        piece.coworker, piece.text, piece.question = facts.text("coworker"), facts.text("work"), facts.flag("question")
    elif kind == "CacheHit":
        piece.cached = True
    elif kind == "FellBack":
        piece.attempts += 1


def _wait(piece: Piece, facts: Facts, when: float) -> None:
    cause, attempt = facts.text("cause") or "unknown", facts.whole("attempt")
    wait = Wait(cause=cause, began=when, expected=facts.number("seconds"), problem=facts.problem(), attempt=attempt)
    piece.waits.append(_checked(piece, wait, when))
    if cause == "retry" and not piece.is_over:
        piece.attempts += 1


def _checked(piece: Piece, wait: Wait, when: float) -> Wait:
    """Return a new wait; one that is told of late, when its piece has ended, has ended with it."""
    if piece.is_over:
        _over(wait, when)
    return wait


def _waited(piece: Piece, cause: str, seconds: float | None, when: float) -> None:
    for wait in reversed(piece.waits):
        if wait.seconds is None and wait.cause == (cause or wait.cause):
            wait.seconds = max(0.0, when - wait.began) if seconds is None else seconds
            return
    if seconds is not None and not piece.is_over:  # its beginning was not seen
        piece.waits.append(Wait(cause=cause or "unknown", began=when - seconds, seconds=seconds))


def _written(piece: Piece, facts: Facts) -> None:
    attempt = facts.whole("attempt")
    if attempt > piece.written_in:  # the answer begins anew
        piece.written_in, piece.written = attempt, 0
    piece.written += len(facts.text("text"))
