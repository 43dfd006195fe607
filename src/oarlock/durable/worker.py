"""`oarlock worker`: a process that takes runs from the queues of its crews, and those of workers that have died."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from oarlock.contract.checks import positive, whole
from oarlock.contract.errors import ConfigurationError, OarlockError
from oarlock.durable.address import address_of
from oarlock.durable.driving import CrewRunner
from oarlock.durable.reaper import Reaper
from oarlock.durable.registry import Registry
from oarlock.durable.sealing import sealer_of

__all__ = ["Worker", "run_worker"]

_log = logging.getLogger("oarlock.durable")
_LOOK: Final = 1.0  # seconds between two looks of the reaper; longer where looks for new runs are
_LONGEST_LOOK: Final = 4.0  # so that a worker that has died is noticed after three of them at most, and its grace


class Worker:
    """Drives runs of the crews of a registry until it is stopped.

    Args:
        registry: the crews.
        database: the address of the runs.
        concurrency: most runs at once, of each crew.
        poll: seconds between two looks for new runs; for hundreds of workers it should be some seconds.

    Raises:
        ConfigurationError: no such number, or for SQLite another worker is there already.
        RunStoreError: the database cannot be reached.

    Example:
        >>> Worker(Registry(crew), "postgresql://runs@db/runs", concurrency=32).run()  # doctest: +SKIP
    """

    def __init__(self, registry: Registry, database: str, concurrency: int = 16, *, poll: float = 0.2) -> None:
        address = address_of(database)
        most, poll = whole("Worker", "concurrency", concurrency), positive("Worker", "poll", poll)
        try:
            from oarlock.durable.dbos_engine import DbosEngine
        except ImportError as error:
            raise ConfigurationError("Durable runs need an extra: pip install 'oarlock[durable]'.") from error
        runner = CrewRunner(registry.find, parks=True)
        queues: dict[str, int | None] = dict.fromkeys(registry.queues, most)
        self.engine = DbosEngine(address, runner, queues, sealer_of(address), is_worker=True, poll=poll)
        self.reaper = Reaper(self.engine)
        self._timetable = registry.timetable
        self._pause = min(max(_LOOK, poll), _LONGEST_LOOK)

    def serve(self, stopped: threading.Event) -> None:
        """Serve until the event is set."""
        while not stopped.is_set():
            try:
                self._timetable.look(self.engine.store)
                self.reaper.look()
            except OarlockError as error:  # a database that is away comes back
                _log.warning("Looking for runs that are due, or of workers that have died, failed: %s", error)
            stopped.wait(self._pause)

    def drain(self, seconds: float) -> list[str]:
        """Take no more runs, wait for those at work, and give back what has not ended by then; return these."""
        return self.engine.drain(seconds)


def run_worker(
    registry: Any, database: str, tell: Callable[[str], None], *, concurrency: int, grace: float, poll: float
) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain; a second one ends at once.

    Args:
        registry: a `Registry`, crews, or what makes them.
        database: the address of the runs.
        tell: shows a line to whoever started it.
        concurrency: most runs at once, of each crew.
        grace: seconds that runs at work have to end after the signal.
        poll: seconds between two looks for new runs.
    """
    crews = Registry.of(registry)
    worker = Worker(crews, database, concurrency, poll=poll)
    stopped = threading.Event()

    def stop(number: int, _frame: object) -> None:
        if stopped.is_set():
            os._exit(128 + number)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    tell(f"Worker {worker.engine.executor} serves {', '.join(crews.names)}, {concurrency} runs of each at once.")
    worker.serve(stopped)
    tell(f"Draining: {len(worker.engine.driven())} runs at work have {grace:g} s to end.")
    left = worker.drain(grace)
    tell("Stopped." if not left else f"Stopped; {len(left)} runs went back to the queue.")
    if left:  # threads that still wait for a model would hold the process up
        sys.stdout.flush()
        os._exit(0)
