"""Putting LLMs and tools in the place of those that crews have, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from oarlock.agents.crew import Crew
from oarlock.agents.hierarchy import staff_of
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM
from oarlock.tools import tools_by_name

__all__ = ["bind_llms", "bind_tools"]

_PLACES: Final = ("llm", "function_calling_llm", "manager_llm")


def bind_llms(crews: Iterable[Crew], llms: Mapping[str, BaseLLM]) -> None:
    """Give each agent of the crews the LLM that has the name of its model.

    Raises:
        ConfigurationError: something is no LLM, a model has none here, or one here is no agent's.
    """
    for name, llm in llms.items():
        if not isinstance(llm, BaseLLM):
            raise ConfigurationError(f"Registry: llms[{name!r}] must be an LLM, not a {type(llm).__name__}.")
    used: set[str] = set()
    for owner, crew in _owners(crews):
        for place in _PLACES:
            asked: BaseLLM | None = getattr(owner, place, None)
            if asked is None:
                continue
            if asked.model not in llms:
                raise ConfigurationError(
                    f"Registry: crew {crew!r} asks the model {asked.model!r}, and llms= has none of that name; it has: "
                    f"{', '.join(map(repr, llms)) or 'none'}."
                )
            used.add(asked.model)
            setattr(owner, place, llms[asked.model])
    _all_used("no crew asks a model", llms, used)


def bind_tools(crews: Iterable[Crew], tools: Sequence[Any]) -> None:
    """Give agents and tasks of the crews these tools for those of the same names.

    Raises:
        ConfigurationError: none of them has a tool of that name.
        ToolError: something is no tool.
    """
    given = tools_by_name(tools)
    used: set[str] = set()
    for owner, _ in _owners(crews):
        names = [
            str(getattr(tool, "function_name", getattr(tool, "__name__", ""))) for tool in getattr(owner, "tools", ())
        ]
        if not given.keys().isdisjoint(names):
            used |= given.keys() & set(names)
            owner.tools = [given.get(name, tool) for name, tool in zip(names, owner.tools, strict=True)]
    _all_used("no crew has a tool", given, used)


def _owners(crews: Iterable[Crew]) -> list[tuple[Any, str]]:
    """Return crews, agents and tasks that may have LLMs and tools, each once, and the name of their crew."""
    owners: dict[int, tuple[Any, str]] = {}
    for crew in crews:
        manager = [] if crew.manager_agent is None else [crew.manager_agent]
        for owner in (crew, *staff_of(crew), *manager, *crew.tasks):
            owners.setdefault(id(owner), (owner, crew.name))
    return list(owners.values())


def _all_used(problem: str, given: Iterable[str], used: set[str]) -> None:
    idle = sorted(set(given) - used)
    if idle:
        raise ConfigurationError(f"Registry: {problem} of the name {idle[0]!r}.")
