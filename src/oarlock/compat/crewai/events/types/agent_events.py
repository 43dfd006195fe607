"""`crewai.events.types.agent_events`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from oarlock.compat.crewai.events.base_events import BaseEvent

__all__ = ["AgentExecutionCompletedEvent", "AgentExecutionErrorEvent", "AgentExecutionStartedEvent"]


class _AgentEvent(BaseEvent):
    agent: Any = Field(default=None, exclude=True, repr=False)
    task: Any = Field(default=None, exclude=True, repr=False)


class AgentExecutionStartedEvent(_AgentEvent):
    """An agent began a task."""

    type: Literal["agent_execution_started"] = "agent_execution_started"
    tools: Any = Field(default=None, exclude=True, repr=False)
    task_prompt: str = ""


class AgentExecutionCompletedEvent(_AgentEvent):
    """An agent ended a task."""

    type: Literal["agent_execution_completed"] = "agent_execution_completed"
    output: str = ""


class AgentExecutionErrorEvent(_AgentEvent):
    """An agent failed at a task."""

    type: Literal["agent_execution_error"] = "agent_execution_error"
    error: str
