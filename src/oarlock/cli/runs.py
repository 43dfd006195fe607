"""`oarlock runs`: look at durable runs, and steer them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oarlock.cli.database import Database
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import scrub

if TYPE_CHECKING:
    from oarlock.durable.handle import RunEvent, RunHandle
    from oarlock.durable.port import RunInfo, Store

__all__ = ["runs_app"]

runs_app = typer.Typer(name="runs", help="Look at durable runs, and steer them.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@runs_app.command("list")
def list_runs(
    database: Database,
    state: Annotated[
        list[str] | None, typer.Option(help="Only these: queued, running, waiting, finished, failed, cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Most runs to show, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    from oarlock.durable.port import State
    from oarlock.durable.stores import left_by_all

    unknown = sorted(set(state or ()) - set(State))
    if unknown:
        raise ConfigurationError(f"--state must be one of {', '.join(State)}, not {unknown[0]!r}.")
    with _store(database) as store:
        found = store.runs([State(one) for one in state or ()], limit=limit)
    left = left_by_all(database, found)
    if as_json:
        _print_json([_facts(info, left) for info in found])
        return
    rows = [
        (
            info.run_id,
            str(info.facts.get("crew", "")),
            str(info.state),
            _ago(info.created),
            _ago(info.updated),
            _why(info, left),
        )
        for info in found
    ]
    _print_table(("run", "crew", "state", "begun", "changed", ""), rows)


@runs_app.command()
def show(run_id: RunId, database: Database, as_json: AsJson = False) -> None:
    """Show a run: where it stands, and each step that is recorded."""
    from oarlock.durable.stores import left_by_all

    with _handle(run_id, database) as handle:
        info = handle.info()
        steps = [event for event in handle.events(follow=False) if event.kind != "state"]
        asked = handle.questions()
    left = left_by_all(database, [info])
    if as_json:
        _print_json({**_facts(info, left), "questions": asked, "steps": [dataclasses.asdict(step) for step in steps]})
        return
    typer.echo(f"Run {info.run_id} of crew {info.facts.get('crew', '?')}: {info.state}. {_why(info, left)}".rstrip())
    if info.forked_from:
        typer.echo(f"Forked from {info.forked_from}.")
    for key, question in asked.items():
        typer.echo(
            f"Asks a human about task {question.get('task')!r}: oarlock runs signal {info.run_id} --question {key}"
        )
    _print_table(
        ("step", "kind", "name", "task", "agent", "seconds", "what came of it"), [_row(step) for step in steps]
    )


@runs_app.command()
def resume(
    run_id: RunId,
    database: Database,
    retry_tools: Annotated[
        bool, typer.Option("--retry-tools", help="Run tools again that may have done their work.")
    ] = False,
    skip_tools: Annotated[bool, typer.Option("--skip-tools", help="Do not; tell the model that nobody knows.")] = False,
) -> None:
    """Let a run go on that failed, was cancelled or waits."""
    if retry_tools and skip_tools:
        raise ConfigurationError("Give --retry-tools or --skip-tools, not both.")
    with _handle(run_id, database) as handle:
        handle.resume(tools="retry" if retry_tools else "skip" if skip_tools else None)
        info = handle.info()
    where = "waits for a worker" if not info.facts.get("here") else "goes on when its program asks for it again"
    typer.echo(f"Run {run_id} {where}.")


@runs_app.command()
def cancel(run_id: RunId, database: Database) -> None:
    """Stop a run at its next step. What is recorded stays."""
    with _handle(run_id, database) as handle:
        handle.cancel()
    typer.echo(f"Run {run_id} is cancelled.")


@runs_app.command()
def fork(
    run_id: RunId,
    database: Database,
    from_step: Annotated[int, typer.Option(help="The first step that is done anew; see `oarlock runs show`.")],
    to: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="The program whose crew does it, if that has changed.")
    ] = None,
) -> None:
    """Begin a new run with the recorded answers of another one, up to a step."""
    from oarlock.durable.steering import fork as fork_run
    from oarlock.durable.stores import found

    with _store(database) as store:
        mark = None if to is None else _mark(to, str(found(store, run_id, content=False).facts.get("crew", "")))
        typer.echo(fork_run(store, run_id, from_step, mark))


@runs_app.command()
def signal(
    run_id: RunId,
    database: Database,
    said: Annotated[str, typer.Argument(metavar="[TEXT]", help="What to change; nothing accepts the answer.")] = "",
    question: Annotated[str | None, typer.Option(help="Which question, if several are open.")] = None,
) -> None:
    """Answer what a run asks a human."""
    with _handle(run_id, database) as handle:
        handle.signal(said, question=question)
    typer.echo(f"Run {run_id} has the answer.")


def _mark(path: str, crew: str) -> str:
    from oarlock.durable.registry import Registry
    from oarlock.project.importing import imported

    return Registry.of(imported(path, "--to", Path())).fingerprint(crew)


@contextlib.contextmanager
def _store(database: str) -> Iterator[Store]:
    from oarlock.durable.stores import open_store

    with contextlib.closing(open_store(database)) as store:
        yield store


@contextlib.contextmanager
def _handle(run_id: str, database: str) -> Iterator[RunHandle]:
    from oarlock.durable.handle import RunHandle

    with RunHandle(run_id, database=database) as handle:
        yield handle


def _facts(info: RunInfo, left: set[str]) -> dict[str, Any]:
    return {
        "run": info.run_id,
        "crew": info.facts.get("crew"),
        "state": str(info.state),
        "created": info.created,
        "updated": info.updated,
        "queue": info.queue,
        "executor": info.executor,
        "waits": info.facts.get("waits"),
        "left": info.run_id in left,
        "forked_from": info.forked_from,
    }


def _why(info: RunInfo, left: set[str]) -> str:
    from oarlock.durable.port import State

    if info.run_id in left:
        here = (
            "It goes on when its program asks for it again"
            if info.facts.get("here")
            else "Another worker takes it over"
        )
        return f"Its process has ended. {here}"
    if info.state is State.waiting:
        return f"Waits {info.facts.get('waits')}"
    if info.state is State.queued and not info.facts.get("here"):
        return f"Waits for a worker with crew {info.facts.get('crew')} as of {info.facts.get('fingerprint')}"
    return ""


def _row(step: RunEvent) -> tuple[str, ...]:
    text = " ".join(step.text.split())
    failed = "failed: " if step.failed and not text.startswith("Error") else ""
    place = (str(step.step), step.kind, step.name, step.task or "", step.agent or "")
    return (*place, f"{step.seconds:.2f}", f"{failed}{text}")


def _ago(moment: float | None) -> str:
    if moment is None:
        return ""
    seconds = max(0.0, time.time() - moment)
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name} ago"
    return f"{seconds:.0f} s ago"


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _print_table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table: for a terminal with columns, else a line each with tabs."""
    if not _is_terminal():
        for row in rows:
            typer.echo("\t".join(scrub(cell, 2000) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(scrub(cell, 200)) for cell in row))
    Console().print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
