"""One peer in a process of its own: `child.py PEER URL [--audit]`. An order comes as a line of JSON, its result goes as one.

Orders: `{"do": "call", "at": 0, "cpu": 0.3, "wall": 30}` repeats a unit (call, acall, run, arun, stream, astream; the async
ones with so many at once) until so much time has passed, with `url` at another endpoint; `{"do": "flight", "runs": 1000, "limit": 60}` starts so many runs at once;
`{"do": "offers"}` and `{"do": "foreign"}` tell what the peer can do, and which addresses off this machine it wanted.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from task import ANSWER, PROMPT, STREAMED, TOKENS, load_peer, uses_of_tool

UNITS = ("call", "acall", "run", "arun", "stream", "astream")
BATCH = 4  # units between two looks at the clocks

foreign: list[str] = []


@dataclass(slots=True)
class Tally:
    """How many units ended, and how; `size` is what a unit counts for."""

    expected: str
    size: int = 1
    units: int = 0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)
    failed: int = 0

    def count(self, answer: str) -> None:
        self.units += self.size
        if answer.strip() != self.expected:
            self.wrong += self.size
            self.note(f"answered {answer[:200]!r}")

    def fail(self, error: BaseException) -> None:
        self.units += self.size
        self.failed += self.size
        self.note(f"{type(error).__name__}: {error}"[:200])

    def note(self, problem: str) -> None:
        if len(self.errors) < 2:
            self.errors.append(problem)


def start_audit() -> None:
    """Refuse connections and look-ups that leave this machine, and keep what they wanted."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
            return
        target = arguments[0] if event.startswith("socket.geth") or event == "socket.getaddrinfo" else arguments[1]
        host = target[0] if isinstance(target, tuple) else target
        if isinstance(target, tuple) or event.startswith("socket.get"):
            name = host.decode() if isinstance(host, bytes) else str(host)
            if name not in {"127.0.0.1", "::1", "localhost", "None"}:
                foreign.append(f"{event} {name}")
                raise OSError(f"not this machine: {name}")

    sys.addaudithook(hook)


def unit_of(peer: Any, name: str) -> Callable[[], Any]:
    """Return what does a unit once: gives its text, or a coroutine that does."""
    method = getattr(peer, name)
    if name in {"run", "arun"}:
        agent = peer.make_agent(PROMPT)
        return lambda: method(agent, PROMPT)
    if name == "stream":
        return lambda: "".join(method(PROMPT))
    if name == "astream":
        return lambda: joined(method(PROMPT))
    return lambda: method(PROMPT)


async def joined(pieces: Any) -> str:
    return "".join([piece async for piece in pieces])


def repeat(unit: Callable[[], str], tally: Tally, until: Callable[[], bool]) -> None:
    while True:
        for _ in range(BATCH):
            try:
                tally.count(unit())
            except Exception as error:
                tally.fail(error)
        if until():
            return


async def crowd(unit: Callable[[], Awaitable[str]], tally: Tally, until: Callable[[], bool], at: int) -> None:
    async def worker() -> None:
        while True:
            try:
                tally.count(await unit())
            except Exception as error:
                tally.fail(error)
            if until():
                return

    await asyncio.gather(*(worker() for _ in range(at)))


async def fly(unit: Callable[[], Awaitable[str]], tally: Tally, runs: int, limit: float) -> None:
    """Start all runs at once; those that are not done within the limit are left where they are."""

    async def one() -> None:
        try:
            tally.count(await unit())
        except Exception as error:
            tally.fail(error)

    await asyncio.wait([asyncio.ensure_future(one()) for _ in range(runs)], timeout=limit)


class Child:
    """A peer, its units, and the loop that the async ones run in.

    Each unit, and each number of them at once, has a peer of its own: some clients serve but the event loop that used them
    first, and fail in others; and pools keep the connections of the most that there ever were at once.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self.units: dict[tuple[str, int, str], Callable[[], Any]] = {}
        self.loop: asyncio.AbstractEventLoop | None = None

    def perform(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["do"] == "offers":
            peer = load_peer(self.name, self.url)
            return {"offers": [name for name in UNITS if hasattr(peer, name)]}
        if order["do"] == "foreign":
            return {"foreign": sorted(set(foreign))}
        return self.measured(order)

    def measured(self, order: dict[str, Any]) -> dict[str, Any]:
        name = "arun" if order["do"] == "flight" else order["do"]
        unit = self.unit(name, order.get("at", 0), order.get("url", self.url))
        tally = Tally(STREAMED.strip(), TOKENS) if name.endswith("stream") else Tally(ANSWER)
        work = self.work_of(order, unit, tally)
        gc.collect()
        uses, peak = uses_of_tool(), peak_kb()
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if name.endswith("run"):  # without the tool, a right answer is none
            tally.wrong += max(0, tally.units - tally.failed - tally.wrong - (uses_of_tool() - uses))
        counts = {"units": tally.units, "wrong": tally.wrong, "failed": tally.failed, "errors": tally.errors}
        return {**counts, "cpu": cpu, "wall": wall, "peak_kb": peak_kb() - peak}

    def unit(self, name: str, at: int, url: str) -> Callable[[], Any]:
        if (name, at, url) not in self.units:
            self.units[name, at, url] = unit_of(load_peer(self.name, url), name)
        return self.units[name, at, url]

    def work_of(self, order: dict[str, Any], unit: Callable[[], Any], tally: Tally) -> Callable[[], None]:
        if order["do"] == "flight":
            self.run(crowd(unit, Tally(ANSWER), lambda: True, 1))  # warm
            return lambda: self.run(fly(unit, tally, order["runs"], order["limit"]))
        cpu_end, wall_end = order["cpu"], order["wall"]
        cpu, wall = time.process_time(), time.perf_counter()

        def until() -> bool:
            return time.process_time() - cpu >= cpu_end or time.perf_counter() - wall >= wall_end

        if order["do"].startswith("a"):
            return lambda: self.run(crowd(unit, tally, until, max(1, order["at"])))
        return lambda: repeat(unit, tally, until)

    def run(self, coroutine: Any) -> None:
        """Run it in a loop that is nobody else's: some blocking calls drive the thread's own."""
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(coroutine)


def peak_kb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else float(peak)


def main() -> None:
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is no result
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if "--audit" in sys.argv:
        start_audit()
    child = Child(*sys.argv[1:3])
    for line in sys.stdin:
        print(json.dumps(child.perform(json.loads(line))), file=results, flush=True)
    results.flush()
    os._exit(0)  # a thousand connections, and the threads of some peers, need no farewell


if __name__ == "__main__":
    main()
