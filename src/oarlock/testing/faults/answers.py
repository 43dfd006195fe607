"""What a well-behaved chat endpoint sends: the bodies and events that the faults then spoil."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

PIECES = ("Hello", " there", ".")
TEXT = "".join(PIECES)
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}

_ENVELOPE = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "served-model"}


def message(text: Any = TEXT, **fields: Any) -> dict[str, Any]:
    """Return the assistant's message."""
    return {"role": "assistant", "content": text, **fields}


def completion(said: Any = None, *, finish_reason: Any = "stop", **fields: Any) -> dict[str, Any]:
    """Return a whole chat completion around a message; further `fields` replace those of the body."""
    choice = {"index": 0, "message": message() if said is None else said, "finish_reason": finish_reason}
    return {**_ENVELOPE, "object": "chat.completion", "choices": [choice], "usage": USAGE, **fields}


def tool_calls(*calls: dict[str, Any]) -> dict[str, Any]:
    """Return a completion that asks for tools."""
    return completion(message(None, tool_calls=list(calls)), finish_reason="tool_calls")


def tool_call(name: Any = "add", arguments: Any = '{"a": 1, "b": 2}', **fields: Any) -> dict[str, Any]:
    """Return one wish to run a tool."""
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}, **fields}


def delta(finish_reason: Any = None, *, index: int = 0, **fields: Any) -> dict[str, Any]:
    """Return one piece of a streamed completion."""
    choice = {"index": index, "delta": fields, "finish_reason": finish_reason}
    return {**_ENVELOPE, "object": "chat.completion.chunk", "choices": [choice]}


def deltas() -> list[dict[str, Any]]:
    """Return the pieces of a whole streamed answer."""
    pieces = [delta(content=piece) for piece in PIECES]
    return [delta(role="assistant", content=""), *pieces, delta("stop")]


def usage_delta() -> dict[str, Any]:
    """Return the last piece of a stream, which has no choices but the usage."""
    return {**_ENVELOPE, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


def encoded(value: Any) -> bytes:
    """Return a value as UTF-8 JSON; text is taken as it is."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def event(value: Any, end: bytes = b"\n\n") -> bytes:
    """Return one server-sent event."""
    return b"data: " + encoded(value) + end


def events(values: Iterable[Any], *, done: bool = True) -> bytes:
    """Return several events, and the one that ends the stream."""
    return b"".join(map(event, values)) + (event("[DONE]") if done else b"")


def error(said: str, *, code: str | None = None, kind: str = "server_error") -> dict[str, Any]:
    """Return an error as OpenAI words it."""
    return {"error": {"message": said, "type": kind, "param": None, "code": code}}
