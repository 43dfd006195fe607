"""Which arguments a user's `call()` or constructor takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from oarlock.contract.request import Request

__all__ = ["accepted", "names_of", "parameters"]


@functools.lru_cache(maxsize=1024)
def parameters(function: Callable[..., Any], skip: int) -> tuple[frozenset[str], bool]:
    """Return the names that a `call()` takes by keyword after the first `skip`, and whether it takes any name."""
    rest = list(inspect.signature(function).parameters.values())[skip:]
    named = {one.name for one in rest if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    return frozenset(named), any(one.kind is one.VAR_KEYWORD for one in rest)


def accepted(method: Callable[..., Any], request: Request) -> dict[str, Any]:
    """Return the arguments that this `call()` takes: those it names; with `**kwargs` also the page's, where given."""
    names, anything = names_of(method)
    page = {
        "tools": list(request.tools) or None,
        "callbacks": request.callbacks,
        "available_functions": _made(request.available_functions)
        if anything or "available_functions" in names
        else None,
    }
    taken = {name: value for name, value in {**_settings(request), **request.extras, **page}.items() if name in names}
    if anything:
        taken |= {name: value for name, value in page.items() if name not in names and value is not None}
    return taken


def names_of(method: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """Return the names that a bound `call()` takes after the messages, and whether it takes any name."""
    function = getattr(method, "__func__", None)
    return parameters(function, 2) if function else parameters(method, 1)


def _settings(request: Request) -> dict[str, Any]:
    """Return what this one request wants otherwise than the LLM's own settings say."""
    given = {"temperature": request.temperature, "max_tokens": request.max_tokens}
    return {**(request.options or {}), **{name: value for name, value in given.items() if value is not None}}


def _made(functions: Any) -> Any:
    """Return functions as a dict, where they are only made on demand: here is somebody who takes them."""
    return functions.as_dict() if hasattr(functions, "as_dict") else functions
