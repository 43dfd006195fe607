"""`crewai.tasks.conditional_task`."""

from __future__ import annotations

from typing import Any

from oarlock.agents import conditional
from oarlock.agents.outputs import TaskOutput
from oarlock.compat.settings import settled

__all__ = ["ConditionalTask"]


class ConditionalTask(conditional.ConditionalTask):
    """`oarlock.agents.ConditionalTask`, which has its `output` afterwards, as `crewai.Task` has.

    Raises:
        ConfigurationError: see `oarlock.agents.ConditionalTask`.
    """

    __slots__ = ("output",)

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **settled("Task", given))
        self.output: TaskOutput | None = None
