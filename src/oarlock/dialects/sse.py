"""Server-sent events from bytes, as they come: the parser of the WHATWG's HTML standard, section 9.2."""

from __future__ import annotations

from typing import Final, NamedTuple

from oarlock.contract.errors import ReplyTooLarge

__all__ = ["MAX_LINE", "SSEParser", "ServerSentEvent"]

MAX_LINE: Final = 1024 * 1024
"""Most bytes of one line, and of one event's data: the cap of DESIGN.md for hostile replies."""


class ServerSentEvent(NamedTuple):
    """One event.

    Attributes:
        data: its text; several `data:` lines are joined with newlines.
        event: its type.
        id: the last id that the stream has named, `""` if none.
        retry: milliseconds that the server asked to wait before connecting again, if it did so since the last event.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class SSEParser:
    """Turns bytes, split anywhere, into events.

    Lines end in LF, CR or CRLF; a byte order mark is skipped; bytes that are no UTF-8 become U+FFFD. Comments are
    dropped but counted in `comments`, so that a reader can tell a stream that is kept alive from one that speaks.

    Args:
        max_line: most bytes of a line and of an event's data.

    Example:
        >>> parser = SSEParser()
        >>> parser.feed(b"data: hel"), parser.feed(b"lo\\n\\n")
        ([], [ServerSentEvent(data='hello', event='message', id='', retry=None)])
    """

    __slots__ = (
        *("_begun", "_between", "_data", "_event", "_id", "_max_line", "_retry", "_size", "_skip_lf", "_tail"),
        "comments",
    )

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self.comments = 0
        self._max_line = max_line
        self._tail = bytearray()
        self._begun = self._skip_lf = False
        self._between = False  # the next byte begins an event, and nothing is pending for it
        self._data: list[str] = []
        self._size = 0
        self._event = self._id = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that these bytes complete.

        Raises:
            ReplyTooLarge: a line, or the data of an event, is over `max_line` bytes.
        """
        if self._between and chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and len(chunk) <= self._max_line:
            data = chunk[6:-2]
            if b"\n" not in data and b"\r" not in data:  # most pieces of most streams: one event of one line
                return [ServerSentEvent(data.decode("utf-8", "replace"), id=self._id)]
        events = self._feed(chunk)
        self._between = not (self._tail or self._data or self._event or self._retry is not None or self._skip_lf)
        return events

    def _feed(self, chunk: bytes) -> list[ServerSentEvent]:
        if self._skip_lf and chunk:  # the last chunk ended in CR: an LF here belongs to it
            self._skip_lf = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        has_cr = b"\r" in chunk
        cut = 1 + (max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) if has_cr else chunk.rfind(b"\n"))
        if not cut:
            self._keep(chunk)
            return []
        lines = chunk[:cut]
        if self._tail:
            lines = bytes(self._tail + lines)
            self._tail.clear()
        if has_cr:
            self._skip_lf = chunk[-1] == 13
            lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if cut < len(chunk):
            self._keep(chunk[cut:])
        if len(lines) > self._max_line and max(map(len, lines.split(b"\n"))) > self._max_line:
            raise self._too_large("A line")
        return self._events(lines[:-1].decode("utf-8", "replace"))

    def end(self) -> list[ServerSentEvent]:
        """Return the last event if only the empty line after it is missing; an unfinished line is dropped.

        The standard drops such an event. Some servers close without the empty line, so a caller may ask for it.
        """
        return self._events("") if self._data else []

    def _keep(self, chunk: bytes) -> None:
        self._tail += chunk
        if len(self._tail) > self._max_line:
            raise self._too_large("A line")

    def _too_large(self, what: str) -> ReplyTooLarge:
        return ReplyTooLarge(f"{what} of the event stream is longer than {self._max_line} bytes.")

    def _events(self, text: str) -> list[ServerSentEvent]:
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        events = []
        data = self._data
        for line in text.split("\n"):
            if not line:
                if data:
                    events.append(
                        ServerSentEvent("\n".join(data), self._event or "message", self._id, self._retry)
                        if self._event or self._id or self._retry is not None or len(data) > 1
                        else ServerSentEvent(data[0])
                    )
                    data.clear()
                    self._size, self._retry = 0, None
                self._event = ""
            elif line.startswith("data: ") and not data:
                data.append(line[6:])
                self._size = len(line)
            else:
                self._field(line)
        return events

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments += 1
        elif name == "data":
            self._size += len(line) + 1  # also empty ones: a million of them is no event
            self._data.append(value)
            if self._size > self._max_line:
                raise self._too_large("An event")
        elif name == "event":
            self._event = value
        elif name == "id":
            self._id = value if "\0" not in value else self._id
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value[:18])
