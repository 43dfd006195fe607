"""From what a user's `call()` returned to a `Reply`, or to one clear error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from oarlock.contract.errors import EmptyReply, ResponseFormatError, a_kind
from oarlock.contract.reply import Reply, ToolCall

__all__ = ["cut_at_stop", "reply_from", "require_answer"]


def reply_from(answer: Any, who: str) -> Reply:
    """Return the `Reply` for an answer: a text, a `Reply`, tool calls in OpenAI's shape, or a pydantic object.

    Raises:
        EmptyReply: `None`, a blank text, an empty list.
        ResponseFormatError: anything else.

    Example:
        >>> reply_from("Hello", "MyLLM.call()").text
        'Hello'
    """
    if isinstance(answer, Reply):
        return require_answer(answer, who)
    if isinstance(answer, str):
        if not answer.strip():
            raise EmptyReply(f"{who} returned an empty text. It must return the model's answer.")
        return Reply(text=answer)
    if answer is None:
        raise EmptyReply(
            f"{who} returned None. It must return the model's answer; if the endpoint answered with tool calls, "
            "return its 'tool_calls' list."
        )
    if isinstance(answer, list | tuple):
        return Reply(tool_calls=_tool_calls(answer, who))
    if hasattr(answer, "model_dump_json") and not isinstance(answer, type):
        return Reply(text=answer.model_dump_json(), value=answer)
    raise ResponseFormatError(
        f"{who} returned {_a(answer)}, which is not an answer. Return a str, a Reply, "
        "a list of tool calls in OpenAI's shape, or a pydantic object."
    )


def require_answer(reply: Reply, who: str) -> Reply:
    """Return the reply if it says anything.

    Raises:
        EmptyReply: it has neither text nor tool calls nor an object.
    """
    if reply.text.strip() or reply.tool_calls or reply.value is not None:
        return reply
    why = f" (finish reason: {reply.finish_reason})" if reply.finish_reason else ""
    raise EmptyReply(f"{who} gave an empty answer{why}: no text and no tool calls.", request_id=reply.id)


def _tool_calls(items: Sequence[Any], who: str) -> tuple[ToolCall, ...]:
    if not items:
        raise EmptyReply(f"{who} returned an empty list: no text and no tool calls.")
    calls = []
    for number, item in enumerate(items):
        call = ToolCall.of(item) if not isinstance(item, ToolCall) else item
        if call is None:
            raise ResponseFormatError(
                f"{who} returned a list whose item {number} ({_a(item)}) is no tool call. In OpenAI's shape it is "
                '{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}.'
            )
        calls.append(call if call.id else ToolCall(id=f"call_{number}", name=call.name, arguments=call.arguments))
    return tuple(calls)


def _a(thing: Any) -> str:
    kind = a_kind(thing)
    return f"{kind} with the keys {json.dumps(sorted(map(str, thing)))[:80]}" if isinstance(thing, dict) else kind


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """Return the text up to the first stop word, without it.

    Example:
        >>> cut_at_stop("Action: search\\nObservation: none", ["\\nObservation:"])
        'Action: search'
    """
    ends = [at for word in stop if word and (at := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text
