"""`dataclasses.replace` for slotted classes whose copies are made for every call, at a tenth of its cost."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from oarlock.contract.records import draft_of

__all__ = ["copiers", "replacer"]

T = TypeVar("T")


def replacer(cls: type[T]) -> Callable[..., T]:
    """Return a function that copies an object of this frozen, slotted dataclass with some fields changed.

    There is no `__post_init__`. A field that does not exist is a `TypeError`.

    Example:
        >>> @dataclasses.dataclass(frozen=True, slots=True)
        ... class Point:
        ...     x: int
        ...     y: int
        >>> replacer(Point)(Point(1, 2), y=3)
        Point(x=1, y=3)
    """
    copier = copiers(cls)

    def replaced(original: T, /, **changes: Any) -> T:
        return copier(*changes)(original, *changes.values())

    return replaced


def copiers(cls: type[T]) -> Callable[..., Callable[..., T]]:
    """Return a function that is given names of fields, and returns one that copies an object with those fields changed.

    Each is compiled once, as `dataclasses` compiles the functions of a class; it writes the copy as a draft (see `records`),
    and then gives it its own class.
    """
    names = [one.name for one in dataclasses.fields(cls)]  # type: ignore[arg-type]
    draft: Any = draft_of(cls)

    @functools.cache  # as many as there are places in the code that change something
    def copier(*changed: str) -> Callable[..., T]:
        for name in changed:
            if name not in names:
                raise TypeError(f"{cls.__name__} has no field {name!r}")
        lines = [f"copy.{name} = {name if name in changed else f'original.{name}'}" for name in names]
        body = "\n    ".join(["copy = new(draft)", *lines, "copy.__class__ = cls", "return copy"])
        scope: dict[str, Any] = {"new": object.__new__, "draft": draft, "cls": cls}
        exec(f"def copied({', '.join(('original', *changed))}):\n    {body}", scope)  # noqa: S102  of field names only
        copied: Callable[..., T] = scope["copied"]
        return copied

    return copier
