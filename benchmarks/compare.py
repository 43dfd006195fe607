"""Oarlock beside other libraries and bare HTTP clients: size, import, calls, runs, streams, thousands of runs in flight.

Every peer is installed in an environment of its own (kept in --cache; a temporary folder without it), has a process of its
own, and asks the same fast endpoint on 127.0.0.1 the same question, with the same tool. The peers take turns in every round.
Every answer is checked. Nothing leaves the machine: before anything is measured, each peer does everything once under an
audit hook that refuses other addresses and tells of them.

Writes tables (Markdown), the figures (JSON) and a picture (SVG); see docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _compare_report import MEASURES, facts_of_machine, merged, write_report
from _measure import children_cpu_seconds, loopback_server, raise_file_limit
from _peers import Peer, PeerError, Process, install, read_peers, run_fresh, script, started

ANSWER = "The answer is 42."
LATENCY = 0.5
UNIT_LIMIT = 20.0  # seconds of wall time that one peer may take for one measure in one round


class OutOfTimeError(Exception):
    """What `--minutes` allowed is over."""


@dataclass(slots=True)
class Figures:
    """What was measured: of each measure, of each peer, a value a round; and what went wrong."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def add(self, measure: str, peer: str, value: float) -> None:
        self.values.setdefault(measure, {}).setdefault(peer, []).append(value)

    def note(self, measure: str, peer: str, text: str) -> None:
        """Say in the peer's cell what it has instead of a figure."""
        self.notes.setdefault(measure, {})[peer] = text

    def problem(self, peer: str, text: str) -> None:
        if text not in (known := self.problems.setdefault(peer, [])):
            known.append(text)
            print(f"{peer}: {text}", flush=True)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return the median and the quartiles of each."""
        result: dict[str, dict[str, Any]] = {}
        for measure in MEASURES:
            cells = {name: spread_of(values) for name, values in self.values.get(measure, {}).items()}
            for name, text in self.notes.get(measure, {}).items():
                cells.setdefault(name, {})["note"] = text
            if cells:
                result[measure] = cells
        return result


def spread_of(values: Sequence[float]) -> dict[str, Any]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return {"median": statistics.median(values), "low": low, "high": high, "rounds": list(values)}


@dataclass(slots=True, kw_only=True)
class Comparison:
    """One run of this program: who takes part, how long, and what came of it."""

    peers: list[Peer]
    home: Path
    rounds: int
    cpu: float
    flights: Sequence[tuple[int, int]]
    limit: float
    end: float
    figures: Figures = field(default_factory=Figures)
    offers: dict[str, list[str]] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)
    dropped: set[tuple[str, str]] = field(default_factory=set)

    def heading(self, text: str) -> None:
        self.loads.append(os.getloadavg()[0])
        print(f"{time.strftime('%H:%M:%S')} {text} (load {self.loads[-1]:.1f})", flush=True)

    def go_on(self) -> None:
        """Stop the whole comparison when its time is over.

        Raises:
            OutOfTimeError: it is.
        """
        if time.monotonic() > self.end:
            raise OutOfTimeError

    def check(self, url: str) -> None:
        """Let each peer do everything once, watched; whoever cannot, or wants to reach others, takes no part."""
        self.heading("checking answers and connections")
        for peer in list(self.peers):
            try:
                with started(peer, url, self.home, "--audit") as process:
                    self.offers[peer.name] = process.ask({"do": "offers"}, limit=60)["offers"]
                    for unit in self.offers[peer.name]:
                        order = {"do": unit, "at": 1, "cpu": 0.0, "wall": 0.0}
                        self.judge(peer, unit, process.ask(order, limit=60))
                    foreign = process.ask({"do": "foreign"}, limit=60)["foreign"]
            except PeerError as error:
                foreign = [str(error)]
            if foreign:
                self.figures.problem(peer.name, f"takes no part: {', '.join(foreign)}")
                self.peers.remove(peer)

    def judge(self, peer: Peer, measure: str, result: dict[str, Any]) -> bool:
        """Tell whether all answers were right; keep what was not."""
        bad = result["wrong"] + result["failed"]
        if bad:
            self.figures.problem(peer.name, f"{measure}: {bad} of {result['units']} bad: {'; '.join(result['errors'])}")
        return not bad

    def fresh(self, url: str) -> None:
        """Measure what a new interpreter needs: to import, to answer once."""
        programs: dict[str, Callable[[Peer], list[str]]] = {
            "bare": lambda peer: ["-c", "pass"],
            "import": lambda peer: ["-c", peer.imports],
            "first_call": lambda peer: [script("first.py"), peer.name, "call", url],
            "first_run": lambda peer: [script("first.py"), peer.name, "run", url],
        }
        for turn in range(self.rounds):
            self.heading(f"imports and first answers, round {turn + 1}")
            for peer in self.peers:
                for measure, program in programs.items():
                    self.one_fresh(peer, measure, program(peer))

    def one_fresh(self, peer: Peer, measure: str, program: list[str]) -> None:
        self.go_on()
        before = children_cpu_seconds()
        try:
            output = run_fresh(peer, self.home, program).strip()
        except PeerError as error:
            self.figures.problem(peer.name, f"{measure}: {error}")
            return
        if measure.startswith("first") and output != ANSWER:
            self.figures.problem(peer.name, f"{measure}: answered {output[:200]!r}")
        else:
            self.figures.add(measure, peer.name, children_cpu_seconds() - before)

    def together(self, url: str, orders: dict[str, dict[str, Any]]) -> None:
        """Let the peers, each in its process, carry out the orders in turns; the first round warms up."""
        with ExitStack() as stack:

            def start(peer: Peer) -> Process:
                return stack.enter_context(started(peer, url, self.home))

            processes = {peer.name: start(peer) for peer in self.peers}
            for turn in range(self.rounds + 1):
                for measure, order in orders.items():
                    self.heading(f"round {turn}: {MEASURES[measure].title}")
                    for peer in self.peers:
                        if not self.one_order(peer, processes[peer.name], measure, order, keep=turn > 0):
                            processes[peer.name] = start(peer)

    def one_order(self, peer: Peer, process: Process, measure: str, order: dict[str, Any], *, keep: bool) -> bool:
        """Measure once; tell whether the process is still there."""
        unit = self.unit_for(peer, order["do"])
        if unit is None or (peer.name, measure) in self.dropped:
            return True
        self.go_on()
        try:
            result = process.ask({**order, "do": unit, "cpu": self.cpu, "wall": UNIT_LIMIT}, limit=6 * UNIT_LIMIT)
        except PeerError as error:
            self.figures.note(measure, peer.name, str(error))
            self.dropped.add((peer.name, measure))
            return False
        if not self.judge(peer, measure, result):
            self.figures.note(measure, peer.name, f"{result['wrong'] + result['failed']} of {result['units']} bad")
            self.dropped.add((peer.name, measure))
            return True
        if not keep and result["wall"] > UNIT_LIMIT:  # as good as it gets: there is no time for more rounds
            self.dropped.add((peer.name, measure))
            keep = True
        if keep:
            self.figures.add(measure, peer.name, result["cpu"] / result["units"])
            self.figures.add(f"{measure}_rate", peer.name, result["units"] / result["wall"])
        return True

    def unit_for(self, peer: Peer, unit: str) -> str | None:
        """Return what the peer calls the unit; an async stream will do where there is no blocking one."""
        offers = self.offers[peer.name]
        if unit == "stream" and unit not in offers:
            unit = "astream"
        return unit if unit in offers else None

    def fly(self, url: str, *, small: bool) -> None:
        """Start the smallest of the flights, or the others, each peer in a new process each time."""
        for runs, rounds in self.flights[:1] if small else self.flights[1:]:
            for turn in range(rounds):
                self.heading(f"{runs:,} runs in flight, round {turn + 1}")
                for peer in self.peers:
                    if (peer.name, "flight") not in self.dropped:
                        self.one_flight(peer, url, runs)

    def hopeless(self, peer: Peer, runs: int) -> bool:
        """Tell, and note, that by its smaller flights a peer would need more than twice the limit."""
        for smaller, _ in self.flights:
            took = self.figures.values.get(f"flight_{smaller}", {}).get(peer.name)
            if smaller < runs and took and min(took) * runs / smaller > 2 * self.limit:
                self.figures.note(f"flight_{runs}", peer.name, f"> {self.limit:.0f} s, not tried")
                return True
        return False

    def one_flight(self, peer: Peer, url: str, runs: int) -> None:
        name = f"flight_{runs}"
        self.go_on()
        if self.hopeless(peer, runs):
            return
        try:
            with started(peer, url, self.home) as process:
                order = {"do": "flight", "runs": runs, "limit": self.limit}
                result = process.ask(order, limit=self.limit * 1.5 + 60)
        except PeerError as error:
            result = {"units": 0, "wrong": 0, "failed": 0, "errors": [str(error)]}
        right = result["units"] - result["wrong"] - result["failed"]
        if right == runs:
            self.figures.add(name, peer.name, result["wall"])
            self.figures.add(f"{name}_cpu", peer.name, result["cpu"] / runs)
            self.figures.add(f"{name}_kb", peer.name, result["peak_kb"] / runs)
            return
        self.dropped.add((peer.name, "flight"))  # more of them will not do better
        self.judge(peer, name, result)
        ended = result["units"] == runs
        text = f"{runs - right:,} of {runs:,} bad" if ended else f"> {self.limit:.0f} s ({right:,} right)"
        for larger, _ in self.flights:
            if larger == runs:
                self.figures.note(name, peer.name, text)
            elif larger > runs:
                self.figures.note(f"flight_{larger}", peer.name, "not tried")


def orders_for(piecewise: str) -> dict[str, dict[str, Any]]:
    """Return what to do for each measure; `piecewise` is the endpoint that writes each event by itself."""
    orders: dict[str, dict[str, Any]] = {unit: {"do": unit, "at": 0} for unit in ("call", "run", "stream")}
    orders["stream_each"] = {"do": "stream", "at": 0, "url": piecewise}
    return orders | side_by_side(64) | side_by_side(1)


def side_by_side(at: int) -> dict[str, dict[str, Any]]:
    return {f"{unit}_{at}": {"do": unit, "at": at} for unit in ("acall", "arun")}


def compare(comparison: Comparison, parts: Sequence[str]) -> None:
    """Do it all; what tells most comes first, in case the time is over before the end."""
    with ExitStack() as stack:

        def serve(*options: str) -> str:
            return stack.enter_context(loopback_server("--mode", "tool", *options))

        url = serve()
        comparison.check(url)
        if "turns" in parts:
            comparison.together(url, orders_for(serve("--burst", "1")))
            comparison.together(
                url, side_by_side(512)
            )  # apart, as the slowest: with it, a round of all takes twice as long
        if "flights" in parts:
            comparison.fly(serve("--latency", str(LATENCY)), small=True)
        if "starts" in parts:
            comparison.fresh(url)
        if "flights" in parts:
            comparison.fly(serve("--latency", str(LATENCY)), small=False)


@contextmanager
def folder_or_temporary(path: Path | None) -> Iterator[Path]:
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        yield path.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="oarlock-peers-") as folder:
        yield Path(folder)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where the environments are and stay (1.8 GB)")
    parser.add_argument("--only", default="", metavar="NAMES", help="peers, by comma; the beginning of a name will do")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", type=float, default=0.5, metavar="SECONDS", help="CPU a peer, measure and round")
    parser.add_argument("--limit", type=float, default=60, metavar="SECONDS", help="for all runs in flight together")
    parser.add_argument("--minutes", type=float, default=60, help="then it stops, and reports what it has")
    parser.add_argument("--quick", action="store_true", help="one short round, 100 runs in flight: does it all work?")
    parser.add_argument("--parts", default="turns,flights,starts", help="what to measure; the default is everything")
    parser.add_argument("--onto", type=Path, metavar="FILE", help="an earlier run's benchmarks.json, for other parts")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where the report goes, such as docs; else: nowhere"
    )
    return parser.parse_args()


def begin(options: argparse.Namespace, peers: Sequence[Peer], home: Path) -> Comparison:
    return Comparison(
        peers=list(peers),
        home=home,
        rounds=1 if options.quick else options.rounds,
        cpu=0.05 if options.quick else options.cpu,
        flights=[(100, 1)] if options.quick else [(1_000, min(2, options.rounds)), (10_000, 1)],
        limit=options.limit,
        end=time.monotonic() + options.minutes * 60,
    )


def facts_of_run(comparison: Comparison, began: float, parts: str) -> dict[str, Any]:
    return {
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)),
        "minutes": round((time.time() - began) / 60, 1),
        "lowest_load": min(comparison.loads),
        "highest_load": max(comparison.loads),
        "parts": parts,
    }


def main() -> None:
    options = parse_options()
    raise_file_limit()
    with folder_or_temporary(options.cache) as cache, tempfile.TemporaryDirectory() as home:
        pins, peers = read_peers(cache, [name for name in options.only.split(",") if name])
        installed = {peer.name: install(peer, pins) for peer in peers}
        comparison = begin(options, peers, Path(home))
        for name, found in installed.items():
            comparison.figures.add("distributions", name, found["distributions"])
            comparison.figures.add("mb", name, found["mb"])
        began = time.time()
        try:
            compare(comparison, options.parts.split(","))
        except (KeyboardInterrupt, OutOfTimeError):
            print("stopped; what was measured until now:")
    results = {
        "machine": facts_of_machine(),
        "runs": [facts_of_run(comparison, began, options.parts)],
        "exclude_newer": pins.exclude_newer,
        "titles": {peer.name: peer.title for peer in peers},
        "versions": {name: found["versions"] for name, found in installed.items()},
        "measures": comparison.figures.summary(),
        "problems": comparison.figures.problems,
    }
    if options.onto:
        results = merged(json.loads(options.onto.read_text(encoding="utf-8")), results)
    write_report(results, options.output)
    print(json.dumps(results["problems"], indent=1) if results["problems"] else "every answer was right")


if __name__ == "__main__":
    main()
