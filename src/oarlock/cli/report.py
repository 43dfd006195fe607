"""`oarlock report`: the page of a record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from oarlock.contract.errors import ConfigurationError
from oarlock.policies import Price
from oarlock.report import read_record, write_page

__all__ = ["make_report"]


def make_report(path: Path, output: Path | None, prices: Sequence[str]) -> None:
    """Write the page of a record, and say where it is and what is missing in it.

    Args:
        path: of the record.
        output: of the page, `-` for standard output; default: the record's name with `.html`.
        prices: each as MODEL=INPUT,OUTPUT or MODEL=INPUT,OUTPUT,CACHED, for a million tokens.

    Raises:
        ConfigurationError: the record cannot be read, or the page not be written.
    """
    record = read_record(path, prices=dict(map(_price, prices)))
    to = path.with_suffix(".html") if output is None else output
    if str(to) == "-":
        from oarlock.report import as_page

        sys.stdout.buffer.write(as_page(record).encode("utf-8", "replace"))
        return
    if to.exists() and path.exists() and to.samefile(path):
        raise ConfigurationError(
            f"The report would take the place of the record {str(path)!r}. Name another file with -o."
        )
    write_page(record, to)
    for notice in record.notices:
        typer.secho(notice, err=True, fg=typer.colors.YELLOW)
    runs, calls = len(record.runs), sum(root.totals.calls for run in record.runs for root in run.tree.roots)
    cut = sum(not run.ended for run in record.runs)
    without_end = f" ({cut:,} of them without an end)" if cut and runs > 1 else " without an end" if cut else ""
    shown = f"{runs:,} run{'s'[: runs != 1]}{without_end}, {calls:,} model call{'s'[: calls != 1]}"
    typer.echo(f"{to}: {shown}. Open it in a browser.")


def _price(text: str) -> tuple[str, Price]:
    model, _, numbers = text.rpartition("=")
    try:
        values = [float(number) for number in numbers.split(",")]
    except ValueError:
        values = []
    if not model or len(values) not in (2, 3):
        raise ConfigurationError(
            f"A price is given as MODEL=INPUT,OUTPUT for a million tokens, such as gpt-x=2.5,10, not {text!r}."
        )
    return model, Price(input=values[0], output=values[1], cached_input=values[2] if len(values) == 3 else None)
