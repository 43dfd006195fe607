"""Crews whose agents and tasks are described in YAML files: `@CrewBase` and what marks the methods of such a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.project.crew_base import CrewBase
    from oarlock.project.marks import (
        after_kickoff,
        agent,
        before_kickoff,
        callback,
        crew,
        llm,
        output_json,
        output_pydantic,
        task,
        tool,
    )

__all__ = [
    "CrewBase",
    "after_kickoff",
    "agent",
    "before_kickoff",
    "callback",
    "crew",
    "llm",
    "output_json",
    "output_pydantic",
    "task",
    "tool",
]

__getattr__ = lazy_names(__name__, {name: "crew_base" if name == "CrewBase" else "marks" for name in __all__})


def __dir__() -> list[str]:
    return __all__
