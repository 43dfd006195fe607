"""`output_log_file`: what became of each task of a run, written to a file as it happens."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Self

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.events import Event, TaskFailed, TaskFinished, TaskSkipped, TaskStarted
from oarlock.contract.secret import scrub

__all__ = ["NO_LOG", "NoLog", "RunLog", "log_path"]

_USUAL: Final = "logs.txt"
_STATUS: Final[dict[type[Event], str]] = {
    TaskStarted: "started",
    TaskFinished: "completed",
    TaskFailed: "failed",
    TaskSkipped: "skipped",
}

_ONE_AT_A_TIME: Final = threading.Lock()  # runs and tasks side by side may write to one file from several threads

Listener = Callable[[Event], None]


class RunLog(AbstractContextManager["RunLog"]):
    """Appends an entry to a file when a task begins and when it ends: a line, or in a `.json` file an item of its list.

    Args:
        path: of the file; it is made if need be, its folder is not. Several runs may write to it at once; several processes
            only if it is no `.json` file.

    Raises:
        ConfigurationError: when it is opened: the file cannot be written, or is no JSON list.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._as_list = path.lower().endswith(".json")

    def __enter__(self) -> Self:
        try:
            Path(self._path).touch()
            self._file: IO[bytes] = Path(self._path).open("r+b" if self._as_list else "ab", buffering=0)
        except OSError as error:
            raise ConfigurationError(
                f"Crew: output_log_file {self._path!r} cannot be written: {error.strerror or error}."
            ) from error
        if self._as_list:
            try:
                self._go_to_end_of_list()
            except ConfigurationError:
                self._file.close()
                raise
        return self

    def __exit__(self, *error: object) -> None:
        with _ONE_AT_A_TIME:
            self._file.close()

    def beside(self, other: Listener | None) -> Listener:
        """Return a listener that writes what this log is for, and passes all on to another."""

        def listen(event: Event) -> None:
            if type(event) in _STATUS:
                self._note(event)
            if other is not None:
                other(event)

        return listen

    def _note(self, event: Any) -> None:
        entry = {
            "timestamp": datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds"),
            "task_name": event.task,
            "task": getattr(event, "description", None),
            "agent": event.agent,
            "status": _STATUS[type(event)],
            "output": event.answer if isinstance(event, TaskFinished) else None,
            "error": scrub(str(event.error)) if isinstance(event, TaskFailed) else None,
        }
        given = {name: value for name, value in entry.items() if value is not None}
        with _ONE_AT_A_TIME:
            if self._file.closed:  # one that was left behind
                return
            if self._as_list:
                self._append(given)
            else:
                words = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
                self._file.write(f"{words}\n".encode("utf-8", "replace"))

    def _append(self, entry: dict[str, Any]) -> None:
        """Put an entry in the place of the list's closing bracket, and that behind it."""
        end = self._go_to_end_of_list()
        text = json.dumps(entry, ensure_ascii=False)
        self._file.write(f"{',' if end > 1 else '['}\n{text}\n]\n".encode("utf-8", "replace"))

    def _go_to_end_of_list(self) -> int:
        """Go to where the next entry is to stand; return the position, 1 or less in an empty list."""
        size = self._file.seek(0, os.SEEK_END)
        begin = max(0, size - 64)
        self._file.seek(begin)
        tail = self._file.read().rstrip()
        if not tail and not begin:
            return self._file.seek(0)
        if not tail.endswith(b"]"):
            raise ConfigurationError(
                f"Crew: output_log_file {self._path!r} is there already, and no JSON list. Name another file."
            )
        kept = tail[:-1].rstrip()
        return self._file.seek(0 if kept == b"[" and not begin else begin + len(kept))


class NoLog(AbstractContextManager[None]):
    """Stands for a log where none is wanted."""

    def __exit__(self, *error: object) -> None:
        return None

    def beside(self, other: Listener | None) -> Listener | None:
        """Return the other listener."""
        return other


NO_LOG: Final = NoLog()


def log_path(value: object) -> str | None:
    """Return the path of an `output_log_file`; `True` stands for `logs.txt`, as in CrewAI.

    Raises:
        ConfigurationError: it is none.
    """
    if value is None or value is False:
        return None
    path = _USUAL if value is True else value
    if not isinstance(path, str | Path) or not str(path).strip() or str(path).endswith(("/", os.sep)):
        raise ConfigurationError(
            f"Crew: output_log_file must be the path of a file, or True for 'logs.txt', not {value!r}."
        )
    return str(path)
