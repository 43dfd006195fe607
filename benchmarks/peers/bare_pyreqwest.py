"""pyreqwest alone: what Oarlock sends with by default. The loop of an agent is by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bare import HEADERS, TOOLS, Events, body_of, message_in, question, results
from pyreqwest.client import ClientBuilder, SyncClientBuilder


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        self.url = f"{url}/chat/completions"
        self.client = SyncClientBuilder().build()
        self.async_client = ClientBuilder().build()
        self.add = add

    def ask(self, body: bytes) -> Any:
        request = self.client.post(self.url).headers(HEADERS).body_bytes(body).build()
        return message_in(bytes(request.send().bytes()))

    async def aask(self, body: bytes) -> Any:
        request = self.async_client.post(self.url).headers(HEADERS).body_bytes(body).build()
        return message_in(bytes(await (await request.send()).bytes()))

    def call(self, prompt: str) -> str:
        return str(self.ask(body_of(question(prompt)))["content"])

    async def acall(self, prompt: str) -> str:
        return str((await self.aask(body_of(question(prompt))))["content"])

    def stream(self, prompt: str) -> Iterator[str]:
        events = Events()
        request = self.client.post(self.url).headers(HEADERS).body_bytes(body_of(question(prompt), stream=True))
        with request.build_streamed() as response:
            while piece := response.body_reader.read_chunk():
                yield from events.feed(bytes(piece))

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
