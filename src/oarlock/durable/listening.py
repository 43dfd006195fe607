"""Events of a run that is driven again: whoever listens hears what is new, not what was heard before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from oarlock.contract.events import CallFailed, CallFinished, Event, RunFailed, RunFinished, RunStarted

__all__ = ["Listening"]

Listener = Callable[[Event], None]

_ALWAYS: Final = (RunStarted, RunFinished, RunFailed)
_OF_REPLAYED: Final = (CallFinished, CallFailed)  # before anything new is done these can only be of recorded calls


class _Held:
    __slots__ = ("event", "told")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.told = False


class Listening:
    """Holds events back while recorded steps are replayed.

    What happens between two replayed steps was heard when they were first done. What follows the last of them may have
    been, or not; it is told once something new is done.

    Args:
        is_resumed: there are recorded steps.
    """

    def __init__(self, *, is_resumed: bool) -> None:
        self._listener: Listener | None = None
        self._lock = threading.Lock()
        self._live: ContextVar[bool] = ContextVar(
            "oarlock_live", default=not is_resumed
        )  # each side by side has its own
        self._held: ContextVar[tuple[_Held, ...]] = ContextVar("oarlock_held", default=())

    def around(self, listener: Listener | None) -> Listener | None:
        """Return who is to listen in a listener's place."""
        self._listener = listener
        return None if listener is None else self._hear

    def replays(self) -> None:
        """A recorded step was replayed here."""
        if self._held.get():
            self._held.set(())

    def goes_on(self) -> None:
        """Something new is done here."""
        if self._live.get():
            return
        self._live.set(True)
        self._tell_held()

    def _hear(self, event: Event) -> None:
        assert self._listener is not None, "nobody listens"
        if isinstance(event, _ALWAYS):
            self._tell_held()
            self._listener(event)
        elif self._live.get():
            self._listener(event)
        elif not isinstance(event, _OF_REPLAYED):
            self._held.set((*self._held.get(), _Held(event)))

    def _tell_held(self) -> None:
        held = self._held.get()
        self._held.set(())
        for one in held:
            with self._lock:  # what was held where jobs parted is told by one of them
                told, one.told = one.told, True
            if not told and self._listener is not None:
                self._listener(one.event)
