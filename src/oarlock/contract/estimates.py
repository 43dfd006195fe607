"""Usage where a model reports none, or none that makes sense: estimated from the texts' lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oarlock.contract.reply import Reply, Usage, reply_with
from oarlock.contract.request import Request

__all__ = ["message_tokens", "prompt_tokens", "text_tokens", "tool_tokens", "with_usage"]

_BYTES_PER_TOKEN = (
    4  # English text with common tokenizers; of other scripts a character has more bytes, and more tokens
)
_PICTURE = 765  # tokens: OpenAI counts so many for a picture of 1024 x 1024


def text_tokens(text: str) -> int:
    """Return about how many tokens a text has.

    Example:
        >>> text_tokens("Row, row, row your boat.")
        6
    """
    return _bytes(text) // _BYTES_PER_TOKEN


def message_tokens(message: Mapping[str, Any]) -> int:
    """Return about how many tokens a message has."""
    return _message(message) // _BYTES_PER_TOKEN


def tool_tokens(schema: Mapping[str, Any]) -> int:
    """Return about how many tokens a tool's schema has."""
    return _bytes(str(schema)) // _BYTES_PER_TOKEN


def prompt_tokens(request: Request) -> int:
    """Return about how many tokens a request has the model read."""
    length = sum([_message(message) for message in request.messages])
    length += sum(_bytes(str(tool)) for tool in request.tools)
    return length // _BYTES_PER_TOKEN


def with_usage(reply: Reply, request: Request) -> Reply:
    """Return the reply with its request counted, and with estimates for tokens that it does not report.

    An answer from a cache stays as it is: it cost nothing.
    """
    usage = reply.usage
    if reply.cached:
        return reply
    requests = usage.requests if _is_count(usage.requests) else 1
    read, written = usage.prompt_tokens, usage.completion_tokens
    if _is_count(read) and (_is_count(written) or (written == 0 and not _answer(reply))):
        return reply if usage.requests == requests else _with(reply, requests, read, written, usage.estimated)
    read = read if _is_count(read) else prompt_tokens(request)
    written = written if _is_count(written) else _answer(reply)
    return _with(reply, requests, read, written, estimated=True)


def _with(reply: Reply, requests: int, read: int, written: int, estimated: bool) -> Reply:
    usage = Usage(
        prompt_tokens=read,
        completion_tokens=written,
        cached_prompt_tokens=reply.usage.cached_prompt_tokens,
        requests=requests,
        estimated=estimated,
    )
    return reply_with(reply, usage=usage)


def _answer(reply: Reply) -> int:
    return text_tokens(reply.text) + sum(text_tokens(call.arguments) for call in reply.tool_calls)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _message(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, str):
        length = _bytes(content)
    else:
        length = sum(_part(part) for part in content) if isinstance(content, list | tuple) else 0
    calls = message.get("tool_calls")
    return length + sum(_bytes(str(call)) for call in calls) if calls else length


def _part(part: Any) -> int:
    text = part.get("text") if isinstance(part, Mapping) else part
    return _bytes(text) if isinstance(text, str) else _PICTURE * _BYTES_PER_TOKEN
