"""Kill workers at random moments, a hundred times, over SQLite and over PostgreSQL, and count what was done how often.

    uv run python benchmarks/crash.py --kills 100

Ends with exit code 1 if a run did not end right, an answer that had been recorded was paid for again, a tool that must not be run
twice was, or what was really paid (each idempotency key once) is not what is due.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "durable"))

from crash_driver import Report, crash
from postgres_helpers import PROGRAMS, PostgresServer


def main() -> int:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=100, help="over all databases")
    options.add_argument("--only", choices=["sqlite", "postgresql"], help="all kills over this one")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    reports = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        half = {"sqlite": given.kills, "postgresql": 0}.get(given.only, given.kills // 2)
        half = half if PROGRAMS is not None else given.kills
        if half < given.kills:
            server = PostgresServer()
            try:
                place = Path(folder, "postgresql")
                place.mkdir()
                reports.append(crash(server.database(), place, kills=given.kills - half, workers=3, seed=given.seed))
            finally:
                server.close()
        if half:
            place = Path(folder, "sqlite")
            place.mkdir()
            reports.append(crash(f"sqlite:///{place}/runs.db", place, kills=half, workers=1, seed=given.seed))
    show(reports)
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if all(report.is_good for report in reports) else 1


def show(reports: list[Report]) -> None:
    """Print a table, and what went wrong."""
    for name in [field.name for field in dataclasses.fields(Report) if field.name != "wrong"]:
        print(f"{name:12}", *(f"{getattr(report, name):>12}" for report in reports))
    for report in reports:
        for line in report.wrong:
            print(f"WRONG ({report.database}): {line}")


if __name__ == "__main__":
    raise SystemExit(main())
