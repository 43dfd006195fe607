"""aiohttp alone, which is async only, with no limit on connections. The loop of an agent is by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from bare import HEADERS, TOOLS, Events, body_of, message_in, question, results


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        self.url = f"{url}/chat/completions"
        self.session: Any = None
        self.add = add

    def opened(self) -> aiohttp.ClientSession:
        """Return the session, made in the event loop that it is for."""
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=HEADERS)
        return self.session

    async def aask(self, body: bytes) -> Any:
        async with self.opened().post(self.url, data=body) as response:
            return message_in(await response.read())

    async def acall(self, prompt: str) -> str:
        return str((await self.aask(body_of(question(prompt))))["content"])

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        events = Events()
        async with self.opened().post(self.url, data=body_of(question(prompt), stream=True)) as response:
            async for piece in response.content.iter_any():
                for text in events.feed(piece):
                    yield text

    def make_agent(self, prompt: str) -> None:
        """There is none: the loop is in `arun`."""

    async def arun(self, agent: None, prompt: str) -> str:
        messages = question(prompt)
        while "tool_calls" in (message := await self.aask(body_of(messages, tools=TOOLS))):
            messages += results(message, self.add)
        return str(message["content"])
