"""`Schedule`: a crew that workers run at certain times."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from oarlock.agents.definitions import text
from oarlock.contract.errors import ConfigurationError
from oarlock.durable.port import Store
from oarlock.durable.spec import Spec

__all__ = ["Schedule", "Timetable"]

_ODD: Final = re.compile(r"[^\w.@:+=-]")  # what no run id may have
_LATE: Final = 300.0  # seconds by which a run may begin late, as after a restart


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When workers are to run a crew. There is one run for each time, however many workers there are.

    Its id is made of the name and the time in UTC, such as `history@2026-11-28T06:00:00Z`. Times at which no worker was there are
    left out, but for the last one, if that is not over by more than five minutes.

    Args:
        crew: the name of the crew.
        cron: five fields: minute, hour, day of the month, month, day of the week, as in `"0 7 * * mon-fri"`.
        inputs: for each run.
        timezone: in which the fields are meant, such as `"Europe/Berlin"`.
        name: of the schedule, if a crew has several; default: that of the crew.

    Raises:
        ConfigurationError: the fields or the timezone cannot be, or the extra is missing.

    Example:
        >>> Schedule(crew="history", cron="0 7 * * mon-fri", timezone="Europe/Berlin").name
        'history'
    """

    crew: str
    cron: str
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timezone: str = "UTC"
    name: str = ""

    def __post_init__(self) -> None:
        text("Schedule", "crew", self.crew)
        text("Schedule", "cron", self.cron)
        if not self.name:
            object.__setattr__(self, "name", self.crew)
        if len(self.cron.split()) != 5 or not _croniter().is_valid(self.cron):
            raise ConfigurationError(
                f"Schedule {self.name!r}: cron must be five fields, minute, hour, day of the month, month and day of the week, "
                f'as in "0 7 * * mon-fri", not {self.cron!r}.'
            )
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            raise ConfigurationError(
                f'Schedule {self.name!r}: there is no timezone {self.timezone!r}; one is "Europe/Berlin".'
            ) from None

    def times(self, after: float, until: float) -> Iterator[datetime]:
        """Yield the times after a moment, up to another one, both in seconds since the epoch."""
        times = _croniter()(self.cron, datetime.fromtimestamp(after, ZoneInfo(self.timezone)))
        while (at := times.get_next(datetime)).timestamp() <= until:
            yield at.astimezone(UTC)

    def run_id(self, at: datetime) -> str:
        """Return the id of the run for a time."""
        return f"{_ODD.sub('-', self.name)}@{at:%Y-%m-%dT%H:%M:%SZ}"


class Timetable:
    """Puts runs into their queues when it is time. Each worker does; that a run is there already shows by its id.

    Args:
        specs: the schedules, and what is to be run by them.
    """

    def __init__(self, specs: Sequence[tuple[Schedule, Spec]]) -> None:
        self._specs = specs
        self._done = 0.0  # up to when

    def look(self, store: Store) -> list[str]:
        """Look at the clock once, and return the runs that are there now."""
        now = time.time()
        begun: list[str] = []
        for schedule, spec in self._specs:
            for at in list(schedule.times(max(self._done, now - _LATE), now))[-1:]:
                begun.append(schedule.run_id(at))
                if store.look(begun[-1], content=False) is None:
                    store.enqueue(begun[-1], spec.queue, spec.as_json(), spec.facts)
        self._done = now
        return begun


def _croniter() -> Any:
    try:
        from croniter import croniter
    except ImportError as error:
        raise ConfigurationError("Schedules need an extra: pip install 'oarlock[durable]'.") from error
    return croniter
