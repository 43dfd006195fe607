"""`ConditionalTask`: what is to be done only if the task before it came out a certain way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oarlock.agents.definitions import checked
from oarlock.agents.outputs import TaskOutput
from oarlock.agents.task import LATER, USUAL, Task
from oarlock.contract.errors import ConfigurationError

__all__ = ["ConditionalTask"]


@checked(later=LATER, usual=(*USUAL, "condition"))
@dataclass(kw_only=True, eq=False, slots=True)
class ConditionalTask(Task):
    """A `Task` that is done only if its condition is met. It cannot be the first one of a crew.

    A task that was skipped has a `TaskOutput` with `skipped` set and no text, which other tasks do not see.

    Args:
        condition: a function that takes the `TaskOutput` of the task before it in the crew's list (which may be a skipped
            one) and returns whether to do this one. The other arguments are those of `Task`.

    Raises:
        ConfigurationError: an unknown or missing argument, or a value that cannot work.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Scout", goal="Find events", llm=ScriptedLLM(["2 events"]))
        >>> find = Task(description="Find events", agent=agent)
        >>> more = ConditionalTask(description="Find more", agent=agent, condition=lambda output: "0" in output.raw)
        >>> [output.skipped for output in Crew(agents=[agent], tasks=[find, more]).kickoff().tasks_output]
        [False, True]
    """

    condition: Callable[[TaskOutput], Any]

    def __post_init__(self) -> None:
        Task.__post_init__(self)  # not super(): the class that `slots=True` makes is another one than this
        if not callable(self.condition):
            raise ConfigurationError(
                f"Task {self.name!r}: condition must be a function of the last TaskOutput, not {self.condition!r}."
            )
