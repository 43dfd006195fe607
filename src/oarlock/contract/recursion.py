"""A `call()` that calls itself for ever, as a tool loop easily does, ends in a clear error."""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

from oarlock.contract.context import current_call
from oarlock.contract.errors import StepsExhaustedError
from oarlock.contract.functions import MAX_TURNS

__all__ = ["CallCount", "counted"]

CallCount = Counter[str]


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a user's `call()` or `acall()` that refuses to start more than 25 times within one model call of a run."""
    name = getattr(function, "__qualname__", "call")
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
            _count(name)
            return await function(self, *args, **kwargs)

        return acall
    if not inspect.isfunction(function):  # a staticmethod or some other callable: left as it is
        return function

    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        _count(name)
        return function(self, *args, **kwargs)

    return call


def _count(name: str) -> None:
    count = current_call().count
    if count is None:
        return
    count[name] += 1
    if count[name] > MAX_TURNS:
        raise StepsExhaustedError(
            f"{name}() called itself {MAX_TURNS} times within one model call: the model keeps asking for functions that "
            "are not there or do not help. Add the assistant's message and an answer for every tool call before asking again."
        )
