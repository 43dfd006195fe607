"""A terminal for tests: a pseudo-terminal in place of standard output and error, and what somebody in front of it would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from typing import Any

_CODE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


class Terminal:
    """A pseudo-terminal of so many columns and lines."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.columns = columns
        self.out = os.fdopen(theirs, "w", buffering=1, encoding="utf-8", errors="replace")
        self.input = os.fdopen(os.dup(theirs), "r", encoding="utf-8")
        self._raw = b""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other side is closed
                return
            if not data:
                return
            with self._changed:
                self._raw += data
                self._changed.notify_all()

    def close(self) -> None:
        for stream in (self.out, self.input):
            if not stream.closed:
                stream.close()
        self._reader.join(10)
        os.close(self._ours)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, text: str) -> None:
        """Return once somebody in front of the terminal could read this."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in "\n".join(screen(self._text())), 15), self._text()

    def _text(self) -> str:
        return self._raw.decode("utf-8", "replace")

    def raw(self) -> str:
        """Return all that was written; what is written last is a mark of ours."""
        self.out.write("\x00")
        self.out.flush()
        with self._changed:
            assert self._changed.wait_for(lambda: self._raw.endswith(b"\x00"), 60)
            self._raw = self._raw[:-1]
        return self._text()

    def screen(self) -> list[str]:
        """Return the lines that are to be seen, the first ones too."""
        return screen(self.raw())

    @property
    def is_coloured(self) -> bool:
        return any(code not in ("\x1b[0m", "\x1b[1m", "\x1b[2m") for code in _COLOUR.findall(self.raw()))

    @property
    def has_cursor(self) -> bool:
        raw = self.raw()
        return raw.rfind("\x1b[?25l") <= raw.rfind("\x1b[?25h")


def screen(raw: str) -> list[str]:
    """Return what a terminal makes of this; codes that rich does not use for a live display are a mistake."""
    raw = re.sub(r"\x1b(\[[?;\d]*)?$", "", raw)  # a code of which the rest is still to come
    lines: list[list[str]] = [[]]
    row = column = at = 0
    while at < len(raw):
        code = _CODE.match(raw, at)
        if code is not None:
            private, number, kind = code.groups()
            if kind == "A":
                row = max(0, row - int(number or 1))
            elif kind == "K":
                lines[row] = []
            else:
                assert (private, kind) == ("?", "h") or (private, kind) == ("?", "l") or kind == "m", code.group()
            at = code.end()
            continue
        char = raw[at]
        at += 1
        if char == "\r":
            column = 0
        elif char == "\n":
            row += 1
            if row == len(lines):
                lines.append([])
        else:
            assert char >= " ", repr(char)
            line = lines[row]
            line.extend(" " * (column - len(line)))
            line[column : column + 1] = [char]
            column += 1
    shown = ["".join(line).rstrip() for line in lines]
    while shown and not shown[-1]:
        shown.pop()
    return shown


class InFrontOf:
    """Standard error, output and input are this terminal, for a block."""

    def __init__(self, terminal: Terminal, *, stdout: bool = True) -> None:
        self._terminal = terminal
        self._stdout = stdout

    def __enter__(self) -> Terminal:
        self._kept: tuple[Any, ...] = (sys.stdin, sys.stdout, sys.stderr)
        sys.stdin, sys.stderr = self._terminal.input, self._terminal.out
        if self._stdout:
            sys.stdout = self._terminal.out
        return self._terminal

    def __exit__(self, *error: object) -> None:
        sys.stdin, sys.stdout, sys.stderr = self._kept
