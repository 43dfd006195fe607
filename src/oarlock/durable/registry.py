"""`Registry`: the crews that a worker serves, and the LLMs and tools that they work with there, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oarlock.agents.crew import Crew
from oarlock.contract.errors import ConfigurationError, RunError, a_kind
from oarlock.contract.llm import BaseLLM
from oarlock.durable.binding import bind_llms, bind_tools
from oarlock.durable.driving import Bound, interrupted
from oarlock.durable.schedule import Schedule, Timetable
from oarlock.durable.spec import Spec, fingerprint, queue_of

__all__ = ["Registry"]


class Registry:
    """Crews by their names. The database has names only: a worker binds a run to the crew, with its LLMs and tools, from here.

    LLMs and tools are those that the crews have, unless this program has others for their names: a worker inside a network with
    an endpoint of its own, say, or one that must not send mail. They are put in place when the registry is made, and are not
    part of what a run remembers of its crew; a tool must look the same to the model.

    Args:
        crews: each with a `name` of its own, `Crew(name="research", ...)`; one crew or several.
        llms: by the names of the models that agents of these crews have: what takes their place. With it each LLM must be there.
        tools: tools that take the place of those of the same names.
        schedules: when workers run these crews by themselves.

    Raises:
        ConfigurationError: something is no crew, two have the same name, or a name is missing here or there.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Poet", goal="Rhyme", backstory="", llm=ScriptedLLM(["Row, row."]))
        >>> crew = Crew(name="poems", agents=[agent], tasks=[Task(description="A line", agent=agent)])
        >>> Registry(crew)
        Registry('poems')
    """

    def __init__(
        self,
        *crews: Crew | Iterable[Crew],
        llms: Mapping[str, BaseLLM] | None = None,
        tools: Sequence[Any] = (),
        schedules: Sequence[Schedule] = (),
    ) -> None:
        self._crews: dict[str, Crew] = {}
        for one in crews:
            for crew in one if isinstance(one, Iterable) else [one]:
                self._add(crew)
        if not self._crews:
            raise ConfigurationError("Registry: there are no crews in it. Pass Registry(crew, ...).")
        if llms is not None:
            bind_llms(self._crews.values(), llms)
        if tools:
            bind_tools(self._crews.values(), tools)
        self._fingerprints = {name: fingerprint(crew) for name, crew in self._crews.items()}
        self.timetable = Timetable([(one, self._spec_of(one)) for one in _different(schedules)])

    def _add(self, crew: object) -> None:
        if not isinstance(crew, Crew):
            raise ConfigurationError(f"Registry takes crews, not {a_kind(crew)}.")
        if crew.name in self._crews:
            raise ConfigurationError(
                f'Registry: two crews have the name {crew.name!r}. Give each its own: Crew(name="...").'
            )
        self._crews[crew.name] = crew

    def _spec_of(self, schedule: Schedule) -> Spec:
        crew = self._crews.get(schedule.crew)
        if crew is None:
            raise ConfigurationError(
                f"Registry: schedule {schedule.name!r} is for a crew {schedule.crew!r}; there are: {', '.join(self.names)}."
            )
        return Spec.of(crew.name, crew, schedule.inputs)

    @classmethod
    def of(cls, found: Any) -> Registry:
        """Return the registry that a program's object is or makes: a registry, crews, or a function that returns them.

        Raises:
            ConfigurationError: it is none of them.
        """
        if callable(found) and not isinstance(found, Registry | Crew):
            found = found()
        if isinstance(found, Registry):
            return found
        if isinstance(found, Mapping):
            found = list(found.values())
        return cls(*(found if isinstance(found, list | tuple) else [found]))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the crews."""
        return tuple(self._crews)

    @property
    def queues(self) -> list[str]:
        """Where runs of these crews wait."""
        return [queue_of(name, mark) for name, mark in self._fingerprints.items()]

    def fingerprint(self, name: str) -> str:
        """Return what tells the definition of a crew from later ones.

        Raises:
            RunError: there is no such crew.
        """
        if name not in self._fingerprints:
            raise RunError(f"There is no crew {name!r} in this registry; it has: {', '.join(self.names)}.")
        return self._fingerprints[name]

    def find(self, run_id: str, spec: Spec) -> Bound:
        """Return the crew for a run.

        Raises:
            RunInterrupted: it is not here, or has changed; the run is left as it is.
        """
        try:
            mark = self.fingerprint(spec.crew)
            Spec(crew=spec.crew, fingerprint=mark, inputs={}).check_unchanged(spec, run_id)
        except RunError as error:
            raise interrupted(run_id, error) from None
        return Bound(crew=self._crews[spec.crew])

    def __repr__(self) -> str:
        return f"Registry({', '.join(map(repr, self.names))})"


def _different(schedules: Sequence[Schedule]) -> Sequence[Schedule]:
    names = [schedule.name for schedule in schedules]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"Registry: two schedules are named {name!r}. Give each a name of its own.")
    return schedules
