"""All watched runs of the process on its one terminal: what is at work moves below, what has ended stays above."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Final

from oarlock.contract.events import Event
from oarlock.views.live import Bar, Region, console_on, drawn
from oarlock.views.rows import Row, Shown, at_work, ended, run_ended
from oarlock.views.run_tree import Prices, RunTree
from oarlock.views.tree_parts import Kind, Piece, Totals
from oarlock.views.words import counted, duration, money, plain, tokens

__all__ = ["Screen"]

_ENDS: Final = (
    "TaskFinished",
    "TaskFailed",
    "TaskSkipped",
    "RunFinished",
    "RunFailed",
    "CallFinished",
    "CallFailed",
    "ToolFinished",
)


class Screen:
    """A terminal with everything that is watched. It is at rest, and as it was, while nothing is.

    Args:
        file: the terminal.
        shares_stdout: standard output is the same terminal: what is printed there comes above what moves.
    """

    def __init__(self, file: IO[str], *, shares_stdout: bool) -> None:
        self._console = console_on(file)
        self._streams = ("stdout", "stderr") if shares_stdout else ("stderr",)
        self._lock = threading.Lock()  # for what is shown; held for moments, never while anything is written
        self._switch = threading.Lock()  # for beginning and ending to show
        self._watches: list[Watch] = []
        self._left: list[Row] = []  # to be printed for good
        self._before = Totals()  # of runs that have ended since something is shown
        self._runs = 0  # that have begun since
        self._pauses = 0
        self._region: Region | None = None

    def watch(self, prices: Prices | None, within: str | None) -> Watch:
        """Begin to show a run.

        Args:
            prices: what its model calls cost.
            within: the id of the piece of work around it; if that is shown, the run is shown in its place.
        """
        with self._lock:
            around = next((one for one in self._watches if within is not None and one.tree.find(within)), None)
            if around is None:
                self._runs += 1
                watch = Watch(self, RunTree(prices), self._runs)
                self._watches.append(watch)
            else:
                watch = Watch(self, around.tree, around.number, inner=True)
        self._settle()
        return watch

    def take(self, watch: Watch, event: Event) -> None:
        """Take in what happened in a run that is watched."""
        with self._lock:
            if watch.left:  # a thread that could not be stopped
                return
            piece = watch.tree.add(event)
            watch.heard = time.monotonic()
            if watch.first is None:
                watch.first = piece
            if piece is not None and type(event).__name__ in _ENDS and not watch.inner:
                self._keep_ended(watch, piece)

    def leave(self, watch: Watch) -> None:
        """Show no more of a run; what of it is still at work was stopped."""
        with self._lock:
            watch.left = True
            if watch.inner:
                if watch.first is not None:
                    watch.tree.stop(watch.first)
            else:
                watch.tree.stop()
                for root in list(watch.tree.roots):
                    self._keep_ended(watch, root)
                self._watches.remove(watch)
        self._settle()

    def is_on(self, file: object) -> bool:
        """Return whether this is the terminal that a stream writes to."""
        return self.is_shown or file is self._console.file

    @property
    def is_shown(self) -> bool:
        """Something moves on the terminal."""
        return self._region is not None

    def pause(self) -> None:
        """Leave the terminal to somebody else, such as a question to a human."""
        with self._lock:
            self._pauses += 1
        self._settle()

    def resume(self) -> None:
        """Take the terminal back."""
        with self._lock:
            self._pauses -= 1
        self._settle()

    def shut(self) -> None:
        """Leave the terminal as it was, whatever still runs: the program ends."""
        self.pause()

    def _settle(self) -> None:
        """Begin or end to show, as it is wanted now."""
        with self._switch, suppress(OSError, ValueError):  # a terminal that is gone ends nobody's run
            wanted = bool(self._watches) and not self._pauses
            if wanted and self._region is None:
                self._region = Region(self._console, self._shown, self._taken, streams=self._streams)
                atexit.register(self.shut)
                self._region.start()
            elif not wanted and self._region is not None:
                region, self._region = self._region, None
                atexit.unregister(self.shut)
                region.stop()
            if not self._pauses and not self._watches:
                self._runs, self._before = 0, Totals()
                if rows := self._taken():
                    self._console.print(drawn(rows))

    def _taken(self) -> list[Row]:
        with self._lock:
            rows, self._left = self._left, []
        return rows

    # What stays.

    def _keep_ended(self, watch: Watch, piece: Piece) -> None:
        """Let what has ended be printed, as soon as it is a whole that people would look for."""
        parent, now, tree = piece.parent, watch.now(), watch.tree
        if parent is not None:
            if (
                parent.parent is None
                and parent.kind is Kind.run
                and piece.kind is Kind.task
                and len(self._watches) == 1
            ):
                self._left += ended(piece, now)
                tree.forget(piece)
                watch.printed.add(piece.id)
            return
        if piece.kind is Kind.run:
            tasks = [task for task in piece.children if task.id not in watch.printed]
            if self._runs == 1:
                self._left += [*(row for task in tasks for row in ended(task, now)), *run_ended(piece, now)]
            else:
                self._left += run_ended(piece, now, tasks, f"#{watch.number} ")
        else:
            self._left += ended(piece, now)
        self._before.include(piece.totals)
        tree.forget(piece)

    # What moves.

    def _shown(self, room: int) -> tuple[list[Row], Bar | None]:
        with self._lock:
            if not self._watches:
                return [], None
            if len(self._watches) == 1:
                watch = self._watches[0]
                return at_work([Shown(piece, watch.now()) for piece in _pieces_of(watch)], room), _bar_of(watch)
            return self._several(room)

    def _several(self, room: int) -> tuple[list[Row], Bar]:
        shown: list[Shown] = []
        totals = Totals()
        totals.include(self._before)
        for watch in self._watches:
            for root in watch.tree.roots:
                totals.include(root.totals)
                shown.append(Shown(root, watch.now(), f"#{watch.number} "))
        done = self._runs - len(self._watches)
        figures = [f"{done} of {counted(self._runs, 'run')}", *_figures(totals)]
        return at_work(shown, room), Bar("all", done, self._runs, figures)


class Watch:
    """A run that is shown; called with its events.

    Attributes:
        tree: what is known of it.
        number: which run it is of those at the same time.
        inner: it runs within another one that is shown.
        first: the first piece that was heard of.
        heard: when something was last heard, by the monotonic clock.
        left: nothing more of it is shown.
        printed: ids of the tasks that are printed for good.
    """

    __slots__ = ("_screen", "first", "heard", "inner", "left", "number", "printed", "tree")

    def __init__(self, screen: Screen, tree: RunTree, number: int, *, inner: bool = False) -> None:
        self._screen = screen
        self.tree = tree
        self.number = number
        self.inner = inner
        self.first: Piece | None = None
        self.heard = time.monotonic()
        self.left = False
        self.printed: set[str] = set()

    def __call__(self, event: Event) -> None:
        self._screen.take(self, event)

    def now(self) -> float:
        """Return the time by the run's own clock, which may be another one than this machine's."""
        return self.tree.latest + time.monotonic() - self.heard

    def close(self) -> None:
        """Show no more of it."""
        self._screen.leave(self)


def _pieces_of(watch: Watch) -> Sequence[Piece]:
    """Return what is at work: the tasks of the run, or whatever there is without one."""
    pieces: list[Piece] = []
    for root in watch.tree.roots:
        pieces += [child for child in root.children if not child.is_over] if root.kind is Kind.run else [root]
    return pieces


def _bar_of(watch: Watch) -> Bar | None:
    if not watch.tree.roots:
        return None
    root = watch.tree.roots[0]
    totals = root.totals
    took = duration(root.lasts(watch.now()))
    if root.kind is not Kind.run:
        return Bar(plain(root.agent, 40) or "at work", 0, 0, [*_figures(totals), took])
    of = max(root.tasks, totals.tasks)
    figures = [f"{totals.tasks_ended} of {counted(of, 'task')}", *_figures(totals), took]
    return Bar(plain(root.name, 40) or "crew", totals.tasks_ended, of, figures)


def _figures(totals: Totals) -> list[str]:
    waited = totals.waited
    figures = [
        counted(totals.calls, "call"),
        tokens(totals) if totals.usage.total_tokens else "",
        money(totals),
        f"{duration(waited)} waiting" if waited >= 0.1 else "",
    ]
    return [figure for figure in figures if figure]
