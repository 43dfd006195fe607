"""A `call()` that calls itself for ever, as a tool loop easily does, ends in a clear error."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any

from oarlock.contract.errors import StepsExhaustedError
from oarlock.contract.functions import MAX_TURNS

__all__ = ["counted"]

_depths: ContextVar[Mapping[str, int]] = ContextVar("oarlock_depths", default=MappingProxyType({}))


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a user's `call()` or `acall()` that refuses to be entered more than 25 times inside itself."""
    name = getattr(function, "__qualname__", "call")
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
            token = _one_deeper(name)
            try:
                return await function(self, *args, **kwargs)
            finally:
                _depths.reset(token)

        return acall
    if not inspect.isfunction(function):  # a staticmethod or some other callable: left as it is
        return function

    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _one_deeper(name)
        try:
            return function(self, *args, **kwargs)
        finally:
            _depths.reset(token)

    return call


def _one_deeper(name: str) -> Token[Mapping[str, int]]:
    """Count one call of this name more, and refuse one too many; return what undoes it."""
    depths = _depths.get()
    depth = depths.get(name, 0) + 1
    if depth > MAX_TURNS:
        raise StepsExhaustedError(
            f"{name}() called itself {MAX_TURNS} times within one model call: the model keeps asking for functions that "
            "are not there or do not help. Add the assistant's message and an answer for every tool call before asking again."
        )
    return _depths.set({**depths, name: depth})
