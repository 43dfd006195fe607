"""All runs of a database, by way of DBOS's client: to look at and to steer, from any process."""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import dbos
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from oarlock.contract.errors import RunError, RunStoreError
from oarlock.contract.secret import scrub
from oarlock.durable.address import Address
from oarlock.durable.dbos_logs import DISCREET, reason_of
from oarlock.durable.dbos_serializer import JsonSerializer, Sealer
from oarlock.durable.failures import error_to_json
from oarlock.durable.liveness import one_at_a_time
from oarlock.durable.port import Entry, RunInfo, State
from oarlock.durable.spec import SCHEMA

__all__ = ["APPLICATION", "SCHEMA_NAME", "WORKFLOW", "DbosStore", "migrate", "translated"]

T = TypeVar("T")

APPLICATION: Final = "oarlock"
SCHEMA_NAME: Final = "oarlock"  # of the tables in PostgreSQL
WORKFLOW: Final = "oarlock.run"
_STATES: Final[Mapping[str, State]] = {
    "ENQUEUED": State.queued,
    "DELAYED": State.queued,
    "PENDING": State.running,
    "SUCCESS": State.finished,
    "ERROR": State.failed,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": State.failed,
    "CANCELLED": State.cancelled,
}
_NO_TABLES: Final = re.compile(
    r"^\([\w.]+\) (?:no such (?:table|column)|(?:relation|column|schema) \S+ does not exist)"
)
_log = logging.getLogger("dbos")
_log.addFilter(DISCREET)
_log.addHandler(logging.NullHandler())  # else DBOS prints to the terminal; the program decides what to do with its logs
if _log.level == logging.NOTSET:  # at INFO it tells of each migration of its tables
    _log.setLevel(logging.WARNING)


def migrate(address: Address) -> None:
    """Make the tables, or bring them up to date.

    Raises:
        RunStoreError: the database cannot be reached.
    """
    with translated(address.shown), one_at_a_time(address):
        dbos.DBOS.migrate(address.url, schema=SCHEMA_NAME)


@contextmanager
def translated(shown: str) -> Iterator[None]:
    """Raise a database's errors as ours.

    Raises:
        RunStoreError: one happened.
        RunError: there is no such run, or it is not in a state for this.
    """
    try:
        yield
    except SQLAlchemyError as error:
        if _NO_TABLES.search(str(error)):
            raise RunStoreError(
                f"The database {shown} has no runs yet, or they are of another version. The first run or worker there makes, or "
                "changes, its tables."
            ) from None
        raise RunStoreError(f"The database of runs, {shown}, failed: {reason_of(error)}") from None
    except dbos_error.DBOSNonExistentWorkflowError as error:
        raise RunError("There is no such run in the database.") from error
    except dbos_error.DBOSException as error:
        raise RunError(scrub(str(error), 300)) from error


class DbosStore:
    """The runs of one database.

    Args:
        address: the database, whose tables must be there.
        sealer: makes what is written unreadable without the key.
    """

    def __init__(self, address: Address, sealer: Sealer | None = None) -> None:
        self.shown = address.shown
        self._sealer = sealer
        with translated(self.shown):
            self._client = dbos.DBOSClient(
                system_database_url=address.url,
                dbos_system_schema=SCHEMA_NAME,
                serializer=JsonSerializer(sealer),
                application_name=APPLICATION,
                system_database_pool_size=5,
            )
        self._close = weakref.finalize(self, self._client.destroy)  # a handle may simply be forgotten

    def look(self, run_id: str, *, content: bool = True) -> RunInfo | None:
        """Return a run, if there is one."""
        found = self._listed(workflow_ids=[run_id], load_input=content, load_output=content)
        return found[0] if found else None

    def runs(self, states: Sequence[State] = (), *, limit: int | None = None) -> list[RunInfo]:
        """Return runs without their content, the newest first."""
        wanted = [name for name, state in _STATES.items() if state in states]
        if State.waiting in states and "CANCELLED" not in wanted:
            wanted.append("CANCELLED")
        found = self._listed(
            status=wanted or None, limit=limit, sort_desc=True, load_input=False, load_output=False, name=_NAMES
        )
        return [info for info in found if not states or info.state in states]

    def _listed(self, **wanted: Any) -> list[RunInfo]:
        with translated(self.shown):
            found = self._client.list_workflows(**wanted)
        if any(isinstance(status.input, str) for status in found):
            raise self._closed()
        return [_info(status) for status in found]

    def _closed(self) -> RunStoreError:
        """Return what to say of content that DBOS gives as it stands, as it could not be read."""
        if self._sealer is None:
            return RunStoreError(f"The runs in {self.shown} are sealed, or damaged. Name the key: ?key=env:NAME.")
        return RunStoreError(
            f"What {self.shown} holds cannot be opened with this key: it is another one, or none at all."
        )

    def entries(self, run_id: str, *, after: int = 0, content: bool = True) -> list[Entry]:
        """Return a run's recorded steps, those at the first `after` places left out."""
        with translated(self.shown):
            steps = self._client.list_workflow_steps(run_id, load_output=content, offset=after or None)
        if any(isinstance(step["output"], str) for step in steps):
            raise self._closed()
        return [
            Entry(
                position=step["function_id"],
                name=step["function_name"],
                value=step["output"],
                began=_seconds(step["started_at_epoch_ms"]),
                ended=_seconds(step["completed_at_epoch_ms"]),
            )
            for step in steps
        ]

    def enqueue(self, run_id: str, queue: str, spec: Any, facts: Mapping[str, Any]) -> None:
        """Put a new run into a queue; one that is there already stays as it is."""
        options: dbos.EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": queue,
            "workflow_id": run_id,
            "app_version": SCHEMA,
            "attributes": dict(facts),
        }
        self._do(lambda: self._client.enqueue(options, spec))

    def resume(self, run_id: str, queue: str) -> None:
        """Put a run that has not ended, or was cancelled, into a queue; whoever drove it loses it."""
        self._do(lambda: self._client.resume_workflow(run_id, queue_name=queue))

    def again(self, run_id: str, queue: str) -> None:
        """Put a run that failed into a queue; its steps stay."""
        last = max((entry.position for entry in self.entries(run_id, content=False)), default=0)
        self._do(
            lambda: self._client.rewind_workflow(
                run_id, start_step=last + 1, queue_name=queue, application_version=SCHEMA
            )
        )

    def cancel(self, run_id: str) -> None:
        """Stop a run at its next step."""
        self._do(lambda: self._client.cancel_workflow(run_id))

    def fork(self, run_id: str, position: int, queue: str) -> str:
        """Begin a new run with a copy of the steps before a position; return its id."""
        return self._do(
            lambda: self._client.fork_workflow(run_id, position, queue_name=queue, application_version=SCHEMA)
        ).workflow_id

    def note(self, run_id: str, facts: Mapping[str, Any]) -> None:
        """Change facts of a run."""
        self._do(lambda: self._client.update_workflow_attributes(run_id, dict(facts), merge=True))

    def seal(self, text: str) -> str:
        """Return content as it may stand among a run's facts."""
        return text if self._sealer is None else self._sealer.seal(text)

    def unseal(self, text: str) -> str:
        """Return it readable again."""
        return text if self._sealer is None else self._sealer.open(text)

    def _do(self, act: Callable[[], T]) -> T:
        with translated(self.shown):
            return act()

    def close(self) -> None:
        """Let go of connections."""
        self._close()


_NAMES: Final = [WORKFLOW, f"{WORKFLOW}.async"]


def _info(status: dbos.WorkflowStatus) -> RunInfo:
    facts = status.attributes or {}
    state = _STATES[status.status]
    if state is State.cancelled and facts.get("waits"):
        state = State.waiting
    arguments = status.input["args"] if isinstance(status.input, dict) else ()
    return RunInfo(
        run_id=status.workflow_id,
        state=state,
        spec=arguments[0] if arguments else None,
        result=status.output,
        error=None if status.error is None else error_to_json(status.error),
        queue=status.queue_name,
        executor=status.executor_id,
        facts=facts,
        created=_seconds(status.created_at),
        updated=_seconds(status.updated_at),
        forked_from=status.forked_from,
        schema=status.app_version,
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
