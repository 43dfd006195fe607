"""`crewai.events.types.llm_events`."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, Field

from oarlock.compat.crewai.events.base_events import BaseEvent

__all__ = [
    "FunctionCall",
    "LLMCallCompletedEvent",
    "LLMCallFailedEvent",
    "LLMCallStartedEvent",
    "LLMCallType",
    "LLMEventBase",
    "LLMStreamChunkEvent",
    "ToolCall",
]


class LLMEventBase(BaseEvent):
    """What events of model calls have in common; those of one call have one `call_id`."""

    type: str = "llm_event"
    model: str | None = None
    call_id: str = ""


class LLMCallType(Enum):
    """What a model answered."""

    TOOL_CALL = "tool_call"
    LLM_CALL = "llm_call"


class LLMCallStartedEvent(LLMEventBase):
    """A model is being asked."""

    type: Literal["llm_call_started"] = "llm_call_started"
    messages: Any = None
    tools: list[dict[str, Any]] | None = None
    callbacks: list[Any] | None = Field(default=None, exclude=True)
    available_functions: dict[str, Any] | None = Field(default=None, exclude=True)
    temperature: float | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None


class LLMCallCompletedEvent(LLMEventBase):
    """A model answered: with a text, or with tool calls in OpenAI's shape."""

    type: Literal["llm_call_completed"] = "llm_call_completed"
    messages: Any = None
    response: Any = None
    call_type: LLMCallType = LLMCallType.LLM_CALL
    usage: dict[str, Any] | None = None
    finish_reason: str | None = None
    response_id: str | None = None


class LLMCallFailedEvent(LLMEventBase):
    """A model call failed for good."""

    type: Literal["llm_call_failed"] = "llm_call_failed"
    error: str


class FunctionCall(BaseModel):
    """What a model wants to call."""

    arguments: str
    name: str | None = None


class ToolCall(BaseModel):
    """A piece of a tool call."""

    id: str | None = None
    function: FunctionCall
    type: str | None = "function"
    index: int = 0


class LLMStreamChunkEvent(LLMEventBase):
    """A piece of an answer, of crews that are read as a stream."""

    type: Literal["llm_stream_chunk"] = "llm_stream_chunk"
    chunk: str
    tool_call: ToolCall | None = None
    call_type: LLMCallType | None = None
    response_id: str | None = None
