"""The decorators for the methods of a `@CrewBase` class."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

from oarlock.agents.crew import Crew
from oarlock.agents.hooks import KINDS
from oarlock.contract.errors import ConfigurationError
from oarlock.runtime import drive

__all__ = [
    "after_kickoff",
    "agent",
    "before_kickoff",
    "callback",
    "crew",
    "hook_method",
    "llm",
    "marked",
    "output_json",
    "output_pydantic",
    "task",
    "tool",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound=type)
M = TypeVar("M")

_MARK: Final = "_oarlock_mark"
_HOOKS: Final = {  # marks, and the argument of a `Crew` that takes what bears them
    "before_kickoff": "before_kickoff_callbacks",
    "after_kickoff": "after_kickoff_callbacks",
    **{kind: kind for kind in KINDS},
}
_UNNAMED: Final = next(one.default for one in dataclasses.fields(Crew) if one.name == "name")
_MADE: Final = "_oarlock_made"  # on an instance: what its methods have made, by their names


def agent(method: F) -> F:
    """Mark a method that makes an `Agent`: it is called once for each object, and is one of its `agents`.

    Example:
        >>> class Mine:
        ...     @agent
        ...     def researcher(self):
        ...         return object()
        >>> mine = Mine()
        >>> mine.researcher() is mine.researcher()
        True
    """
    return _once(method, "agent")


def task(method: F) -> F:
    """Mark a method that makes a `Task`: it is called once for each object, and is one of its `tasks`, in their order."""
    return _once(method, "task")


def llm(method: F) -> F:
    """Mark a method that makes an LLM, which an agent in the YAML file names: `llm: fast`."""
    return _once(method, "llm")


def tool(method: F) -> F:
    """Mark a method that makes a tool, which an agent or a task in the YAML file names: `tools: [search]`."""
    return _once(method, "tool")


def callback(method: F) -> F:
    """Mark a method that a task names as its `callback`, or an agent as its `step_callback`.

    It is called with the output, or, if it takes nothing, once: then it returns the function to call.
    """
    return _mark(method, "callback")


def before_kickoff(method: F) -> F:
    """Mark a method that is given a run's inputs before it begins, and returns them, changed or not."""
    return _mark(method, "before_kickoff")


def after_kickoff(method: F) -> F:
    """Mark a method that is given a run's `CrewOutput`, and returns what `kickoff` is to return."""
    return _mark(method, "after_kickoff")


def hook_method(method: F, kind: str) -> F:
    """Mark a method that is a hook of the class's crew; `kind` is `"before_llm_call"` or another argument of `Crew`."""
    return _mark(method, kind)


def output_json(model: T) -> T:
    """Mark a pydantic class that a task in the YAML file names as its `output_json`."""
    return _mark(model, "output_json")


def output_pydantic(model: T) -> T:
    """Mark a pydantic class that a task in the YAML file names as its `output_pydantic`."""
    return _mark(model, "output_pydantic")


def crew(method: F) -> F:
    """Mark the method that makes the `Crew`: it is called once, and its runs pass the marked hooks.

    A crew that it gives no name has that of the class.

    Raises:
        ConfigurationError: from a call: the method returned something else than a `Crew`.
    """

    @functools.wraps(method)
    def hooked(self: Any, *args: Any, **given: Any) -> Crew:
        made = _called(method, self, args, given)
        if not isinstance(made, Crew):
            raise ConfigurationError(
                f"{type(self).__name__}.{method.__name__}() must return a Crew, not of the type {type(made).__name__}."
            )
        if made.name == _UNNAMED:
            made.name = type(self).__name__
        hooks = {argument: bound for kind, argument in _HOOKS.items() if (bound := _bound(self, kind))}
        if not hooks:
            return made
        added: dict[str, Any] = {name: [*getattr(made, name), *bound] for name, bound in hooks.items()}
        return dataclasses.replace(made, **added)

    return _once(cast("F", hooked), "crew")


def marked(cls: type, kind: str) -> list[str]:
    """Return the names of a class's members with this mark, base classes' first, in the order they were written."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            if getattr(member, _MARK, None) == kind:
                names.setdefault(name)
            else:
                names.pop(name, None)  # written anew without the mark
    return list(names)


def _bound(self: Any, kind: str) -> list[Callable[[Any], Any]]:
    return [getattr(self, name) for name in marked(type(self), kind)]


def _called(method: Callable[..., Any], self: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
    """Return what a method makes, an `async` one too, also where an event loop is running."""
    made = method(self, *args, **given)
    if not inspect.iscoroutine(made):
        return made
    return drive(lambda runtime: runtime.invoke(None, _awaited, made))


async def _awaited(made: Awaitable[Any]) -> Any:
    return await made


def _mark(member: M, kind: str) -> M:
    setattr(member, _MARK, kind)
    return member


def _once(method: F, kind: str) -> F:
    """Return the method so that it keeps, for each object, what it made when it was called without arguments."""
    if not inspect.isroutine(method):
        raise ConfigurationError(f"@{kind} marks a method, not {method!r}.")

    @functools.wraps(method)
    def remembered(self: Any, *args: Any, **given: Any) -> Any:
        if args or given:
            return _called(method, self, args, given)
        made = vars(self).setdefault(_MADE, {})
        if method.__name__ not in made:
            made[method.__name__] = _called(method, self, (), {})
        return made[method.__name__]

    return _mark(cast("F", remembered), kind)
