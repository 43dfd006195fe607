"""Agno: one `Agent`, shared by all runs, on the OpenAI SDK, its async client on aiohttp; telemetry off.

It has no call of a model without an agent: a call is a run of an agent without tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from httpx2 import Limits
from openai import AsyncOpenAI, DefaultAioHttpClient

LIMITS = Limits(max_connections=20_000, max_keepalive_connections=20_000)


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        client = AsyncOpenAI(base_url=url, api_key="k", http_client=DefaultAioHttpClient(limits=LIMITS))
        self.model = OpenAIChat(id="m", base_url=url, api_key="k", async_client=client)
        self.plain = Agent(model=self.model, instructions="Answer correctly", telemetry=False)
        self.add = add

    def call(self, prompt: str) -> str:
        return str(self.plain.run(prompt).content)

    async def acall(self, prompt: str) -> str:
        return str((await self.plain.arun(prompt)).content)

    def stream(self, prompt: str) -> Iterator[str]:
        return (str(event.content or "") for event in self.plain.run(prompt, stream=True))

    def make_agent(self, prompt: str) -> Any:
        return Agent(model=self.model, tools=[self.add], instructions="Answer correctly", telemetry=False)

    def run(self, agent: Any, prompt: str) -> str:
        return str(agent.run(prompt).content)

    async def arun(self, agent: Any, prompt: str) -> str:
        return str((await agent.arun(prompt)).content)
