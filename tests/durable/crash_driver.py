"""Kills workers at random moments, and counts what was done how often.

Each model call and each use of a tool is a line in a file, written before it answers: with its idempotency key, its process, and
when. Compared with what the database recorded, and when, that shows what was repeated, and whether it had to be.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spawning import FOLDER, Forked

from oarlock.durable import RunHandle, State
from oarlock.durable.stores import open_store


class WorkerProcess(Forked):
    """`oarlock worker worker_crews:registry` in a process of its own; is there when it serves.

    Args:
        database: the runs.
        journal: where its crews write what they do.
        delay: seconds that a model takes on average.
    """

    def __init__(self, database: str, journal: Path, delay: float = 0.0) -> None:
        super().__init__(serve, database, str(journal), str(delay))
        self.first_line = self.line()


def serve(database: str, journal: str, delay: str) -> None:
    """Be a worker."""
    os.environ |= {"JOURNAL": journal, "DELAY": delay}
    sys.path.insert(0, str(FOLDER))
    from oarlock.cli.app import app

    app(["worker", "worker_crews:registry", "-d", database, "--grace", "20"])


def noted(journal: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal."""
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def crews() -> Any:
    """Return the module with the crews."""
    sys.path.insert(0, str(FOLDER))
    try:
        import worker_crews
    finally:
        sys.path.remove(str(FOLDER))
    return worker_crews


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of it.

    Attributes:
        kills: workers killed, each in the middle of something.
        runs: accepted; `right`: of them ended with the right answer.
        steps: recorded.
        calls: of models; `repeated`: those made again; `paid_again`: made again though the answer had been recorded.
        payments: uses of the tool that takes an idempotency key; `keys`: different ones, which is what was really paid.
        marks: uses of the tool that must not be run twice; `twice`: that was.
        skipped: of those, calls that nobody knows to have happened, and that were not repeated.
        wrong: what went wrong, in words.
    """

    database: str
    kills: int = 0
    runs: int = 0
    right: int = 0
    steps: int = 0
    calls: int = 0
    repeated: int = 0
    paid_again: int = 0
    payments: int = 0
    keys: int = 0
    keys_due: int = 0
    marks: int = 0
    twice: int = 0
    skipped: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether all promises held."""
        return (
            not self.wrong
            and self.right == self.runs
            and not self.paid_again
            and not self.twice
            and self.keys == self.keys_due
        )


def crash(
    database: str, folder: Path, *, kills: int, workers: int, at_once: int = 6, delay: float = 0.1, seed: int = 0
) -> Report:
    """Keep runs going on workers, kill these at random, and report.

    Args:
        database: the runs.
        folder: for the journal.
        kills: how many.
        workers: how many there are at a time; 1 in SQLite.
        at_once: runs that are kept going.
        delay: seconds that a model takes on average.
        seed: of the dice.
    """
    dice = random.Random(seed)
    journal = folder / "journal"
    module = crews()
    report = Report(database=database.partition(":")[0])
    alive = [WorkerProcess(database, journal, delay) for _ in range(workers)]
    store = open_store(database, make=True)
    handles: list[RunHandle] = []

    def feed() -> None:
        going = sum(len(store.runs([state], limit=100)) for state in (State.queued, State.running))
        for _ in range(at_once - going):
            crew = dice.choice([module.line, module.aside])
            run_id = f"{crew.name}-{len(handles)}-{dice.getrandbits(32):08x}"
            crew.submit(database=database, run_id=run_id).close()
            handles.append(RunHandle(run_id, database=store, crew=crew))

    lines = 0
    while report.kills < kills:
        feed()
        if len(noted(journal)) == lines:  # nothing has been done since the last one
            time.sleep(0.05)
            continue
        time.sleep(dice.uniform(0, 1.5))
        lines = len(noted(journal))
        victim = dice.randrange(len(alive))
        alive[victim].end(signal.SIGKILL)
        report.kills += 1
        alive[victim] = WorkerProcess(database, journal, delay)
    _finish(report, handles)
    for worker in alive:
        said = worker.end(signal.SIGTERM)
        if worker.code != 0 or "Stopped." not in said:
            report.wrong.append(f"A worker did not end well: {worker.code} {said}")
    _count(report, handles, noted(journal))
    store.close()
    return report


def _finish(report: Report, handles: list[RunHandle]) -> None:
    for handle in handles:
        report.runs += 1
        last = "2" if handle.run_id.startswith("line") else "3"
        try:
            result = str(handle.result(180))
        except Exception as error:
            report.wrong.append(f"{handle.run_id}: {type(error).__name__}: {error}")
            continue
        if result == f"{last} paid {last}":
            report.right += 1
        else:
            report.wrong.append(f"{handle.run_id}: {result}")


def _count(report: Report, handles: list[RunHandle], lines: list[dict[str, Any]]) -> None:
    recorded: dict[str, float] = {}
    for handle in handles:
        for entry in handle._store.entries(handle.run_id):
            report.steps += 1
            kind, _, key = entry.name.partition(":")
            recorded[f"{kind}:{handle.run_id}:{key}"] = entry.ended or 0.0
            if kind == "tool" and "nobody knows" in json.dumps(entry.value).lower():
                report.skipped += 1
        report.keys_due += 3 if handle.run_id.startswith("line") else 4
    times: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        times[f"{line['kind']}:{line['key']}"].append(line["at"])
    for name, at in times.items():
        kind, _, key = name.partition(":")
        if kind == "model":
            report.calls += len(at)
            report.repeated += len(at) - 1
            ended = recorded.get(name)
            if ended is None:
                report.wrong.append(f"{name} was asked and never recorded")
            else:
                # A worker that has lost its run may be in the middle of a call when the next one asks anew.
                report.paid_again += sum(moment > ended + 0.002 for moment in at)
    count = Counter(line["kind"] for line in lines)
    report.payments, report.marks = count["pay"], count["mark"]
    report.keys = len({line["key"] for line in lines if line["kind"] == "pay"})
    report.twice = sum(
        number - 1 for number in Counter(_key(line) for line in lines if line["kind"] == "mark").values()
    )


def _key(line: dict[str, Any]) -> str:
    return str(line["key"])
