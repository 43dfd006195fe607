"""OpenAI's chat format from the server's side: what a client of theirs sent becomes a `Request`, a `Reply` what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from oarlock.contract.errors import BadRequestError
from oarlock.contract.messages import as_messages
from oarlock.contract.reply import Delta, Reply, ToolCall, Usage
from oarlock.contract.request import Request

__all__ = ["Envelope", "ReplyInPieces", "body_of", "request_of"]

_READ: Final = frozenset({"model", "messages", "tools", "stop", "temperature", "max_tokens", "max_completion_tokens"})
_OURS: Final = frozenset({"stream", "stream_options", "response_format", "n"})
_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})  # those OpenAI names


def request_of(body: Mapping[str, Any]) -> Request:
    """Return the request in a body of OpenAI's chat format; what has no field of its own is in its `options`.

    Raises:
        ConfigurationError: there are no messages in it.
        BadRequestError: it asks for more than one answer.

    Example:
        >>> request_of({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "top_p": 0.5}).options
        {'top_p': 0.5}
    """
    if body.get("n") not in (None, 1):
        raise BadRequestError(f"One answer can be given to a question, not n={body['n']!r}.")
    options = {name: value for name, value in body.items() if name not in _READ | _OURS and value is not None}
    tools = tuple(body.get("tools") or ())
    choice = options.pop("tool_choice", "auto")
    if not tools or choice == "none":
        tools = ()
        options.pop("parallel_tool_calls", None)
    elif choice != "auto":
        options["tool_choice"] = choice
    schema, further = _structure(body.get("response_format"))
    stop = body.get("stop") or ()
    most = body.get("max_completion_tokens")
    return Request(
        messages=as_messages(body.get("messages") or []),
        tools=tools,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        temperature=body.get("temperature"),
        max_tokens=body.get("max_tokens") if most is None else most,
        json_schema=schema,
        options={**options, **further} or None,
    )


def body_of(reply: Reply, envelope: Envelope) -> dict[str, Any]:
    """Return the body that has a reply.

    Example:
        >>> body_of(Reply(text="Hello"), Envelope("m", "id-1", 0))["choices"][0]["message"]
        {'role': 'assistant', 'content': 'Hello'}
    """
    choice = {"index": 0, "message": reply.as_message(), "logprobs": None, "finish_reason": _reason(reply)}
    return {**envelope.head("chat.completion", reply), "choices": [choice], "usage": _usage(reply.usage)}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around an answer.

    Attributes:
        model: the model's name, where the answer has none.
        id: the answer's id, where it has none of the provider's.
        created: seconds since 1970.
    """

    model: str
    id: str
    created: int

    def head(self, kind: str, reply: Reply | None = None) -> dict[str, Any]:
        """Return the fields before the answer itself."""
        id_, model = (reply.id, reply.model) if reply else (None, None)
        return {"id": id_ or self.id, "object": kind, "created": self.created, "model": model or self.model}


class ReplyInPieces:
    """Writes an answer as the chunks of a stream: `chunk` for each delta, `last` when the whole reply is there.

    Example:
        >>> pieces = ReplyInPieces(Envelope("m", "id-1", 0))
        >>> pieces.chunk(Delta("Hello"))["choices"][0]["delta"]
        {'role': 'assistant', 'content': 'Hello'}
        >>> [chunk["choices"] for chunk in pieces.last(Reply(text="Hello"))]
        [[{'index': 0, 'delta': {}, 'logprobs': None, 'finish_reason': 'stop'}], []]
    """

    def __init__(self, envelope: Envelope) -> None:
        self._head = envelope.head("chat.completion.chunk")  # the same for all, whatever the provider says at the end
        self._begun = False
        self._places: dict[str, int] = {}  # of the tool calls that went out, by id

    def chunk(self, delta: Delta) -> dict[str, Any] | None:
        """Return the chunk for a piece; `None` for one that has to wait for the whole."""
        call = delta.tool_call
        if call is None:
            return self._chunk({"content": delta.text})
        if not call.id or not call.name:  # which call it belongs to is known at the end only
            return None
        return self._chunk({"tool_calls": [self._piece(call)]})

    def last(self, reply: Reply) -> Iterator[dict[str, Any]]:
        """Yield what is still missing, the finish reason, and the usage."""
        missing = [call for call in reply.tool_calls if call.id not in self._places]
        if missing:
            yield self._chunk({"tool_calls": [self._piece(call) for call in missing]})
        yield self._chunk({}, reply=reply)
        yield {**self._head, "choices": [], "usage": _usage(reply.usage)}

    def _piece(self, call: ToolCall) -> dict[str, Any]:
        known = call.id in self._places
        place = self._places.setdefault(call.id, len(self._places))
        if known:
            return {"index": place, "function": {"arguments": call.arguments}}
        return {"index": place, **call.as_message()}

    def _chunk(self, delta: dict[str, Any], reply: Reply | None = None) -> dict[str, Any]:
        if not self._begun and delta:
            delta = {"role": "assistant", **delta}
            self._begun = True
        reason = None if reply is None else _reason(reply)
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head, "choices": [choice]}


def _structure(wanted: Any) -> tuple[Mapping[str, Any] | None, dict[str, Any]]:
    """Return the schema that a `response_format` asks for, and what else it is."""
    if not isinstance(wanted, Mapping) or wanted.get("type") in (None, "text"):
        return None, {}
    named = wanted.get("json_schema")
    if wanted["type"] == "json_schema" and isinstance(named, Mapping) and isinstance(named.get("schema"), Mapping):
        return named["schema"], {}
    return None, {"response_format": wanted}


def _reason(reply: Reply) -> str:
    if reply.finish_reason in _REASONS:
        return str(reply.finish_reason)
    return "tool_calls" if reply.tool_calls else "stop"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }
