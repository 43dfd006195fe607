"""DBOS as the engine: an embedded library that keeps runs in SQLite or PostgreSQL."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import dbos
from dbos import DBOS, SetWorkflowAttributes, SetWorkflowID
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from oarlock.contract.errors import ConfigurationError, RunCancelledError, RunError
from oarlock.durable.address import Address
from oarlock.durable.dbos_logs import reason_of
from oarlock.durable.dbos_serializer import JsonSerializer, Sealer
from oarlock.durable.dbos_store import APPLICATION, SCHEMA_NAME, WORKFLOW, DbosStore, migrate, translated
from oarlock.durable.liveness import GRACE, liveness, new_executor
from oarlock.durable.port import Entry, RunInfo, Runner, State
from oarlock.durable.runtime import RunInterrupted, RunLeftError, RunTakenError
from oarlock.durable.spec import SCHEMA

__all__ = ["DbosEngine", "DbosJournal"]

_POLL: Final = 0.2  # seconds between two looks at a queue, or at a run that is driven elsewhere
_LOOK: Final = 1.0  # seconds between two looks at whether the process that drives it lives
_START: Final = 15.0  # seconds after which a run that was taken from a queue must have begun


class DbosJournal:
    """The steps of one run. DBOS numbers steps in the order in which they begin, and finds them by their numbers.

    Runs find theirs by name, as side by side that order differs each time. So numbers that are taken are drawn first, and
    left alone: a number without a record is that of a step that was cut off.
    """

    def __init__(self, store: DbosStore, run_id: str, facts: Mapping[str, Any], *, is_new: bool) -> None:
        self.run_id = run_id
        self.facts = facts
        self._store = store
        self._is_new = is_new
        self._lock = threading.Lock()  # DBOS's counter is not made for threads

    def entries(self) -> Sequence[Entry]:
        if self._is_new:
            return ()
        found = self._store.entries(self.run_id)
        for _ in range(found[-1].position if found else 0):
            DBOS.reserve_step()
        return found

    def write(self, name: str, act: Callable[[], Any]) -> Any:
        with _failures(self._store, self.run_id):
            with self._lock:
                place = DBOS.reserve_step()
            return place.run({"name": name}, act)

    async def awrite(self, name: str, act: Callable[[], Awaitable[Any]]) -> Any:
        with _failures(self._store, self.run_id):
            place = DBOS.reserve_step()
            return await place.run_async({"name": name}, act)


@contextmanager
def _failures(store: DbosStore, run_id: str) -> Any:
    try:
        with translated(store.shown):
            yield
    except dbos_error.DBOSWorkflowCancelledError:
        raise RunCancelledError(f"Run {run_id!r} was cancelled.", run_id=run_id) from None
    except dbos_error.DBOSWorkflowConflictIDError:
        info = store.look(run_id, content=False)
        if info is not None and info.state in (State.cancelled, State.waiting):
            raise RunCancelledError(f"Run {run_id!r} was cancelled.", run_id=run_id) from None
        raise RunTakenError(f"Run {run_id!r} is driven by another process now.", run_id=run_id) from None
    except RunError as error:
        error.run_id = run_id
        raise


class DbosEngine:
    """Drives runs of one database in this process. DBOS can be there once a process, and so can this.

    Args:
        address: the database.
        runner: drives a run.
        queues: those to take runs from, with how many at once; `None` for as many as there are.
        sealer: makes what is written unreadable without the key.
        is_worker: it serves queues; in SQLite one process may.
        poll: seconds between two looks at a queue.

    Raises:
        ConfigurationError: there is a DBOS in this process already, or another worker has the SQLite database.
        RunStoreError: the database cannot be reached.
    """

    def __init__(
        self,
        address: Address,
        runner: Runner,
        queues: Mapping[str, int | None] | None = None,
        sealer: Sealer | None = None,
        *,
        is_worker: bool = False,
        poll: float = _POLL,
    ) -> None:
        if _Current.engine is not None:
            raise ConfigurationError("There can be one database of runs at a time in a process.")
        migrate(address)
        self.address = address
        self.executor = new_executor()
        self._own_queue = f"here.{self.executor}"
        self._runner = runner
        self._poll = poll
        self._started: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()
        self._taking = threading.Lock()
        self._driven: Counter[str] = (
            Counter()
        )  # two may have the same one, of whom one has lost it and does not know yet
        self._given_up: dict[str, BaseException] = {}  # why work on a run ended without an outcome
        self.store = runner.store = DbosStore(address, sealer)
        self._alive = liveness(address, self.executor)
        self.grace = GRACE if address.file is None else 0.0
        _Current.engine = self
        try:
            if is_worker:
                self._check_only_worker()
            self._launch({self._own_queue: None, **(queues or {})}, sealer)
        except BaseException:
            self.close()
            raise

    def _check_only_worker(self) -> None:
        if not self._alive.is_only_worker():
            raise ConfigurationError(
                f"Another worker has {self.address.shown}: SQLite is for one. Use postgresql:// for several."
            )

    def _launch(self, queues: Mapping[str, int | None], sealer: Sealer | None) -> None:
        config: dbos.DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self.address.url,
            "db_engine_kwargs": {"hide_parameters": True},  # else its errors show what was to be written
            "dbos_system_schema": SCHEMA_NAME,
            "application_version": SCHEMA,
            "executor_id": self.executor,
            "serializer": JsonSerializer(sealer),
            "run_migrations": False,
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": _POLL,
        }
        with translated(self.address.shown):
            DBOS(config=config)
            DBOS.listen_queues(list(queues))
            DBOS.launch()
            for name, most in queues.items():
                if name != self._own_queue:  # that one is made when it is needed
                    self._register(name, most)

    def _register(self, queue: str, most: int | None) -> None:
        DBOS.register_queue(
            queue, worker_concurrency=most, polling_interval_sec=self._poll, on_conflict="always_update"
        )

    def start(self, run_id: str, spec: Any, facts: Mapping[str, Any]) -> Callable[[], Any]:
        self._started[run_id] = facts
        with translated(self.address.shown), SetWorkflowID(run_id), SetWorkflowAttributes(dict(facts)):
            handle = DBOS.start_workflow(_run, spec)
        if not hasattr(handle, "future"):  # somebody else was faster
            return lambda: self.await_end(run_id)
        return lambda: self._end_of(run_id, handle)

    async def astart(
        self, run_id: str, spec: Any, facts: Mapping[str, Any]
    ) -> Callable[[], Coroutine[Any, Any, Any]] | None:
        self._started[run_id] = facts
        with translated(self.address.shown), SetWorkflowID(run_id), SetWorkflowAttributes(dict(facts)):
            handle = await DBOS.start_workflow_async(_arun, spec)
        return functools.partial(self._aend_of, run_id, handle) if hasattr(handle, "task") else None

    async def _aend_of(self, run_id: str, handle: dbos.WorkflowHandleAsync[Any]) -> Any:
        with translated(self.address.shown), _ended(run_id):
            return await handle.get_result(polling_interval_sec=_POLL)

    def take_over(self, info: RunInfo) -> Callable[[], Any]:
        self._serve_own_queue()
        with self._taking, self._alive.looking_after_others() as mine:
            now = self.store.look(info.run_id, content=False)
            if (
                not mine
                or now is None
                or (now.state, now.executor, now.queue) != (info.state, info.executor, info.queue)
            ):
                raise RunLeftError(f"Somebody else was faster with run {info.run_id!r}.", run_id=info.run_id)
            self._given_up.pop(info.run_id, None)
            self.store.resume(info.run_id, self._own_queue)
        return lambda: self.await_end(info.run_id)

    def again(self, run_id: str) -> Callable[[], Any]:
        self._serve_own_queue()
        self._given_up.pop(run_id, None)
        self.store.again(run_id, self._own_queue)
        return lambda: self.await_end(run_id)

    def _serve_own_queue(self) -> None:
        if DBOS.retrieve_queue(self._own_queue) is None:
            self._register(self._own_queue, None)

    def await_end(self, run_id: str) -> Any:
        pause, watch = threading.Event(), _Watch(self)
        while not pause.wait(_POLL):
            info = self.store.look(run_id, content=False)
            given_up = self._given_up.get(run_id)
            if given_up is not None:
                with _ended(run_id):
                    raise given_up
            if info is not None and info.state not in (State.queued, State.running, State.waiting):
                break
            if info is not None and info.facts.get("here") and watch.sees_nobody(info):
                raise RunLeftError(f"Run {run_id!r} was left where it was.", run_id=run_id)
        with translated(self.address.shown):
            return self._end_of(run_id, DBOS.retrieve_workflow(run_id))

    def _end_of(self, run_id: str, handle: dbos.WorkflowHandle[Any]) -> Any:
        with _ended(run_id):
            return handle.get_result(polling_interval_sec=_POLL)

    def driven(self) -> set[str]:
        with self._lock:
            return {*self._driven, *self._started}

    def is_left(self, info: RunInfo) -> bool:
        if info.state is State.waiting:
            return True
        if info.state is State.queued:
            queue = info.queue or ""
            return queue.startswith("here.") and self._is_gone(queue.removeprefix("here."))
        if info.executor == self.executor:
            return info.run_id not in self.driven()
        return self._is_gone(info.executor or "")

    def _is_gone(self, executor: str) -> bool:
        """Return whether a process has ended; one that has only lost its connection gets time to make it again."""
        if executor == self.executor or self._alive.is_alive(executor):
            return False
        if self.address.file is None:
            threading.Event().wait(GRACE)
            return not self._alive.is_alive(executor)
        return True

    def is_alive(self, executor: str) -> bool:
        """Return whether another process shows that it lives, at this moment."""
        return self._alive.is_alive(executor)

    def looking_after_others(self) -> AbstractContextManager[bool]:
        """Be the one that looks after the runs of others, if nobody is at the moment."""
        return self._alive.looking_after_others()

    def drain(self, seconds: float) -> list[str]:
        """Take no more runs, wait for those that are driven, give back the others, and close; return these."""
        DBOS.destroy(workflow_completion_timeout_sec=max(0, int(seconds)))
        left = sorted(self.driven())
        for run_id in left:
            info = self.store.look(run_id, content=False)
            if info is not None and info.queue and info.state is State.running and info.executor == self.executor:
                self.store.resume(run_id, info.queue)
        self.close()
        return left

    def close(self) -> None:
        DBOS.destroy()
        _Current.engine = None
        self.store.close()
        self._alive.close()

    # What DBOS calls.

    def journal(self, run_id: str) -> DbosJournal:
        """Return the journal of a run that is to be driven now."""
        facts = self._started.pop(run_id, None)
        is_new = facts is not None
        if facts is None:
            info = self.store.look(run_id, content=False)
            facts = {} if info is None else info.facts
        return DbosJournal(self.store, run_id, facts, is_new=is_new)

    def drive(self, run_id: str, spec: Any) -> Any:
        """Drive a run, blocking."""
        with self._driving(run_id):
            return self._runner(self.journal(run_id), spec)

    async def adrive(self, run_id: str, spec: Any) -> Any:
        """Drive a run on the running event loop."""
        with self._driving(run_id):
            return await self._runner.drive(self.journal(run_id), spec)

    @contextmanager
    def _driving(self, run_id: str) -> Any:
        """Note that a run is driven here, and why that ended if it ended without an outcome."""
        with self._lock:
            self._driven[run_id] += 1
        self._given_up.pop(run_id, None)
        try:
            with _unrecorded(run_id):
                yield
        except Exception:
            raise
        except BaseException as error:
            self._given_up[run_id] = error  # before it is found to be driven no more
            raise
        finally:
            with self._lock:
                self._driven.subtract([run_id])
                self._driven = +self._driven  # without those that are at none


class _Watch:
    """Notices that nobody drives a run any more: its process has ended, or this one has let it drop."""

    def __init__(self, engine: DbosEngine) -> None:
        self._engine = engine
        self._next_look = time.monotonic() + _LOOK
        self._dropped: float | None = None  # since when it is ours, and nobody is at it

    def sees_nobody(self, info: RunInfo) -> bool:
        """Return whether that is so; called again and again."""
        now = time.monotonic()
        if info.state is State.running and info.executor == self._engine.executor:
            is_driven = info.run_id in self._engine.driven()
            self._dropped = None if is_driven else self._dropped or now
            return self._dropped is not None and now - self._dropped > _START
        if now < self._next_look or info.state is State.waiting:
            return False
        self._next_look = now + _LOOK
        return self._engine.is_left(info)


class _Current:
    """The engine of this process. DBOS keeps one instance and one registry of functions a process, in module variables."""

    engine: DbosEngine | None = None


def _engine() -> DbosEngine:
    assert _Current.engine is not None, "DBOS runs without us"
    return _Current.engine


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
def _run(spec: Any) -> Any:
    run_id = DBOS.workflow_id
    assert run_id is not None, "inside of a run"
    return _engine().drive(run_id, spec)


@DBOS.workflow(name=f"{WORKFLOW}.async", max_recovery_attempts=None)
async def _arun(spec: Any) -> Any:
    run_id = DBOS.workflow_id
    assert run_id is not None, "inside of a run"
    return await _engine().adrive(run_id, spec)


@contextmanager
def _unrecorded(run_id: str) -> Any:
    """Let errors of the database end the work on a run, and not the run: it goes on when the database does."""
    try:
        yield
    except SQLAlchemyError as error:
        raise RunInterrupted(RunError(reason_of(error), run_id=run_id)) from None


@contextmanager
def _ended(run_id: str) -> Any:
    """Raise what ended a run as ours."""
    try:
        yield
    except RunInterrupted as interruption:
        raise interruption.error from None
    except dbos_error.DBOSAwaitedWorkflowCancelledError:
        raise RunCancelledError(
            f"Run {run_id!r} was cancelled. `oarlock runs resume {run_id}` lets it go on.", run_id=run_id
        ) from None
