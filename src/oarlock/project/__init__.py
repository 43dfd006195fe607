"""Crews from YAML files: `@CrewBase` with what marks the methods of such a class, and `load_crew` for one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.project.crew_base import CrewBase
    from oarlock.project.crew_file import load_crew
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
    "load_crew",
    "output_json",
    "output_pydantic",
    "task",
    "tool",
]

__getattr__ = lazy_names(
    __name__, {**dict.fromkeys(__all__, "marks"), "CrewBase": "crew_base", "load_crew": "crew_file"}
)


def __dir__() -> list[str]:
    return __all__
