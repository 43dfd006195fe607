"""The fields of a `BaseTool` subclass: what may be given as a keyword, and each object's own copy of defaults."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["Fields", "fields_of", "is_pydantic_field"]


class Fields(NamedTuple):
    """What a class says of its fields.

    Attributes:
        names: of the annotated fields, those given as keyword arguments.
        required: those without a default.
        fresh: what each new object gets a value of its own from.
    """

    names: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    fresh: Mapping[str, Callable[[], Any]] = {}


def fields_of(cls: type, inherited: Fields) -> Fields:
    """Return the fields of a class, with those of its bases."""
    annotated = _annotated(cls)
    own = {name for name in annotated if not name.startswith("_")}
    fresh = dict(inherited.fresh)
    required = set(inherited.required)
    for name in own:
        (required.discard if name in vars(cls) else required.add)(name)
    for name, value in vars(cls).items():
        fresh.pop(name, None)
        if is_pydantic_field(value):  # `Field(...)` and `PrivateAttr(...)`, as tools written for CrewAI have them
            if _has_default(value):
                fresh[name] = functools.partial(_default, value)
            elif name in own:
                required.add(name)
        elif name in annotated and type(value) in (list, dict, set):
            fresh[name] = functools.partial(copy.deepcopy, value)
    return Fields(inherited.names | own, frozenset(required), fresh)


def is_pydantic_field(value: Any) -> bool:
    """Return whether a class attribute is pydantic's `Field(...)` or `PrivateAttr(...)`, without importing pydantic."""
    return type(value).__module__ == "pydantic.fields" and hasattr(value, "get_default")


def _has_default(value: Any) -> bool:
    return value.default_factory is not None or type(value.default).__name__ not in (
        "PydanticUndefinedType",
        "ellipsis",
    )


def _default(value: Any) -> Any:
    return value.default_factory() if value.default_factory is not None else copy.deepcopy(value.default)


def _annotated(cls: type) -> set[str]:
    if sys.version_info >= (3, 14):
        import annotationlib

        hints = annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    else:
        hints = vars(cls).get("__annotations__", {})
    return {name for name, hint in hints.items() if "ClassVar" not in str(hint)}
