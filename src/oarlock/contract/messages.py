"""Messages and tool schemas, in the shape that OpenAI made common; other wire formats are translated by their dialect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from oarlock.contract.errors import ConfigurationError

__all__ = ["FunctionCall", "Message", "Role", "ToolCallMessage", "ToolSchema", "as_messages"]

Role = Literal["system", "developer", "user", "assistant", "tool"]


class FunctionCall(TypedDict):
    """The name and the JSON text of the arguments of a tool call."""

    name: str
    arguments: str


class ToolCallMessage(TypedDict):
    """A tool call as it stands inside an assistant's message."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class Message(TypedDict, total=False):
    """One message of a conversation."""

    role: Role
    content: str | list[dict[str, Any]] | None
    name: str
    tool_calls: list[ToolCallMessage]
    tool_call_id: str


ToolSchema = Mapping[str, Any]
"""A tool as a model sees it: `{"type": "function", "function": {"name", "description", "parameters"}}`."""


def as_messages(messages: str | Iterable[Mapping[str, Any]]) -> list[Message]:
    """Return messages as a new list; a text becomes one user message.

    Raises:
        ConfigurationError: nothing is there, or an item is not a message.

    Example:
        >>> as_messages("Hello")
        [{'role': 'user', 'content': 'Hello'}]
    """
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    given: object = messages
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise ConfigurationError(
            f"messages must be a text or a list of messages, not {type(given).__name__}: "
            'pass "..." or [{"role": "user", "content": "..."}].'
        )
    copied: list[Message] = []
    for message in given:
        if not isinstance(message, Mapping) or "role" not in message:
            raise ConfigurationError(
                f"messages[{len(copied)}] must be a mapping with a 'role', such as "
                f'{{"role": "user", "content": "..."}}, not {type(message).__name__}.'
            )
        copied.append(dict(message))  # type: ignore[arg-type]
    if not copied:
        raise ConfigurationError("messages is empty: there is nothing to answer.")
    return copied
