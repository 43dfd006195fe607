"""Workers that are killed at random moments: a short form of benchmarks/crash.py."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_driver import WorkerProcess, crash
from durable_helpers import new_sqlite
from postgres_helpers import PostgresServer, needs_postgres

from oarlock.durable.here import HERE


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_nothing_is_lost_and_nothing_recorded_is_paid_again(request, kind, tmp_path):
    """The runs of a worker that died go on with another one that is there already, in SQLite with the next one."""
    HERE.close()
    if kind == "postgresql":
        database, workers = request.getfixturevalue("postgres").database(), 2
    else:
        database, workers = new_sqlite(tmp_path), 1
    report = crash(database, tmp_path, kills=workers, workers=workers, at_once=3, delay=0.1)
    assert report.is_good, dataclasses.asdict(report)
    assert report.runs >= 3
    assert report.calls - report.repeated == report.keys * 2  # two model calls for each payment
    assert report.skipped >= report.keys - report.marks  # and those that had left their mark when they were cut off


def test_a_second_worker_of_an_sqlite_database_is_refused(tmp_path: Path):
    database = new_sqlite(tmp_path)
    first = WorkerProcess(database, tmp_path / "journal")
    assert "serves line, aside" in first.first_line
    second = WorkerProcess(database, tmp_path / "journal")
    assert "SQLite is for one" in second.first_line
    assert second.process.wait(60) == 1
    second.end(signal.SIGTERM)
    said = first.end(signal.SIGTERM)
    assert "Draining: 0 runs" in said
    assert "Stopped." in said
    assert first.process.returncode == 0
