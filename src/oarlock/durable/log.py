"""What a run has recorded so far, by the names of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from oarlock.contract.errors import RunError
from oarlock.durable.port import Entry

__all__ = ["AGAIN", "BEGAN", "DECIDED", "RunLog"]

BEGAN: Final = "began"
"""Recorded before a tool is run that may not be run twice: `began:<key>`."""

AGAIN: Final = "again"
"""Recorded where a failed run goes on, `again:<id>`: what had failed and so ended it is done anew."""

DECIDED: Final = "decided"
"""Recorded where somebody said what becomes of tools that may have done their work: `decided:<retry or skip>:<id>`."""


class RunLog:
    """The outcomes of a run's steps.

    Args:
        entries: in the order in which they began.

    Raises:
        RunError: they are not as this version records them.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._outcomes: dict[str, Entry] = {}
        self._begun: dict[str, str | None] = {}
        self._turns: dict[str, int] = {}  # by whose they are: the last one
        self.began = entries[0].began if entries else None
        for entry in entries:
            self._read(entry)

    def __len__(self) -> int:
        return len(self._outcomes)

    def outcome(self, label: str) -> Entry | None:
        """Return the recorded outcome of a step."""
        return self._outcomes.get(label)

    def may_have_happened(self, key: str) -> bool:
        """Return whether a tool was begun, and no outcome recorded."""
        return key in self._begun

    def decision(self, key: str) -> str | None:
        """Return what somebody said is to become of such a tool call: `"retry"`, `"skip"`, nothing."""
        return self._begun.get(key)

    def _read(self, entry: Entry) -> None:
        kind, _, key = entry.name.partition(":")
        if kind == BEGAN:
            self._begun[key] = None
        elif kind == AGAIN:
            self._forget_failures()
        elif kind == DECIDED:
            self._begun = dict.fromkeys(self._begun, key.partition(":")[0])
        elif not isinstance(entry.value, Mapping) or "at" not in entry.value:
            raise RunError(f"Step {entry.position} of the run ({entry.name}) is not as this version records steps.")
        else:
            self._outcomes[entry.name] = entry
            self._begun.pop(key, None)
            if kind == "model":
                whose, turn = _place(key)
                self._turns[whose] = max(turn, self._turns.get(whose, 0))

    def _forget_failures(self) -> None:
        """Forget the failures that ended the run.

        That of a model did not if the same agent asked again: a model that takes no JSON schema is asked without. Those of
        tools and functions always do: what a model is told of a tool that failed is no failure of the step.
        """
        for name, entry in list(self._outcomes.items()):
            kind, _, key = name.partition(":")
            if "error" not in entry.value:
                continue
            whose, turn = _place(key) if kind == "model" else ("", 0)
            if kind != "model" or turn == self._turns[whose]:
                del self._outcomes[name]


def _place(key: str) -> tuple[str, int]:
    """Return whose model call it is, and the how manieth."""
    whose, _, turn = key.rpartition(":")
    return whose, int(turn) if turn.isdigit() else 0
