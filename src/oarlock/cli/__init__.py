"""The command line: `oarlock demo`, `run`, `chat`, `doctor`, `faults`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the `oarlock` command. typer and rich are imported here, not with the library."""
    from oarlock.cli.app import run_app

    run_app()
