"""Which runtime a public door uses: the ordinary one of its colour, unless a test has put another in its place."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from oarlock.runtime.protocol import Runtime

T = TypeVar("T")


class Driver(Runtime, Protocol):
    """A runtime that can drive a coroutine of the core to its end by itself."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Drive the coroutine to its end and return its result."""


_override: contextvars.ContextVar[Driver | None] = contextvars.ContextVar("oarlock_runtime", default=None)


def current_blocking() -> Driver:
    """Return the runtime that a blocking door uses here."""
    override = _override.get()
    if override is not None:
        return override
    from oarlock.runtime.blocking import BLOCKING

    return BLOCKING


def current_async() -> Runtime:
    """Return the runtime that a door for coroutines uses here."""
    override = _override.get()
    if override is not None:
        return override
    from oarlock.runtime.aio import ASYNC

    return ASYNC


def drive(core: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
    """Run a function of the core from blocking code."""
    runtime = current_blocking()
    return runtime.run(core(runtime))


async def drive_async(core: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
    """Run a function of the core from a coroutine on the running event loop."""
    override = _override.get()
    return override.run(core(override)) if override is not None else await core(current_async())


@contextmanager
def use_runtime(runtime: Driver) -> Iterator[None]:
    """Put a runtime in the place of the ordinary ones, within this context."""
    token = _override.set(runtime)
    try:
        yield
    finally:
        _override.reset(token)
