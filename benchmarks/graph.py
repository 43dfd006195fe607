"""What scheduling a graph of tasks costs: 200 tasks on a scripted LLM, side by side and in layers, against a plain line.

The overhead is the time that the graph takes beyond the same tasks one after the other (CPU and wall), and the time of
scheduling alone, with tasks that do nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

from _measure import print_table

from oarlock import Agent, Crew, Task
from oarlock.agents.graph import Order, run_side_by_side
from oarlock.runtime import drive, drive_async
from oarlock.testing import ScriptedLLM

TASKS = 200


def crew_of(shape: str) -> Crew:
    """Return a crew whose tasks stand in a line, all side by side, or in layers of ten that each see the last layer."""
    llm = ScriptedLLM(itertools.repeat("ok", 1_000_000))
    agent = Agent(role="R", goal="G", backstory="B", llm=llm)
    tasks: list[Task] = []
    for number in range(TASKS):
        layer = number // 10 * 10
        context = {"line": [], "wide": [], "layers": tasks[max(0, layer - 10) : layer]}[shape]
        tasks.append(Task(description=f"Task {number}", agent=agent, context=context, async_execution=shape != "line"))
    return Crew(agents=[agent], tasks=tasks)


def median(run: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return the median wall and CPU milliseconds of a run."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls) * 1000, statistics.median(cpus) * 1000


def scheduling(crew: Crew, asynchronous: bool) -> Callable[[], Any]:
    """Return a function that orders the crew's tasks and runs them, where each does nothing."""

    async def do(position: int) -> None:
        pass

    async def core(runtime: Any) -> None:
        await run_side_by_side(runtime, Order(crew.tasks).needs(), do)

    async def main() -> None:
        await drive_async(core)

    return (lambda: asyncio.run(main())) if asynchronous else (lambda: drive(core))


def main(repeats: int) -> None:
    rows = [["shape and runtime", "kickoff, wall ms", "kickoff, CPU ms", "scheduling, wall ms", "scheduling, CPU ms"]]
    for shape in ("line", "wide", "layers"):
        crew = crew_of(shape)
        runs: dict[str, Callable[[], Any]] = {
            "blocking": crew.kickoff,
            "async": lambda crew=crew: asyncio.run(crew.akickoff()),
        }
        for name, run in runs.items():
            costs = median(run, repeats)
            if shape != "line":
                costs += median(scheduling(crew, name == "async"), repeats)
            rows.append([f"{shape}, {name}", *(f"{cost:.1f}" for cost in costs), *["-"] * (4 - len(costs))])
    print_table(f"{TASKS} tasks", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    main(parser.parse_args().repeats)
