"""Workers that are killed at random moments: a short form of benchmarks/crash.py."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading

import pytest
import worker_crews
from crash_driver import crash
from durable_helpers import new_sqlite
from postgres_helpers import needs_postgres
from spawning import FOLDER
from typer.testing import CliRunner

from oarlock.cli.app import app
from oarlock.durable import Worker
from oarlock.durable.here import HERE


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_nothing_is_lost_and_nothing_recorded_is_paid_again(request, kind, tmp_path):
    """The runs of a worker that died go on with another one that is there already, in SQLite with the next one."""
    HERE.close()
    if kind == "postgresql":
        database, workers = request.getfixturevalue("postgres").database(), 2
    else:
        database, workers = new_sqlite(tmp_path), 1
    report = crash(database, tmp_path, kills=1, workers=workers, at_once=3, delay=0.1)
    assert report.is_good, dataclasses.asdict(report)
    assert report.runs >= 3
    assert report.calls - report.repeated == report.keys * 2  # two model calls for each payment
    assert report.skipped >= report.keys - report.marks  # and those that had left their mark when they were cut off


def test_a_second_worker_of_an_sqlite_database_is_refused(tmp_path):
    """As a real command, in a process of its own: here it is the one that ends early."""
    HERE.close()
    database = new_sqlite(tmp_path)
    first = Worker(worker_crews.registry, database)
    command = [sys.executable, "-m", "oarlock", "worker", "worker_crews:registry", "-d", database]
    second = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert "SQLite is for one" in second.stderr
    assert second.returncode == 1
    assert first.drain(0) == []


def test_a_worker_serves_until_it_is_told_to_stop(tmp_path, monkeypatch):
    """By SIGTERM, in this process, so that one sees what it does."""
    HERE.close()
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(worker_crews, "JOURNAL", str(tmp_path / "journal"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    database = new_sqlite(tmp_path)
    results: list[str] = []

    def submit() -> None:
        results.append(str(worker_crews.line.submit(database=database, run_id="r").result(60)))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        outcome = CliRunner().invoke(app, ["worker", "worker_crews:registry", "-d", database, "--poll", "0.05"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        thread.join()
    assert results == ["2 paid 2"]
    assert outcome.exit_code == 0
    assert [line.partition(" ")[0] for line in outcome.output.splitlines()] == ["Worker", "Draining:", "Stopped."]
