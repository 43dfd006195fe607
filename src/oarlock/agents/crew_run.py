"""One run of a crew, from its inputs to its output. The core: it awaits nothing but its runtime."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from oarlock.agents.console import watched
from oarlock.agents.graph import Order, condition_of, run_side_by_side
from oarlock.agents.hierarchy import staff_of
from oarlock.agents.inputs import fill
from oarlock.agents.outputs import CrewOutput, TaskOutput
from oarlock.agents.prompts import joined
from oarlock.agents.run import Assignment, execute, within
from oarlock.agents.run_log import NO_LOG, NoLog, RunLog, log_path
from oarlock.agents.sources import refresh
from oarlock.agents.work import consult, notify
from oarlock.contract.context import current_call, scope, tell
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.events import Event, RunFailed, RunFinished, RunStarted, TaskSkipped
from oarlock.contract.records import dataclass, field
from oarlock.contract.reply import Usage
from oarlock.runtime import Runtime
from oarlock.tools import ToolStore

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.crew import Crew
    from oarlock.agents.recording import RunRecord
    from oarlock.policies import Budget

__all__ = ["RECORD_VARIABLE", "Resumable", "run_crew", "run_with_hooks"]

RECORD_VARIABLE = "OARLOCK_RECORD"
"""The environment variable with the path at which runs are recorded that do not say so themselves."""

Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumable:
    """What a durable run has beside its inputs.

    Attributes:
        run_id: its own, rather than a new one.
        watch: makes of whoever listens one who hears nothing twice.
        clock: for events: that of the run stands still between steps.
    """

    run_id: str
    watch: Callable[[Listener | None], Listener | None]
    clock: Callable[[], float]


async def run_crew(
    runtime: Runtime,
    crew: Crew,
    inputs: Mapping[str, Any] | None,
    on_event: Callable[[Event], None] | None,
    *,
    user: Any = None,
    resumable: Resumable | None = None,
    record: Any = None,
) -> CrewOutput:
    """Run a crew's tasks: one after the other, and side by side where they are asynchronous."""
    given = _checked_inputs(inputs)
    run = _Run(runtime=runtime, crew=crew, order=Order(crew.tasks), assignments=_assignments(crew, given))
    run_id, started = runtime.new_id() if resumable is None else resumable.run_id, runtime.now()
    user = current_call().user if user is None else user
    log = _log_of(crew)
    shown = watched(crew.verbose, _loud_roles(crew, given), on_event, functools.partial(_staff, crew), crew.budget)
    place: dict[str, Any] = {"run_id": run_id, "task_id": None, "span_id": run_id, "parent_id": current_call().span_id}
    place |= {"clock": runtime.time if resumable is None else resumable.clock, "user": user, "tool_store": ToolStore()}
    place |= within(crew.budget and crew.budget.fresh())
    recorded = _record_of(crew.record if record is None else record, crew, run_id, place["clock"])
    watch = _as_it_is if resumable is None else resumable.watch
    with _listening(log, recorded, shown) as listener, scope(listener=watch(listener), **place):
        tell(RunStarted, tasks=len(run.assignments), crew=crew.name)
        try:
            await refresh(runtime, run.assignments)
            await run.whole()
        except BaseException as error:
            tell(RunFailed, seconds=runtime.now() - started, error=error)
            raise
        result = run.result(run_id)
        tell(RunFinished, seconds=runtime.now() - started, usage=result.usage_metrics, answer=result.raw)
    return result


def _listening(
    log: RunLog | NoLog, recorded: RunRecord | NoLog, shown: AbstractContextManager[Listener | None]
) -> AbstractContextManager[Listener | None]:
    """Return the block of a run that is written down and shown; it gives who listens to it."""
    return shown if log is NO_LOG and recorded is NO_LOG else _all_listening(log, recorded, shown)


@contextmanager
def _all_listening(
    log: RunLog | NoLog, recorded: RunRecord | NoLog, shown: AbstractContextManager[Listener | None]
) -> Iterator[Listener | None]:
    with log, recorded, shown as told:
        yield recorded.beside(log.beside(told))


def _assignments(crew: Crew, inputs: Mapping[str, Any]) -> list[Assignment]:
    budgets: dict[int, Budget] = {}
    return [crew.assignment(task, inputs, budgets) for task in crew.tasks]


def _log_of(crew: Crew) -> RunLog | NoLog:
    """Return where the run is written to."""
    path = log_path(crew.output_log_file)
    return NO_LOG if path is None else RunLog(path)


def _record_of(asked: Any, crew: Crew, run_id: str, clock: Callable[[], float]) -> RunRecord | NoLog:
    """Return where everything in the run is written to."""
    asked = (os.environ.get(RECORD_VARIABLE) or None) if asked is None else asked
    if asked is None:
        return NO_LOG
    from oarlock.agents.recording import RunRecord, recording_of

    recording = recording_of("kickoff", asked)
    assert recording is not None, "asked for"
    budgets = [*current_call().budgets, crew.budget, *(agent.budget for agent in staff_of(crew))]
    prices = {model: price for budget in budgets for model, price in (getattr(budget, "prices", None) or {}).items()}
    return RunRecord(recording, run_id, crew.name, prices, clock())


def _loud_roles(crew: Crew, inputs: Mapping[str, Any]) -> list[str]:
    """Return the roles, filled in, of the agents that are verbose."""
    return [fill(agent.role, inputs, f"Agent {agent.role!r}: role") for agent in _staff(crew) if agent.verbose]


def _staff(crew: Crew) -> list[Agent]:
    """Return all agents who work in a crew, a manager too."""
    return staff_of(crew) if crew.manager_agent is None else [*staff_of(crew), crew.manager_agent]


def _as_it_is(listener: Listener | None) -> Listener | None:
    return listener


async def run_with_hooks(
    runtime: Runtime,
    crew: Crew,
    inputs: Mapping[str, Any] | None,
    on_event: Callable[[Event], None] | None,
    *,
    user: Any = None,
    resumable: Resumable | None = None,
    record: Any = None,
) -> CrewOutput:
    """Run a crew between its functions for before and after; one that returns `None` changes nothing."""
    given: Any = dict(_checked_inputs(inputs))
    for number, callback in enumerate(crew.before_kickoff_callbacks):
        changed = await consult(runtime, f"0:before:{number}", callback, given)
        given = given if changed is None else changed
    result: Any = await run_crew(runtime, crew, given, on_event, user=user, resumable=resumable, record=record)
    for number, callback in enumerate(crew.after_kickoff_callbacks):
        changed = await consult(runtime, f"0:after:{number}", callback, result)
        result = result if changed is None else changed
    return result  # type: ignore[no-any-return]


@dataclass(slots=True, kw_only=True)
class _Run:
    """The state of one run; tasks go by their positions."""

    runtime: Runtime
    crew: Crew
    order: Order
    assignments: list[Assignment]
    outputs: dict[int, TaskOutput] = field(default_factory=dict)

    async def whole(self) -> None:
        """Do all tasks."""
        if not self.order.is_a_line:
            await run_side_by_side(self.runtime, self.order.needs(), self.do)
            return
        for position in range(len(self.assignments)):
            await self.do(position)

    async def do(self, position: int) -> None:
        """Do one task, unless its condition is not met."""
        assignment = self.assignments[position]
        condition = condition_of(assignment.task)
        if condition is not None and not await self._is_met(condition, position):
            self.outputs[position] = _skipped(assignment, position + 1)
            return
        output = await execute(self.runtime, assignment, self._context(position), position + 1)
        self.outputs[position] = output
        if self.crew.task_callback:
            await notify(self.runtime, f"{position + 1}:told", self.crew.task_callback, output)

    def _context(self, position: int) -> str:
        """Return the answers that a task sees."""
        seen = [self.outputs[earlier] for earlier in self.order.seen_by(position)]
        return joined(output.raw for output in seen if not output.skipped)

    async def _is_met(self, condition: Callable[..., object], position: int) -> bool:
        said = await consult(self.runtime, f"{position + 1}:condition", condition, self.outputs[position - 1])
        return bool(said)

    def result(self, run_id: str) -> CrewOutput:
        """Return what the run gave."""
        by_agent: dict[str, Usage] = {}
        for assignment in self.assignments:
            for role, usage in assignment.spent:
                by_agent[role] = by_agent[role] + usage if role in by_agent else usage
        outputs = [self.outputs[position] for position in range(len(self.outputs))]
        last = next(output for output in reversed(outputs) if not output.skipped)  # the first one never is
        return CrewOutput(
            raw=last.raw,
            pydantic=last.pydantic,
            json_dict=last.json_dict,
            tasks_output=tuple(outputs),
            usage_metrics=functools.reduce(Usage.__add__, by_agent.values()),
            usage_by_agent=by_agent,
            run_id=run_id,
        )


def _skipped(assignment: Assignment, number: int) -> TaskOutput:
    task, role = assignment.task, assignment.role
    tell(TaskSkipped, number=number, description=assignment.description, task=task.name, agent=role)
    return TaskOutput(
        raw="",
        description=assignment.description,
        expected_output=assignment.expected_output,
        name=task.name,
        agent=role,
        skipped=True,
    )


def _checked_inputs(inputs: object) -> Mapping[str, Any]:
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping) or not all(isinstance(name, str) for name in inputs):
        raise ConfigurationError(
            f"inputs must be a mapping of names to values, not of the type {type(inputs).__name__}."
        )
    return inputs
