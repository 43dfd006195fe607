"""A crew whose runs begin and end with functions of the user's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from oarlock.agents.crew import Crew
from oarlock.agents.outputs import CrewOutput
from oarlock.agents.work import call_back
from oarlock.runtime import Runtime

__all__ = ["HookedCrew"]

Hook = Callable[[Any], Any]


@dataclass(kw_only=True, eq=False)
class HookedCrew(Crew):
    """A `Crew` with hooks.

    Args:
        before_kickoff_callbacks: each is given a run's inputs, a dict of its own, and returns those to go on with.
        after_kickoff_callbacks: each is given the run's result, and returns the one to go on with. `None` changes nothing.
    """

    before_kickoff_callbacks: list[Hook] = field(default_factory=list)
    after_kickoff_callbacks: list[Hook] = field(default_factory=list)

    @classmethod
    def of(cls, crew: Crew, before: Sequence[Hook], after: Sequence[Hook]) -> Self:
        """Return the same crew with hooks."""
        settings = {one.name: getattr(crew, one.name) for one in dataclasses.fields(crew) if one.init}
        return cls(**settings, before_kickoff_callbacks=list(before), after_kickoff_callbacks=list(after))

    async def _run(self, runtime: Runtime, inputs: Any, *rest: Any) -> CrewOutput:
        given = dict(inputs) if isinstance(inputs, dict) else inputs or {}
        for hook in self.before_kickoff_callbacks:
            changed = await call_back(runtime, hook, given)
            given = given if changed is None else changed
        result = await Crew._run(self, runtime, given, *rest)  # noqa: SLF001  a kind of it
        for hook in self.after_kickoff_callbacks:
            changed = await call_back(runtime, hook, result)
            result = result if changed is None else changed
        return result
