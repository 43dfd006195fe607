"""Work that belongs to another event loop than the one that wants it done, or that a thread without one wants."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Home", "HomeLeftError", "await_at", "block_at", "home"]

T = TypeVar("T")

Home = asyncio.AbstractEventLoop
"""The event loop that work belongs to."""


class HomeLeftError(Exception):
    """The event loop has ended, and the work with it."""


def home() -> Home:
    """Return the running event loop."""
    return asyncio.get_running_loop()


async def await_at(where: Home, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await `work()` on an event loop, in a copy of this context.

    Raises:
        HomeLeftError: it has ended.
    """
    if where is asyncio.get_running_loop():
        return await work()
    return await asyncio.wrap_future(_sent(where, work))


def block_at(where: Home, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do the same in a thread of its own, blocking."""
    try:
        return _sent(where, work).result()
    except concurrent.futures.CancelledError:
        raise HomeLeftError from None


def _sent(where: Home, work: Callable[[], Coroutine[Any, Any, T]]) -> concurrent.futures.Future[T]:
    coroutine = work()
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, where)
    except RuntimeError:  # it has closed
        coroutine.close()
        raise HomeLeftError from None
