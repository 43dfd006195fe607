"""`crewai.events.types.task_events`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from oarlock.compat.crewai.events.base_events import BaseEvent

__all__ = ["TaskCompletedEvent", "TaskFailedEvent", "TaskStartedEvent"]


class _TaskEvent(BaseEvent):
    task: Any = Field(default=None, exclude=True, repr=False)


class TaskStartedEvent(_TaskEvent):
    """A task began."""

    type: Literal["task_started"] = "task_started"
    context: str | None = None


class TaskCompletedEvent(_TaskEvent):
    """A task ended; `output` is a `TaskOutput` with its text."""

    type: Literal["task_completed"] = "task_completed"
    output: Any = None


class TaskFailedEvent(_TaskEvent):
    """A task failed."""

    type: Literal["task_failed"] = "task_failed"
    error: str
