"""What happened in a run, kept for those who come late, as far as there is room."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Final, NamedTuple

from oarlock.contract.event_data import to_dict
from oarlock.contract.events import CallFailed, CallFinished, Event, ModelDelta
from oarlock.serve.json import dumps
from oarlock.serve.runs.failures import failure

__all__ = ["Journal"]

_MOST_BYTES: Final = 4_000_000  # of one run's events, beside their number


class _Entry(NamedTuple):
    number: int
    kind: type[Event]
    span_id: str | None
    data: bytes


class Journal:
    """The latest events of one run, numbered from 1. Written from any thread, read on one event loop.

    Args:
        run_id: the run's id, as its client knows it.
        most: events that are kept.
    """

    def __init__(self, run_id: str, most: int) -> None:
        self._run_id = run_id
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._kept: deque[_Entry] = deque()
        self._gone = 0  # the number of the latest event that was let go of
        self._bytes = 0
        self._last = 0
        self._lock = threading.Lock()
        self._changed = asyncio.Event()
        self._over = False

    def write(self, event: Event) -> None:
        """Keep an event, and let go of the oldest ones where there is no room for them."""
        data = dumps({**_shown(event), "run_id": self._run_id})
        with self._lock:
            if isinstance(event, CallFinished | CallFailed):
                self._forget_pieces(event.span_id)
            self._last += 1
            self._kept.append(_Entry(self._last, type(event), event.span_id, data))
            self._bytes += len(data)
            while len(self._kept) > self._most or (self._bytes > _MOST_BYTES and len(self._kept) > 1):
                oldest = self._kept.popleft()
                self._bytes -= len(oldest.data)
                self._gone = oldest.number
        self._wake()

    def end(self) -> None:
        """Nothing more will be written."""
        self._over = True
        self._wake()

    async def read(self, after: int) -> AsyncGenerator[bytes, None]:
        """Yield the events after this number, as they go over the wire, those that come included, until the run is over.

        Those that have been let go of are told as one `EventsMissed`.
        """
        while True:
            changed = self._changed  # before looking: what is written from now on sets this one
            with self._lock:
                over = self._over
                new = [entry for entry in self._kept if entry.number > after]
                missed = self._gone - after
            if missed > 0:
                yield b"event: EventsMissed\ndata: " + dumps({"event": "EventsMissed", "count": missed}) + b"\n\n"
                after = self._gone
            for entry in new:
                yield f"id: {entry.number}\nevent: {entry.kind.__name__}\ndata: ".encode() + entry.data + b"\n\n"
                after = entry.number
            if over and not new:
                return
            if not new:
                await changed.wait()

    def _forget_pieces(self, span_id: str | None) -> None:
        """Let go of the pieces of an answer that is now there as a whole."""
        pieces = [entry for entry in self._kept if entry.kind is ModelDelta and entry.span_id == span_id]
        if pieces:
            self._bytes -= sum(len(entry.data) for entry in pieces)
            self._kept = deque(
                entry for entry in self._kept if not (entry.kind is ModelDelta and entry.span_id == span_id)
            )

    def _wake(self) -> None:
        """Wake the readers, from whatever thread."""
        if self._loop.is_closed():
            return
        if threading.get_ident() == self._thread:
            self._now()
        else:
            self._loop.call_soon_threadsafe(self._now)

    def _now(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _shown(event: Event) -> dict[str, Any]:
    """Return an event for the client whose run it is: without the prompts around what it asked, and inner addresses."""
    made = to_dict(event, content=True)
    made.pop("request", None)
    error = getattr(event, "error", None)
    if isinstance(error, BaseException):
        made["error"] = failure(error)
    return made
