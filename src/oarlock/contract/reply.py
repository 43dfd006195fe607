"""What comes back from a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oarlock.contract.messages import Message, ToolCallMessage
from oarlock.contract.records import dataclass, field
from oarlock.contract.replacing import replacer

__all__ = ["Delta", "EndpointLimit", "Reply", "ToolCall", "Usage", "reply_with"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and requests that were spent. Adds up with `+`.

    Attributes:
        prompt_tokens: tokens read, cached ones included.
        completion_tokens: tokens written.
        cached_prompt_tokens: of the prompt's tokens, those the provider had cached.
        requests: model calls that succeeded.
        estimated: some of the figures were estimated from the text's length, for want of the provider's own.

    Example:
        >>> (Usage(prompt_tokens=8, completion_tokens=2) + Usage(completion_tokens=5)).total_tokens
        15
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    requests: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def successful_requests(self) -> int:
        """The same as `requests`, under the name that CrewAI's users know."""
        return self.requests

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_prompt_tokens=self.cached_prompt_tokens + other.cached_prompt_tokens,
            requests=self.requests + other.requests,
            estimated=self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A model's wish to run a tool.

    Attributes:
        id: the model's id of this call; the tool's answer carries it back.
        name: the tool's name, as the model wrote it; it may not exist.
        arguments: JSON text, as the model wrote it; it may be no JSON at all.

    Example:
        >>> ToolCall(id="1", name="add", arguments='{"a": 1}').as_message()["function"]
        {'name': 'add', 'arguments': '{"a": 1}'}
    """

    id: str
    name: str
    arguments: str = "{}"

    def as_message(self) -> ToolCallMessage:
        """Return the call in OpenAI's shape."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}

    @classmethod
    def of(cls, call: Any) -> ToolCall | None:
        """Read a tool call in OpenAI's shape, given as a mapping or as an SDK's object; `None` if it is none."""
        function = _get(call, "function")
        name = _get(function, "name")
        if not isinstance(name, str) or not name:
            return None
        arguments = _get(function, "arguments")
        if not isinstance(arguments, str):
            arguments = json.dumps({} if arguments is None else arguments)
        return cls(id=str(_get(call, "id") or ""), name=name, arguments=arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLimit:
    """What an endpoint said about one of its rate limits, with an answer.

    Attributes:
        unit: `"requests"`, `"tokens"`, `"input_tokens"`, `"output_tokens"`, or `"any"` where it did not say.
        limit: how many there are a minute.
        remaining: how many are left.
        resets_in: seconds, from the answer on, until there are as many as ever.
    """

    unit: str
    limit: float | None = None
    remaining: float | None = None
    resets_in: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of a model; `str(reply)` is its text.

    Attributes:
        text: the answer; empty when the model asks for tools instead.
        tool_calls: the tools that the model asks for.
        usage: what it cost.
        finish_reason: why the model stopped: `"stop"`, `"length"`, `"tool_calls"`, `"content_filter"`, ...
        model: the model that answered, in the provider's words.
        id: the provider's id of the answer.
        value: the object that an LLM's own `call()` returned, where that was neither text nor tool calls.
        raw: the provider's whole answer, for what has no field here.
        cached: the answer was given before and cost nothing this time; its `usage` is zero.
        limits: what the endpoint said about its rate limits; `RateLimit` heeds it.

    Example:
        >>> reply = Reply(text="Hello.", usage=Usage(prompt_tokens=8, completion_tokens=2, requests=1), finish_reason="stop")
        >>> str(reply), reply.usage.total_tokens
        ('Hello.', 10)
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None
    model: str | None = None
    id: str | None = None
    value: Any = field(default=None, repr=False)
    raw: Any = field(default=None, repr=False, compare=False)
    cached: bool = False
    limits: tuple[EndpointLimit, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        return self.text

    def as_message(self) -> Message:
        """Return the answer as the assistant's message that continues the conversation."""
        if not self.tool_calls:
            return {"role": "assistant", "content": self.text}
        return {
            "role": "assistant",
            "content": self.text or None,
            "tool_calls": [call.as_message() for call in self.tool_calls],
        }


reply_with = replacer(Reply)


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer as it streams in; `str(delta)` is its text, `""` for a piece of a tool call."""

    text: str = ""
    tool_call: ToolCall | None = None

    def __str__(self) -> str:
        return self.text


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
