"""What a crew costs apart from its model: a kickoff on a scripted LLM, building an agent, kickoffs from many threads.

With --in-flight, runs of call, tool, call at once on a custom LLM that sleeps for half a second each time, without HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from _measure import cpu_seconds, medians, peak_memory_kb, print_costs, print_table

from oarlock import Agent, BaseLLM, Crew, Reply, Request, Task, ToolCall, tool
from oarlock.contract.reply import Usage

ANSWER = Reply(text="42", usage=Usage(prompt_tokens=20, completion_tokens=2, requests=1))
WISH = Reply(tool_calls=(ToolCall(id="1", name="add", arguments='{"a": 40, "b": 2}'),), usage=ANSWER.usage)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Scripted(BaseLLM):
    """Asks for the tool once, if there is one, and then answers; `latency` seconds each, which only coroutines wait."""

    latency = 0.0

    def supports_function_calling(self) -> bool:
        return True

    def complete(self, request: Request) -> Reply:
        return WISH if request.tools and len(request.messages) == 2 else ANSWER

    async def acomplete(self, request: Request) -> Reply:
        if self.latency:
            await asyncio.sleep(self.latency)
        return self.complete(request)


def agent_of(llm: BaseLLM, tools: list[Any]) -> Agent:
    return Agent(role="Clerk", goal="Answer correctly", backstory="You count.", llm=llm, tools=tools)


def crew_of(tools: list[Any], latency: float = 0.0) -> Crew:
    llm = Scripted()
    llm.latency = latency
    agent = agent_of(llm, tools)
    return Crew(tasks=[Task(description="What is 40 + 2? Run {number}.", expected_output="One sentence", agent=agent)])


def kickoffs(crew: Crew, runs: int) -> Callable[[], int]:
    def run() -> int:
        for number in range(runs):
            assert crew.kickoff(inputs={"number": number}).raw == "42"
        return runs

    return run


def akickoffs(crew: Crew, runs: int) -> Callable[[], int]:
    async def main() -> None:
        for number in range(runs):
            assert (await crew.akickoff(inputs={"number": number})).raw == "42"

    def run() -> int:
        asyncio.run(main())
        return runs

    return run


def builds(agents: int, tools: list[Any]) -> Callable[[], int]:
    llm = Scripted()

    def run() -> int:
        for _ in range(agents):
            agent_of(llm, tools)
        return agents

    return run


def agent_bytes(agents: int) -> float:
    """Return the bytes of one agent, its list of tools included; its texts, LLM and tools are shared."""
    llm = Scripted()
    kept: list[Any] = [None] * agents
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(agents):
        kept[number] = agent_of(llm, [add])
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return size / agents


def measure_one(runs: int, repeats: int) -> None:
    plain, tooled = crew_of([]), crew_of([add])
    cases = {
        "kickoff of one task": kickoffs(plain, runs),
        "akickoff of one task": akickoffs(plain, runs),
        "kickoff with one tool call": kickoffs(tooled, runs),
        "akickoff with one tool call": akickoffs(tooled, runs),
    }
    print_costs("A crew on an LLM that answers at once", medians(cases, repeats=repeats), unit="CPU ms", factor=1e3)
    cases = {"an agent": builds(runs * 10, []), "an agent with a tool": builds(runs * 10, [add])}
    print_costs("Building", medians(cases, repeats=repeats), unit="CPU µs", factor=1e6)
    print(f"an agent with a tool takes {agent_bytes(1000):.0f} bytes")


def measure_threads(runs: int) -> None:
    """Show whether threads get in each other's way: with the interpreter's lock, the best is the same rate as of one."""
    crew, rows = crew_of([]), [["threads", "kickoffs a second", "CPU ms each"]]
    for threads in (1, 4, 16, 64):
        numbers = itertools.count()
        start = threading.Barrier(threads + 1)

        def work() -> None:
            start.wait()  # noqa: B023  of this very round
            while (number := next(numbers)) < runs:  # noqa: B023
                crew.kickoff(inputs={"number": number})

        with ThreadPoolExecutor(threads) as pool:
            ends = [pool.submit(work) for _ in range(threads)]
            start.wait()
            wall, cpu = time.perf_counter(), cpu_seconds()
            for end in ends:
                end.result()
            wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        rows.append([str(threads), f"{runs / wall:,.0f}", f"{cpu / runs * 1e3:.3f}"])
    print_table("Kickoffs from threads", rows)


async def measure_in_flight(runs: int, latency: float) -> None:
    crew = crew_of([add], latency)
    await crew.akickoff(inputs={"number": 0})
    memory, cpu, wall = peak_memory_kb(), cpu_seconds(), time.perf_counter()
    results = await asyncio.gather(*(crew.akickoff(inputs={"number": number}) for number in range(runs)))
    memory, cpu, wall = peak_memory_kb() - memory, cpu_seconds() - cpu, time.perf_counter() - wall
    right = sum(result.raw == "42" for result in results)
    heading = ["wall s", "CPU ms a run", "peak KB a run", "right"]
    row = [f"{wall:.2f}", f"{cpu / runs * 1e3:.3f}", f"{memory / runs:.1f}", f"{right}/{runs}"]
    print_table(f"{runs} runs of call, tool, call at once, ideal {2 * latency:.1f} s", [heading, row])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="kickoffs a case and round")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--in-flight", type=int, metavar="N", help="only this: N runs at once")
    options = parser.parse_args()
    if options.in_flight:
        asyncio.run(measure_in_flight(options.in_flight, 0.5))
        sys.exit()
    measure_one(options.runs, options.repeats)
    measure_threads(options.runs * 4)
