"""`oarlock doctor`: from the command line to the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import typer
from rich.console import Console

from oarlock.cli.doctor.case import Patient, shown
from oarlock.cli.doctor.examine import examine
from oarlock.cli.doctor.report import Examination, Report, Step
from oarlock.cli.doctor.show import Shown
from oarlock.cli.doctor.targets import Given, patients
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import scrub

__all__ = ["run_doctor"]

_USAGE = 2  # exit code, as typer's own for options that are not there


def run_doctor(target: str, given: Given, *, timeout: float | None, as_json: bool, debug: bool) -> None:
    """Examine a target, tell what was found, and exit with 0 if everything works, else with 1; 2 for a wrong command."""
    try:
        found = patients(target, given)
    except ConfigurationError as error:
        typer.secho(f"Error: {scrub(str(error), 1000)}", err=True, fg=typer.colors.RED)
        sys.exit(_USAGE)
    watch = _to_stderr if debug else None
    if as_json:
        report = Report(
            target=shown(target), examinations=tuple(_examined(one, given, timeout, None, watch) for one in found)
        )
        print(json.dumps(report.as_json(), indent=2))
    else:
        report = Report(target=shown(target), examinations=tuple(_shown(one, given, timeout, watch) for one in found))
    sys.exit(0 if report.ok else 1)


def _examined(
    patient: Patient,
    given: Given,
    timeout: float | None,
    on_step: Callable[[Step], None] | None,
    on_exchange: Callable[[str], None] | None,
) -> Examination:
    return examine(patient, timeout=timeout, secrets=given.secrets, on_step=on_step, on_exchange=on_exchange)


def _shown(
    patient: Patient, given: Given, timeout: float | None, on_exchange: Callable[[str], None] | None
) -> Examination:
    page = Shown(Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    page.begin(patient)
    examination = _examined(patient, given, timeout, page.step, on_exchange)
    page.end(examination)
    return examination


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
