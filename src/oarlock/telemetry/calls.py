"""One model call, watched from outside its policies: what telemetry of each kind has in common."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from oarlock.contract.context import current_call
from oarlock.contract.events import Event, FellBack, Waited, Waiting
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Delta, Reply, Usage
from oarlock.contract.request import DeltaSink, Request
from oarlock.runtime import Runtime

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["WatchedCall", "current_watched", "quietly", "watched"]

_log = logging.getLogger("oarlock.telemetry")


class WatchedCall:
    """What one kind of telemetry makes of one call. Its methods are called in the context in which the call is made.

    Attributes:
        attempts: requests so far; one for each fallback, which has attempts of its own.
        waits: seconds by cause.
        headers: to be sent along.
        around: the call in which this one is made, whoever watches it: telemetry of another kind watches this very call.
    """

    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, owner: object, llm: BaseLLM | None) -> None:
        self.attempts = 1
        self.waits: dict[str, float] = {}
        self._inner: list[Usage] = []
        self.around: WatchedCall | None = None
        self._owner = owner
        self._llm = llm

    def of(self, owner: object) -> WatchedCall | None:
        """Return the innermost call from here outwards that this telemetry watches."""
        call: WatchedCall | None = self
        while call is not None and call._owner is not owner:  # noqa: SLF001  its own class
            call = call.around
        return call

    def is_of(self, llm: BaseLLM | None) -> bool:
        """Return whether this is a call of that LLM: one that asks through `super()` is still the same."""
        return self._llm is llm and llm is not None

    def observe(self, event: Event) -> None:
        """Take note of what the policies tell."""
        kind = type(event)
        if kind is Waiting:
            if event.cause == "retry":  # type: ignore[attr-defined]
                self.attempts += 1
        elif kind is Waited:
            cause: str = event.cause  # type: ignore[attr-defined]
            self.waits[cause] = self.waits.get(cause, 0.0) + event.seconds  # type: ignore[attr-defined]
        elif kind is FellBack:
            self.attempts += 1

    def quietly_observe(self, event: Event) -> None:
        """Take note, whatever happens; of what happens to a call within this one, such as one to a fallback, that call does."""
        if current_watched(self._owner) is self:
            quietly(self.observe, event)

    def inner_answered(self, reply: Reply) -> None:
        """Take note that a call within this one, such as one to a fallback, has an answer."""
        self._inner.append(reply.usage)

    def spent(self, reply: Reply) -> Usage | None:
        """Return what the answer cost, `None` where a call within this one gave it, and counts it."""
        return None if any(usage is reply.usage for usage in self._inner) else reply.usage

    def begin(self, request: Request) -> None:
        """The call begins."""

    def first_chunk(self, seconds: float) -> None:
        """The first piece of the answer is there."""

    def next_chunk(self, seconds: float) -> None:
        """A further piece is there, so long after the one before; the reader's own time does not count."""

    def step_out(self) -> None:
        """Control goes to the reader of the stream."""

    def step_in(self) -> None:
        """Control comes back."""

    def answered(self, reply: Reply, seconds: float) -> None:
        """The call ended with an answer."""

    def failed(self, error: BaseException, seconds: float) -> None:
        """The call ended without one; anything but an `Exception` means that it was cancelled or left."""


def quietly(note: Callable[..., None], *args: Any) -> bool:
    """Let telemetry take note of something; return whether it could: what is watched must not fail for being watched."""
    try:
        note(*args)
    except Exception:  # noqa: BLE001  a processor of the program's, say
        _log.warning("Something could not be shown as telemetry", exc_info=True)
        return False
    return True


_watched: ContextVar[WatchedCall | None] = ContextVar("oarlock_watched", default=None)


def current_watched(owner: object) -> WatchedCall | None:
    """Return the call that is made here, as this telemetry watches it."""
    call = _watched.get()
    return None if call is None else call.of(owner)


def watched(begin: Callable[[], WatchedCall], owner: object, llm: BaseLLM | None, handler: Handler) -> Handler:
    """Return a handler that watches each call of an LLM.

    Args:
        begin: makes what watches one call.
        owner: whose telemetry it is.
        llm: whose calls.
        handler: makes them.
    """

    async def handle(runtime: Runtime, request: Request) -> Reply:
        around = _watched.get()
        outer = None if around is None else around.of(owner)
        if outer is not None and outer.is_of(llm) and not current_call().apart:
            return await handler(runtime, request)
        call = begin()
        call.around = around
        started = runtime.now()
        if not quietly(call.begin, request):
            return await handler(runtime, request)
        changes: dict[str, Any] = {"observers": (*request.observers, call.quietly_observe)}
        if call.headers:
            changes["headers"] = (*request.headers, *call.headers)
        if request.deltas is not None:
            changes["deltas"] = _Timed(request.deltas, runtime, call, started)
        _watched.set(call)
        try:
            reply = await handler(runtime, request.replace(**changes))
        except BaseException as error:
            quietly(call.failed, error, runtime.now() - started)
            raise
        finally:
            if _watched.get() is call:  # else this is another context: a stream that was let go of
                _watched.set(around)
        quietly(call.answered, reply, runtime.now() - started)
        if outer is not None:
            outer.inner_answered(reply)
        return reply

    return handle


class _Timed(DeltaSink):
    """Passes pieces of an answer on, and takes the time from one to the next."""

    __slots__ = ("_call", "_inner", "_last", "_runtime", "_started")

    def __init__(self, inner: DeltaSink, runtime: Runtime, call: WatchedCall, started: float) -> None:
        self._inner = inner
        self._runtime = runtime
        self._call = call
        self._started = started
        self._last: float | None = None

    @property
    def delivered(self) -> int:  # type: ignore[override]
        """How many pieces went."""
        return self._inner.delivered

    @property
    def may_begin_anew(self) -> bool:
        return self._inner.may_begin_anew

    def begin_anew(self) -> None:
        self._inner.begin_anew()

    def put(self, delta: Delta) -> Awaitable[None]:
        now, last = self._runtime.now(), self._last
        if last is None:
            quietly(self._call.first_chunk, now - self._started)
        else:
            quietly(self._call.next_chunk, now - last)
        return self._handed_over(delta)

    async def _handed_over(self, delta: Delta) -> None:
        call = self._call
        call.step_out()
        _watched.set(call.around)
        try:
            await self._inner.put(delta)
        finally:
            _watched.set(call)
            call.step_in()
        self._last = self._runtime.now()

    async def put_whole(self, reply: Reply) -> None:
        await self._inner.put_whole(reply)
