"""A crew's steps as they happen: a line each, and on a terminal a moving line below for what is going on now."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from oarlock.agents.console import describe
from oarlock.contract.events import CallStarted, Event, SignedIn, TaskFinished, TaskStarted, Waiting

_STYLES: dict[type[Event], str] = {Waiting: "yellow", SignedIn: "cyan", TaskStarted: "bold"}


class Steps:
    """Shows events on a console. Where it is no terminal: plain lines, nothing that moves.

    Args:
        console: where to.
        total: how many tasks there are.
    """

    def __init__(self, console: Console, *, total: int) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("tasks"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("starting", total=total)

    def show(self, event: Event) -> None:
        """Show one event."""
        style = _STYLES.get(type(event))
        for line in describe(event):
            text = escape(line)
            self._console.print(
                f"[{style}]{text}[/{style}]" if style else text, soft_wrap=not self._console.is_terminal
            )
        if isinstance(event, CallStarted):
            self._progress.update(self._bar, description=f"{escape(event.agent or 'the model')} is thinking")
        elif isinstance(event, Waiting):
            self._progress.update(self._bar, description=f"waiting ({event.cause.replace('_', ' ')})")
        elif isinstance(event, TaskFinished):
            self._progress.advance(self._bar)

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)
