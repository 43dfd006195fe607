"""Reading records of runs: whatever is whole in them, and in words what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from oarlock.agents.record_files import MARK
from oarlock.agents.recording import FORMAT
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.reply import Usage
from oarlock.policies.prices import Price, PriceTable, amount
from oarlock.views import Piece, RunTree

__all__ = ["Record", "RecordedRun", "read_record"]

_LATEST: Final = (
    253_402_300_800  # seconds since the epoch, when the year 10,000 begins: a moment after that is nonsense
)
_MOST_NOTICES: Final = 5  # lines that cannot be read are named one by one up to here; of further ones, how many


@dataclass(slots=True, kw_only=True, eq=False)
class RecordedRun:
    """One run of a record.

    Attributes:
        run_id: its id.
        crew: the crew's name.
        began: each time it began, or went on, in seconds since the epoch.
        tree: what was done in it.
        ended: whether its end was recorded.
        content: what was said is in the record.
    """

    run_id: str
    crew: str = ""
    began: list[float] = field(default_factory=list)
    tree: RunTree = field(default_factory=RunTree)
    ended: bool = False
    content: bool = True

    @property
    def root(self) -> Piece | None:
        """The run itself, as a piece of work; `None` if nothing but its header was recorded."""
        return self.tree.find(self.run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is in a file of recorded runs.

    Attributes:
        name: of the file, without its folder.
        runs: in the order in which they began.
        notices: what is missing or cannot be read, in sentences.
    """

    name: str
    runs: tuple[RecordedRun, ...]
    notices: tuple[str, ...] = ()


def read_record(path: str | Path, *, prices: Mapping[str, Price] | None = None) -> Record:
    """Read a file of recorded runs, as far as it can be read.

    Args:
        path: of the file that `record=` named.
        prices: of models, in addition to those in the record, and before them.

    Raises:
        ConfigurationError: the file cannot be read, is no record, or is one of a newer version; with file and line.

    Example:
        >>> import tempfile
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Poet", goal="Rhyme", llm=ScriptedLLM(["Row, row."]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Crew(tasks=[Task(description="A line", agent=agent)]).kickoff(record=f"{folder}/run.jsonl")
        ...     record = read_record(f"{folder}/run.jsonl")
        >>> record.runs[0].root.totals.calls
        1
    """
    file = Path(path)
    reader = _Reader(str(path), prices or {})
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                reader.take(number, line)
    except OSError as error:
        raise ConfigurationError(f"The record {str(path)!r} cannot be read: {error.strerror or error}.") from error
    return reader.record(file.name)


class _Reader:
    """Takes a record line by line."""

    def __init__(self, path: str, prices: Mapping[str, Price]) -> None:
        self._path = path
        self._own_prices = prices
        self._prices = dict(prices)
        self._table: PriceTable | None = PriceTable(prices) if prices else None
        self._runs: dict[str, RecordedRun] = {}
        self._bad: list[str] = []
        self._missed = 0
        self._cut = False
        self._lines = 0

    def take(self, number: int, line: bytes) -> None:
        """Take a line in, or note why it cannot be read."""
        self._lines = number
        if number == 1 and not line.startswith(MARK):
            raise ConfigurationError(
                f"{self._path}, line 1: this is no record of runs. One is made by crew.kickoff(record=...) or "
                "oarlock run --record, and begins with a line that has 'oarlock_record'."
            )
        self._cut = not line.endswith(b"\n")
        if not line.strip():
            return  # after lines that were lost
        try:
            made = json.loads(line)
        except (ValueError, RecursionError) as error:
            if not self._cut:
                why = getattr(error, "msg", None) or type(error).__name__
                self._bad.append(f"line {number} ({why})")
            return
        if not isinstance(made, dict) or not isinstance(made.get("run_id"), str):
            self._bad.append(f"line {number} (no event of a run)")
        elif "oarlock_record" in made:
            self._begin(number, made)
        else:
            self._happen(made)

    def _begin(self, number: int, header: dict[str, Any]) -> None:
        version = header["oarlock_record"]
        if not isinstance(version, int) or version > FORMAT:
            raise ConfigurationError(
                f"{self._path}, line {number}: the record is of version {version!r:.20}, and this Oarlock reads up to "
                f"{FORMAT}. It was written by Oarlock {header.get('version', '?')!s:.20}: use that one, or a newer one."
            )
        run = self._run(header["run_id"])
        crew, time = header.get("crew"), header.get("time")
        run.crew = crew if isinstance(crew, str) else run.crew
        run.content = header.get("content") is not False
        if isinstance(time, int | float) and 0 <= time < _LATEST:
            run.began.append(time)
        self._learn_prices(header.get("prices"))

    def _learn_prices(self, prices: object) -> None:
        if not isinstance(prices, Mapping) or not prices:
            return
        for model, numbers in prices.items():
            try:
                price = Price(**{name: Decimal(value) for name, value in numbers.items()})
            except (ArithmeticError, AttributeError, ConfigurationError, TypeError, ValueError):
                continue  # nonsense: as if there were none
            self._prices[model] = self._own_prices.get(model, price)
        self._table = PriceTable(self._prices) if self._prices else None

    def _run(self, run_id: str) -> RecordedRun:
        if run_id not in self._runs:
            self._runs[run_id] = RecordedRun(run_id=run_id, tree=RunTree(self._cost))
        return self._runs[run_id]

    def _cost(self, model: str, usage: Usage) -> Decimal | None:
        rate = self._table.find(model) if self._table is not None else None
        return None if rate is None else amount(rate.cost(usage))

    def _happen(self, event: dict[str, Any]) -> None:
        run = self._run(event["run_id"])
        if event.get("event") in ("RunFinished", "RunFailed"):
            run.ended = True
        elif event.get("event") == "RunStarted":
            run.ended = False
        run.tree.add(event)

    def record(self, name: str) -> Record:
        """Return what was read.

        Raises:
            ConfigurationError: there was nothing.
        """
        if not self._lines:
            raise ConfigurationError(f"The record {self._path!r} is empty.")
        for run in self._runs.values():
            run.tree.stop()
        return Record(name=name, runs=tuple(self._runs.values()), notices=tuple(self._notices()))

    def _notices(self) -> Iterator[str]:
        if self._cut:
            yield f"The last line of the record, line {self._lines}, is cut off, as by a crash. What was whole is shown."
        if self._bad:
            more = len(self._bad) - _MOST_NOTICES
            named = ", ".join(self._bad[:_MOST_NOTICES]) + (f", and {more} more" if more > 0 else "")
            yield f"Not all of the record can be read, and what cannot is left out: {named}."
        missed = sum(run.tree.missed for run in self._runs.values())
        if missed:
            yield f"{_count(missed, 'event')} could not be recorded, as when a disk is full, and are missing here."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"
