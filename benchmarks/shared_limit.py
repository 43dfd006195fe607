"""Many processes under one limit through Redis: does any window hold more than the limit? And what does a limit cost?

The first table is from the times at which calls passed, as each process' clock says; the second from limits so wide that
nobody waits.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from _measure import print_table

from oarlock import Reply, Request, Usage
from oarlock.policies import RateLimit
from oarlock.runtime import Runtime
from oarlock.runtime.aio import AsyncRuntime
from oarlock.runtime.blocking import BlockingRuntime

REQUEST = Request(messages=[{"role": "user", "content": "What is 40 + 2? Answer with one sentence."}])
REPLY = Reply(text="42", usage=Usage(prompt_tokens=12, completion_tokens=3, requests=1))
WIDE = 10**9


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a redis-server that keeps nothing, and yield its URL."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("This benchmark needs the program redis-server.")
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                with socket.socket() as knock:
                    if knock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(10)


async def answer(runtime: Runtime, request: Request) -> Reply:
    """Stand for a model that answers at once."""
    return REPLY


async def keep_asking(limit: RateLimit, seconds: float, callers: int) -> list[float]:
    """Ask as often as the limit lets us; return when each call passed."""
    passed: list[float] = []
    runtime, until = AsyncRuntime(), time.monotonic() + seconds

    async def model(runtime: Runtime, request: Request) -> Reply:
        passed.append(time.time())
        return REPLY

    handler = limit(model)

    async def caller() -> None:
        while time.monotonic() < until:
            await handler(runtime, REQUEST)

    tasks = [asyncio.ensure_future(caller()) for _ in range(callers)]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return passed


def most_in_a_window(times: Sequence[float], period: float) -> int:
    """Return the greatest number of times within any [t, t + period)."""
    most = first = 0
    for last, when in enumerate(times):
        while when - times[first] >= period:
            first += 1
        most = max(most, last - first + 1)
    return most


def worker(arguments: argparse.Namespace) -> None:
    """Be one of the processes: print when each call passed."""
    wide = arguments.limit >= WIDE
    limit = RateLimit(arguments.limit, burst=arguments.burst, store=arguments.url, key=f"bench-{wide}")
    print(*asyncio.run(keep_asking(limit, arguments.seconds, 20)))


def run_workers(url: str, processes: int, seconds: float, limit: int, burst: int) -> list[float]:
    """Return when calls passed in all processes together, in order."""
    command = [sys.executable, __file__, "--url", url, "--seconds", str(seconds)]
    command += ["--limit", str(limit), "--burst", str(burst)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return sorted(float(word) for each in workers for word in each.communicate()[0].split())


def local_speed(count: int = 100_000) -> list[tuple[str, str]]:
    """Return reservations a CPU second of a limit in memory, the whole policy around an empty model."""
    runtime, rows = BlockingRuntime(), []
    for name, limit in {
        "requests": RateLimit(WIDE, burst=WIDE // 10),
        "requests and tokens": RateLimit(WIDE, 1000 * WIDE, burst=WIDE // 10),
    }.items():
        handler = limit(answer)

        async def many(handler=handler) -> None:  # type: ignore[no-untyped-def]
            for _ in range(count):
                await handler(runtime, REQUEST)

        best = 0.0
        for _ in range(5):
            before = time.process_time()
            runtime.run(many())
            best = max(best, count / (time.process_time() - before))
        rows.append((f"in memory, {name}", f"{best:,.0f}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=130)
    parser.add_argument("--limit", type=int, default=600, help="requests a minute")
    parser.add_argument("--burst", type=int, default=30)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.url:
        worker(arguments)
        return
    with redis_server() as url:
        times = run_workers(url, arguments.processes, arguments.seconds, arguments.limit, arguments.burst)
        free = run_workers(url, arguments.processes, 5, WIDE, WIDE // 10)
    print_table(
        f"{arguments.processes} processes, {arguments.limit} a minute, burst {arguments.burst}, {arguments.seconds:g} s",
        [
            ("what", "calls"),
            ("most in any 60 s", str(most_in_a_window(times, 60))),
            ("most in any 1 s", str(most_in_a_window(times, 1))),
            ("in all", str(len(times))),
        ],
    )
    shared = (f"Redis, {arguments.processes} processes, a second of all", f"{len(free) / 5:,.0f}")
    print_table("Reservations, nobody waiting", [("where", "a second"), *local_speed(), shared])


if __name__ == "__main__":
    main()
