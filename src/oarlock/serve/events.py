"""Server-sent events, from a task to a client: with comments while nothing comes, and ended when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from starlette.types import Receive, Scope, Send

from oarlock.serve.connection import ClientGone, unless_gone

__all__ = ["EventAnswer", "Put"]

Put: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends one event, and returns once there is room for the next."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # so that nginx hands on what comes when it comes
]
_STILL_HERE: Final = b": waiting\n\n"


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
        queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(1)
        source = asyncio.ensure_future(self._pump(queue))
        try:
            first = await self._next(queue)
            if isinstance(first, Exception):
                raise first  # nothing has been sent, so that the error can still have its status
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            while first is not None:
                event = self._cut(first) if isinstance(first, Exception) else first
                await send({"type": "http.response.body", "body": event, "more_body": True})
                first = None if isinstance(first, Exception) else await self._next(queue)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            source.cancel()
            with suppress(asyncio.CancelledError, ClientGone):
                await source

    async def _next(self, queue: asyncio.Queue[bytes | Exception | None]) -> bytes | Exception | None:
        try:
            async with asyncio.timeout(self._heartbeat):
                return await queue.get()
        except TimeoutError:
            return _STILL_HERE

    async def _pump(self, queue: asyncio.Queue[bytes | Exception | None]) -> None:
        """Make the events in one task, since whatever makes them may keep timers."""
        try:
            await self._produce(queue.put)
        except Exception as error:  # noqa: BLE001  handed on to whoever answers
            await queue.put(error)
        else:
            await queue.put(None)
