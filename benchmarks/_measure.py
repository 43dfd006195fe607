"""What the benchmarks share: the loopback server, CPU time, interleaved repeats, a plain table."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "What is 40 + 2? Answer with one sentence."}]}
"""What the bare clients send: about what `ChatLLM` sends for the same prompt."""

PROMPT = REQUEST["messages"][0]["content"]  # type: ignore[index]


@contextmanager
def loopback_server(*options: str) -> Iterator[str]:
    """Run `server.py` with these options and yield its base URL."""
    command = [sys.executable, str(Path(__file__).with_name("server.py")), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.stdin.close()
            process.wait(10)


@contextmanager
def compiled_modules() -> Iterator[dict[str, str]]:
    """Yield an environment in which programs keep their modules compiled, as those of an installed package are."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        yield {**environment, "PYTHONPYCACHEPREFIX": folder}


def raise_file_limit() -> None:
    """Allow as many open sockets as the system lets us."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu_seconds() -> float:
    """CPU time of this process, all threads, user and system."""
    return time.process_time()


def children_cpu_seconds() -> float:
    """CPU time of the child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peak_memory_kb() -> float:
    """The most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else float(peak)


def medians(
    cases: dict[str, Callable[[], int]], *, repeats: int, clock: Callable[[], float] = cpu_seconds
) -> dict[str, float]:
    """Return the median cost of one unit of each case, in seconds of `clock`.

    A case does its work and returns how many units that was. The cases take turns, so that whatever else the machine
    does falls on all of them; the first round only warms up.
    """
    costs: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats + 1):
        for name, run in cases.items():
            before = clock()
            units = run()
            costs[name].append((clock() - before) / units)
    return {name: statistics.median(several[1:]) for name, several in costs.items()}


def print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a title, the first row as heading, columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    print(f"\n{title}")
    for first, *rest in [rows[0], rule, *rows[1:]]:
        numbers = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join([first.ljust(widths[0]), *numbers]))


def print_costs(title: str, costs: dict[str, float], *, unit: str, factor: float, against: str | None = None) -> None:
    """Print each case's cost in `unit` (`factor` of them a second) and its ratio to the case `against`."""
    base = costs.get(against or "")
    rows = [[name, f"{cost * factor:.3f}", f"{cost / base:.2f}" if base else "-"] for name, cost in costs.items()]
    print_table(title, [["case", unit, "ratio"], *rows])
