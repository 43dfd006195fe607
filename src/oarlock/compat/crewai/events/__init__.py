"""`crewai.events`: CrewAI's event bus and its events, for those that Oarlock has.

They come from runs of a `crewai.Crew`. Oarlock's own way needs no bus: `crew.kickoff(on_event=...)` or `for event in crew.stream()`,
with the events of `oarlock.events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarlock._lazy import lazy_names
from oarlock.compat.missing import sentence

if TYPE_CHECKING:
    from oarlock.compat.crewai.events.base_event_listener import BaseEventListener
    from oarlock.compat.crewai.events.base_events import BaseEvent
    from oarlock.compat.crewai.events.event_bus import CrewAIEventsBus, Depends, crewai_event_bus
    from oarlock.compat.crewai.events.types.agent_events import (
        AgentExecutionCompletedEvent,
        AgentExecutionErrorEvent,
        AgentExecutionStartedEvent,
    )
    from oarlock.compat.crewai.events.types.crew_events import (
        CrewKickoffCompletedEvent,
        CrewKickoffFailedEvent,
        CrewKickoffStartedEvent,
    )
    from oarlock.compat.crewai.events.types.llm_events import (
        LLMCallCompletedEvent,
        LLMCallFailedEvent,
        LLMCallStartedEvent,
        LLMStreamChunkEvent,
    )
    from oarlock.compat.crewai.events.types.llm_guardrail_events import (
        LLMGuardrailCompletedEvent,
        LLMGuardrailStartedEvent,
    )
    from oarlock.compat.crewai.events.types.task_events import TaskCompletedEvent, TaskFailedEvent, TaskStartedEvent
    from oarlock.compat.crewai.events.types.tool_usage_events import (
        ToolUsageErrorEvent,
        ToolUsageEvent,
        ToolUsageFinishedEvent,
        ToolUsageStartedEvent,
    )

__all__ = [
    "AgentExecutionCompletedEvent",
    "AgentExecutionErrorEvent",
    "AgentExecutionStartedEvent",
    "BaseEvent",
    "BaseEventListener",
    "CrewAIEventsBus",
    "CrewKickoffCompletedEvent",
    "CrewKickoffFailedEvent",
    "CrewKickoffStartedEvent",
    "Depends",
    "LLMCallCompletedEvent",
    "LLMCallFailedEvent",
    "LLMCallStartedEvent",
    "LLMGuardrailCompletedEvent",
    "LLMGuardrailStartedEvent",
    "LLMStreamChunkEvent",
    "TaskCompletedEvent",
    "TaskFailedEvent",
    "TaskStartedEvent",
    "ToolUsageErrorEvent",
    "ToolUsageEvent",
    "ToolUsageFinishedEvent",
    "ToolUsageStartedEvent",
    "crewai_event_bus",
]

_HOMES = {
    "BaseEvent": "base_events",
    "BaseEventListener": "base_event_listener",
    "CrewAIEventsBus": "event_bus",
    "Depends": "event_bus",
    "crewai_event_bus": "event_bus",
}
_KINDS = {
    "Agent": "agent_events",
    "Crew": "crew_events",
    "LLMGuardrail": "llm_guardrail_events",
    "LLM": "llm_events",
    "Task": "task_events",
    "ToolUsage": "tool_usage_events",
}
for _name in __all__:
    if _name not in _HOMES:
        _HOMES[_name] = f"types.{next(home for kind, home in _KINDS.items() if _name.startswith(kind))}"
_import = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(sentence(f"crewai.events.{name}", __all__))
    return _import(name)


def __dir__() -> list[str]:
    return __all__
