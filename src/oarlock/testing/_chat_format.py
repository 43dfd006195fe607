"""The server's side of the OpenAI chat format: whole bodies, stream events, errors. Pure functions, no I/O."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from oarlock.testing._replies import Answer, Drop, Raw, RecordedRequest, Scripted, Status, ToolCalls

Wire: TypeAlias = Status | Raw | Drop | Iterator[bytes]

CHARACTERS_A_TOKEN = 4
"""The usual rule of thumb for English, https://help.openai.com/en/articles/4936856."""


def dumps(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON; a lone surrogate, which UTF-8 cannot hold, becomes its JSON escape."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def error_body(status: int, message: str, *, code: str | None = None) -> dict[str, Any]:
    """Return an error as OpenAI words it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def status_content(reply: Status) -> bytes:
    """Return the bytes of a status answer's body."""
    if isinstance(reply.body, bytes):
        return reply.body
    if isinstance(reply.body, str):
        return reply.body.encode()
    if reply.body is None and reply.status < 400:
        return b""
    return dumps(error_body(reply.status, _phrase(reply.status)) if reply.body is None else reply.body)


def encode(reply: Scripted, request: RecordedRequest) -> Wire:
    """Return what a reply is on the wire: a status with its body, bytes as they are, nothing, or stream events."""
    streaming = bool(request.json.get("stream"))
    match reply:
        case Status() | Raw() | Drop():
            return reply
        case int():
            return Status(reply)
        case Iterator():
            return _stream_live(reply, request) if streaming else encode("".join(reply), request)
        case str() | Answer() | ToolCalls() | Mapping():
            body = _completion(reply, request)
            message = _message(body) if streaming else None
            return Status(200, body=dumps(body)) if message is None else _stream_whole(body, message, request)
    raise TypeError(f"{type(reply).__name__} is no reply")


def _completion(reply: str | Answer | ToolCalls | Mapping[str, Any], request: RecordedRequest) -> Mapping[str, Any]:
    match reply:
        case str():
            return _completion(Answer(reply), request)
        case Answer():
            message: Mapping[str, Any] = {"role": "assistant", "content": reply.text}
            return _body(message, request, reply.finish_reason, reply.usage)
        case ToolCalls():
            message = {"role": "assistant", "content": reply.text, "tool_calls": _tool_calls(reply, request)}
            return _body(message, request, "tool_calls", reply.usage)
        case _ if reply.get("role") == "assistant":
            return _body(reply, request, "tool_calls" if reply.get("tool_calls") else "stop", None)
        case _:
            return reply


def _message(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the message of a response body, or `None` if it holds none and so cannot be streamed."""
    try:
        message = body["choices"][0]["message"]
    except (KeyError, IndexError, TypeError):
        return None
    return message if isinstance(message, Mapping) else None


def _stream_whole(body: Mapping[str, Any], message: Mapping[str, Any], request: RecordedRequest) -> Iterator[bytes]:
    for delta in _deltas(message):
        yield _event(request, delta)
    yield _event(request, {}, body["choices"][0].get("finish_reason", "stop"))
    yield from _ending(request, body.get("usage"))


def _stream_live(pieces: Iterator[str], request: RecordedRequest) -> Iterator[bytes]:
    yield _event(request, {"role": "assistant", "content": ""})
    length = 0
    for piece in pieces:
        length += len(piece)
        yield _event(request, {"content": piece})
    yield _event(request, {}, "stop")
    yield from _ending(request, _usage(_prompt_length(request), length))


def _body(
    message: Mapping[str, Any], request: RecordedRequest, finish_reason: str, usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    if usage is None:
        usage = _usage(_prompt_length(request), _length(message.get("content")) + _length(message.get("tool_calls")))
    return {**_envelope(request, "chat.completion"), "choices": [choice], "usage": usage}


def _envelope(request: RecordedRequest, kind: str) -> dict[str, Any]:
    model = request.json.get("model", "loopback")
    return {"id": f"chatcmpl-{request.number}", "object": kind, "created": int(time.time()), "model": model}


def _tool_calls(reply: ToolCalls, request: RecordedRequest) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{request.number}_{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False),
            },
        }
        for index, (name, arguments) in enumerate(reply.calls)
    ]


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    whole = {key: value for key, value in message.items() if key not in {"content", "tool_calls"}}
    yield {"role": "assistant", "content": "", **whole}
    for piece in _pieces(message.get("content")):
        yield {"content": piece}
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
        for piece in _pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _pieces(text: str | None) -> Iterator[str]:
    for start in range(0, len(text or ""), CHARACTERS_A_TOKEN):
        yield (text or "")[start : start + CHARACTERS_A_TOKEN]


def _event(request: RecordedRequest, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + dumps({**_envelope(request, "chat.completion.chunk"), "choices": [choice]}) + b"\n\n"


def _ending(request: RecordedRequest, usage: Mapping[str, Any] | None) -> Iterator[bytes]:
    if (request.json.get("stream_options") or {}).get("include_usage"):
        envelope = _envelope(request, "chat.completion.chunk")
        yield b"data: " + dumps({**envelope, "choices": [], "usage": usage}) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _usage(prompt: int, answer: int) -> dict[str, int]:
    asked, answered = (-(-length // CHARACTERS_A_TOKEN) for length in (prompt, answer))
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _prompt_length(request: RecordedRequest) -> int:
    messages = request.json.get("messages") or ()
    return sum(_length(message.get("content")) for message in messages if isinstance(message, dict))


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return len(json.dumps(value)) if value else 0


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
