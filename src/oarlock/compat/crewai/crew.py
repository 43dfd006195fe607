"""`crewai.crew`: its `Crew`, which tells afterwards what its last run gave."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import oarlock
from oarlock.compat.crewai.utilities.llm_utils import with_llms
from oarlock.compat.missing import Says, public, sentence
from oarlock.compat.settings import settled, without_left_out

__all__ = ["Crew"]


class Crew(oarlock.Crew, metaclass=Says):
    """`oarlock.Crew`, and what scripts for CrewAI count on besides.

    It may be built without tasks, which are then added to its `tasks` before it runs.

    After a run its figures stand in `usage_metrics`, and each task's output in `task.output`. Both are those of the run that
    ended last; what `kickoff` returns has them for each run by itself.

    Raises:
        ConfigurationError: see `oarlock.Crew`.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> from oarlock.compat.crewai import Task
        >>> agent = oarlock.Agent(role="Poet", goal="Rhyme", llm=ScriptedLLM(["Row, row."]))
        >>> crew = Crew(agents=[agent], tasks=[Task(description="A line", expected_output="A line")])
        >>> crew.kickoff().raw, crew.tasks[0].output.raw, crew.usage_metrics.successful_requests
        ('Row, row.', 'Row, row.', 1)
    """

    __slots__ = ("usage_metrics",)

    def __init__(self, *args: Any, **given: Any) -> None:
        given = {"tasks": [], **settled("Crew", given)}
        super().__init__(*args, **with_llms("Crew", given, "manager_llm", "function_calling_llm"))
        self.usage_metrics: oarlock.Usage | None = None

    def _require_tasks(self) -> None:
        """Do nothing: what matters is whether there are tasks when it runs."""

    async def run(self, runtime: Any, inputs: Any, user: Any, on_event: Any, *given: Any, **named: Any) -> Any:
        """Run it, tell CrewAI's bus of it if anybody listens there, and keep what it gave."""
        super()._require_tasks()
        told = _on_bus(self, inputs, on_event)
        result = await super().run(runtime, inputs, user, told or on_event, *given, **named)
        if told is not None:
            told.completed(result)
        if isinstance(result, oarlock.CrewOutput):  # `after_kickoff` may have put anything in its place
            self.usage_metrics = result.usage_metrics
            for task, output in zip(self.tasks, result.tasks_output, strict=False):
                if hasattr(task, "output"):  # a task of `crewai`; one of `oarlock` itself keeps nothing
                    task.output = output
        return result

    def kickoff(self, inputs: Any = None, **given: Any) -> Any:
        """Run the crew, blocking; see `oarlock.Crew`."""
        return super().kickoff(inputs, **without_left_out("Crew.kickoff", given))

    async def akickoff(self, inputs: Any = None, **given: Any) -> Any:
        """Run the crew from a coroutine; the same as `kickoff`."""
        return await super().akickoff(inputs, **without_left_out("Crew.akickoff", given))

    kickoff_async = akickoff

    def copy(self) -> Crew:
        """Return another crew of the same agents and tasks. Runs change neither, so that there is seldom need for one."""
        return dataclasses.replace(self)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(sentence(f"crewai.Crew.{name}", public(type(self))))


def _on_bus(crew: Crew, inputs: Any, on_event: Any) -> Any:
    """Return who tells CrewAI's bus of a run, `None` if nobody listens there."""
    module = sys.modules.get("oarlock.compat.crewai.events.event_bus")  # who has not imported it has no handlers
    if module is None or not module.crewai_event_bus.has_handlers:
        return None
    from oarlock.compat.bus_events import BusRun

    return BusRun(module.crewai_event_bus, crew, inputs, on_event)
