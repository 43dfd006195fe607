"""Driving one run of a crew, for whatever engine, in both colours."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oarlock.agents.crew_run import Resumable
from oarlock.agents.terminal import is_terminal
from oarlock.contract.context import CurrentCall, current_call, entered
from oarlock.contract.errors import RunError
from oarlock.contract.events import Event
from oarlock.contract.watching import resuming
from oarlock.durable.codec import to_json
from oarlock.durable.humans import Correspondent
from oarlock.durable.port import Entry, Journal, Store
from oarlock.durable.runtime import DurableRuntime, RunInterrupted, RunLeftError
from oarlock.durable.spec import TRACE, Spec, models_of
from oarlock.runtime.elsewhere import Home, HomeLeftError, await_at, block_at

if TYPE_CHECKING:
    from oarlock.agents.crew import Crew

__all__ = ["Bound", "CrewRunner", "interrupted"]

_log = logging.getLogger("oarlock.durable")


@dataclass(slots=True, kw_only=True, eq=False)
class Bound:
    """A crew of the running program, and what else a run of it needs that is not in the database.

    Attributes:
        crew: the crew.
        user: on whose behalf the run happens.
        on_event: who listens.
        record: where it is recorded for reading, if not where the crew says.
        call: the context that it was begun in.
        runtime: that drives it, once it does.
        left: whoever wanted it has left: it ends with the step that it is at.
        home: the event loop that it is awaited on, which LLMs and tools may be bound to.
    """

    crew: Crew
    user: Any = None
    on_event: Callable[[Event], None] | None = None
    record: Any = None
    call: CurrentCall = field(default_factory=current_call)
    runtime: DurableRuntime | None = None
    left: RunInterrupted | None = None
    home: Home | None = None

    def leave(self, run_id: str) -> None:
        """Let the run end with the step that it is at, if it is driven for this one's sake."""
        self.left = RunInterrupted(RunLeftError(f"Run {run_id!r} was interrupted.", run_id=run_id))
        if self.runtime is not None:
            self.runtime.stopped = self.left


class CrewRunner:
    """Drives runs of the crews that it finds.

    Args:
        find: returns the crew for a run, or raises `RunInterrupted`.
        parks: a run that waits for a human is put aside; else it keeps its place.
    """

    def __init__(self, find: Callable[[str, Spec], Bound], *, parks: bool = False) -> None:
        self._find = find
        self._parks = parks
        self.store: Store | None = None

    def _correspondent(self, run_id: str) -> Correspondent:
        assert self.store is not None, "set by the engine"
        return Correspondent(self.store, run_id, parks=self._parks)

    def __call__(self, journal: Journal, spec: Any) -> Any:
        """Drive a run, blocking; where it is awaited on an event loop, there."""
        from oarlock.runtime.blocking import BLOCKING

        home = self._home_of(journal, spec)
        if home is not None:
            with _left_with_its_home(journal.run_id):
                return block_at(home, functools.partial(self._driven, journal, spec))
        entries = list(journal.entries())
        for mark in _new_marks(journal.facts, entries):
            journal.write(mark, lambda: None)
            entries.append(Entry(position=0, name=mark))
        bound, runtime, work = self._begun(journal, spec, entries, is_async=False)
        with entered(bound.call), resuming(journal.facts.get(TRACE)):
            try:
                result = BLOCKING.run(work)
            except Exception:
                _raise_interruption(runtime)
                raise
        return to_json(result, "The crew's output")

    async def drive(self, journal: Journal, spec: Any) -> Any:
        """Drive a run on the running event loop, or the one that it is awaited on."""
        home = self._home_of(journal, spec)
        if home is None:
            return await self._driven(journal, spec)
        with _left_with_its_home(journal.run_id):
            return await await_at(home, functools.partial(self._driven, journal, spec))

    def _home_of(self, journal: Journal, kept: Any) -> Home | None:
        return self._find(journal.run_id, Spec.from_json(kept, journal.facts)).home

    async def _driven(self, journal: Journal, spec: Any) -> Any:
        entries = list(journal.entries())
        for mark in _new_marks(journal.facts, entries):
            await journal.awrite(mark, _nothing)
            entries.append(Entry(position=0, name=mark))
        bound, runtime, work = self._begun(journal, spec, entries, is_async=True)
        with entered(bound.call), resuming(journal.facts.get(TRACE)):
            try:
                result = await work
            except Exception:
                _raise_interruption(runtime)
                raise
        return to_json(result, "The crew's output")

    def _begun(self, journal: Journal, kept: Any, entries: list[Entry], *, is_async: bool) -> tuple[Bound, Any, Any]:
        spec = Spec.from_json(kept, journal.facts)
        bound = self._find(journal.run_id, spec)
        runtime = bound.runtime = DurableRuntime(
            _inner(is_async=is_async), journal, entries, models_of(bound.crew), is_async=is_async
        )
        runtime.stopped = bound.left  # it may have happened meanwhile
        if entries:
            _log.info("Run %r goes on after %d recorded steps", journal.run_id, len(entries))
        resumable = Resumable(
            run_id=journal.run_id, watch=runtime.listening.around, clock=_inner(is_async=is_async).time
        )
        crew = self._asking(bound.crew, journal.run_id)
        return (
            bound,
            runtime,
            crew.run(runtime, spec.inputs, bound.user, bound.on_event, resumable, record=bound.record),
        )

    def _asking(self, crew: Crew, run_id: str) -> Crew:
        """Return the crew, with somebody to ask for tasks that need a human if there is nobody else."""
        if crew.on_human_input is not None or not any(task.human_input for task in crew.tasks):
            return crew
        if not self._parks and is_terminal():
            return crew
        asking = copy.copy(crew)
        asking.on_human_input = self._correspondent(run_id)
        return asking


def _inner(*, is_async: bool) -> Any:
    if is_async:
        from oarlock.runtime.aio import ASYNC

        return ASYNC
    from oarlock.runtime.blocking import BLOCKING

    return BLOCKING


def _new_marks(facts: Mapping[str, Any], entries: list[Entry]) -> list[str]:
    """Return the marks that somebody set for this run and that its log does not have yet."""
    known = {entry.name for entry in entries}
    return [mark for mark in facts.get("marks", ()) if mark not in known]


def _raise_interruption(runtime: DurableRuntime) -> None:
    """Let a run end without an outcome if that is what happened, whatever error a user's code made of it."""
    if runtime.stopped is not None:
        raise runtime.stopped


async def _nothing() -> None:
    return None


@contextmanager
def _left_with_its_home(run_id: str) -> Iterator[None]:
    try:
        yield
    except HomeLeftError:
        raise RunInterrupted(RunLeftError(f"The event loop of run {run_id!r} has ended.", run_id=run_id)) from None


def interrupted(run_id: str, error: Exception) -> RunInterrupted:
    """Return what ends the work on a run without an outcome."""
    return RunInterrupted(error if isinstance(error, RunError) else RunError(str(error), run_id=run_id))
