"""`crewai.events.types.llm_guardrail_events`."""

from __future__ import annotations

from typing import Any, Literal

from oarlock.compat.crewai.events.base_events import BaseEvent

__all__ = ["LLMGuardrailCompletedEvent", "LLMGuardrailStartedEvent"]


class LLMGuardrailStartedEvent(BaseEvent):
    """A guardrail looks at an answer; told together with what it says."""

    type: Literal["llm_guardrail_started"] = "llm_guardrail_started"
    guardrail: str
    guardrail_name: str | None = None
    retry_count: int = 0


class LLMGuardrailCompletedEvent(BaseEvent):
    """A guardrail has spoken."""

    type: Literal["llm_guardrail_completed"] = "llm_guardrail_completed"
    success: bool
    result: Any = None
    error: str | None = None
    guardrail_name: str | None = None
    retry_count: int = 0
