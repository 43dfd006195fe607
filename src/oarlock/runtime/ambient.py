"""Which runtime a public door uses: the ordinary one of its colour, unless a test has put another in its place."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
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
    return _override.get() or _blocking()


def current_async() -> Runtime:
    """Return the runtime that a door for coroutines uses here."""
    return _override.get() or _async()


@functools.cache
def _blocking() -> Driver:
    from oarlock.runtime.blocking import BLOCKING

    return BLOCKING


@functools.cache
def _async() -> Runtime:
    from oarlock.runtime.aio import ASYNC  # brings asyncio, which a purely blocking program never needs

    return ASYNC


def drive(core: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Run a function of the core, given a runtime and these arguments, from blocking code."""
    runtime = current_blocking()
    return runtime.run(core(runtime, *args))


def drive_async(core: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> Awaitable[T]:
    """Run a function of the core, given a runtime and these arguments, from a coroutine on the running event loop."""
    override = _override.get()
    return core(current_async(), *args) if override is None else _driven(override, core(override, *args))


async def _driven(runtime: Driver, work: Coroutine[Any, Any, T]) -> T:
    return runtime.run(work)


@contextmanager
def use_runtime(runtime: Driver) -> Iterator[None]:
    """Put a runtime in the place of the ordinary ones, within this context."""
    token = _override.set(runtime)
    try:
        yield
    finally:
        _override.reset(token)
