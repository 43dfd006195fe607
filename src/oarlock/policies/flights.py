"""Equal questions at once are asked once: the first asks, the others wait for its answer."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from oarlock.contract.errors import LLMTimeoutError
from oarlock.contract.reply import Reply
from oarlock.runtime import Promise, Runtime, driver_of

__all__ = ["Flights"]

_PATIENCE = 60.0  # seconds; whoever takes longer may be stuck, on an event loop that stands still
_asking: ContextVar[bool] = ContextVar("oarlock_asking", default=False)

_Ask = Callable[[], Awaitable[tuple[Reply, bool]]]


@dataclass(slots=True, eq=False)
class _Flight:
    """A question that is being asked. The promise is the answer, or `None` if there is none to share."""

    runtime: Runtime
    thread: int = field(default_factory=threading.get_ident)
    landed: Promise[Reply | None] = field(default_factory=Promise)
    unshared: bool = False


class Flights:
    """Questions that are being asked, by key, over all threads, tasks and event loops of the process."""

    def __init__(self) -> None:
        self._empty()

    async def share(self, runtime: Runtime, key: str, deadline: float | None, ask: _Ask) -> tuple[Reply, bool]:
        """Return the answer, and whether it is somebody else's.

        If whoever asks fails or is cancelled, one of those who wait asks next.

        Args:
            runtime: to wait on.
            key: equal for equal questions.
            deadline: a `runtime.now()` up to which to wait for another's answer.
            ask: returns the answer, and whether it may be given to others.

        Raises:
            LLMTimeoutError: the deadline passed while another was asking.
        """
        while True:
            flight, mine = self._join(runtime, key)
            if mine:
                return await self._lead(key, flight, ask), False
            if _asking.get() or (flight.thread == threading.get_ident() and flight.runtime is not driver_of(runtime)):
                # Inside a question of its own, or blocking the event loop of the one who asks: it might wait for itself.
                return (await ask())[0], False
            latest = runtime.now() + _PATIENCE
            try:
                answer = await runtime.wait(flight.landed, latest if deadline is None else min(latest, deadline))
            except TimeoutError:
                if deadline is not None and runtime.now() >= deadline:
                    raise _too_late() from None
                return (await ask())[0], False
            if answer is not None:
                return answer, True
            if flight.unshared:
                return (await ask())[0], False

    def _join(self, runtime: Runtime, key: str) -> tuple[_Flight, bool]:
        if self._pid != os.getpid():  # a fork: nobody here is asking
            self._empty()
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = _Flight(driver_of(runtime))
            return flight, True

    async def _lead(self, key: str, flight: _Flight, ask: _Ask) -> Reply:
        token = _asking.set(True)
        shared = None
        try:
            reply, shareable = await ask()
            shared, flight.unshared = (reply, False) if shareable else (None, True)
            return reply
        finally:
            with self._lock:
                if self._flights.get(key) is flight:  # not so in a fork
                    del self._flights[key]
            flight.landed.set_result(shared)
            _asking.reset(token)

    def _empty(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}


def _too_late() -> LLMTimeoutError:
    return LLMTimeoutError("The deadline passed while another call was asking the same question.", retryable=False)
