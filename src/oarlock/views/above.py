"""What a program prints and logs while something moves on its terminal: it comes above that, line by line."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO, cast

__all__ = ["Above", "Diversion"]

_MOST_REST: Final = 10_000  # characters of a line that has no end yet


class Above(io.TextIOBase):
    """Stands for a stream to the terminal. Whole lines are shown when they have come; a flush ends no line.

    Args:
        file: the stream.
        show: shows lines above what moves.
    """

    def __init__(self, file: TextIO, show: Callable[[str], None]) -> None:
        self._file = file
        self._show = show
        self._rest = ""
        self._lock = threading.RLock()  # a signal's handler may print, too
        self._is_over = False

    def write(self, text: str) -> int:
        """Show the lines that are whole now."""
        with self._lock:
            if self._is_over:  # somebody has kept it
                return self._file.write(text)
            *lines, self._rest = f"{self._rest}{text}".split("\n")
            if len(self._rest) > _MOST_REST:
                lines, self._rest = [*lines, self._rest], ""
            if lines:
                self._show("\n".join(lines))
        return len(text)

    def finish(self) -> None:
        """Show the rest. From now on all goes to the stream itself."""
        with self._lock:
            if self._rest:
                self._show(self._rest)
            self._rest, self._is_over = "", True

    def flush(self) -> None:
        self._file.flush()

    def isatty(self) -> bool:
        return self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return self._file.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """That of the stream."""
        return self._file.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Diversion:
    """Lets standard output or error, and the handlers of `logging` that write to it, lead elsewhere for a while.

    Args:
        name: `"stdout"` or `"stderr"`.
        show: shows lines.
    """

    def __init__(self, name: str, show: Callable[[str], None]) -> None:
        self._name = name
        self._before: TextIO = getattr(sys, name)
        self._above = Above(self._before, show)
        self._handlers = [handler for handler in _handlers() if handler.stream is self._before]
        setattr(sys, name, self._above)
        for handler in self._handlers:
            handler.setStream(cast("TextIO", self._above))

    def end(self) -> None:
        """Let all lead where it did before."""
        for handler in self._handlers:
            if handler.stream is self._above:
                handler.setStream(self._before)
        if getattr(sys, self._name) is self._above:
            setattr(sys, self._name, self._before)
        self._above.finish()


def _handlers() -> Iterator[Any]:
    for logger in (logging.root, *tuple(logging.root.manager.loggerDict.values())):
        if isinstance(logger, logging.Logger):  # others stand for loggers that nobody has asked for
            yield from (handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler))
