"""What makes two questions the same: everything that can change the answer, and nothing secret."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from oarlock.contract.context import current_call
from oarlock.contract.llm import BaseLLM
from oarlock.contract.parameters import parameters
from oarlock.contract.policed import PolicedLLM
from oarlock.contract.request import Request

__all__ = ["key_of"]

_FOR_INFORMATION = frozenset({"from_task", "from_agent"})  # what the agents send along: who asks, not what
_OF_TRACES = frozenset({"traceparent", "tracestate", "b3", "uber-trace-id", "sentry-trace", "x-amzn-trace-id"})


def key_of(llm: BaseLLM | None, request: Request, *parts: Any) -> str | None:
    """Return a SHA-256 of all that can change the answer; `None` if that cannot be told.

    That is: the LLM's class, model, URL and settings, the request, the end user, and further `parts`. Sign-ins are left
    out. What is no JSON, such as an object as the end user, cannot be told apart from run to run.
    """
    llm = _bare(llm)
    if request.available_functions and _runs_functions(llm):
        return None  # the tools that it runs itself are part of the answer, and must be run
    try:
        whole = _canonical([_settings(llm), _question(request), current_call().user, *parts])
    except (TypeError, ValueError, RecursionError):  # no JSON, a circle, nested too deep
        return None
    return hashlib.sha256(whole).hexdigest()


def _question(request: Request) -> dict[str, Any]:
    return {
        "messages": list(request.messages),
        "tools": list(request.tools),
        "stop": list(request.stop),
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "json_schema": request.json_schema,
        "options": request.options,
        "headers": [[name, value] for name, value in request.headers if not _is_of_a_trace(name.lower())],
        "extras": {name: value for name, value in request.extras.items() if name not in _FOR_INFORMATION},
    }


def _is_of_a_trace(name: str) -> bool:
    """Whether a header field says where a call stands in a trace: another one at each call, and none for the model."""
    return name in _OF_TRACES or name.startswith("x-b3-")


def _settings(llm: BaseLLM | None) -> dict[str, Any]:
    if llm is None:
        return {}
    return {
        "class": f"{type(llm).__module__}.{type(llm).__qualname__}",
        "model": llm.model,
        "endpoint": llm.endpoint_name(),
        "base_url": _without_password(llm.base_url),
        "temperature": llm.temperature,
        "max_tokens": llm.max_tokens,
        "stop": list(llm.stop),
        "options": getattr(llm, "options", None),  # of an HttpLLM, as the next: sent along, and no secret
        "headers": getattr(llm, "_headers", None),
    }


def _bare(llm: BaseLLM | None) -> BaseLLM | None:
    while isinstance(llm, PolicedLLM):
        llm = llm.inner
    return llm


def _runs_functions(llm: BaseLLM | None) -> bool:
    """Return whether the LLM is given the functions of tools, to run them itself."""
    written: frozenset[str] = getattr(llm, "_written", frozenset())
    if written & {"complete", "acomplete"}:
        return True
    for name in written:
        names, anything = parameters(getattr(type(llm), name), 1)
        if anything or "available_functions" in names:
            return True
    return False


def _without_password(url: object) -> object:
    if not isinstance(url, str) or "@" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _canonical(value: Any) -> bytes:
    """Return the same bytes for equal JSON, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")
