"""What a storm puts on the wire: requests of 100 calls into an outage, and how clients that were told to wait come back."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from _measure import print_table

from oarlock import ChatLLM, LLMError
from oarlock.policies import CircuitBreaker, Retry
from oarlock.testing import LoopbackEndpoint, Status

Run = Callable[[Sequence[ChatLLM], int], None]


def run_blocking(llms: Sequence[ChatLLM], at_once: int) -> None:
    """Ask each LLM once, so many of them at a time, in threads."""

    def ask(llm: ChatLLM) -> None:
        with suppress(LLMError):
            llm.call("Hi")

    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(ask, llms))


def run_async(llms: Sequence[ChatLLM], at_once: int) -> None:
    """Ask each LLM once, so many of them at a time, on an event loop."""

    async def whole() -> None:
        places = asyncio.Semaphore(at_once)

        async def ask(llm: ChatLLM) -> None:
            async with places:
                with suppress(LLMError):
                    await llm.acall("Hi")

        await asyncio.gather(*map(ask, llms))

    asyncio.run(whole())


RUNS: tuple[Run, ...] = (run_blocking, run_async)


def at_once_retry(**settings: Any) -> Retry:
    """Return a retry that does not wait: the waits change nothing in how often it sends."""
    return Retry(base_delay=0, throttled_base_delay=0, **settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A hundred calls into an endpoint that answers with one status only."""

    name: str
    status: int
    at_once: int
    bound: int | None
    policies: Callable[[], list[Any]]

    def requests(self, run: Run) -> int:
        """Return how many requests reach the endpoint."""
        with LoopbackEndpoint(Status(self.status)) as endpoint:
            llm = ChatLLM("m", endpoint.url, policies=self.policies())
            run([llm] * 100, self.at_once)
            return len(endpoint.requests)


def outages() -> list[Outage]:
    """Return the cases. Those with a breaker wait as they do by default, since time matters to it."""
    cases = [
        Outage(name="500, no budget", status=500, at_once=1, bound=None, policies=lambda: [at_once_retry(budget=None)])
    ]
    for status, bound in ((500, 140), (429, 200)):
        cases += [
            Outage(
                name=f"{status}, {n} at once", status=status, at_once=n, bound=bound, policies=lambda: [at_once_retry()]
            )
            for n in (1, 10, 100)
        ]
    cases += [
        Outage(
            name=f"500, breaker, {n} at once",
            status=500,
            at_once=n,
            bound=110 if n < 100 else None,  # those under way when it opens cannot be called back
            policies=lambda: [Retry(), CircuitBreaker()],
        )
        for n in (1, 10, 100)
    ]
    return cases


@dataclass(slots=True)
class Returns:
    """When each client was told to wait, and when it came back. Each asks with a key of its own, kept over its attempts."""

    seconds: str
    told: dict[str, float] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    def answer(self, request: Any) -> Any:
        """Tell a client to wait, the first time; then answer it."""
        key, now = request.headers["idempotency-key"], time.monotonic()
        if key not in self.told:
            self.told[key] = now
            return Status(429, headers={"Retry-After": self.seconds})
        self.waits.append(now - self.told[key])
        return "ok"


def crowd(run: Run, clients: int, seconds: int) -> list[float]:
    """Return how long each of so many clients waited that were all told to wait so many seconds."""
    returns = Returns(str(seconds))
    with LoopbackEndpoint(returns.answer) as endpoint:
        run([ChatLLM("m", endpoint.url) for _ in range(clients)], clients)
    assert len(returns.waits) == clients
    return sorted(returns.waits)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--retry-after", type=int, default=2, help="seconds that the clients are told to wait")
    options = parser.parse_args()
    crowd(run_async, 1, 0)  # loads the HTTP client
    rows = [["case", "blocking", "async", "bound"]]
    rows += [[case.name, *(str(case.requests(run)) for run in RUNS), str(case.bound or "-")] for case in outages()]
    print_table("Requests on the wire for 100 calls into an outage", rows)
    rows = [["doors", "earliest s", "latest s", "spread s"]]
    for run in RUNS:
        waits = crowd(run, options.clients, options.retry_after)
        name = run.__name__.removeprefix("run_")
        rows.append([name, f"{waits[0]:.3f}", f"{waits[-1]:.3f}", f"{waits[-1] - waits[0]:.3f}"])
    print_table(f"{options.clients} clients told Retry-After: {options.retry_after}", rows)
