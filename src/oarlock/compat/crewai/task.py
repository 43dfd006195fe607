"""`crewai.task`: its `Task`, which has its output afterwards."""

from __future__ import annotations

from typing import Any

import oarlock
from oarlock.compat.missing import Says, public, sentence
from oarlock.compat.settings import settled

__all__ = ["Task"]


class Task(oarlock.Task, metaclass=Says):
    """`oarlock.Task`, and what scripts for CrewAI count on besides.

    Attributes:
        output: its `TaskOutput` in that run of a `crewai.Crew` which ended last.

    Raises:
        ConfigurationError: see `oarlock.Task`.

    Example:
        >>> Task(description="Research {topic}", expected_output="Three facts").output is None
        True
    """

    __slots__ = ("output",)

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **settled("Task", given))
        self.output: oarlock.TaskOutput | None = None

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(sentence(f"crewai.Task.{name}", public(type(self))))
