"""`record="run.jsonl"`: everything that happens in a run, written to a file as it happens, for `oarlock report`.

The file holds JSON lines: for each run a header, and then a line for each event, as `oarlock.events.to_dict` makes it. Two
things differ from that: pieces of answers (`ModelDelta`, `PartialOutput`) are left out, as the whole answer comes anyway;
and the messages of a call that goes on with the conversation of an earlier one are only those that came since, with
`"after": {"span_id": that call, "count": how many of its messages came before}`. So a record grows with what is said.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from oarlock import __version__
from oarlock.agents.record_files import FILES, RecordFile
from oarlock.agents.recorded import Cleaner
from oarlock.contract.checks import flag
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.event_data import to_dict
from oarlock.contract.events import (
    CallStarted,
    Event,
    ModelDelta,
    PartialOutput,
    RecordingFailed,
    TaskFailed,
    TaskFinished,
)
from oarlock.contract.messages import Message
from oarlock.policies.prices import Price

__all__ = ["FORMAT", "Recording", "RunRecord", "recording_of"]

FORMAT: Final = 1
"""The version of the form of records; a reader refuses those of a higher one."""

_log = logging.getLogger("oarlock.agents")
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_PIECES: Final = (ModelDelta, PartialOutput)

Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """Where and how runs are recorded; a path alone stands for `Recording(path)`.

    Each run adds to the file, whose mode is 0600 if it is made here; any number of runs, threads and processes may write to
    one at once. What looks like a credential is never written.

    Args:
        path: of the file. Its folder must be there. Links are not followed, and no other file is ever added to.
        content: with what users, models and tools wrote: prompts, answers, arguments, results. `False`: who did what, when,
            for how long and how many tokens, only.
        redact: a function that is given each text of the content, and errors' messages, and returns what to write in its place.
        prices: of models, such as `{"gpt-x": Price(input=2.5, output=10)}`, for the costs in the report; those of the
            budgets that a run counts against are known without.

    Raises:
        ConfigurationError: a value that cannot work.

    Example:
        >>> Recording("run.jsonl", content=False).path
        'run.jsonl'
    """

    path: str | Path
    content: bool = True
    redact: Callable[[str], str] | None = None
    prices: Mapping[str, Price] | None = None

    def __post_init__(self) -> None:
        if (
            not isinstance(self.path, str | Path)
            or not str(self.path).strip()
            or str(self.path).endswith(("/", os.sep))
        ):
            raise ConfigurationError(f"Recording: path must be that of a file, such as 'run.jsonl', not {self.path!r}.")
        flag("Recording", "content", self.content)
        if self.redact is not None and not callable(self.redact):
            raise ConfigurationError(f"Recording: redact must be a function of a text, not {self.redact!r}.")
        for model, price in (self.prices or {}).items():
            if not isinstance(model, str) or not isinstance(price, Price):
                raise ConfigurationError(
                    f"Recording: prices must map names of models to Price(...), not {model!r}: {price!r}."
                )


def recording_of(owner: str, value: object) -> Recording | None:
    """Return what `record=` asks for.

    Raises:
        ConfigurationError: it is neither a path nor a `Recording`.
    """
    if value is None or isinstance(value, Recording):
        return value
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ConfigurationError(f"{owner}: record must be the path of a file, or a Recording, not {value!r}.")
    return Recording(value)


class RunRecord(AbstractContextManager["RunRecord"]):
    """Writes what happens in one run to its record.

    Args:
        recording: where and how.
        run_id: of the run.
        crew: its name.
        prices: of models, as far as the run knows them.
        time: now, in seconds since the epoch.

    Raises:
        ConfigurationError: when it is opened: the file cannot be written, or is there already and is no record.
    """

    def __init__(self, recording: Recording, run_id: str, crew: str, prices: Mapping[str, Price], time: float) -> None:
        self._path = str(recording.path)
        self._content = recording.content
        self._clean = Cleaner(recording.redact)
        self._header = {
            "oarlock_record": FORMAT,
            "run_id": run_id,
            "crew": crew,
            "time": time,
            "version": __version__,
            "content": recording.content,
            "prices": {model: _price(price) for model, price in {**prices, **(recording.prices or {})}.items()},
        }
        self._lock = threading.Lock()
        self._file: RecordFile | None = None
        self._lost = 0
        self._told = False
        self._asked: dict[str | None, tuple[str | None, Sequence[Message]]] = {}

    def __enter__(self) -> Self:
        try:
            self._file = FILES.enter(self._path)
            self._file.write(_line(self._header))
        except ConfigurationError:
            self._close()
            raise
        except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
            self._close()
            why = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"record={self._path!r} cannot be written: {why}.") from error
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            FILES.leave(self._file)
            self._file = None

    def beside(self, other: Listener | None) -> Listener:
        """Return a listener that records what it hears, and passes all on to another."""

        def listen(event: Event) -> None:
            if not isinstance(event, _PIECES):
                self._note(event, other)
            if other is not None:
                other(event)

        return listen

    def _note(self, event: Event, other: Listener | None) -> None:
        try:
            line = _line(self._made(event))
            with self._lock:
                if self._file is not None:  # it is for one that was left behind
                    self._add(self._file, line, event.time)
        except Exception as error:  # noqa: BLE001  the disk's failures, and those of the user's `redact`: no run ends by them
            with self._lock:
                self._lost += 1
                told, self._told = self._told, True
            if not told:
                self._tell(error, other)

    def _tell(self, error: Exception, other: Listener | None) -> None:
        why = getattr(error, "strerror", None) or f"{type(error).__name__} in what makes lines of events"
        _log.warning("The record %r is not complete: %s", self._path, why)
        if other is not None:
            other(RecordingFailed(path=self._path, why=why))

    def _add(self, file: RecordFile, line: bytes, time: float) -> None:
        """Add a line, after one that says how many were lost."""
        if self._lost:
            lost = {"event": "EventsMissed", "run_id": self._header["run_id"], "time": time, "count": self._lost}
            line = _line(lost) + line
        file.write(line)
        self._lost = 0

    def _made(self, event: Event) -> dict[str, Any]:
        if not self._content:
            return self._clean.error(to_dict(event))
        if isinstance(event, CallStarted):
            return {**to_dict(event), "request": self._request(event)}
        if isinstance(event, TaskFinished | TaskFailed):
            self._asked.pop(event.span_id, None)  # its conversations are over
        return self._clean(event, to_dict(event, content=True))

    def _request(self, event: CallStarted) -> dict[str, Any]:
        """Return the messages that are new since the last call of the same piece of work, and the names of the tools."""
        request = event.request
        if request is None:
            return {}
        before, known = self._asked.get(event.parent_id, (None, ()))
        self._asked[event.parent_id] = (event.span_id, tuple(request.messages))
        count = _common(known, request.messages)
        after = {"after": {"span_id": before, "count": count}} if count else {}
        tools = [str(tool["function"]["name"]) for tool in request.tools]
        return {**after, "messages": self._clean.messages(request.messages[count:]), "tools": tools}


def _price(price: Price) -> dict[str, str]:
    """Return a price with its numbers as they were written: they may be decimal ones."""
    return {name: str(value) for name, value in asdict(price).items() if value is not None}


def _line(made: Mapping[str, Any]) -> bytes:
    return _encode(made).encode("utf-8", "replace") + b"\n"


def _common(known: Sequence[Message], messages: Sequence[Message]) -> int:
    """Return how many messages two conversations begin with that are the same."""
    count = 0
    for old, new in zip(known, messages, strict=False):
        if old is not new and old != new:
            break
        count += 1
    return count
