"""Processes of the tests' own, to be killed: forked from one that has the engine's library loaded, which alone takes two seconds."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["Forked"]

FOLDER = Path(__file__).parent
_CONTEXT = multiprocessing.get_context("forkserver")


class Forked:
    """A process that does `work(*args)`, from a module in this folder, and whose words can be read.

    Attributes:
        pid: its id.
    """

    def __init__(self, work: Callable[..., Any], *args: Any) -> None:
        _CONTEXT.set_forkserver_preload(["oarlock.cli.app", "oarlock.durable.dbos_engine"])
        reader, writer = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_speaking, args=(writer, work, args))
        self._process.start()
        writer.close()
        self._said = os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="replace")
        reader.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def line(self) -> str:
        """Return the next line that it says."""
        return self._said.readline()

    def end(self, number: int) -> str:
        """Send it a signal, and return what it said last."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.rest()

    def rest(self) -> str:
        """Return what it says until it ends."""
        said = self._said.read()
        self._process.join(60)
        self._said.close()
        return said

    @property
    def code(self) -> int | None:
        """How it ended."""
        return self._process.exitcode


def _speaking(writer: Connection, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    for stream in (1, 2):
        os.dup2(writer.fileno(), stream)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115  for the process's life
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(FOLDER)
    work(*args)
