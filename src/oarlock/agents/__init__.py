"""Agents, tasks and crews. The names that most programs need are in `oarlock` itself, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.conditional import ConditionalTask
    from oarlock.agents.crew import Crew, Process
    from oarlock.agents.hooks import Hooks, LLMCallHookContext, ToolCallHookContext
    from oarlock.agents.outputs import AgentAction, AgentFinish, CrewOutput, TaskOutput
    from oarlock.agents.task import Task

__all__ = [
    "Agent",
    "AgentAction",
    "AgentFinish",
    "ConditionalTask",
    "Crew",
    "CrewOutput",
    "Hooks",
    "LLMCallHookContext",
    "Process",
    "Task",
    "TaskOutput",
    "ToolCallHookContext",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Agent": "agent",
        "AgentAction": "outputs",
        "AgentFinish": "outputs",
        "ConditionalTask": "conditional",
        "Crew": "crew",
        "CrewOutput": "outputs",
        "Hooks": "hooks",
        "LLMCallHookContext": "hooks",
        "Process": "crew",
        "Task": "task",
        "TaskOutput": "outputs",
        "ToolCallHookContext": "hooks",
    },
)
