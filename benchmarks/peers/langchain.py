"""LangChain: `ChatOpenAI`, its async client on aiohttp; `create_agent`'s graph (LangGraph), shared by all runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from httpx2 import Limits
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from openai import DefaultAioHttpClient, DefaultHttpxClient

LIMITS = Limits(max_connections=20_000, max_keepalive_connections=20_000)


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        self.model: Any = ChatOpenAI(
            model="m",
            base_url=url,
            api_key=lambda: "k",
            http_client=DefaultHttpxClient(),
            http_async_client=DefaultAioHttpClient(limits=LIMITS),
        )
        self.add = add

    def call(self, prompt: str) -> str:
        return str(self.model.invoke(prompt).content)

    async def acall(self, prompt: str) -> str:
        return str((await self.model.ainvoke(prompt)).content)

    def stream(self, prompt: str) -> Iterator[str]:
        return (str(chunk.content) for chunk in self.model.stream(prompt))

    def make_agent(self, prompt: str) -> Any:
        return create_agent(self.model, tools=[self.add], system_prompt="Answer correctly")

    def run(self, agent: Any, prompt: str) -> str:
        return str(agent.invoke({"messages": [{"role": "user", "content": prompt}]})["messages"][-1].content)

    async def arun(self, agent: Any, prompt: str) -> str:
        result = await agent.ainvoke({"messages": [{"role": "user", "content": prompt}]})
        return str(result["messages"][-1].content)
