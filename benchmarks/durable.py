"""What durable runs cost: CPU a step in this process, and steps a second on several workers.

uv run python benchmarks/durable.py                   # CPU ms a step: not durable, SQLite, PostgreSQL
uv run python benchmarks/durable.py --workers 4       # 1,000 runs of 10 steps of 300 ms, over PostgreSQL
uv run python benchmarks/durable.py --workers 4 --fsync  # the same, and PostgreSQL waits for the disk
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "durable"))

from _durable_crew import crew, line
from postgres_helpers import PROGRAMS, PostgresServer

from oarlock.durable.here import HERE
from oarlock.durable.stores import open_store


def a_step(database: str | None, steps: int, rounds: int) -> float:
    """Return CPU milliseconds of this process for one step, the least of some rounds."""
    whole = line(steps)
    best = float("inf")
    for number in range(rounds + 1):
        began = time.process_time()
        if database is None:
            whole.kickoff()
        else:
            whole.kickoff(durable=database, run_id=uuid.uuid4().hex)
        if number:  # the first one opens the database
            best = min(best, (time.process_time() - began) * 1000 / steps)
    return best


def cost(steps: int, rounds: int) -> None:
    """Print CPU milliseconds a step."""
    with tempfile.TemporaryDirectory() as folder:
        plain = a_step(None, steps, rounds)
        print(f"not durable  {plain:6.2f} ms CPU a step")
        sqlite = a_step(f"sqlite:///{folder}/runs.db", steps, rounds)
        print(f"SQLite       {sqlite:6.2f} ms, {sqlite - plain:.2f} more")
        HERE.close()
        if PROGRAMS is not None:
            server = PostgresServer()
            try:
                postgres = a_step(server.database(), steps, rounds)
                HERE.close()
            finally:
                server.close()
            print(f"PostgreSQL   {postgres:6.2f} ms, {postgres - plain:.2f} more; the server not counted")


def crowd(workers: int, runs: int, seconds: float, concurrency: int, *, fsync: bool) -> None:
    """Print how fast workers get through runs."""
    server = PostgresServer(fsync=fsync)
    database = server.database()
    store = open_store(database, make=True)
    environment = {**os.environ, "SECONDS": str(seconds), "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "oarlock", "worker", "_durable_crew:crew", "-d", database]
    command += ["--concurrency", str(concurrency)]
    began = time.monotonic()
    for number in range(runs):
        crew.submit(database=database, run_id=f"run-{number}").close() if number == 0 else _enqueue(store, number)
    print(f"{runs} runs submitted in {time.monotonic() - began:.1f} s")
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(workers)]
    for process in processes:
        assert process.stderr is not None
        process.stderr.readline()
    began = time.monotonic()
    done = connections = 0
    while done < runs:
        time.sleep(1)
        there = server.query(database, "select count(*) from pg_stat_activity where datname = current_database()")
        connections = max(connections, int(str(there[0][0])))
        counted = server.query(database, "select count(*) from oarlock.workflow_status where status = 'SUCCESS'")
        done = int(str(counted[0][0]))
    took = time.monotonic() - began
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    steps = int(str(server.query(database, "select count(*) from oarlock.operation_outputs")[0][0]))
    size = str(server.query(database, "select pg_database_size(current_database())")[0][0])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    store.close()
    server.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    servers = after.ru_utime + after.ru_stime - cpu
    print(
        f"{done} of {runs} runs, {steps} steps on {workers} workers of {concurrency} in {took:.1f} s: {steps / took:.0f} steps a second"
    )
    print(
        f"{cpu * 1000 / steps:.1f} ms CPU a step of the workers, their start included; {int(size) / steps / 1024:.1f} KB a step in the database"
    )
    print(f"{servers * 1000 / steps:.1f} ms CPU a step of PostgreSQL; {connections} connections at most")
    if steps != runs * len(crew.tasks):
        raise SystemExit("steps are missing, or were done twice")


def _enqueue(store: object, number: int) -> None:
    """Submit without opening the database anew."""
    from oarlock.durable.spec import Spec

    spec = Spec.of(crew.name, crew, {})
    store.enqueue(f"run-{number}", spec.queue, spec.as_json(), spec.facts)  # type: ignore[attr-defined]


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workers", type=int, default=0, help="so many, over PostgreSQL; 0: CPU a step instead")
    options.add_argument("--runs", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=0.3, help="that a model takes")
    options.add_argument("--concurrency", type=int, default=32, help="runs at once on each worker")
    options.add_argument("--steps", type=int, default=100, help="of a run whose CPU is measured")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--fsync", action="store_true", help="with workers: PostgreSQL waits for the disk")
    given = options.parse_args()
    if given.workers:
        crowd(given.workers, given.runs, given.seconds, given.concurrency, fsync=given.fsync)
    else:
        cost(given.steps, given.rounds)


if __name__ == "__main__":
    main()
