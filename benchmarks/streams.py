"""CPU microseconds of one streamed token through `llm.stream` and `crew.stream`, against a bare client in the same run."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from _measure import PROMPT, REQUEST, loopback_server, medians, print_costs
from pyreqwest.client import SyncClient, SyncClientBuilder

BODY = json.dumps({**REQUEST, "stream": True}).encode()


def bare_deltas(client: SyncClient, url: str) -> Iterator[str]:
    """Yield the texts of a stream with as little code as will do."""
    request = client.post(f"{url}/chat/completions").header("Content-Type", "application/json").body_bytes(BODY)
    buffer = b""
    with request.build_streamed() as response:
        while piece := response.body_reader.read_chunk():
            *events, buffer = (buffer + bytes(piece)).split(b"\n\n")
            for event in events:
                if event != b"data: [DONE]":
                    yield json.loads(event[6:])["choices"][0]["delta"].get("content", "")


def bare_case(client: SyncClient, url: str, tokens: int) -> Callable[[], int]:
    def run() -> int:
        assert "".join(bare_deltas(client, url)) == " word" * tokens
        return tokens

    return run


def oarlock_case(llm: Any, tokens: int) -> Callable[[], int]:
    def run() -> int:
        assert "".join(map(str, llm.stream(PROMPT))).strip() == (" word" * tokens).strip()
        return tokens

    return run


def crew_cases(llm: Any, tokens: int) -> dict[str, Callable[[], int]]:
    """Read a crew of one agent with one task, in both colours: each token is an event."""
    from oarlock import Agent, Crew, Task
    from oarlock.events import ModelDelta

    agent = Agent(role="Clerk", goal="Answer correctly", backstory="You count.", llm=llm)
    crew = Crew(tasks=[Task(description=PROMPT, expected_output="One sentence", agent=agent)])

    def blocking() -> int:
        assert sum(isinstance(event, ModelDelta) for event in crew.stream()) == tokens
        return tokens

    async def awaited() -> int:
        assert sum([isinstance(event, ModelDelta) async for event in crew.astream()]) == tokens
        return tokens

    return {"oarlock crew.stream": blocking, "oarlock crew.astream": lambda: asyncio.run(awaited())}


def cases_for(url: str, client: SyncClient, options: argparse.Namespace) -> dict[str, Callable[[], int]]:
    cases = {"bare pyreqwest": bare_case(client, url, options.tokens)}
    if not options.bare:
        from oarlock import ChatLLM
        from oarlock.auth import ApiKey

        llm = ChatLLM(model="m", base_url=url, auth=ApiKey("k"))
        cases["oarlock llm.stream"] = oarlock_case(llm, options.tokens)
        cases |= crew_cases(llm, options.tokens)
    return cases


def measure(title: str, burst: int, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(loopback_server("--tokens", str(options.tokens), "--burst", str(burst)))
        client = stack.enter_context(SyncClientBuilder().build())
        costs = medians(cases_for(url, client, options), repeats=options.repeats)
        print_costs(title, costs, unit="CPU µs a token", factor=1e6, against="bare pyreqwest")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--bare", action="store_true", help="the bare client only")
    options = parser.parse_args()
    measure("The whole stream in one write", 0, options)
    measure("Ten events a write", 10, options)
    measure("Each event a write", 1, options)
