"""What of an event goes into a record: content without credentials, and as the user's `redact` leaves it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from oarlock.contract.event_data import plain
from oarlock.contract.events import Event
from oarlock.contract.messages import Message
from oarlock.contract.secret import conceal, is_secret_name

__all__ = ["Cleaner"]

_MOST_LATEST: Final = 32  # texts whose cleaned forms are remembered
_LONGEST_DATA: Final = 200  # characters of a `data:` address, such as that of a picture: no one reads more


class Cleaner:
    """Makes content fit to be kept.

    Args:
        redact: what changes each text, credentials being out of it already.
    """

    def __init__(self, redact: Callable[[str], str] | None) -> None:
        self._redact = redact
        self._latest: dict[str, str] = {}

    def __call__(self, event: Event, made: dict[str, Any]) -> dict[str, Any]:
        """Return an event's data with its content cleaned."""
        kind: Any = type(event)
        for name in _content_of(kind):
            if name == "reply":
                made[name] = self._reply(made[name])
            elif name in made:
                made[name] = self.value(made[name])
        return self.error(made)

    def error(self, made: dict[str, Any]) -> dict[str, Any]:
        """Return an event's data with the message of its error cleaned."""
        if "error" in made:
            made["error"] = {**made["error"], "message": self.text(made["error"]["message"])}
        return made

    def text(self, text: str) -> str:
        """Return a text as it may be kept. Most come twice: as a tool's result or an answer, and as a message."""
        known = self._latest.get(text)
        if known is not None:
            return known
        if len(self._latest) >= _MOST_LATEST:
            self._latest.clear()
        made = self._latest[text] = self._cleaned(text)
        return made

    def _cleaned(self, text: str) -> str:
        if text.startswith("data:") and len(text) > _LONGEST_DATA:
            text = f"{text[:40].partition(',')[0]},… ({len(text):,} characters)"
        text = conceal(text)
        return text if self._redact is None else str(self._redact(text))

    def value(self, value: Any) -> Any:
        """Return plain data with all of its texts cleaned; what has the name of a credential is left out."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                name: "…" if isinstance(one, str) and is_secret_name(name) else self.value(one)
                for name, one in value.items()
            }
        return [self.value(one) for one in value] if isinstance(value, list) else value

    def messages(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """Return a conversation; who says something, and which tool is meant, stays."""
        return [self._message(plain(message)) for message in messages]

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        if isinstance(message.get("content"), list):
            message["content"] = [self._part(part) for part in message["content"]]
        elif "content" in message:
            message["content"] = self.value(message["content"])
        for call in message.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, dict):
                function["arguments"] = self.value(function.get("arguments"))
        return message

    def _part(self, part: Any) -> Any:
        kept = {"type": part["type"]} if isinstance(part, Mapping) and "type" in part else {}
        return {**self.value(part), **kept} if kept else self.value(part)

    def _reply(self, reply: dict[str, Any]) -> dict[str, Any]:
        calls = [{**call, "arguments": self.text(call["arguments"])} for call in reply["tool_calls"]]
        return {**reply, "text": self.text(reply["text"]), "tool_calls": calls}


@functools.cache
def _content_of(kind: type[Any]) -> list[str]:
    return [one.name for one in dataclasses.fields(kind) if one.metadata.get("content")]
