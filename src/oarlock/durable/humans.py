"""Asking a human whose answer may take days: through `oarlock runs signal`, or a handle."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from oarlock.contract.errors import RunError
from oarlock.durable.port import Store
from oarlock.durable.runtime import RunInterrupted, current_step
from oarlock.durable.steering import ANSWER, QUESTION, home_of

if TYPE_CHECKING:
    from oarlock.agents.outputs import TaskOutput

__all__ = ["Correspondent"]

_LOOK: Final = 0.5  # seconds between two looks for an answer
_PATIENCE: Final = 20.0  # seconds after which a worker puts the run aside, and has its place for others


class Correspondent:
    """Whom tasks with `human_input` ask in a durable run that has nobody else to ask.

    The question stands among the facts of the run, sealed if the database is: who asks, at which task. The answer comes there, too.

    Args:
        store: the database.
        run_id: of the run.
        parks: the run is put aside while it waits, and goes on once the answer is there; else it waits where it is.
    """

    def __init__(self, store: Store, run_id: str, *, parks: bool) -> None:
        self._store = store
        self._run_id = run_id
        self._parks = parks

    def __call__(self, output: TaskOutput) -> str:
        """Return the answer, once it is there."""
        key = current_step()
        said = self._answer(key)
        if said is not None:
            return said
        asked = {"task": self._store.seal(output.name or ""), "agent": self._store.seal(output.agent)}
        self._store.note(self._run_id, {f"{QUESTION}{key}": asked})
        pause, waited = threading.Event(), 0.0
        while said is None:
            pause.wait(_LOOK)
            waited += _LOOK
            said = self._answer(key)
            if said is None and self._parks and waited >= _PATIENCE:
                self._park(key)
        return said

    def _answer(self, key: str) -> str | None:
        info = self._store.look(self._run_id, content=False)
        found: Any = {} if info is None else info.facts.get(f"{ANSWER}{key}") or {}
        return None if "said" not in found else self._store.unseal(str(found["said"]))

    def _park(self, key: str) -> None:
        self._store.note(self._run_id, {"waits": "for a human"})
        self._store.cancel(self._run_id)
        info = self._store.look(self._run_id, content=False)
        if info is not None and info.facts.get(f"{ANSWER}{key}"):  # it came at the last moment, and nobody saw us wait
            self._store.note(self._run_id, {"waits": None})
            self._store.resume(self._run_id, home_of(info))
        raise RunInterrupted(RunError(f"Run {self._run_id!r} waits for a human.", run_id=self._run_id))
