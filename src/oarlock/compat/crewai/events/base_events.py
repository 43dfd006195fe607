"""`crewai.events.base_events`."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BaseEvent"]


class BaseEvent(BaseModel):
    """What all events have; subclass it for events of your own.

    Attributes:
        timestamp: when it happened, in UTC.
        type: what happened.
        task_id: of this doing of the task.
        task_name: the task's name.
        agent_id: the same as `agent_role`.
        agent_role: who is at work.
        event_id: of this event.

    Example:
        >>> class Launched(BaseEvent):
        ...     type: str = "launched"
        ...     boat: str
        >>> Launched(boat="Argo").to_json(exclude={"timestamp", "event_id"})["boat"]
        'Argo'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    type: str
    task_id: str | None = None
    task_name: str | None = None
    agent_id: str | None = None
    agent_role: str | None = None
    event_id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    parent_event_id: str | None = None

    def to_json(self, exclude: set[str] | None = None) -> dict[str, Any]:
        """Return the event as a dictionary that `json.dumps` takes; the objects that it is about are left out."""
        return self.model_dump(mode="json", exclude=exclude, fallback=str)
