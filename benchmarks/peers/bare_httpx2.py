"""httpx2 alone. The loop of an agent is by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
from bare import HEADERS, TOOLS, Events, body_of, message_in, question, results


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        self.url = f"{url}/chat/completions"
        self.client = httpx2.Client(timeout=60)
        self.async_client: Any = None
        self.add = add

    def ask(self, body: bytes) -> Any:
        return message_in(self.client.post(self.url, headers=HEADERS, content=body).content)

    async def aask(self, body: bytes) -> Any:
        if self.async_client is None:
            self.async_client = httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=None))
        return message_in((await self.async_client.post(self.url, headers=HEADERS, content=body)).content)

    def call(self, prompt: str) -> str:
        return str(self.ask(body_of(question(prompt)))["content"])

    async def acall(self, prompt: str) -> str:
        return str((await self.aask(body_of(question(prompt))))["content"])

    def stream(self, prompt: str) -> Iterator[str]:
        events = Events()
        body = body_of(question(prompt), stream=True)
        with self.client.stream("POST", self.url, headers=HEADERS, content=body) as response:
            for piece in response.iter_raw():
                yield from events.feed(piece)

    def make_agent(self, prompt: str) -> None:
        """There is none: the loop is in `run`."""

    def run(self, agent: None, prompt: str) -> str:
        messages = question(prompt)
        while "tool_calls" in (message := self.ask(body_of(messages, tools=TOOLS))):
            messages += results(message, self.add)
        return str(message["content"])

    async def arun(self, agent: None, prompt: str) -> str:
        messages = question(prompt)
        while "tool_calls" in (message := await self.aask(body_of(messages, tools=TOOLS))):
            messages += results(message, self.add)
        return str(message["content"])
