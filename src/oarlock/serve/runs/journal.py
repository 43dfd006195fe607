"""What happened in a run, kept for those who come late, as far as there is room."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Final

from oarlock.contract.event_data import to_dict
from oarlock.contract.events import Event
from oarlock.serve.json import dumps
from oarlock.serve.runs.failures import failure

__all__ = ["Journal"]

_MOST_BYTES: Final = 4_000_000  # of one run's events, beside their number


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
        self._kept: deque[tuple[int, str, bytes]] = deque()  # number, name, JSON
        self._bytes = 0
        self._last = 0
        self._lock = threading.Lock()
        self._changed = asyncio.Event()
        self._over = False

    def write(self, event: Event) -> None:
        """Keep an event, and let go of the oldest ones where there is no room for them."""
        data = dumps({**_shown(event), "run_id": self._run_id})
        with self._lock:
            self._last += 1
            self._kept.append((self._last, type(event).__name__, data))
            self._bytes += len(data)
            while len(self._kept) > self._most or (self._bytes > _MOST_BYTES and len(self._kept) > 1):
                self._bytes -= len(self._kept.popleft()[2])
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
                new = [entry for entry in self._kept if entry[0] > after]
                missed = (new[0][0] if new else self._last + 1) - after - 1
            if missed > 0:
                yield b"event: EventsMissed\ndata: " + dumps({"event": "EventsMissed", "count": missed}) + b"\n\n"
            for number, name, data in new:
                yield f"id: {number}\nevent: {name}\ndata: ".encode() + data + b"\n\n"
                after = number
            if over and not new:
                return
            if not new:
                await changed.wait()

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
