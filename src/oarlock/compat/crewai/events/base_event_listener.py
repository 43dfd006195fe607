"""`crewai.events.base_event_listener`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from oarlock.compat.crewai.events.event_bus import CrewAIEventsBus, crewai_event_bus

__all__ = ["BaseEventListener"]


class BaseEventListener(ABC):
    """Registers its handlers when an object of it is made."""

    verbose: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.setup_listeners(crewai_event_bus)

    @abstractmethod
    def setup_listeners(self, crewai_event_bus: CrewAIEventsBus) -> None:
        """Register handlers with `@crewai_event_bus.on(EventType)`."""
