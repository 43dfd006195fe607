"""What users, models and tools wrote, for those who asked to see it: masked, redacted by the user's function, and cut."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from oarlock.contract.messages import Message
from oarlock.contract.reply import Reply, ToolCall
from oarlock.contract.request import Request
from oarlock.contract.secret import conceal

__all__ = ["Content"]

_log = logging.getLogger("oarlock.telemetry")
_LONGEST: Final = 10_000  # characters of one text
_MOST: Final = 200  # messages of one call, the newest; and tools
_DEEPEST: Final = 20  # levels of arguments
_FAILED: Final = "(left out: the redact function failed)"
_AROUND: Final = 100  # characters that are masked beyond the cut, so that no half of a credential stands at it


class Content:
    """Writes messages as the attributes of the conventions have them: JSON, each text made fit to leave the process.

    Args:
        redact: the user's own; takes a text and returns what may be seen of it.
    """

    def __init__(self, redact: Callable[[str], str] | None) -> None:
        self._redact = redact

    def text(self, text: Any) -> str:
        """Return what may be seen of a text."""
        seen: Any = conceal(str(text)[: _LONGEST + _AROUND])
        if len(seen) > _LONGEST:
            seen = seen[: _LONGEST - 1] + "…"
        if self._redact is None:
            return str(seen)
        try:
            seen = self._redact(seen)
        except Exception as error:  # noqa: BLE001  the boundary to the user's own code
            _log.warning("The redact function failed: %s", type(error).__name__)  # its message may hold the text
            return _FAILED
        return seen if isinstance(seen, str) else _FAILED

    def asked(self, request: Request) -> str:
        """Return the messages of a request."""
        return _json([self._message(message) for message in list(request.messages)[-_MOST:]])

    def tools(self, request: Request) -> str:
        """Return the definitions of the tools on offer."""
        return _json([self._plain(tool) for tool in request.tools[:_MOST]])

    def answer(self, reply: Reply) -> str:
        """Return an answer as the one message that it is."""
        parts = [_text(self.text(reply.text))] if reply.text or not reply.tool_calls else []
        parts += [self._call(call.id, call.name, call.arguments) for call in reply.tool_calls[:_MOST]]
        return _json([{"role": "assistant", "parts": parts, "finish_reason": str(reply.finish_reason or "stop")}])

    def said(self, role: str, text: str) -> str:
        """Return a text as the one message that it is."""
        return _json([{"role": role, "parts": [_text(self.text(text))]}])

    def arguments(self, arguments: Mapping[str, Any]) -> str:
        """Return the arguments of a tool."""
        return _json(self._plain(arguments))

    def _message(self, message: Message) -> dict[str, Any]:
        role, content = str(message.get("role", "user")), message.get("content")
        if role == "tool":
            seen = self.text("" if content is None else content)
            part = {"type": "tool_call_response", "id": str(message.get("tool_call_id", "")), "response": seen}
            return {"role": role, "parts": [part]}
        parts = list(self._parts(content))
        for call in message.get("tool_calls") or ():
            read = ToolCall.of(call)
            if read is not None:
                parts.append(self._call(read.id, read.name, read.arguments))
        return {"role": role, "parts": parts}

    def _parts(self, content: Any) -> Iterable[dict[str, Any]]:
        if content is None:
            return
        for part in content if isinstance(content, list | tuple) else [content]:
            if isinstance(part, Mapping) and "text" not in part:
                yield {"type": str(part.get("type", "unknown"))}  # a picture, say: that there was one is enough
            else:
                yield _text(self.text(part["text"] if isinstance(part, Mapping) else part))

    def _call(self, id: str, name: str, arguments: str) -> dict[str, Any]:
        return {"type": "tool_call", "id": id, "name": self.text(name), "arguments": self.text(arguments)}

    def _plain(self, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth == _DEEPEST:
            return "…"
        if isinstance(value, Mapping):
            return {self.text(name): self._plain(one, depth + 1) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(one, depth + 1) for one in value]
        return self.text(value)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _json(value: Any) -> str:
    """Return JSON; half of a surrogate pair stands in it as an escape."""
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()
