"""Server-sent events, from a task to a client: with comments while nothing comes, and ended when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from starlette.types import Receive, Scope, Send

from oarlock.serve.connection import unless_gone

__all__ = ["EventAnswer", "Put"]

Put: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends one event, and returns once there is room for the next."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # so that nginx hands on what comes when it comes
]
_STILL_HERE: Final = b": waiting\n\n"
_AHEAD: Final = 16  # events that may be made before they are sent


class EventAnswer:
    """An answer of events.

    Args:
        produce: makes the events, given what sends one; cancelled when the client leaves.
        heartbeat: seconds of silence after which a comment is sent.
        headers: further headers.
        cut: makes the last event of one that failed after it had begun.
    """

    def __init__(
        self,
        produce: Callable[[Put], Awaitable[None]],
        heartbeat: float,
        headers: dict[str, str],
        cut: Callable[[Exception], bytes],
    ) -> None:
        self._produce = produce
        self._heartbeat = heartbeat
        self._headers = [*_HEADERS, *((name.encode(), value.encode()) for name, value in headers.items())]
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await unless_gone(receive, self._answer(send))

    async def _answer(self, send: Send) -> None:
        belt = _Belt()
        source = asyncio.ensure_future(self._produce(belt.put))  # one task, since whatever makes events may keep timers
        source.add_done_callback(belt.end)
        try:
            first = await belt.take(self._heartbeat)
            if not first:
                await source  # nothing has been sent, so that its error can still have its status
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            events = first
            while events:
                await send({"type": "http.response.body", "body": events, "more_body": True})
                events = await belt.take(self._heartbeat)
            await send({"type": "http.response.body", "body": await self._ending(source), "more_body": False})
        finally:
            source.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await source

    async def _ending(self, source: asyncio.Future[None]) -> bytes:
        """Return the last event of one that failed after it had begun, else nothing."""
        try:
            await source
        except Exception as error:  # noqa: BLE001  whatever it is, the client is told of it
            return self._cut(error)
        return b""


class _Belt:
    """Events on their way from whoever makes them to whoever sends them, a few at most."""

    __slots__ = ("_arrived", "_ended", "_events", "_room")

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    async def put(self, event: bytes) -> None:
        """Send an event, and return once there is room for the next."""
        self._events.append(event)
        self._arrived.set()
        if len(self._events) >= _AHEAD:
            self._room.clear()
            await self._room.wait()

    def end(self, _: object) -> None:
        """Note that nothing more will come."""
        self._ended = True
        self._arrived.set()

    async def take(self, patience: float) -> bytes:
        """Return all events that have come; a comment where none has for so many seconds; nothing after the last one."""
        if not self._arrived.is_set():
            try:
                async with asyncio.timeout(patience):
                    await self._arrived.wait()
            except TimeoutError:
                return _STILL_HERE
        events = b"".join(self._events)
        self._events.clear()
        if not self._ended:
            self._arrived.clear()
        self._room.set()
        return events
