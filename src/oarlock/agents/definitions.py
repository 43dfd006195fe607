"""How the arguments of `Agent`, `Task` and `Crew` are checked: one wrong name and you hear it at once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from oarlock.contract.errors import ConfigurationError, misspelt

T = TypeVar("T")


def checked(later: Mapping[str, Any]) -> Callable[[type[T]], type[T]]:
    """Return a decorator for a keyword-only dataclass that explains wrong arguments.

    Args:
        later: names that users know from CrewAI but that do nothing here yet, with the value that switches them off.
            That value is accepted and dropped; any other is refused, so that nobody relies on what is not there.
    """

    def decorate(cls: type[T]) -> type[T]:
        generated: Callable[..., None] = cls.__init__  # type: ignore[misc]
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        known = frozenset(field.name for field in fields if field.init)
        required = frozenset(
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )

        @functools.wraps(generated)
        def __init__(self: T, *args: Any, **given: Any) -> None:  # noqa: N807
            if args or not given.keys() <= known or not given.keys() >= required:
                given = _explain(cls.__name__, args, given, known, required, later)
            generated(self, **given)

        cls.__init__ = __init__  # type: ignore[misc]
        return cls

    return decorate


def _explain(
    what: str,
    args: tuple[Any, ...],
    given: dict[str, Any],
    known: frozenset[str],
    required: frozenset[str],
    later: Mapping[str, Any],
) -> dict[str, Any]:
    if args:
        first = sorted(required)[0] if required else sorted(known)[0]
        raise ConfigurationError(f"{what} takes keyword arguments only, such as {what}({first}=...).")
    for name in given.keys() & later.keys():
        if given[name] not in (later[name], None):
            raise ConfigurationError(f"{what}({name}={given[name]!r}) is not supported by this version of Oarlock yet.")
    rest = {name: value for name, value in given.items() if name in known or name not in later}
    if unknown := rest.keys() - known:
        raise misspelt(what, sorted(unknown), [*known, *later])
    if missing := sorted(required - rest.keys()):
        raise ConfigurationError(f"{what} needs {' and '.join(f'{name}=...' for name in missing)}.")
    return rest


def text(owner: str, name: str, value: object) -> str:
    """Return a text that says something.

    Raises:
        ConfigurationError: it does not.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{owner}: {name} must be a non-empty text, not {value!r}.")
    return value
