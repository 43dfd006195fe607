"""The endpoint that stands in for the real one: it answers each question with the question's own number."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from oarlock.testing._chat_format import Wire
from oarlock.testing.endpoint import Hang, LoopbackEndpoint, RecordedRequest, Scripted, Status, ToolCalls

__all__ = ["Respond", "Stage", "echo", "question", "received"]

Respond: TypeAlias = Callable[[RecordedRequest, "str | ToolCalls"], "Mapping[str, Any] | str | bytes | Status"]
"""Writes an answer in a private protocol: its body as a mapping (sent as JSON), as text or as bytes."""

_NUMBER = re.compile(r"question-\d+")


def question(number: int) -> str:
    """Return a question that can be told from others, also by a real model."""
    return f"Please answer in one short sentence that repeats this word: question-{number}"


def echo(request: RecordedRequest) -> str:
    """Answer with the last question's word, wherever in the body it stands."""
    words = _NUMBER.findall(request.body.decode("utf-8", "replace"))
    return f"You said {words[-1]}." if words else "Hello."


def received(request: RecordedRequest, text: str) -> bool:
    """Return whether a text arrived whole: in a string of the JSON body, or in the body as it is."""
    if request.json is None:
        return text in request.body.decode("utf-8", "replace")
    return any(text in found for found in _strings(json.loads(request.body)))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _strings(item)]


class Stage(LoopbackEndpoint):
    """A loopback endpoint that can speak a private protocol: then every path is good, and `respond` writes the body."""

    def __init__(self, replies: list[Scripted], respond: Respond | None) -> None:
        super().__init__(replies)
        self._respond = respond

    def _refusal(self, request: RecordedRequest) -> Status | None:
        return super()._refusal(request) if self._respond is None else None

    def _encode(self, reply: Scripted, request: RecordedRequest) -> Wire:
        if self._respond is None:
            return super()._encode(reply, request)
        plain = dataclasses.replace(request, json={})  # the chat format's own fields mean nothing here
        return super()._encode(self._in_protocol(reply, request), plain)

    def _in_protocol(self, reply: Scripted, request: RecordedRequest) -> Scripted:
        assert self._respond is not None
        while callable(reply):
            reply = reply(request)
        if isinstance(reply, Hang):
            return Hang(self._in_protocol(reply.then, request))
        if not isinstance(reply, str | ToolCalls):
            return reply
        body = self._respond(request, reply)
        return body if isinstance(body, Status) else Status(200, body=body)
