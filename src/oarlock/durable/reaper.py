"""Runs of workers that have died go back to their queues."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from oarlock.durable.port import RunInfo, State

if TYPE_CHECKING:
    from oarlock.durable.dbos_engine import DbosEngine

__all__ = ["Reaper"]

_log = logging.getLogger("oarlock.durable")
_MOST: Final = 10_000  # runs looked at in one go


class Reaper:
    """Looks for runs that nobody drives any more.

    A worker is believed dead once its sign of life has been missing for some seconds, at each of several looks: a connection
    that was lost is made again by then. One worker at a time looks after the others; each one looks after its own runs, which
    it may have had to let go when the database failed.
    """

    def __init__(self, engine: DbosEngine) -> None:
        self._engine = engine
        self._missing: dict[str, float] = {}  # since when, by executor or run

    def look(self) -> int:
        """Look once; return how many runs went back."""
        running = [info for info in self._engine.store.runs([State.running], limit=_MOST) if info.queue]
        own = [info for info in running if info.executor == self._engine.executor]
        gone = [info for info in own if info.run_id not in self._engine.driven() and self._lasts(f"run {info.run_id}")]
        with self._engine.looking_after_others() as mine:
            if mine:
                others = {info.executor or "" for info in running} - {self._engine.executor}
                dead = {one for one in others if self._is_dead(one)}
                gone += [info for info in running if info.executor in dead]
            for info in gone:
                self._give_back(info)
        self._forget(running)
        return len(gone)

    def _is_dead(self, executor: str) -> bool:
        if self._engine.is_alive(executor):
            self._missing.pop(executor, None)
            return False
        return self._lasts(executor)

    def _lasts(self, what: str) -> bool:
        """Return whether something has been missing for long enough."""
        return time.monotonic() - self._missing.setdefault(what, time.monotonic()) >= self._engine.grace

    def _give_back(self, info: RunInfo) -> None:
        _log.warning("Run %r was left by %s, and goes back to its queue", info.run_id, info.executor)
        self._engine.store.resume(info.run_id, info.queue or "")

    def _forget(self, running: list[RunInfo]) -> None:
        """Forget what is no longer there."""
        there = {info.executor or "" for info in running} | {f"run {info.run_id}" for info in running}
        driven = {f"run {run_id}" for run_id in self._engine.driven()}
        self._missing = {what: since for what, since in self._missing.items() if what in there - driven}
