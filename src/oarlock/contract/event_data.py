"""Events as plain data, for logs, browsers and other programs."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from oarlock.contract.errors import LLMError
from oarlock.contract.events import Event
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub

__all__ = ["plain", "to_dict"]

_MOST_MESSAGE: Final = 1000  # characters of an error's message
_DEEPEST: Final = 20  # levels of what tools were given, or a model wrote


def to_dict(event: Event, *, content: bool = False) -> dict[str, Any]:
    """Return an event as a dictionary that `json.dumps` takes. `"event"` is its class; what is `None` is left out.

    What users, models and tools wrote (descriptions, messages, answers, arguments, pieces, reasons) is not in it unless you
    ask for it. Errors' messages are, without what looks like a credential; no credential of a sign-in ever is.

    Args:
        event: any event.
        content: with what users, models and tools wrote. It may be private, and it is as they wrote it.

    Example:
        >>> from oarlock.contract.events import TaskStarted
        >>> event = TaskStarted(task="Rhyme", agent="Poet", time=1.5, number=2, description="Rhyme on boats")
        >>> to_dict(event)
        {'event': 'TaskStarted', 'agent': 'Poet', 'task': 'Rhyme', 'time': 1.5, 'number': 2}
        >>> to_dict(event, content=True)["description"]
        'Rhyme on boats'
    """
    kind: Any = type(event)
    made: dict[str, Any] = {"event": kind.__name__}
    for name, is_content in _fields_of(kind):
        value = getattr(event, name)
        if isinstance(value, Reply):
            made[name] = _reply(value, content=content)
        elif value is not None and (content or not is_content):
            made[name] = plain(value)
    return made


@functools.cache
def _fields_of(kind: type[Any]) -> list[tuple[str, bool]]:
    """Return the names of an event's fields, and which are content: asked for at every event, the same for a class."""
    return [(one.name, bool(one.metadata.get("content"))) for one in dataclasses.fields(kind)]


def _reply(reply: Reply, *, content: bool) -> dict[str, Any]:
    """Return a reply; of tool calls without content only how many there are."""
    known = {"model": reply.model, "id": reply.id, "finish_reason": reply.finish_reason}
    made = {name: str(value) for name, value in known.items() if value is not None}
    return {
        **made,
        "usage": plain(reply.usage),
        "cached": reply.cached,
        "tool_calls": [plain(call) for call in reply.tool_calls] if content else len(reply.tool_calls),
        **({"text": reply.text} if content else {}),
    }


def plain(value: Any, depth: int = 0) -> Any:
    """Return what JSON has in the place of a value: texts, numbers, lists and dictionaries, and what is neither as a text."""
    if isinstance(value, str):
        # Half of a surrogate pair is no text.
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return "…" if depth == _DEEPEST else _structure(value, depth + 1)


def _structure(value: Any, depth: int) -> Any:  # noqa: PLR0911  a table of types
    if isinstance(value, Mapping):
        return {str(name): plain(one, depth) for name, one in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [plain(one, depth) for one in value]
    if isinstance(value, BaseException):
        return _error(value)
    if isinstance(value, Request):
        return {"messages": plain(value.messages, depth), "tools": [tool["function"]["name"] for tool in value.tools]}
    if isinstance(value, Usage):
        return {**_fields(value), "total_tokens": value.total_tokens}
    if isinstance(value, ToolCall):
        return _fields(value)
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return plain(value.model_dump(mode="json", exclude_unset=True, warnings=False), depth)
    return str(value)


def _error(error: BaseException) -> dict[str, Any]:
    made: dict[str, Any] = {"type": type(error).__name__, "message": scrub(str(error), _MOST_MESSAGE)}
    if isinstance(error, LLMError):
        made |= {name: getattr(error, name) for name in ("status", "attempts", "retryable")}
        made |= {name: scrub(str(value)) for name in ("code", "request_id") if (value := getattr(error, name))}
    return {name: value for name, value in made.items() if value is not None}


def _fields(value: Any) -> dict[str, Any]:
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
