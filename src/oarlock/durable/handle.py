"""`RunHandle`: a run that is driven elsewhere, and `crew.submit()`, which begins one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from oarlock.agents.outputs import CrewOutput
from oarlock.contract.errors import RunCancelledError, RunError
from oarlock.durable.codec import from_json
from oarlock.durable.failures import error_from_json
from oarlock.durable.here import check_run_id
from oarlock.durable.port import Entry, RunInfo, State, Store
from oarlock.durable.spec import Spec, models_of
from oarlock.durable.steering import answer, fork, questions, resume
from oarlock.durable.stores import found, open_store
from oarlock.runtime import ThreadPool, drive, drive_async

if TYPE_CHECKING:
    from oarlock.agents.crew import Crew
    from oarlock.runtime import Runtime

__all__ = ["RunEvent", "RunHandle", "submit"]

_FIRST_LOOK: Final = 0.1  # seconds; each next pause is longer by half, up to the last one
_LAST_LOOK: Final = 1.0
_THREADS: Final = ThreadPool(None, "oarlock-handle")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """Something that was recorded of a run.

    Attributes:
        kind: `"model"`, `"tool"`, `"callback"`, `"hook"`: a step that has ended; or `"state"`: where the run stands now.
        name: of the model, the tool, the function; or the state.
        step: the step's number, 0 for a state.
        key: what the step is called in the run, such as `"2:1"`, the first call of the second task.
        agent: the role of whoever did it.
        task: at which task.
        time: when, in seconds since the epoch.
        seconds: how long it took.
        text: what came of it, in words.
        failed: it failed.
    """

    kind: str
    name: str
    step: int = 0
    key: str = ""
    agent: str | None = None
    task: str | None = None
    time: float = 0.0
    seconds: float = 0.0
    text: str = field(default="", repr=False)
    failed: bool = False

    @classmethod
    def of(cls, entry: Entry) -> Self | None:
        """Return what a recorded step tells, nothing for marks between the steps."""
        record = entry.value
        if not isinstance(record, dict) or "at" not in record:
            return None
        kind, _, key = entry.name.partition(":")
        value = record.get("value")
        text = value.get("text", "") if isinstance(value, dict) else "" if value is None else str(value)
        if isinstance(value, dict) and not text:
            calls = value.get("tool_calls") or ()
            text = ", ".join(f"{call.get('name')}({call.get('arguments', '{}')})" for call in calls)
        error = record.get("error")
        return cls(
            kind=kind,
            name=str(record.get("name", "")),
            step=entry.position,
            key=key,
            agent=record.get("agent"),
            task=record.get("task"),
            time=float(record["at"]),
            seconds=max(0.0, (entry.ended or 0.0) - (entry.began or 0.0)),
            text=text if error is None else f"{error.get('type')}: {error.get('message')}",
            failed=error is not None or (isinstance(value, dict) and bool(value.get("failed"))),
        )


class RunHandle:
    """A run in a database, wherever it is driven.

    Args:
        run_id: of the run.
        database: where it is; its address, or one that is open already.
        crew: for results with pydantic objects; without it they are mappings.

    Raises:
        ConfigurationError: the address cannot be one, or there is no such file.
        RunStoreError: the database cannot be reached.

    Example:
        >>> handle = RunHandle("oars-1", database="postgresql://runs@db/runs")  # doctest: +SKIP
        >>> handle.status, handle.result(timeout=60).raw  # doctest: +SKIP
        ('finished', 'Oars are old.')
    """

    def __init__(self, run_id: str, *, database: str | Store, crew: Crew | None = None) -> None:
        self.run_id = run_id
        self._store = open_store(database) if isinstance(database, str) else database
        self._crew = crew

    def info(self) -> RunInfo:
        """Return all that is known of the run, without its content.

        Raises:
            RunError: there is no such run.
        """
        return found(self._store, self.run_id, content=False)

    @property
    def status(self) -> State:
        """Where the run stands: `queued`, `running`, `waiting`, `finished`, `failed` or `cancelled`."""
        return self.info().state

    def result(self, timeout: float | None = None) -> CrewOutput:
        """Wait for the run's end, blocking, and return its result.

        Args:
            timeout: most seconds to wait.

        Raises:
            TimeoutError: it has not ended by then.
            RunCancelledError: it was cancelled.
            OarlockError: it failed.
        """
        return drive(self._result, timeout)

    async def aresult(self, timeout: float | None = None) -> CrewOutput:
        """Wait for the run's end on the running event loop; see `result`."""
        return await drive_async(self._result, timeout)

    async def _result(self, runtime: Runtime, timeout: float | None) -> CrewOutput:
        end = None if timeout is None else runtime.now() + timeout
        pause = _FIRST_LOOK
        while True:
            info: RunInfo = await runtime.invoke(found, None, self._store, self.run_id, pool=_THREADS)
            if info.state in _ENDS:
                return self._outcome(info)
            if end is not None and runtime.now() + pause >= end:
                raise TimeoutError(f"Run {self.run_id!r} had not ended after {timeout:g} s: it is {info.state}.")
            await runtime.sleep(pause)
            pause = min(pause * 1.5, _LAST_LOOK)

    def _outcome(self, info: RunInfo) -> CrewOutput:
        if info.state is State.failed:
            raise error_from_json(info.error)
        if info.state is State.cancelled:
            raise RunCancelledError(f"Run {self.run_id!r} was cancelled.", run_id=self.run_id)
        models = {} if self._crew is None else models_of(self._crew)
        output: CrewOutput = from_json(info.result, models, strict=self._crew is not None)
        return output

    def events(self, *, follow: bool = True) -> Iterator[RunEvent]:
        """Yield what is recorded of the run, from its beginning, and what is added, until it ends.

        A step is told a second after it was recorded at the latest: the database is looked at again and again, less often while
        nothing happens, and what was read of it is not read again.

        Args:
            follow: go on until the run ends; else end with what is there.
        """
        seen: set[int] = set()
        whole = 0  # all steps up to this one are there, and were read
        told: State | None = None
        pause = _FIRST_LOOK
        while True:
            state = self.status  # before the steps: what ended it is recorded by then
            read = self._store.entries(self.run_id, after=whole)
            fresh = [entry for entry in read if entry.position not in seen]
            for entry in fresh:
                seen.add(entry.position)
                event = RunEvent.of(entry)
                if event is not None:
                    yield event
            while whole + 1 in seen:
                whole += 1
            if state is not told:
                told = state
                yield RunEvent(kind="state", name=str(state), time=time.time())
            if state in _ENDS or not follow:
                return
            pause = _FIRST_LOOK if fresh else min(pause * 1.5, _LAST_LOOK)
            drive(_pause, pause)

    def cancel(self) -> None:
        """Stop the run at its next step; what it has recorded stays, and `resume` lets it go on.

        Raises:
            RunError: it has ended.
        """
        info = self.info()
        if info.state in _ENDS:
            raise RunError(f"Run {self.run_id!r} is {info.state}: there is nothing to cancel.", run_id=self.run_id)
        self._store.note(self.run_id, {"waits": None})
        self._store.cancel(self.run_id)

    def resume(self, *, tools: str | None = None) -> None:
        """Let the run go on, if it failed, was cancelled or waits.

        Args:
            tools: `"retry"` or `"skip"`: what becomes of tools that may have done their work when it was cut off.

        Raises:
            RunError: it is running or has finished.
        """
        resume(self._store, self.run_id, tools=tools)

    def fork(self, from_step: int) -> RunHandle:
        """Begin a new run with this one's recorded answers before a step, and return its handle."""
        return RunHandle(fork(self._store, self.run_id, from_step), database=self._store, crew=self._crew)

    def questions(self) -> dict[str, dict[str, str]]:
        """Return the questions to a human that are open, by their keys: of which `agent`, at which `task`."""
        return questions(self._store, self.info().facts)

    def signal(self, said: str = "", *, question: str | None = None) -> None:
        """Answer a question of the run's to a human: what to change, or nothing to accept.

        Args:
            said: the answer.
            question: the key of the question, if several are open.

        Raises:
            RunError: nothing was asked, or it is not clear what is answered.
        """
        answer(self._store, self.run_id, said, question)

    def close(self) -> None:
        """Let go of the connection to the database."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RunHandle({self.run_id!r})"


_ENDS: Final = (State.finished, State.failed, State.cancelled)


async def _pause(runtime: Runtime, seconds: float) -> None:
    await runtime.sleep(seconds)


def submit(crew: Crew, inputs: Mapping[str, Any] | None, *, database: str, run_id: str | None = None) -> RunHandle:
    """Put a run of a crew into the queue for workers; see `Crew.submit`.

    Example:
        >>> submit(crew, {"topic": "oars"}, database="postgresql://runs@db/runs", run_id="oars-2")  # doctest: +SKIP
        RunHandle('oars-2')
    """
    run_id = uuid.uuid4().hex if run_id is None else check_run_id(run_id)
    spec = Spec.of(crew.name, crew, inputs)
    store = open_store(database, make=True)
    known = store.look(run_id)
    if known is None:
        store.enqueue(run_id, spec.queue, spec.as_json(), spec.facts_of_new())
        known = found(store, run_id)
    finished = known.state is State.finished
    spec.check_same(Spec.from_json(known.spec, known.facts), run_id, finished=finished)
    return RunHandle(run_id, database=store, crew=crew)
