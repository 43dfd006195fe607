"""What is kept of a run from its beginning: which crew, of which definition, and with what inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from oarlock.contract.errors import ConfigurationError, RunChangedError, RunError, a_kind
from oarlock.contract.watching import carried
from oarlock.durable.codec import plain

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.crew import Crew
    from oarlock.agents.task import Task

__all__ = ["SCHEMA", "TRACE", "Spec", "fingerprint", "models_of", "queue_of"]

SCHEMA: Final = "oarlock-1"
"""Of what is kept of a run and its steps; the next number when older ones can no longer be read."""

TRACE: Final = "trace"
"""Among the facts of a run: what carries the trace of whoever began it to whoever drives it, if that is traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a run is of.

    Attributes:
        crew: the name of the crew.
        fingerprint: of its definition; see `fingerprint`. Empty for a run that may go on with any, as after a fork.
        inputs: plain values.
    """

    crew: str
    fingerprint: str
    inputs: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, name: str, crew: Crew, inputs: Mapping[str, Any] | None) -> Spec:
        """Return that of a new run.

        Raises:
            ConfigurationError: an input cannot be kept.
        """
        if inputs is not None and not isinstance(inputs, Mapping):
            raise ConfigurationError(f"inputs must be a mapping of names to values, not {a_kind(inputs)}.")
        try:
            kept = {name: plain(value, f"inputs[{name!r}]") for name, value in plain_names(inputs or {})}
        except RunError as error:
            raise ConfigurationError(f"A durable run keeps its inputs in the database: {error}") from None
        return cls(crew=name, fingerprint=fingerprint(crew), inputs=kept)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, without what stands in the facts."""
        return {"crew": self.crew, "inputs": dict(self.inputs)}

    @property
    def facts(self) -> dict[str, str]:
        """What a list of runs shows, and what may change when a run is forked."""
        return {"crew": self.crew, "fingerprint": self.fingerprint}

    def facts_of_new(self) -> dict[str, Any]:
        """Return the facts of a run that is begun here."""
        trace = carried()
        return {**self.facts, TRACE: trace} if trace else dict(self.facts)

    @property
    def queue(self) -> str:
        """Where runs wait for a worker that has this crew in this very definition, and in no other."""
        return queue_of(self.crew, self.fingerprint)

    @classmethod
    def from_json(cls, value: Any, facts: Mapping[str, Any]) -> Spec:
        """Return what the database has.

        Raises:
            RunError: it is none.
        """
        if (
            not isinstance(value, Mapping)
            or not isinstance(value.get("crew"), str)
            or not isinstance(value.get("inputs"), Mapping)
        ):
            raise RunError("The database does not hold what this version keeps of a run.")
        return cls(crew=value["crew"], fingerprint=str(facts.get("fingerprint") or ""), inputs=value["inputs"])

    def check_same(self, other: Spec, run_id: str, *, finished: bool = False) -> None:
        """Refuse a run that began as another one.

        Args:
            other: what the database has.
            run_id: of the run.
            finished: it has its result already, so that the crew may have changed since.

        Raises:
            RunChangedError: other inputs, another crew, or one that has changed.
        """
        if other.crew != self.crew:
            raise RunChangedError(
                f"Run {run_id!r} is one of the crew {other.crew!r}, not of {self.crew!r}. Choose another run_id.",
                run_id=run_id,
            )
        if dict(other.inputs) != dict(self.inputs):
            changed = sorted(
                name
                for name in {*other.inputs, *self.inputs}
                if other.inputs.get(name, ...) != self.inputs.get(name, ...)
            )
            raise RunChangedError(
                f"Run {run_id!r} began with other inputs (different: {', '.join(changed)}). One run_id is one piece of "
                "work: choose another one for these inputs.",
                run_id=run_id,
            )
        if not finished:
            self.check_unchanged(other, run_id)

    def check_unchanged(self, other: Spec, run_id: str) -> None:
        """Refuse a run whose crew has changed.

        Raises:
            RunChangedError: it has; the message has the choices.
        """
        if other.fingerprint not in ("", self.fingerprint):
            raise RunChangedError(
                f"The crew {self.crew!r} has changed since run {run_id!r} began: what it recorded may not fit any more. "
                f"Finish it with the code that it began with; or `oarlock runs fork {run_id}`, which begins a new run on "
                "this code with the recorded answers as far as you say; or start over under another run_id.",
                run_id=run_id,
            )


def queue_of(crew: str, fingerprint: str) -> str:
    """Return the name of a queue."""
    return f"crew.{crew}.{fingerprint}"


def plain_names(inputs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the inputs as pairs.

    Raises:
        ConfigurationError: a name is no text.
    """
    if not all(isinstance(name, str) for name in inputs):
        raise ConfigurationError("inputs must have texts as names.")
    return list(inputs.items())


def fingerprint(crew: Crew) -> str:
    """Return a short text that changes with what a crew asks of its models: tasks, agents, tools, their order.

    LLMs are not part of it: a run may go on with another one, signed in otherwise. Nor are the bodies of tools and functions.
    """
    agents: dict[int, dict[str, Any]] = {}
    everybody = [*crew.agents, *(task.agent for task in crew.tasks if task.agent is not None)]
    if crew.manager_agent is not None:
        everybody.append(crew.manager_agent)
    for agent in everybody:
        agents.setdefault(id(agent), _agent(agent))
    order = {key: number for number, key in enumerate(agents)}
    places = {id(task): place for place, task in enumerate(crew.tasks)}
    whole = {
        "process": str(crew.process),
        "agents": list(agents.values()),
        "tasks": [_task(task, places, order) for task in crew.tasks],
        "before": len(crew.before_kickoff_callbacks),
        "after": len(crew.after_kickoff_callbacks),
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _agent(agent: Agent) -> dict[str, Any]:
    return {
        "role": agent.role,
        "goal": agent.goal,
        "backstory": agent.backstory,
        "tools": _names(agent.tools),
        "max_iter": agent.max_iter,
        "delegates": agent.allow_delegation,
    }


def _task(task: Task, places: Mapping[int, int], agents: Mapping[int, int]) -> dict[str, Any]:
    return {
        "description": task.description,
        "expected_output": task.expected_output,
        "agent": None if task.agent is None else agents[id(task.agent)],
        "context": None if task.context is None else [places[id(one)] for one in task.context],
        "tools": _names(task.tools),
        "aside": task.async_execution,
        "kind": type(task).__name__,
        "schema": None if task.structure is None else task.structure.schema,
        "guardrails": [one if isinstance(one, str) else type(one).__name__ for one in task.all_guardrails],
        "human": task.human_input,
        "markdown": task.markdown,
    }


def _names(tools: Any) -> list[str]:
    return [str(getattr(tool, "function_name", getattr(tool, "__name__", ""))) for tool in tools or ()]


def models_of(crew: Crew) -> dict[str, type[BaseModel]]:
    """Return the pydantic models that a crew's tasks answer with, by name."""
    models = [task.structure.model for task in crew.tasks if task.structure is not None]
    return {model.__name__: model for model in models}
