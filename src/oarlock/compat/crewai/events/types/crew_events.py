"""`crewai.events.types.crew_events`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from oarlock.compat.crewai.events.base_events import BaseEvent

__all__ = ["CrewKickoffCompletedEvent", "CrewKickoffFailedEvent", "CrewKickoffStartedEvent"]


class _CrewEvent(BaseEvent):
    crew_name: str | None = None
    crew: Any = Field(default=None, exclude=True, repr=False)


class CrewKickoffStartedEvent(_CrewEvent):
    """A crew began, with these inputs."""

    type: Literal["crew_kickoff_started"] = "crew_kickoff_started"
    inputs: dict[str, Any] | None = None


class CrewKickoffCompletedEvent(_CrewEvent):
    """A crew ended; `output` is its `CrewOutput`."""

    type: Literal["crew_kickoff_completed"] = "crew_kickoff_completed"
    output: Any = None
    total_tokens: int = 0


class CrewKickoffFailedEvent(_CrewEvent):
    """A crew failed."""

    type: Literal["crew_kickoff_failed"] = "crew_kickoff_failed"
    error: str
