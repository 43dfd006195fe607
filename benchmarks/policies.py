"""CPU that policies add to a call of an LLM that answers at once, and reservations a second of the local limiter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from oarlock import BaseLLM, Reply, Request
from oarlock.contract.reply import Usage
from oarlock.policies import (
    Budget,
    Cache,
    CircuitBreaker,
    Concurrency,
    Deadline,
    Log,
    Metrics,
    RateLimit,
    Retry,
)

CALLS = 5000
ROUNDS = 5
REPLY = Reply(text="Hello", usage=Usage(prompt_tokens=9, completion_tokens=3, requests=1))
REQUEST = Request(messages=[{"role": "user", "content": "Hi"}])


class Instant(BaseLLM):
    """Answers at once, without a thread."""

    async def acomplete(self, request: Request) -> Reply:
        return REPLY


def nothing(handler: Any) -> Any:
    """Be a policy that does nothing, so that what the library does for each call of an own LLM is not counted."""
    return handler


STACKS: dict[str, Callable[[], list[Any]]] = {
    "none": lambda: [nothing],
    "Retry": lambda: [Retry()],
    "Deadline": lambda: [Deadline(60)],
    "Metrics": lambda: [Metrics()],
    "Log": lambda: [Log()],
    "CircuitBreaker": lambda: [CircuitBreaker()],
    "Concurrency": lambda: [Concurrency(8)],
    "RateLimit (requests)": lambda: [RateLimit(10**9)],
    "RateLimit (requests, tokens)": lambda: [RateLimit(10**9, 10**12)],
    "Budget (tokens)": lambda: [Budget(tokens=10**12)],
    "Cache (hit)": lambda: [Cache()],
    "Retry, RateLimit, Deadline, Metrics": lambda: [Retry(), RateLimit(10**9, 10**12), Deadline(60), Metrics()],
    "Log, Metrics, Deadline, Retry": lambda: [Log(), Metrics(), Deadline(60), Retry()],
}


async def cost(policies: list[Any]) -> float:
    """Return CPU microseconds of one call."""
    llm = Instant().with_policies(*policies)
    await llm.acomplete(REQUEST)
    began = time.process_time()
    for _ in range(CALLS):
        await llm.acomplete(REQUEST)
    return (time.process_time() - began) / CALLS * 1e6


def main() -> None:
    """Print what each stack adds."""
    costs: dict[str, list[float]] = {name: [] for name in STACKS}
    for _ in range(ROUNDS):  # in turns, so that a busy machine disturbs all alike
        for name, policies in STACKS.items():
            costs[name].append(asyncio.run(cost(policies())))
    bare = median(costs["none"])
    print(f"a call without policies: {bare:.1f} µs of CPU")
    for name, each in costs.items():
        if name != "none":
            added = median(each) - bare
            rate = f"   {1e6 / added:,.0f} reservations/s" if name.startswith("RateLimit") else ""
            print(f"  + {name:38}{added:7.1f} µs{rate}")


if __name__ == "__main__":
    main()
