"""Reading a run as a stream of its events."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from oarlock.contract.events import Event, EventsMissed
from oarlock.runtime import ReadRuntime, Runtime, current_blocking
from oarlock.runtime.ambient import current_async
from oarlock.runtime.streams import AsyncStream, Stream

__all__ = ["AsyncRunStream", "RunStream", "read_run", "read_run_async"]

R = TypeVar("R")

Listener = Callable[[Event], None]
Core = Callable[[Runtime, Listener], Coroutine[Any, Any, R]]
"""The core of a run: what drives it, and who is to be told of its events."""


class RunStream(Stream[Event, R]):
    """The events of a run as they happen; `.result` is what it gave once the last one has come. An error comes after it.

    The run begins when the first event is asked for, and goes on while the next one is: whoever reads sets the pace. Leaving
    early (`break`, `close()`, the end of a `with` block, an error of yours) ends the run, and waits for what cannot be stopped.
    """

    @property
    def result(self) -> R:
        """What the run gave.

        Raises:
            RuntimeError: it has not ended, or not well.
        """
        return _result(self)


class AsyncRunStream(AsyncStream[Event, R]):
    """The events of a run as they happen, with `async for`, in one task; see `RunStream`.

    A loop that is left with `break` ends the run soon after; `async with stream:` or `await stream.aclose()` waits for it.
    """

    @property
    def result(self) -> R:
        """What the run gave; see `RunStream.result`."""
        return _result(self)


def read_run(core: Core[R], on_event: Listener | None = None) -> RunStream[R]:
    """Return the stream of a run in blocking code. `on_event` is told of each event too, as it happens."""
    return RunStream(_reading(current_blocking(), core, on_event), own_context=True)


def read_run_async(core: Core[R], on_event: Listener | None = None) -> AsyncRunStream[R]:
    """Return the stream of a run on the running event loop; see `read_run`."""
    return AsyncRunStream(_reading(current_async(), core, on_event), own_context=True)


def _reading(inner: Runtime, core: Core[R], on_event: Listener | None) -> Callable[[], Coroutine[Any, Any, R]]:
    runtime = ReadRuntime[Event](inner, lambda count: EventsMissed(count=count))

    def both(event: Event) -> None:
        runtime.tell(event)
        if on_event is not None:
            on_event(event)

    told = runtime.tell if on_event is None else both

    async def whole() -> R:
        try:
            result = await core(runtime, told)
        except Exception:
            await runtime.give_way()  # what led to it comes before it
            raise
        await runtime.give_way()
        return result

    return whole


def _result(stream: RunStream[R] | AsyncRunStream[R]) -> R:
    try:
        return stream.reply
    except RuntimeError:
        raise RuntimeError(
            "The run has not ended, or not well: read its stream to the end, then take `.result`."
        ) from None
