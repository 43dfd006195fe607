"""Event loops in daemon threads, for blocking callers of code that exists only as `async def`."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any


class Portal:
    """One event loop in a daemon thread. Blocking callers hand it coroutines and wait."""

    def __init__(self, number: int) -> None:
        # In an empty context, since a loop keeps the one that it was made in for good, and that may be somebody's run.
        self.loop = contextvars.Context().run(asyncio.new_event_loop)
        self.blocked = 0  # how many blocking calls its own thread is in
        self.thread = threading.Thread(target=self.loop.run_forever, name=f"oarlock-loop-{number}", daemon=True)
        self.thread.start()

    def submit(self, call: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Future[Any]:
        """Start `call(*args)` on the loop, in a copy of the caller's context."""
        future: Future[Any] = Future()
        context = contextvars.copy_context()

        def start() -> None:
            task = self.loop.create_task(_run(future, call, args), context=context)
            future.add_done_callback(lambda done: done.cancelled() and self.loop.call_soon_threadsafe(task.cancel))

        self.loop.call_soon_threadsafe(start)
        return future


async def _run(future: Future[Any], call: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
    try:
        result = await call(*args)
    except BaseException as error:  # noqa: BLE001  whatever it is belongs to whoever waits for the future
        if not future.cancelled():
            future.set_exception(error)
    else:
        if not future.cancelled():
            future.set_result(result)


class Portals:
    """As many portals as calls are nested: nearly always one, so that a client bound to its loop keeps working.

    A portal whose own thread is waiting for another one is passed over, so that nested blocking calls cannot deadlock.
    """

    def __init__(self) -> None:
        self._reset()

    def submit(self, call: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Future[Any]:
        """Start the call on a free portal."""
        if os.getpid() != self._pid:
            self._reset()
        with self._lock:
            portal = next((portal for portal in self._portals if not portal.blocked), None)
            if portal is None:
                portal = Portal(len(self._portals))
                self._portals.append(portal)
        return portal.submit(call, args)

    @contextmanager
    def passing_over_own(self) -> Iterator[None]:
        """Give no calls to the portal in whose thread this is, while that thread waits for something."""
        thread = threading.current_thread()
        own = next((portal for portal in self._portals if portal.thread is thread), None)
        if own is None:
            yield
            return
        own.blocked += 1  # only its own thread writes this
        try:
            yield
        finally:
            own.blocked -= 1

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._portals: list[Portal] = []
