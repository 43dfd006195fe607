"""What to say when a script asks for a part of CrewAI that is not here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["COMPANIONS", "missing_module", "sentence"]

COMPANIONS = frozenset({"crewai_tools"})
"""Packages beside CrewAI that its users import."""

_TASKS = "split the work into tasks of a Crew"
_MEMORY = "give an agent what it should know through a task's context or a tool"

_INSTEAD = {
    "crewai_tools": "write a function and mark it with @tool from crewai.tools",
    "Flow": _TASKS,
    "flow": _TASKS,
    "Knowledge": _MEMORY,
    "knowledge": _MEMORY,
    "Memory": _MEMORY,
    "memory": _MEMORY,
    "cli": "use the `oarlock` command",
    "rag": _MEMORY,
    "telemetry": "there is no telemetry to switch off",
}


def sentence(name: str, known: Iterable[str] = ()) -> str:
    """Return why a dotted name of CrewAI cannot be had, and what to do instead.

    Args:
        name: such as `"crewai.Flow"` or `"crewai.flow.flow"`.
        known: what there is in its place, to suggest the nearest.

    Example:
        >>> sentence("crewai.Agnet", ["Agent", "Task"])
        "crewai.Agnet is not in Oarlock: did you mean 'Agent'?"
        >>> sentence("crewai.telemetry")
        'crewai.telemetry is not in Oarlock: there is no telemetry to switch off.'
    """
    instead = next((_INSTEAD[part] for part in name.split(".") if part in _INSTEAD), None)
    if instead:
        return f"{name} is not in Oarlock: {instead}."
    near = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
    if near:
        return f"{name} is not in Oarlock: did you mean {near[0]!r}?"
    place = name.rpartition(".")[0]
    return (
        f"{name} is not in Oarlock: {place} has {', '.join(sorted(known))}." if known else f"{name} is not in Oarlock."
    )


def missing_module(name: str, known: Iterable[str] = ()) -> ModuleNotFoundError:
    """Return the error for importing something of CrewAI that is not here."""
    return ModuleNotFoundError(sentence(name, known), name=name)
