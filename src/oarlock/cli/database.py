"""The option that names a database of runs."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["Database"]

Database: TypeAlias = Annotated[
    str,
    typer.Option(
        "--database",
        "-d",
        envvar="OARLOCK_DATABASE",
        metavar="URL",
        help="sqlite:///runs.db or postgresql://user@host/database; ?key=env:NAME if it is sealed.",
    ),
]
