"""What a client of OpenAI's chat format sent, as a request. It is the user's own program, so it is taken at its word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from oarlock.contract.errors import BadRequestError
from oarlock.contract.messages import as_messages
from oarlock.contract.request import Request

__all__ = ["request_of"]

_READ: Final = frozenset({"model", "messages", "tools", "stop", "temperature", "max_tokens", "max_completion_tokens"})
_OURS: Final = frozenset({"stream", "stream_options", "response_format", "n"})


def request_of(body: Mapping[str, Any]) -> Request:
    """Return the request in a body; what has no field of its own is in its `options`.

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


def _structure(wanted: Any) -> tuple[Mapping[str, Any] | None, dict[str, Any]]:
    """Return the schema that a `response_format` asks for, and what else it is."""
    if not isinstance(wanted, Mapping) or wanted.get("type") in (None, "text"):
        return None, {}
    named = wanted.get("json_schema")
    if wanted["type"] == "json_schema" and isinstance(named, Mapping) and isinstance(named.get("schema"), Mapping):
        return named["schema"], {}
    return None, {"response_format": wanted}
