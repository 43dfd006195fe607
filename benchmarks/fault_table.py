"""Write docs/faults.md: every fault against `ChatLLM`, what happened, and what it cost.

    uv run python benchmarks/fault_table.py

The faults are served by this process. For each transport and colour a fresh process asks, one fault after the other, so that
its time and its peak of memory are that of one call.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oarlock import ChatLLM, Request
from oarlock.auth import BearerToken
from oarlock.policies import Deadline, Retry
from oarlock.testing import faults
from oarlock.testing.faults import ANSWER, Fault

PAGE = Path(__file__).parent.parent / "docs" / "faults.md"
MOST_MEMORY = 32.0  # MB, and below: seconds after the deadline. Both are the project's promise.
MOST_LATE = 1.0
WAYS = [(transport, colour) for transport in ("pyreqwest", "httpx2") for colour in ("blocking", "async")]
MB = 1024.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one call against one fault came to."""

    fault: Fault
    outcome: str
    survived: bool
    requests: int
    seconds: float
    late: float
    megabytes: float | None


# The asking side, in a process of its own.


def answer_questions(transport: str, colour: str) -> None:
    """Ask what is told on standard input, a line each, and tell on standard output what happened."""
    for line in sys.stdin:
        print(json.dumps(_measured(json.loads(line), transport, colour)), flush=True)


def _measured(job: dict[str, Any], transport: str, colour: str) -> dict[str, Any]:
    llm = ChatLLM(
        "m",
        job["url"],
        auth=BearerToken(lambda: f"token-{time.monotonic()}"),
        timeout=job["timeout"],
        policies=[Deadline(job["deadline"]), Retry(base_delay=0.05, throttled_base_delay=0.05)],
        transport=transport,
        transport_options={"verify": job["ca_pem"]} if job["ca_pem"] else None,
    )
    before = _start_of_peak()
    started = time.monotonic()
    error = None
    try:
        if colour == "async":
            asyncio.run(_ask_async(llm, stream=job["stream"]))
        else:
            _ask(llm, stream=job["stream"])
    except Exception as caught:  # whatever it is, it goes into the table
        error = [kind.__name__ for kind in type(caught).__mro__]
    seconds = time.monotonic() - started
    peak = _memory("VmHWM")
    return {"error": error, "seconds": seconds, "grown": None if peak is None or before is None else peak - before}


def _ask(llm: ChatLLM, *, stream: bool) -> None:
    if stream:
        with llm.stream("Hi") as answer:
            for _ in answer:
                pass
    else:
        llm.complete(Request(messages=[{"role": "user", "content": "Hi"}]))


async def _ask_async(llm: ChatLLM, *, stream: bool) -> None:
    try:
        if stream:
            async with llm.astream("Hi") as answer:
                async for _ in answer:
                    pass
        else:
            await llm.acomplete(Request(messages=[{"role": "user", "content": "Hi"}]))
    finally:
        await llm._transport.aclose()


def _start_of_peak() -> float | None:
    """Give back what is free, begin to measure the peak anew (Linux), and return the memory in use, in MB."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _memory("VmRSS")


def _memory(field: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / MB for line in lines if line.startswith(field))


# The serving side.


def run(transport: str, colour: str, names: list[str]) -> list[Row]:
    """Try every fault in this way."""
    command = [sys.executable, __file__, "--ask", transport, colour]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for warm_up in ("answer", "answer_in_stream", "large_answer", "answer_over_tls"):
            _try(process, faults.get(warm_up))
        rows = [_try(process, faults.get(name)) for name in names]
        assert process.stdin is not None
        process.stdin.close()
        return rows


def _try(process: subprocess.Popen[str], fault: Fault) -> Row:
    assert process.stdin is not None
    assert process.stdout is not None
    waits = "LLMTimeoutError" in fault.expect or "then_answer" in fault.name
    timeout, deadline = (0.5, 1.0) if waits else (5.0, 10.0)
    with faults.serve(fault) as server:
        job = {"url": server.url, "ca_pem": server.ca_pem if fault.tls else None, "stream": fault.stream}
        process.stdin.write(json.dumps({**job, "timeout": timeout, "deadline": deadline}) + "\n")
        process.stdin.flush()
        told = json.loads(process.stdout.readline())
        requests = server.connections if fault.at == "accept" else len(server.requests)
        elsewhere = server.other_connections
    kinds = [ANSWER] if told["error"] is None else told["error"]
    late = max(0.0, told["seconds"] - deadline)
    grown = told["grown"]
    survived = (
        any(kind in fault.expect for kind in kinds)
        and requests <= fault.requests
        and not elsewhere
        and late <= MOST_LATE
        and (grown is None or grown <= MOST_MEMORY)
    )
    return Row(
        fault=fault,
        outcome=kinds[0],
        survived=survived,
        requests=requests,
        seconds=told["seconds"],
        late=late,
        megabytes=grown,
    )


# The page.


def page(results: dict[tuple[str, str], list[Row]]) -> str:
    """Return the page as Markdown."""
    lines = [
        "# Faults",
        "",
        "Every fault of `oarlock.testing.faults` against `ChatLLM`: what happened, the requests on the wire (connections,",
        "where a fault begins before a request), seconds, and by how many MB the peak of the process's memory grew.",
        "Written by `uv run python benchmarks/fault_table.py`; do not edit.",
        "",
        f"Python {platform.python_version()}, {platform.system()}. Faults that only the client's own clock ends were run",
        "with a timeout of 0.5 s and a deadline of 1 s, the others with 5 s and 10 s. A fault counts as survived if the",
        "outcome is one of those in the last column, with no more requests than there, nothing at another origin, at most",
        f"{MOST_LATE:g} s after the deadline, and at most {MOST_MEMORY:g} MB.",
        "",
        "| transport | colour | survived | latest after the deadline | most memory | not survived |",
        "|---|---|---|---|---|---|",
        *(_summary(way, rows) for way, rows in results.items()),
        "",
        "The table shows the default transport, pyreqwest: blocking / async.",
    ]
    pairs = list(zip(results["pyreqwest", "blocking"], results["pyreqwest", "async"], strict=True))
    for group in dict.fromkeys(row.fault.group for row, _ in pairs):
        lines += ["", f"## {group}", "", "| fault | the endpoint | outcome | requests | seconds | MB | a good client |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [_line(blocking, other) for blocking, other in pairs if blocking.fault.group == group]
    return "\n".join(lines) + "\n"


def _summary(way: tuple[str, str], rows: list[Row]) -> str:
    late = max(row.late for row in rows)
    grown = max((row.megabytes or 0.0 for row in rows), default=0.0)
    survived = sum(row.survived for row in rows)
    failed = ", ".join(f"`{row.fault.name}`" for row in rows if not row.survived) or "-"
    return f"| {way[0]} | {way[1]} | {survived} of {len(rows)} | {late:.2f} s | {grown:.1f} MB | {failed} |"


def _line(one: Row, other: Row) -> str:
    fault = one.fault
    outcome = one.outcome if one.outcome == other.outcome else f"{one.outcome} / {other.outcome}"
    if not (one.survived and other.survived):
        outcome = f"**not survived**: {outcome}"
    requests = f"{one.requests}" if one.requests == other.requests else f"{one.requests} / {other.requests}"
    seconds = f"{one.seconds:.2f} / {other.seconds:.2f}"
    memory = "/".join("-" if row.megabytes is None else f" {row.megabytes:.1f} " for row in (one, other)).strip()
    return f"| `{fault.name}` | {fault.does} | {outcome} | {requests} | {seconds} | {memory} | {fault.good_client} |"


def main() -> None:
    """Ask or serve, as told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ask", nargs=2, metavar=("TRANSPORT", "COLOUR"), help=argparse.SUPPRESS)
    parser.add_argument("--group", help="only this group, shown and not written")
    given = parser.parse_args()
    if given.ask:
        answer_questions(*given.ask)
        return
    names = faults.names(given.group)
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(WAYS, pool.map(lambda way: run(*way, names), WAYS), strict=True))
    for way, rows in results.items():
        print(_summary(way, rows))
        for row in rows:
            if not row.survived:
                facts = f"{row.outcome}, {row.requests} requests, {row.seconds:.2f} s, {row.megabytes or 0:.1f} MB"
                print(f"  not survived: {row.fault.name}: {facts}; expected: {row.fault.good_client}")
    if given.group is None:
        PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
