"""Errors that are two things at once: ours, and what another framework catches."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

from oarlock.contract.errors import OarlockError

__all__ = ["is_also"]

E = TypeVar("E", bound=OarlockError)


def is_also(error: E, *bases: type[BaseException], module: str | None = None, **attributes: Any) -> E:
    """Let an error be one of these kinds too, and return it; `except` clauses for its own class still hold.

    Args:
        error: changed in place, so that it keeps its traceback and its cause.
        bases: further classes, written in Python.
        module: the name of the module that its class says it comes from; default: the error's own.
        attributes: of the class.

    Example:
        >>> from oarlock import AuthenticationError
        >>> error = is_also(AuthenticationError("No."), LookupError)
        >>> isinstance(error, AuthenticationError), isinstance(error, LookupError)
        (True, True)
    """
    made: Any = _class(_own(type(error)), bases, module, tuple(sorted(attributes.items())))
    error.__class__ = made
    return error


class _Also:
    """Marks the classes that are made here, and has their errors pickled as what can be imported."""

    ours: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.ours, *self.ours.__reduce__(self)[1:])


def _own(cls: Any) -> Any:
    return cls.ours if issubclass(cls, _Also) else cls


@functools.lru_cache(maxsize=256)
def _class(ours: Any, bases: tuple[type, ...], module: str | None, attributes: tuple[tuple[str, Any], ...]) -> Any:
    names = {"__module__": module or ours.__module__, "__qualname__": ours.__qualname__, "ours": ours}
    return type(ours.__name__, (_Also, ours, *bases), {**dict(attributes), **names})
