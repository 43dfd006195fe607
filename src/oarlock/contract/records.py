"""`dataclass` and `field` as in `dataclasses`, for frozen, slotted classes whose objects are made for every call.

The standard `__init__` of a frozen class writes each field through `object.__setattr__`, five times as slow as an
assignment, and each class has six functions compiled, which was two fifths of the time of importing the library. Here an
object is of the class's *draft* while it is written: a class of the same slots that is not frozen, so that the `__init__` of
an open class does. That one is compiled, by `dataclasses`; the others are shared. To type checkers it is `dataclasses`.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, field
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["become", "dataclass", "draft_of", "field"]

# A build without the GIL stops all threads while an object changes its class: there the standard way is faster.
_CHANGES_CLASSES = getattr(sys, "_is_gil_enabled", lambda: True)()

become: Callable[[Any, type[Any]], None] = vars(object)["__class__"].__set__
"""Make an object one of another class that has the same slots, whatever its `__setattr__` says."""

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, **options):
        """Make a data class, as `dataclasses.dataclass` does.

        Example:
            >>> @dataclass(frozen=True, slots=True)
            ... class Point:
            ...     x: int
            ...     y: int = 0
            >>> Point(1)
            Point(x=1, y=0)
        """
        if cls is None:
            return functools.partial(dataclass, **options)
        frozen = options.get("frozen") and options.get("slots") and not hasattr(cls, "__post_init__")
        if not (frozen and _CHANGES_CLASSES):
            return dataclasses.dataclass(cls, **options)
        return _frozen(cls, eq=options.get("eq", True), kw_only=options.get("kw_only", False))


def draft_of(cls: type[Any]) -> type[Any]:
    """Return a class of the same slots that is not frozen."""
    slots = {"__slots__": vars(cls)["__slots__"], "__module__": cls.__module__}
    guard = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}  # which is none
    return type(cls.__name__, cls.__bases__, {**slots, **guard})


def _frozen(cls: type[Any], *, eq: bool, kw_only: bool) -> type[Any]:
    own = set(vars(cls))
    with _open_bases(cls):
        made: Any = dataclasses.dataclass(slots=True, kw_only=kw_only, repr=False, eq=False)(cls)
    made.__dataclass_params__.frozen = True
    fields = dataclasses.fields(made)
    functions = [_init(made, fields), *_guards(made, fields), *_shown(fields), *(_compared(fields) if eq else ())]
    for function in functions:
        if function.__name__ not in own:
            setattr(made, function.__name__, function)
    return made  # type: ignore[no-any-return]


@contextmanager
def _open_bases(cls: type[Any]) -> Iterator[None]:
    """Let `dataclasses` derive a class from frozen ones that it does not freeze itself."""
    bases: list[Any] = [vars(base)["__dataclass_params__"] for base in cls.__bases__ if dataclasses.is_dataclass(base)]
    for base in bases:
        base.frozen = False
    try:
        yield
    finally:
        for base in bases:
            base.frozen = True


def _init(cls: Any, fields: Sequence[dataclasses.Field[Any]]) -> Callable[..., None]:
    write, draft, names = cls.__init__, draft_of(cls), [one.name for one in fields]

    @functools.wraps(write)
    def __init__(self: Any, /, *args: Any, **given: Any) -> None:  # noqa: N807
        if type(self) is cls:
            become(self, draft)
            write(self, *args, **given)
            self.__class__ = cls
        else:  # of a class that is derived from it, with slots or a dict of its own
            written = object.__new__(draft)
            write(written, *args, **given)
            for name in names:
                object.__setattr__(self, name, getattr(written, name))

    return __init__


def _guards(cls: type[Any], fields: Sequence[dataclasses.Field[Any]]) -> list[Callable[..., Any]]:
    names = frozenset(one.name for one in fields)

    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return [__setattr__, __delattr__]


def _shown(fields: Sequence[dataclasses.Field[Any]]) -> list[Callable[..., Any]]:
    """Return the functions for people and for pickles."""
    names, shown = [one.name for one in fields], [one.name for one in fields if one.repr]

    @recursive_repr()
    def __repr__(self: Any) -> str:  # noqa: N807
        return f"{type(self).__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in shown])})"

    def __getstate__(self: Any) -> list[Any]:  # noqa: N807
        return [getattr(self, name) for name in names]

    def __setstate__(self: Any, state: Sequence[Any]) -> None:  # noqa: N807
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return [__repr__, __getstate__, __setstate__]


def _nothing(_: object) -> tuple[()]:
    return ()


def _compared(fields: Sequence[dataclasses.Field[Any]]) -> list[Callable[..., Any]]:
    names = [one.name for one in fields if one.compare]
    values: Callable[[Any], Any] = operator.attrgetter(*names) if names else _nothing

    def __eq__(self: Any, other: object) -> Any:  # noqa: N807
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return [__eq__, __hash__]
