"""One request's connection: its body, and whether anybody is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Message, Receive

from oarlock.serve.errors import ApiError
from oarlock.serve.settings import Limits

__all__ = ["ClientGone", "Inlet", "read_json_body", "read_out", "unless_gone"]

T = TypeVar("T")


class ClientGone(Exception):  # noqa: N818  nobody is told of it
    """The client has left, so that nobody waits for the answer."""


async def read_json_body(request: Request, limits: Limits) -> bytes:
    """Return the body of a request that says it is JSON.

    Other types are refused, since a page of another site can have a browser send those without asking.

    Raises:
        ApiError: 408, 413 or 415.
        ClientGone: the client left in the middle of it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(415, "The body must be JSON: send the header 'Content-Type: application/json'.", code="not_json")
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise ApiError(415, "The body must not be compressed.", code="compressed_body")
    if _length(request) > limits.body_bytes:
        raise _too_large(limits)
    return await _within(limits, _read(request.receive, limits.body_bytes))


class Inlet:
    """What a server hands in of one request; knows whether the body has come to its end."""

    __slots__ = ("_receive", "ended")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.ended = self.ended or not message.get("more_body", False)
        return message


async def read_out(request: Request, inlet: Inlet, limits: Limits) -> bool:
    """Read the rest of a body that nobody wants, without keeping it: a client that is still sending hears no answer.

    Returns:
        Whether it came to its end, so that the connection can be used again.
    """
    if inlet.ended:
        return True
    if request.headers.get("expect") is not None or _length(request) > limits.body_bytes:
        return False
    try:
        await _within(limits, _read(inlet, limits.body_bytes, keep=False))
    except ApiError:
        return False
    return True


def _length(request: Request) -> int:
    """Return the length that the client tells; 0 if it does not."""
    told = request.headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdigit() else 0


async def _within(limits: Limits, reading: Coroutine[Any, Any, bytes]) -> bytes:
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await reading
    except TimeoutError:
        message = f"The body did not come within {limits.body_seconds:g} seconds."
        raise ApiError(408, message, code="slow_body", close=True) from None
    except _TooLarge:
        raise _too_large(limits) from None


class _TooLarge(Exception):  # noqa: N818  a signal
    pass


async def _read(receive: Receive, most: int, *, keep: bool = True) -> bytes:
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise _TooLarge
        if keep:
            pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_large(limits: Limits) -> ApiError:
    message = f"The body is larger than {limits.body_bytes} bytes."
    return ApiError(413, message, code="body_too_large", close=True)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of some work, which is cancelled when the client leaves meanwhile. The body must have been read.

    Raises:
        ClientGone: it left.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
