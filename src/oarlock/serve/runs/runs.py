"""All runs of a server: they are begun, found again, cancelled, and forgotten when there are too many that ended."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from oarlock.agents.crew import Crew
from oarlock.agents.inputs import names_in
from oarlock.agents.outputs import CrewOutput
from oarlock.contract.context import scope
from oarlock.contract.errors import RunError
from oarlock.runtime import ThreadPool
from oarlock.runtime.aio import ASYNC
from oarlock.runtime.ambient import current_async
from oarlock.serve.callers import Caller
from oarlock.serve.errors import ApiError
from oarlock.serve.pacing import patient
from oarlock.serve.record import in_log_words
from oarlock.serve.runs.failures import failure
from oarlock.serve.runs.journal import Journal
from oarlock.serve.runs.run import RUN, Run, ask_about_answer, ask_for_approval
from oarlock.serve.settings import Limits

__all__ = ["Runs", "needed_inputs"]

_log = logging.getLogger("oarlock.serve")
_LAST_SECONDS: Final = 2.0  # that a cancelled run has to clean up
_THREADS: Final = ThreadPool(4, "oarlock-serve")
_PLAIN: Final = re.compile(r"[\w.@-]{1,100}", re.ASCII)


class Runs:
    """The crews of a server, and their runs in this process.

    Args:
        crews: the crews by the names that clients give. They are not changed.
        limits: of the server.
        database: the address of a database in which runs are recorded, so that they survive a crash.
    """

    def __init__(self, crews: Mapping[str, Crew], limits: Limits, database: str | None = None) -> None:
        self.crews = {name: _served(crew) for name, crew in crews.items()}
        self._limits = limits
        self._database = database
        self._runs: dict[tuple[str, str], Run] = {}  # by owner and id, the oldest first
        self._closing = False

    def begin(self, crew_name: str, inputs: Mapping[str, Any], caller: Caller, run_id: str | None) -> Run:
        """Begin a run, or return the one that has this id already.

        Raises:
            ApiError: 404, 409 or 503: no such crew, the id is that of another crew's run, or too many runs go on.
        """
        crew = self.crew(crew_name)
        known = self._runs.get((caller.name, run_id)) if run_id is not None else None
        if known is not None and known.crew != crew_name:
            raise ApiError(409, "There is a run of another crew with this id.", code="run_exists", param="run_id")
        if known is not None:
            return known
        self._make_room()
        run_id = run_id or current_async().new_id()
        journal = Journal(run_id, self._limits.events_kept)
        run = Run(id=run_id, crew=crew_name, owner=caller.name, journal=journal)
        self._runs[caller.name, run.id] = run
        run.work = asyncio.ensure_future(self._drive(run, crew, inputs, caller))
        run.work.add_done_callback(lambda _: run.end_unbegun())
        return run

    def crew(self, name: str) -> Crew:
        """Return a crew.

        Raises:
            ApiError: 404.
        """
        if name not in self.crews:
            message = f"The crew '{name[:64]}' does not exist. There are: {', '.join(self.crews)}."
            raise ApiError(404, message, code="crew_not_found", param="crew")
        return self.crews[name]

    def find(self, run_id: str, caller: Caller) -> Run:
        """Return a run of this caller's.

        Raises:
            ApiError: 404, it has none of that id, or no more.
        """
        run = self._runs.get((caller.name, run_id))
        if run is None:
            raise ApiError(404, "There is no run of yours with this id, or no more.", code="run_not_found")
        return run

    def of(self, caller: Caller) -> list[Run]:
        """Return the runs of a caller, the newest first."""
        return [run for run in reversed(self._runs.values()) if run.owner == caller.name]

    async def cancel(self, run: Run) -> None:
        """End a run; what ended already stays as it is."""
        if run.ended is not None or run.work is None:
            return
        if self._database is not None:
            await ASYNC.invoke(_cancel_recorded, None, durable_id(run.owner, run.id), self._database, pool=_THREADS)
        run.work.cancel()

    def hang_up(self) -> None:
        """Let go of those who follow runs: the server is ending."""
        self._closing = True
        for run in self._runs.values():
            run.journal.end()

    async def close(self, patience: float) -> None:
        """Wait so many seconds for the runs that go on, then cancel them; those that wait for a human at once."""
        self.hang_up()
        going_on = {run.work: run for run in self._runs.values() if run.work is not None and not run.work.done()}
        for work, run in going_on.items():
            if run.status == "waiting":
                work.cancel()
        try:
            if going_on:
                await asyncio.wait(going_on, timeout=patience)
        finally:
            left = [work for work in going_on if not work.done()]
            for work in left:
                work.cancel()
            if left:
                await asyncio.wait(left, timeout=_LAST_SECONDS)

    async def _drive(self, run: Run, crew: Crew, inputs: Mapping[str, Any], caller: Caller) -> None:
        RUN.set(run)
        _log.info("run %s of crew %s begins caller=%s", run.id, run.crew, caller.name)
        try:
            budgets = tuple(patient(policy) for policy in caller.policies)
            with scope(user=caller.user, budgets=budgets):
                run.end(await self._result(run, crew, inputs), None)
        except asyncio.CancelledError as error:
            run.end(None, failure(error))
        except Exception as error:  # noqa: BLE001  whatever it is, the client is told that the run failed
            run.end(None, failure(error))
            _log.warning("run %s failed: %s", run.id, in_log_words(error))
        _log.info("run %s of crew %s %s", run.id, run.crew, run.status)

    async def _result(self, run: Run, crew: Crew, inputs: Mapping[str, Any]) -> CrewOutput:
        if self._database is None:
            # A stream, so that models answer in pieces; heard as it happens, since a run that is cancelled is read no more.
            async with crew.astream(inputs, on_event=run.hear) as events:
                async for _ in events:
                    pass
            return events.result
        return await crew.akickoff(
            inputs, on_event=run.hear, durable=self._database, run_id=durable_id(run.owner, run.id)
        )

    def _make_room(self) -> None:
        """Forget the oldest runs that have ended.

        Raises:
            ApiError: 503, too many go on.
        """
        going_on = sum(run.ended is None for run in self._runs.values())
        if going_on >= self._limits.runs_at_once or self._closing:
            message = f"The server is at its limit of {self._limits.runs_at_once} runs at once."
            raise ApiError(503, message, type="server_error", code="busy", retry_after=10)
        ended = [key for key, run in self._runs.items() if run.ended is not None]
        for key in ended[: max(0, len(ended) - self._limits.runs_kept + 1)]:
            del self._runs[key]


def durable_id(owner: str, run_id: str) -> str:
    """Return a run's id in the database: one that nobody else's run can have.

    Example:
        >>> durable_id("alice", "r-1")
        'alice:r-1'
    """
    name = owner if _PLAIN.fullmatch(owner) else hashlib.sha256(owner.encode()).hexdigest()
    return f"{name}:{run_id}"


def _cancel_recorded(run_id: str, database: str) -> None:
    """Let nobody go on with a recorded run."""
    from oarlock.durable import RunHandle

    with suppress(RunError):  # it has ended, or has not begun
        RunHandle(run_id, database=database).cancel()


def needed_inputs(crew: Crew) -> list[str]:
    """Return the names of the inputs that a crew's texts need."""
    agents = {id(agent): agent for agent in (*crew.agents, *(task.agent for task in crew.tasks)) if agent is not None}
    texts = [text for task in crew.tasks for text in (task.description, task.expected_output)]
    texts += [text for agent in agents.values() for text in (agent.role, agent.goal, agent.backstory)]
    return list(dict.fromkeys(name for text in texts for name in names_in(text)))


def _served(crew: Crew) -> Crew:
    """Return the same crew, asking the client of its run where it would ask on the terminal."""
    served = copy.copy(crew)
    served.on_human_input = crew.on_human_input or ask_about_answer
    served.on_approval = crew.on_approval or ask_for_approval
    return served
