"""Pull iterators over the core's push: a streaming coroutine hands items to whoever drives it, without queues or threads.

The core awaits `hand_over(item)`. That suspends the coroutine and gives the item to its driver: `Stream` (blocking) or
`AsyncStream` (on asyncio, where everything else that the coroutine awaits is passed on to the event loop). The consumer
sets the pace: nothing runs ahead of it.
"""

from __future__ import annotations

import contextvars
import functools
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Handed(tuple[T]):
    """An item on its way from the core to its driver; a tuple since that costs no `__init__` for each."""

    __slots__ = ()


@types.coroutine
def hand_over(item: T) -> Generator[_Handed[T], None, None]:
    """Give one item to the consumer of the stream, and go on once it asks for the next one."""
    yield _Handed((item,))


class StreamLeft(BaseException):
    """Ends the work behind an `AsyncStream` whose consumer has left early."""


class _Driven(Generic[T, R]):
    """What both colours share: work that starts when somebody reads, and its result once it has ended.

    Args:
        start: makes the work.
        own_context: let the work have context variables of its own, a copy of the reader's at its beginning, so that what it
            sets and what the reader sets stay apart.
    """

    def __init__(self, start: Callable[[], Coroutine[Any, Any, R]], *, own_context: bool = False) -> None:
        self._start = start
        self._own_context = own_context
        self._started: Coroutine[Any, Any, R] | None = None
        self._resume: Callable[[Any], Any] | None = None  # the work's `send`, in the context that it has
        self._within: Callable[..., Any] = _here
        self._reply: R | None = None
        self._ended = False

    def _begin(self) -> Callable[[Any], Any]:
        """Make the work; return what resumes it."""
        if self._own_context:
            self._within = contextvars.copy_context().run
        self._started = work = self._within(self._start)
        self._resume = functools.partial(self._within, work.send) if self._own_context else work.send
        return self._resume

    @property
    def reply(self) -> R:
        """The assembled reply.

        Raises:
            RuntimeError: the stream has not ended, or not well.
        """
        if self._reply is None:
            raise RuntimeError("The stream has not ended: read it to its end, then take `.reply`.")
        return self._reply


class Stream(_Driven[T, R], Iterator[T]):
    """Items as they come; `.reply` is the whole once the last one has come.

    Leaving early, with `close()`, as a context manager, or by letting go of it, ends the work behind it and frees its connection.
    """

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        resume = self._resume or self._begin()
        try:
            handed = resume(None)
        except StopIteration as end:
            self._ended, self._reply = True, end.value
            raise StopIteration from None
        except BaseException:
            self._ended = True
            raise
        return handed[0]  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the stream early."""
        self._ended = True
        if self._started is not None:
            self._within(self._started.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_ended", True):
            self.close()


class AsyncStream(_Driven[T, R], AsyncIterator[T]):
    """Items as they come, on the running event loop; `.reply` is the whole once the last one has come.

    Iterate in one task. Leaving early: `await stream.aclose()`, or use it with `async with`. One that is let go of is closed by
    its event loop as soon as that comes to it.
    """

    _loop: Any = None

    async def __anext__(self) -> T:
        if self._ended:
            raise StopAsyncIteration
        if self._loop is None:
            import asyncio  # brought by whoever runs this; a blocking program never needs it

            self._loop = asyncio.get_running_loop()
        resume = self._resume or self._begin()
        try:
            handed = await _next_item(resume, self._throw)
        except _End as end:
            self._ended, self._reply = True, end.value
            raise StopAsyncIteration from None
        except BaseException:
            self._ended = True
            raise
        return handed[0]  # type: ignore[no-any-return]

    def _throw(self, error: BaseException) -> Any:
        assert self._started is not None
        return self._within(self._started.throw, error)

    async def aclose(self) -> None:
        """End the stream early; waits until what is behind it has closed."""
        if not self._ended and self._started is not None:
            self._ended = True
            await _shut(self._within, self._started)
        self._ended = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if getattr(self, "_ended", True) or self._started is None:
            return
        loop, left = self._loop, _Left(self._within, self._started)
        with suppress(RuntimeError):  # the loop has closed: nothing may be awaited any more
            loop.call_soon_threadsafe(lambda: loop.create_task(left.shut()))


class _Left:
    """Work that its reader has let go of. If its event loop ends before it is shut, it is closed all the same."""

    __slots__ = ("_within", "_work")

    def __init__(self, within: Callable[..., Any], work: Coroutine[Any, Any, Any]) -> None:
        self._within = within
        self._work = work

    async def shut(self) -> None:
        await _shut(self._within, self._work)

    def __del__(self) -> None:
        self._within(self._work.close)  # does nothing to work that has ended


def _here(call: Callable[..., Any], *args: Any) -> Any:
    return call(*args)


class _End(Exception):  # noqa: N818  a signal, not an error
    def __init__(self, value: Any) -> None:
        self.value = value


@types.coroutine
def _next_item(send: Callable[[Any], Any], throw: Callable[[Any], Any]) -> Generator[Any, Any, _Handed[Any]]:
    """Drive the work up to the next item, passing what it awaits on to the event loop."""
    resume, value = send, None
    while True:
        try:
            out = resume(value)
        except StopIteration as end:
            raise _End(end.value) from None
        if type(out) is _Handed:
            return out
        try:
            value, resume = (yield out), send
        except BaseException as error:  # noqa: BLE001  cancellation above all: the work must see it
            value, resume = error, throw
        out = None  # a future's repr has its result, and an error may show this frame's variables


@types.coroutine
def _shut(within: Callable[..., Any], work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, None]:
    """End the work as `close()` does, but let it await while it cleans up, which `GeneratorExit` would not."""
    resume: Callable[[Any], Any] = work.throw
    value: Any = StreamLeft()
    while True:
        try:
            out = within(resume, value)
        except (StopIteration, StreamLeft):
            return
        if isinstance(out, _Handed):
            raise RuntimeError("a stream handed over an item while closing")
        try:
            value, resume = (yield out), work.send
        except BaseException as error:  # noqa: BLE001  cancellation above all: the work must see it
            value, resume = error, work.throw
        out = None  # a future's repr has its result, and an error may show this frame's variables
