"""CPU milliseconds of one model call through `ChatLLM`, against bare clients in the same run."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import httpx2
from _measure import PROMPT, REQUEST, loopback_server, medians, print_costs, raise_file_limit
from pyreqwest.client import ClientBuilder, SyncClientBuilder

HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json"}
ANSWER = "The answer is 42."

Ask = Callable[[], str]
AskAsync = Callable[[], Awaitable[str]]


def text_of(body: Any) -> str:
    return str(body["choices"][0]["message"]["content"])


def make_llm(url: str) -> Any:
    import oarlock
    from oarlock.auth import ApiKey

    return oarlock.ChatLLM(model="m", base_url=url, auth=ApiKey("k"))


def blocking_asks(url: str, stack: ExitStack, *, bare: bool) -> dict[str, Ask]:
    """Return a function for each client that asks once and returns the text."""
    target = f"{url}/chat/completions"
    rust = stack.enter_context(SyncClientBuilder().build())
    python = stack.enter_context(httpx2.Client())

    def through_pyreqwest() -> str:
        request = rust.post(target).headers(HEADERS).body_bytes(json.dumps(REQUEST).encode()).build()
        return text_of(json.loads(bytes(request.send().bytes())))

    def through_httpx2() -> str:
        return text_of(python.post(target, headers=HEADERS, content=json.dumps(REQUEST).encode()).json())

    asks: dict[str, Ask] = {"bare pyreqwest": through_pyreqwest, "bare httpx2": through_httpx2}
    if not bare:
        llm = make_llm(url)
        asks["oarlock.ChatLLM"] = lambda: llm.call(PROMPT)
    return asks


async def async_asks(url: str, stack: AsyncExitStack, *, bare: bool) -> dict[str, AskAsync]:
    """Return a coroutine function for each client that asks once and returns the text."""
    target = f"{url}/chat/completions"
    rust = await stack.enter_async_context(ClientBuilder().build())
    limits = httpx2.Limits(max_connections=None)
    python = await stack.enter_async_context(httpx2.AsyncClient(limits=limits, timeout=60))

    async def through_pyreqwest() -> str:
        request = rust.post(target).headers(HEADERS).body_bytes(json.dumps(REQUEST).encode()).build()
        return text_of(json.loads(bytes(await (await request.send()).bytes())))

    async def through_httpx2() -> str:
        return text_of((await python.post(target, headers=HEADERS, content=json.dumps(REQUEST).encode())).json())

    asks: dict[str, AskAsync] = {"bare pyreqwest": through_pyreqwest, "bare httpx2": through_httpx2}
    if not bare:
        llm = make_llm(url)
        asks["oarlock.ChatLLM"] = lambda: llm.acall(PROMPT)
    return asks


def blocking_case(ask: Ask, calls: int) -> Callable[[], int]:
    def run() -> int:
        for _ in range(calls):
            assert ask() == ANSWER
        return calls

    return run


def async_case(runner: asyncio.Runner, ask: AskAsync, calls: int, in_flight: int) -> Callable[[], int]:
    async def worker() -> None:
        for _ in range(calls // in_flight):
            assert await ask() == ANSWER

    async def crowd() -> None:
        await asyncio.gather(*(worker() for _ in range(in_flight)))

    def run() -> int:
        runner.run(crowd())
        return calls // in_flight * in_flight

    return run


def measure_blocking(url: str, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        asks = blocking_asks(url, stack, bare=options.bare)
        cases = {name: blocking_case(ask, options.calls) for name, ask in asks.items()}
        show("One blocking call", medians(cases, repeats=options.repeats))


def measure_async(url: str, in_flight: int, options: argparse.Namespace) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        asks = runner.run(async_asks(url, stack, bare=options.bare))
        calls = max(options.calls, 2 * in_flight)
        cases = {name: async_case(runner, ask, calls, in_flight) for name, ask in asks.items()}
        show(f"One async call, {in_flight} in flight", medians(cases, repeats=options.repeats))
        runner.run(stack.aclose())


def show(title: str, costs: dict[str, float]) -> None:
    print_costs(title, costs, unit="CPU ms", factor=1e3, against="bare pyreqwest")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="calls a case and round")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--in-flight", type=int, nargs="*", default=[1, 64, 512])
    parser.add_argument("--bare", action="store_true", help="the bare clients only")
    options = parser.parse_args()
    raise_file_limit()
    with loopback_server() as url:
        measure_blocking(url, options)
        for in_flight in options.in_flight:
            measure_async(url, in_flight, options)
