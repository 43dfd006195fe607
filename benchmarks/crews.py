"""Many crews at once in one process: wall time, CPU and memory a run, right answers.

With --http each run is one task of one agent with one tool: a model call, the tool, a model call, half a second each.
With --bare each run is the same two calls through bare pyreqwest and json, with as little code as will do: the floor of --http.
With --acall each run is two tasks in sequence on a custom LLM whose `acall` sleeps for half a second.
Either way no run can take less than a second.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from _measure import cpu_seconds, loopback_server, peak_memory_kb, print_table, raise_file_limit

LATENCY = 0.5
ANSWER = "The answer is 42."


@contextmanager
def http_crew() -> Iterator[Any]:
    """Yield a crew of one agent with one tool, on a loopback endpoint that asks for the tool once."""
    from oarlock import Agent, ChatLLM, Crew, Task, tool
    from oarlock.auth import ApiKey

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    with loopback_server("--latency", str(LATENCY), "--mode", "tool") as url:
        llm = ChatLLM(model="m", base_url=url, auth=ApiKey("k"))
        agent = Agent(role="Clerk", goal="Answer correctly", backstory="You count.", llm=llm, tools=[add])
        task = Task(description="What is 40 + 2? Run {number}.", expected_output="One sentence", agent=agent)
        yield Crew(agents=[agent], tasks=[task])


class BareCrew:
    """What a run of `http_crew` does, without the library."""

    def __init__(self, url: str) -> None:
        from pyreqwest.client import ClientBuilder

        self.url = f"{url}/chat/completions"
        self.client = ClientBuilder().build()
        parameters = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
        self.tools = [{"type": "function", "function": {"name": "add", "parameters": parameters}}]
        self.raw = ""

    async def akickoff(self, inputs: dict[str, str]) -> BareCrew:
        messages: list[Any] = [{"role": "user", "content": f"What is 40 + 2? Run {inputs['number']}."}]
        while True:
            body = json.dumps({"model": "m", "messages": messages, "tools": self.tools}).encode()
            headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
            response = await self.client.post(self.url).headers(headers).body_bytes(body).build().send()
            message = json.loads(bytes(await response.bytes()))["choices"][0]["message"]
            if not message.get("tool_calls"):
                done = BareCrew.__new__(BareCrew)
                done.raw = message["content"]
                return done
            messages.append(message)
            for call in message["tool_calls"]:
                arguments = json.loads(call["function"]["arguments"])
                content = str(arguments["a"] + arguments["b"])
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})


@contextmanager
def bare_crew() -> Iterator[BareCrew]:
    """Yield what stands for a crew, on the same endpoint as `http_crew`."""
    with loopback_server("--latency", str(LATENCY), "--mode", "tool") as url:
        yield BareCrew(url)


@contextmanager
def acall_crew() -> Iterator[Any]:
    """Yield a crew of two tasks on a custom LLM that sleeps."""
    from oarlock import Agent, BaseLLM, Crew, Task

    class Sleeper(BaseLLM):
        async def acall(
            self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None
        ) -> str:
            await asyncio.sleep(LATENCY)
            return ANSWER

    agent = Agent(role="Clerk", goal="Answer correctly", backstory="You count.", llm=Sleeper())
    first = Task(description="What is 40 + 2? Run {number}.", expected_output="One sentence", agent=agent)
    second = Task(description="Say it again.", expected_output="One sentence", agent=agent, context=[first])
    yield Crew(agents=[agent], tasks=[first, second])


async def right_answers(crew: Any, runs: int) -> tuple[int, list[BaseException]]:
    """Start all runs at once; return how many ended right, and the errors."""
    results = await asyncio.gather(
        *(crew.akickoff(inputs={"number": str(number)}) for number in range(runs)), return_exceptions=True
    )
    errors = [result for result in results if isinstance(result, BaseException)]
    return sum(getattr(result, "raw", None) == ANSWER for result in results), errors


async def measure(crew: Any, name: str, runs: int) -> None:
    await right_answers(crew, 1)
    memory, cpu, wall = peak_memory_kb(), cpu_seconds(), time.perf_counter()
    right, errors = await right_answers(crew, runs)
    memory, cpu, wall = peak_memory_kb() - memory, cpu_seconds() - cpu, time.perf_counter() - wall
    heading = ["case", "wall s", "CPU ms a run", "peak KB a run", "right", "errors"]
    row = [name, f"{wall:.2f}", f"{cpu / runs * 1000:.3f}", f"{memory / runs:.1f}", f"{right}/{runs}", str(len(errors))]
    print_table(f"{runs} runs in flight, ideal {2 * LATENCY:.1f} s", [heading, row])
    if errors:
        print(f"the first error: {type(errors[0]).__name__}: {errors[0]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--http", action="store_const", dest="crew", const=http_crew)
    kind.add_argument("--bare", action="store_const", dest="crew", const=bare_crew)
    kind.add_argument("--acall", action="store_const", dest="crew", const=acall_crew)
    parser.add_argument("--gc", type=int, metavar="N", help="let the garbage collector look after N new objects")
    options = parser.parse_args()
    if options.gc:
        gc.set_threshold(options.gc)
    raise_file_limit()
    with options.crew() as crew:
        asyncio.run(measure(crew, options.crew.__name__.replace("_", " "), options.runs))
