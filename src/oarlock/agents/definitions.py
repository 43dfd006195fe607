"""How the arguments of `Agent`, `Task` and `Crew` are checked: one wrong name and you hear it at once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from oarlock.agents.left_out import INSTEAD, not_in_oarlock
from oarlock.agents.located import Located
from oarlock.contract.errors import ConfigurationError, ToolError, a_kind, misspelt
from oarlock.contract.llm import BaseLLM
from oarlock.tools import BaseTool, split, tools_by_name

T = TypeVar("T")


def checked(
    later: Mapping[str, Any], renamed: Mapping[str, str] | None = None, usual: Collection[str] | None = None
) -> Callable[[type[T]], type[T]]:
    """Return a decorator for a keyword-only dataclass that explains wrong arguments.

    Args:
        later: names that users know from CrewAI but that do nothing here yet, with the value that switches them off.
            That value is accepted and dropped; any other is refused, so that nobody relies on what is not there.
        renamed: names that users know from CrewAI for fields of another name.
        usual: what `__post_init__` checks. Where other arguments are given, too, `_check_settings()` is called after it:
            checking the many that hardly anybody gives would take longer than all the rest.
    """

    def decorate(cls: type[T]) -> type[T]:
        shape = _Shape(cls, later, renamed or {})
        plain = shape.known if usual is None else frozenset(usual)
        original: Callable[..., None] = getattr(cls, "__init__")  # noqa: B009  mypy is wary of __init__ by its name

        def whole(self: Any, given: dict[str, Any]) -> None:
            original(self, **given)
            if not given.keys() <= plain:
                self._check_settings()

        @functools.wraps(original)
        def __init__(self: T, *args: Any, **given: Any) -> None:  # noqa: N807
            if args or not (shape.required <= given.keys() <= shape.known):
                given, config = shape.settle(args, given)
                _build(whole, self, shape.with_llms(given), config)
            else:
                whole(self, shape.with_llms(given))

        setattr(cls, "__init__", __init__)  # noqa: B010
        return cls

    return decorate


class _Shape:
    """The arguments that a dataclass takes."""

    def __init__(self, cls: type[Any], later: Mapping[str, Any], renamed: Mapping[str, str]) -> None:
        self.name = cls.__name__
        self.later = later
        self.renamed = renamed
        fields = [field for field in dataclasses.fields(cls) if field.init]
        self.known = frozenset(field.name for field in fields)
        self.required = frozenset(field.name for field in fields if _is_required(field))
        self.llms = [name for name in ("llm", "manager_llm", "function_calling_llm") if name in self.known]

    def with_llms(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with LLMs in the place of their names, such as `"openai/gpt-4o"`."""
        for name in self.llms:
            if isinstance(given.get(name), str):
                given = {**given, name: llm_named(f"{self.name}({name}={given[name]!r})", given[name])}
        return given

    def settle(self, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
        """Return the arguments without those that only switch off what is not there, and the `config` they came from.

        Raises:
            ConfigurationError: an argument is unknown, missing, positional, or asks for what is not there yet.
        """
        if args:
            first = min(self.required)
            raise ConfigurationError(f"{self.name} takes keyword arguments only, such as {self.name}({first}=...).")
        given, config = self._with_config(given)
        given = {self.renamed.get(name, name): value for name, value in given.items()}
        for name in given.keys() & self.later.keys():
            if given[name] not in (self.later[name], None):
                raise ConfigurationError(not_in_oarlock(self.name, name, given[name]))
        rest = {name: value for name, value in given.items() if name not in self.later}
        if unknown := rest.keys() - self.known:
            if left_out := sorted(unknown & INSTEAD.keys()):
                raise ConfigurationError(not_in_oarlock(self.name, left_out[0], rest[left_out[0]]))
            raise misspelt(self.name, sorted(unknown), [*self.known, *self.later])
        if missing := sorted(self.required - rest.keys()):
            needed = f"{self.name} needs the argument{'s'[: len(missing) - 1]} {' and '.join(missing)}."
            raise ConfigurationError(needed if config is None else f"{_place(config)}: {needed}")
        return rest, config

    def _with_config(self, given: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
        """Return the arguments joined with those in `config`, a mapping; one that is given itself wins."""
        config = given.get("config")
        if config is None:
            return {name: value for name, value in given.items() if name != "config"}, None
        if not isinstance(config, Mapping) or not all(isinstance(name, str) for name in config):
            raise ConfigurationError(f"{self.name}: config must be a mapping of argument names, not {a_kind(config)}.")
        known = [*self.known, *self.later, *self.renamed]
        if unknown := [name for name in config if name not in known]:
            where = _place(config, unknown[0])
            if unknown[0] in INSTEAD:
                raise ConfigurationError(f"{where}: {not_in_oarlock(self.name, unknown[0], config[unknown[0]])}")
            raise misspelt(f"{where}: {self.name}", unknown, known)
        own = {name: value for name, value in given.items() if name != "config" and value is not None}
        return {**config, **own}, config


def _build(
    build: Callable[[Any, dict[str, Any]], None], one: object, given: dict[str, Any], config: Mapping[str, Any] | None
) -> None:
    """Build an object, naming the place of its `config`, where it has one, if something is wrong."""
    try:
        build(one, given)
    except ConfigurationError as error:
        if config is None:
            raise
        raise ConfigurationError(f"{_place(config)}: {error}") from None


def _place(config: Mapping[str, Any], name: str = "") -> str:
    return config.place(name) if isinstance(config, Located) else "config"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def text(owner: str, name: str, value: object, *, empty: bool = False) -> str:
    """Return a text that says something, or nothing if that is allowed.

    Raises:
        ConfigurationError: it does not, or is no text.
    """
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ConfigurationError(f"{owner}: {name} must be a {'' if empty else 'non-empty '}text, not {value!r}.")
    return value


def function(owner: str, name: str, value: object, of: str) -> None:
    """Raise a ConfigurationError unless this is a function of one argument, such as `"the TaskOutput"`, or nothing."""
    if value is None:
        return
    if not callable(value):
        raise ConfigurationError(f"{owner}: {name} must be a function, not {value!r}.")
    check_takes_one(f"{owner}: {name}", value, of)


def check_takes_one(what: str, value: Callable[..., Any], of: str) -> None:
    """Raise a ConfigurationError unless a function can be called with one argument, rather than when a run has been paid."""
    try:
        inspect.signature(value).bind(None)
    except TypeError:
        raise ConfigurationError(f"{what} must take one argument, {of}.") from None
    except ValueError:  # a builtin that hides its signature
        pass


def items(owner: str, name: str, given: object) -> list[Any]:
    """Return a list of what was given.

    Raises:
        ConfigurationError: it was no list.
    """
    if given is None:
        return []
    if type(given) is list:
        return given.copy()
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{owner}: {name} must be a list, not {given!r}.")
    return list(given)


def functions(owner: str, name: str, given: object) -> tuple[Callable[[Any], Any], ...]:
    """Return a function, or several, as a tuple.

    Raises:
        ConfigurationError: something is no function.
    """
    several = tuple(given) if isinstance(given, Iterable) and not callable(given) else (given,)
    if not all(callable(function) for function in several):
        raise ConfigurationError(f"{owner}: {name} must be a function or a list of functions, not {given!r}.")
    return several


def llm_named(where: str, name: str) -> BaseLLM:
    """Return the LLM of a name such as `"openai/gpt-4o"`.

    Raises:
        ConfigurationError: there is none; nothing is ever put in its place.
    """
    from oarlock import LLM  # by its root name: agents know no LLM but the contract

    try:
        return LLM(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {str(error).removeprefix('LLM: ')}") from None


def check_llm(owner: str, name: str, llm: object) -> None:
    """Raise a ConfigurationError unless this is a language model object."""
    if isinstance(llm, BaseLLM):
        return
    if isinstance(llm, type) and issubclass(llm, BaseLLM):
        raise ConfigurationError(f"{owner}: {name} is the class {llm.__name__}; pass an object: {llm.__name__}(...).")
    shown = repr(llm) if isinstance(llm, str) else f"of the type {type(llm).__name__}"
    raise ConfigurationError(
        f"{owner}: {name} must be an LLM object, and is {shown}. Use ChatLLM(model, base_url, auth=...) for an "
        "OpenAI-style endpoint, or an object of your own subclass of BaseLLM."
    )


def check_budget(owner: str, budget: object) -> None:
    """Raise a ConfigurationError unless this is a budget, or nothing."""
    if budget is None:
        return
    from oarlock.policies import Budget  # only where there is one: loading it takes longer than a run

    if not isinstance(budget, Budget):
        raise ConfigurationError(f"{owner}: budget must be a Budget, such as Budget(tokens=100_000), not {budget!r}.")


def tools_of(owner: str, tools: list[Any]) -> dict[str, BaseTool]:
    """Return tools by the names that models call them; sources of further ones are left aside.

    Raises:
        ConfigurationError: something is no tool, or two have one name.
    """
    try:
        return tools_by_name(split(tools)[0])
    except ToolError as error:
        raise ConfigurationError(f"{owner}: {error}") from error
