"""`crewai.events.types.tool_usage_events`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from oarlock.compat.crewai.events.base_events import BaseEvent

__all__ = ["ToolUsageErrorEvent", "ToolUsageEvent", "ToolUsageFinishedEvent", "ToolUsageStartedEvent"]


class ToolUsageEvent(BaseEvent):
    """What events of tools have in common."""

    type: str = "tool_usage"
    tool_name: str
    tool_args: dict[str, Any] | str
    tool_class: str | None = None
    run_attempts: int = 1
    agent: Any = Field(default=None, exclude=True, repr=False)


class ToolUsageStartedEvent(ToolUsageEvent):
    """A tool is being run."""

    type: Literal["tool_usage_started"] = "tool_usage_started"


class ToolUsageFinishedEvent(ToolUsageEvent):
    """A tool gave an answer."""

    type: Literal["tool_usage_finished"] = "tool_usage_finished"
    started_at: datetime
    finished_at: datetime
    from_cache: bool = False
    output: Any = None


class ToolUsageErrorEvent(ToolUsageEvent):
    """A tool failed, was not there, or was given wrong arguments; `error` is what the model is told."""

    type: Literal["tool_usage_error"] = "tool_usage_error"
    error: Any = None
