"""From a request to the bytes of its body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oarlock.contract.errors import (
    ConfigurationError,
)
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub
from oarlock.dialects.openai_chat.texts import mended

__all__ = ["body_of", "encode"]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def encode(
    request: Request,
    *,
    model: str,
    stream: bool = False,
    options: Mapping[str, Any] | None = None,
    max_tokens_name: str = "max_tokens",
) -> bytes:
    """Return the JSON body for a request.

    Args:
        request: what to ask. Lone surrogates in its texts, which UTF-8 cannot hold, become U+FFFD.
        model: the model's name at the endpoint.
        stream: ask for events, with the usage in the last one.
        options: further fields of the body. The request's own fields win over them; `stop` and `tools` are joined;
            `None` leaves a field out, also one of the body's own, such as `{"stream_options": None}`.
        max_tokens_name: OpenAI's reasoning models want `"max_completion_tokens"`.

    Raises:
        ConfigurationError: an option would replace the messages or the streaming; something is no JSON.

    Example:
        >>> from oarlock.contract.request import Request
        >>> encode(Request(messages=[{"role": "user", "content": "Hi"}]), model="m")
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
    """
    body = body_of(request, model, max_tokens_name)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if options:
        body = _with_options(body, options)
    try:
        text = _to_json(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"The request cannot be written as JSON: {scrub(str(error))}.") from error
    try:
        return text.encode()
    except UnicodeEncodeError:
        return mended(text).encode()


def body_of(request: Request, model: str, max_tokens_name: str = "max_tokens") -> dict[str, Any]:
    """Return the body for a request before it is JSON, without options and streaming."""
    messages = request.messages
    body: dict[str, Any] = {"model": model, "messages": messages if type(messages) is list else list(messages)}
    if request.tools:
        body["tools"] = list(request.tools)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body[max_tokens_name] = request.max_tokens
    if request.json_schema is not None:
        schema = {"name": "answer", "strict": _is_closed(request.json_schema), "schema": request.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _is_closed(schema: Any) -> bool:
    """Return whether every object of a schema says that it has no further properties, as the strict mode wants it."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            return False
        return all(_is_closed(part) for part in schema.values())
    return all(_is_closed(part) for part in schema) if isinstance(schema, list | tuple) else True


def _with_options(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("messages", "stream", "model"):
        if options.get(name) is not None or (name in options and name != "model"):
            raise ConfigurationError(f"options may not set {name!r}: the library sets it for each request.")
    merged = {**body, **{name: value for name, value in options.items() if name not in body}}
    for name in ("stop", "tools"):
        given = options.get(name)
        if given and name in body:
            given = [given] if isinstance(given, str) else list(given)
            merged[name] = [*given, *(item for item in body[name] if item not in given)]
    if isinstance(body.get("stream_options"), dict) and isinstance(options.get("stream_options"), Mapping):
        merged["stream_options"] = {**body["stream_options"], **options["stream_options"]}
    dropped = {name for name, value in options.items() if value is None}
    return {name: value for name, value in merged.items() if name not in dropped}
