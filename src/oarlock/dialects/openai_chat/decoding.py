"""From the bytes of an answer to a reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from oarlock.contract.endings import OnLength, require_whole
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.dialects.openai_chat.failures import MISSING, error_inside, from_json, parse_otherwise, wrong_shape
from oarlock.dialects.openai_chat.texts import clean

__all__ = ["arguments_text", "decode", "parse", "read", "refusal_of", "text_of", "tool_call", "usage_of"]

_MOST_TOKENS: Final = 2**53  # a count above what a JSON number holds exactly is no count


def decode(body: bytes, who: str, on_length: OnLength = "error") -> Reply:
    """Return the reply in the body of a successful response.

    Args:
        body: as it came.
        who: the LLM in words, to begin messages with.
        on_length: `"return"` takes a text that ended at the limit of tokens; see `require_whole`.

    Raises:
        ResponseFormatError: the body is not JSON, or not in this format; `EmptyReply` if there is no answer in it,
            `TruncatedReply`, `RefusalError` or `ContentFilterError` if there is not a whole one.
        LLMError: the body holds an error, in spite of its status.

    Example:
        >>> decode(b'{"choices": [{"message": {"content": "Hello"}}]}', "ChatLLM").text
        'Hello'
    """
    return read(parse(body, who), who, on_length)


def parse(body: bytes, who: str) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        ResponseFormatError: there is none. A page of HTML is recognised, since it usually means a wrong `base_url`.
    """
    try:
        data = from_json(body.decode())
    except (ValueError, RecursionError):
        data = parse_otherwise(body, who)
    if type(data) is not dict:
        raise wrong_shape(who, "a JSON object", data)
    return data


def read(data: dict[str, Any], who: str, on_length: OnLength = "error") -> Reply:
    """Return the reply in a response's parsed body; see `decode`."""
    if data.get("error") or data.get("object") == "error":
        raise error_inside(data, who)
    choice = _choice(data, who)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise wrong_shape(who, "an object in choices[0].message", choice.get("message", MISSING), data)
    content = message.get("content")
    text = content if type(content) is str else text_of(content, who)
    if not text.isascii():
        text = clean(text)
    calls = _calls(message, who) if "tool_calls" in message or "function_call" in message else ()
    finish_reason, model, id_ = choice.get("finish_reason"), data.get("model"), data.get("id")
    reply = Reply(
        text=text,
        tool_calls=calls,
        usage=usage_of(data.get("usage")),
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        model=model if isinstance(model, str) else None,
        id=id_ if isinstance(id_, str) else None,
        raw=data,
    )
    return require_whole(reply, who, on_length, refusal_of(message))


def _choice(data: dict[str, Any], who: str) -> dict[str, Any]:
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise wrong_shape(who, "a list 'choices' with an object in it", data.get("choices", MISSING), data)
    if choice.get("error"):  # OpenRouter's way
        raise error_inside(choice, who)
    return choice


def text_of(content: Any, who: str) -> str:
    """Return the text of a content that is no plain text: null, or a list of parts; parts of other kinds are skipped."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_shape(who, "a text, a list of parts or null as the message's content", content)
    texts = []
    for part in content:
        text = part if isinstance(part, str) else part.get("text", "") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise wrong_shape(who, 'parts such as {"type": "text", "text": "..."} in the message\'s content', part)
        texts.append(text)
    return "".join(texts)


def refusal_of(message: Mapping[str, Any]) -> str:
    """Return the words with which the model declined, from the message's own field or from its parts."""
    content = message.get("content")
    if type(content) is str and not message.get("refusal"):
        return ""
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    words = [holder.get("refusal") for holder in (message, *parts)]
    return clean("".join(word for word in words if isinstance(word, str)))


def _calls(message: Mapping[str, Any], who: str) -> tuple[ToolCall, ...]:
    items = message.get("tool_calls")
    if not items:
        legacy = message.get("function_call")  # the form before November 2023; some servers still send it
        items = [{"function": legacy}] if legacy else []
    if not isinstance(items, list):
        raise wrong_shape(who, "a list of tool calls", items)
    return tuple(tool_call(item, number, who) for number, item in enumerate(items))


def tool_call(item: Any, number: int, who: str) -> ToolCall:
    """Return one tool call of an answer; `number` makes an id for one that has none."""
    function = item.get("function") if isinstance(item, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name.strip():
        expected = '{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}} as a tool call'
        raise wrong_shape(who, expected, item)
    id_ = item.get("id")
    arguments = arguments_text(function.get("arguments"), who)
    return ToolCall(
        id=clean(id_) if isinstance(id_, str) and id_ else f"call_{number}",
        name=clean(name.strip()),
        arguments=arguments if arguments.strip() else "{}",
    )


def arguments_text(arguments: Any, who: str) -> str:
    """Return a tool call's arguments as text; some servers send them as an object."""
    if isinstance(arguments, str):
        return clean(arguments)
    if arguments is None:
        return ""
    try:
        return clean(json.dumps(arguments, ensure_ascii=False))
    except (ValueError, RecursionError):
        raise wrong_shape(who, "JSON text as a tool call's arguments", arguments) from None


def usage_of(usage: Any) -> Usage:
    """Return what an answer says of its tokens; what is missing or garbage counts as zero."""
    if type(usage) is not dict:
        return Usage(requests=1)
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    details = usage.get("prompt_tokens_details")
    read = _count(prompt)
    cached = _count(details.get("cached_tokens")) if type(details) is dict else 0
    return Usage(
        prompt_tokens=read,
        completion_tokens=_count(completion),
        cached_prompt_tokens=min(cached, read),  # more would make the whole cheaper than it was
        requests=1,
    )


def _count(number: Any) -> int:
    """Return a number of tokens; what is none (a bool, a text, a negative or fractional number) counts as zero."""
    if type(number) is float and number.is_integer():
        number = int(number)
    return number if type(number) is int and 0 <= number <= _MOST_TOKENS else 0
