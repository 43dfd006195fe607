"""`crewai.events.event_bus`: one bus for the process, since CrewAI's is one."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from oarlock.compat.crewai.events.base_events import BaseEvent
from oarlock.contract.errors import ConfigurationError
from oarlock.runtime import drive

__all__ = ["CrewAIEventsBus", "Depends", "crewai_event_bus"]

H = TypeVar("H", bound=Callable[..., Any])

_log = logging.getLogger("oarlock.compat")


@dataclass(frozen=True, slots=True)
class Depends:
    """Says of a handler that another one comes before it: `@crewai_event_bus.on(Event, depends_on=Depends(other))`."""

    handler: Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Handler:
    kind: type[BaseEvent]
    call: Callable[..., Any]
    after: tuple[Callable[..., Any], ...] = ()


class CrewAIEventsBus:
    """Calls handlers, `(source, event)`, blocking or `async`, when something happens in a run of a `crewai.Crew`.

    They are called as it happens, in the order in which they were registered, and the run goes on when they are done: let them
    be quick. One that raises is logged, and changes nothing.

    Example:
        >>> from oarlock.compat.crewai.events import CrewKickoffStartedEvent
        >>> with crewai_event_bus.scoped_handlers():
        ...     @crewai_event_bus.on(CrewKickoffStartedEvent)
        ...     def began(source, event):
        ...         print(event.crew_name)
        ...     crewai_event_bus.emit(None, CrewKickoffStartedEvent(crew_name="rowers"))
        rowers
    """

    def __init__(self) -> None:
        self._handlers: tuple[_Handler, ...] = ()  # replaced as a whole, so that whoever calls them holds no lock
        self._lock = threading.Lock()

    @property
    def has_handlers(self) -> bool:
        """Whether anybody listens."""
        return bool(self._handlers)

    def on(
        self, event_type: type[BaseEvent], depends_on: Depends | Sequence[Depends] | None = None
    ) -> Callable[[H], H]:
        """Return a decorator that registers a handler for events of a type."""

        def register(handler: H) -> H:
            self.register_handler(event_type, handler, depends_on)
            return handler

        return register

    def register_handler(
        self,
        event_type: type[BaseEvent],
        handler: Callable[..., Any],
        depends_on: Depends | Sequence[Depends] | None = None,
    ) -> None:
        """Register a handler for events of a type.

        Raises:
            ConfigurationError: this is no type of events.
        """
        if not (isinstance(event_type, type) and issubclass(event_type, BaseEvent)):
            raise ConfigurationError(f"crewai_event_bus: {event_type!r} is no type of events.")
        before = [depends_on] if isinstance(depends_on, Depends) else list(depends_on or ())
        made = _Handler(event_type, handler, tuple(one.handler for one in before))
        with self._lock:
            self._handlers = (*self._handlers, made)

    def off(self, event_type: type[BaseEvent], handler: Callable[..., Any]) -> None:
        """Forget a handler."""
        with self._lock:
            left = [one for one in self._handlers if one.kind is not event_type or one.call is not handler]
            self._handlers = tuple(left)

    def emit(self, source: Any, event: BaseEvent) -> None:
        """Call the handlers of an event's type."""
        for handler in _in_order([one for one in self._handlers if isinstance(event, one.kind)]):
            try:
                if inspect.iscoroutinefunction(handler.call):
                    _await(handler.call, source, event)
                else:
                    handler.call(source, event)
            except Exception:  # noqa: BLE001  the boundary to the user's own code, which CrewAI lets change nothing either
                _log.exception("A handler of %s failed", type(event).__name__)

    async def aemit(self, source: Any, event: BaseEvent) -> None:
        """Call the handlers of an event's type, from a coroutine."""
        for handler in _in_order([one for one in self._handlers if isinstance(event, one.kind)]):
            try:
                result = handler.call(source, event)
                if inspect.isawaitable(result):
                    await result
            except Exception:  # noqa: BLE001  likewise
                _log.exception("A handler of %s failed", type(event).__name__)

    @contextmanager
    def scoped_handlers(self) -> Iterator[None]:
        """Begin a block without handlers; those registered in it are forgotten at its end, and the others are back."""
        with self._lock:
            before, self._handlers = self._handlers, ()
        try:
            yield
        finally:
            with self._lock:
                self._handlers = before

    def flush(self, timeout: float | None = None) -> bool:
        """Return `True`: handlers have been called when `emit` returns."""
        return True

    def validate_dependencies(self) -> None:
        """Do nothing: `emit` tells of a circle."""

    def shutdown(self, wait: bool = True) -> None:
        """Forget all handlers."""
        with self._lock:
            self._handlers = ()


def _await(handler: Callable[..., Any], source: Any, event: BaseEvent) -> None:
    async def work(runtime: Any) -> None:
        await runtime.invoke(None, handler, source, event)

    drive(work)


def _in_order(handlers: list[_Handler]) -> list[_Handler]:
    """Return handlers in the order of their registration, each after those that it depends on."""
    if not any(one.after for one in handlers):
        return handlers
    ordered: list[_Handler] = []
    begun: set[int] = set()

    def place(one: _Handler) -> None:
        if id(one) in begun:  # placed, or in a circle, which then ends here
            return
        begun.add(id(one))
        for other in handlers:
            if other.call in one.after:
                place(other)
        ordered.append(one)

    for one in handlers:
        place(one)
    return ordered


crewai_event_bus = CrewAIEventsBus()
