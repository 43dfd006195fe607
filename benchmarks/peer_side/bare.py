"""What the bare clients share: the bodies of requests, and what their answers mean. As little code as will do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json"}
PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Add two numbers.", "parameters": PARAMETERS}}]


def question(prompt: str) -> list[Any]:
    return [{"role": "user", "content": prompt}]


def body_of(messages: list[Any], **options: Any) -> bytes:
    return json.dumps({"model": "m", "messages": messages, **options}).encode()


def message_in(body: bytes) -> Any:
    return json.loads(body)["choices"][0]["message"]


def results(message: Any, add: Callable[[int, int], int]) -> list[Any]:
    """Return the model's message and what its tools gave."""
    answers = [message]
    for call in message["tool_calls"]:
        content = str(add(**json.loads(call["function"]["arguments"])))
        answers.append({"role": "tool", "tool_call_id": call["id"], "content": content})
    return answers


class Events:
    """Takes a stream's pieces of bytes, gives its pieces of text."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, piece: bytes) -> list[str]:
        *events, self.rest = (self.rest + piece).split(b"\n\n")
        chunks = [json.loads(event[6:]) for event in events if event != b"data: [DONE]"]
        return [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
