"""`oarlock worker`: serve runs that are submitted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oarlock.cli.database import Database

__all__ = ["worker"]


def worker(
    registry: Annotated[
        str,
        typer.Argument(metavar="MODULE:NAME", help="A crew, a list of them, a Registry, or a function that makes one."),
    ],
    database: Database,
    concurrency: Annotated[int, typer.Option(help="Most runs at once, of each crew.")] = 16,
    poll: Annotated[float, typer.Option(help="Seconds between two looks for new runs.")] = 0.2,
    grace: Annotated[float, typer.Option(help="Seconds that runs have to end after SIGTERM or Ctrl-C.")] = 30.0,
) -> None:
    """Take submitted runs of crews, and those that died with other workers, until SIGTERM.

    In SQLite one worker serves a database; in PostgreSQL any number, on any machines.
    """
    from oarlock.durable.worker import run_worker
    from oarlock.project.importing import imported

    found = imported(registry, "MODULE:NAME", Path())
    run_worker(
        found, database, lambda line: typer.echo(line, err=True), concurrency=concurrency, grace=grace, poll=poll
    )
