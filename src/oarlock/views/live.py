"""The tree of what goes on, moving on a terminal. A thin layer over rich; what is shown is decided in `rows`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import IO, Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from oarlock.views.above import Diversion
from oarlock.views.rows import Row

__all__ = ["Region", "console_on", "drawn"]

_PER_SECOND: Final = 4  # how often it is drawn anew
_NARROW: Final = 60  # columns; below, only the last figure of a line is shown, from there on two
_WIDE: Final = 100  # columns; from here on all are
_MOST_LINES: Final = 24  # of the part that moves, however tall the terminal is
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

_MARKS: Final = {
    "finished": "✓", "failed": "✗", "stopped": "■", "skipped": "○", "waiting": "◷",
    "note": "·", "answer": "→", "error": "✗", "more": "…", "working": "●",
}  # fmt: skip
_STYLES: Final = {
    "finished": "green", "failed": "bold red", "stopped": "red", "skipped": "dim", "waiting": "yellow",
    "note": "cyan", "answer": "blue", "error": "red", "more": "dim", "working": "cyan",
}  # fmt: skip
_TEXT_STYLES: Final = {
    "waiting": "yellow",
    "error": "red",
    "failed": "red",
    "note": "dim",
    "more": "dim",
    "skipped": "dim",
}


class Line:
    """One row, cut to the width that there is: never wrapped, so that what moves keeps its height."""

    __slots__ = ("_row", "_whole")

    def __init__(self, row: Row, *, whole: bool = False) -> None:
        self._row = row
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        row, width = self._row, options.max_width
        left = Text("  " * row.depth, no_wrap=True)
        left.append(f"{_MARKS.get(row.mark, '·')} ", _STYLES.get(row.mark, ""))
        if self._whole and row.whole:
            yield from _wrapped(left, row, console, options)
            return
        most = 1 if width < _NARROW else 2 if width < _WIDE else len(row.figures)
        figures = " · ".join(row.figures[-most:])
        room = width - (cell_len(figures) + 2 if figures else 0)
        detail = f"  {row.detail}" if row.detail and width >= _NARROW else ""
        left.append(row.text, "bold" if row.strong else _TEXT_STYLES.get(row.mark, ""))
        left.truncate(max(8, room * 5 // 9, room - cell_len(detail)), overflow="ellipsis")  # both parts have their room
        left.append(detail, "dim" if row.mark != "waiting" else "yellow")
        left.truncate(max(8, room), overflow="ellipsis")
        if figures and room >= 8:
            left.append(" " * (width - cell_len(figures) - left.cell_len))
            left.append(figures, "dim")
        yield left


def _wrapped(left: Text, row: Row, console: Console, options: ConsoleOptions) -> RenderResult:
    indent = left.cell_len
    text = Text(row.text, "bold" if row.strong else _TEXT_STYLES.get(row.mark, ""))
    for number, line in enumerate(text.wrap(console, max(8, options.max_width - indent))):
        yield Text.assemble(left if number == 0 else " " * indent, line, no_wrap=True)


class Bar:
    """What there is in all, in the last line: a bar for what is done of it, and figures as far as they fit."""

    __slots__ = ("_done", "_figures", "_name", "_of", "beat")

    def __init__(self, name: str, done: int, of: int, figures: Iterable[str]) -> None:
        self.beat = 0
        self._name = name
        self._done = done
        self._of = of
        self._figures = list(figures)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        line = Text(no_wrap=True).append(f"{_FRAMES[self.beat % len(_FRAMES)]} ", "cyan").append(self._name, "bold")
        line.truncate(max(8, width // 3), overflow="ellipsis")
        if self._of and width >= _NARROW:
            done = min(20, 20 * self._done // self._of)
            line.append("  ").append("━" * done, "green").append("━" * (20 - done), "bright_black")
        for number, figure in enumerate(self._figures):
            sep = "  " if number == 0 else " · "
            if line.cell_len + cell_len(sep) + cell_len(figure) <= width:
                line.append(sep, "dim").append(figure, "default")
        line.truncate(width, overflow="ellipsis")
        yield line


def drawn(rows: Iterable[Row]) -> Group:
    """Return rows that stay, as rich shows them."""
    return Group(*(Line(row, whole=True) for row in rows))


class Region(Live):
    """The part of the terminal that moves, below what stays.

    Args:
        console: where it is.
        show: returns the rows for so many lines, and the last line.
        left: returns what is to stay, and has not been printed.
        streams: the names in `sys` of those that go to this terminal: what is printed there comes above.
    """

    def __init__(
        self,
        console: Console,
        show: Callable[[int], tuple[list[Row], Bar | None]],
        left: Callable[[], list[Row]],
        *,
        streams: tuple[str, ...],
    ) -> None:
        self._show = show
        self._left = left
        self._streams = streams
        self._diversions: list[Diversion] = []
        self._beat = 0
        super().__init__(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def start(self, refresh: bool = False) -> None:
        super().start(refresh)
        self._diversions = [Diversion(name, self._print) for name in self._streams]

    def stop(self) -> None:
        while self._diversions:
            self._diversions.pop().end()
        super().stop()

    def _print(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self.console.print(Text.from_ansi(text))

    def refresh(self) -> None:
        with suppress(OSError, ValueError), self._lock, self.console:  # written in one piece; a terminal may be gone
            rows = self._left()
            if rows:
                self.console.print(drawn(rows))
            super().refresh()

    def _draw(self) -> Group:
        self._beat += 1
        room = min(_MOST_LINES, self.console.height - 3)
        rows, bar = self._show(max(1, room))
        lines: list[Line | Bar] = [Line(row) for row in rows]
        if bar is not None:
            bar.beat = self._beat
            lines.append(bar)
        return Group(*lines)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        self.quiet = True  # rich would end the program


def console_on(file: IO[str]) -> Console:
    """Return a console for rows: they hold no markup, and are shown as they are."""
    return _Console(file=file, highlight=False, markup=False, emoji=False)
