"""`verbose=True`: runs as people watch them, on standard error; as a tree on a terminal, else line by line."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final

from oarlock.contract.context import current_call
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.events import Event
from oarlock.views.plain_lines import lines
from oarlock.views.run_tree import Prices, RunTree

if TYPE_CHECKING:
    from oarlock.views.screen import Screen

__all__ = ["VIEWS", "paused", "watching"]

VIEWS: Final = ("live", "plain", "off")
_VARIABLE: Final = "OARLOCK_VIEW"

Listener = Callable[[Event], None]


def watching(prices: Prices | None) -> AbstractContextManager[Listener | None]:
    """Return a block in which a run is shown; it gives the function to call with the run's events, `None` if nothing is shown.

    The environment variable `OARLOCK_VIEW` says how: `live` (the default: a moving tree on a terminal that can do it),
    `plain` (lines, also there), or `off`.

    Args:
        prices: what answers cost, if that is known.

    Raises:
        ConfigurationError: the variable has another value.
    """
    view = os.environ.get(_VARIABLE) or "live"
    if view not in VIEWS:
        raise ConfigurationError(f"{_VARIABLE} must be one of {', '.join(VIEWS)}, not {view!r}.")
    if view == "off":
        return nullcontext()
    return _on_terminal(prices) if view == "live" and _can_move() else _in_lines(prices)


@contextmanager
def paused() -> Iterator[None]:
    """Leave the terminal to whoever asks on it for the time of a block."""
    screen = _terminal.screen
    if screen is None:
        yield
        return
    screen.pause()
    try:
        yield
    finally:
        screen.resume()


class _Terminal:
    """The process has one terminal: whoever is shown shares it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.screen: Screen | None = None
        self.lines: list[_Lines] = []  # what is shown line by line
        self.numbers = 0

    def shown(self) -> Screen:
        """Return the screen."""
        from oarlock.views.screen import Screen

        with self.lock:
            if self.screen is None or not self.screen.is_on(sys.stderr):
                self.screen = Screen(sys.stderr, shares_stdout=_is_terminal(sys.stdout))
            return self.screen


_terminal: Final = _Terminal()


@contextmanager
def _on_terminal(prices: Prices | None) -> Iterator[Listener]:
    watch = _terminal.shown().watch(prices, current_call().span_id)
    try:
        yield watch
    finally:
        watch.close()


@contextmanager
def _in_lines(prices: Prices | None) -> Iterator[Listener]:
    shown = _Lines(RunTree(prices))
    with _terminal.lock:
        if not _terminal.lines:
            _terminal.numbers = 0
        _terminal.numbers += 1
        shown.number = _terminal.numbers
        _terminal.lines.append(shown)
    try:
        yield shown
    finally:
        with _terminal.lock:
            _terminal.lines.remove(shown)


class _Lines:
    """A run line by line. Its number stands before each once there have been others beside it."""

    def __init__(self, tree: RunTree) -> None:
        self.number = 0
        self._tree = tree
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            piece = self._tree.add(event)
            said = lines(self._tree, piece, event, self.number if _terminal.numbers > 1 else 0)
            if piece is not None and piece.is_over:
                self._tree.forget(piece)
        if said:  # in one piece: tasks that run side by side may print from several threads
            with suppress(OSError, ValueError):  # a pipe that nobody reads ends nobody's run
                print("\n".join(said), file=sys.stderr, flush=True)  # noqa: T201  this is the console view


def _can_move() -> bool:
    """Return whether standard error is a terminal that can show what moves, and that nobody else has taken."""
    screen = _terminal.screen
    if screen is not None and screen.is_shown:  # standard error leads there meanwhile
        return True
    if os.environ.get("TERM", "").lower() in ("dumb", "unknown") or not _is_terminal(sys.stderr):
        return False
    if not (sys.stderr.encoding or "").lower().startswith("utf"):  # it has not the characters
        return False
    theirs = sys.modules.get("rich.file_proxy")  # a live display of the user's own
    return theirs is None or not isinstance(sys.stderr, theirs.FileProxy)


def _is_terminal(stream: object) -> bool:
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):  # none, or closed
        return False
