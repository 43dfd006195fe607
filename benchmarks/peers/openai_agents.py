"""The OpenAI Agents SDK: one `Agent`, shared by all runs, on chat completions through the OpenAI SDK with aiohttp.

It has no call of a model without an agent: a call is a run of an agent without tools. Tracing is off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from httpx2 import Limits
from openai import AsyncOpenAI, DefaultAioHttpClient

LIMITS = Limits(max_connections=20_000, max_keepalive_connections=20_000)


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        set_tracing_disabled(True)
        client = AsyncOpenAI(base_url=url, api_key="k", http_client=DefaultAioHttpClient(limits=LIMITS))
        self.model = OpenAIChatCompletionsModel(model="m", openai_client=client)
        self.plain: Any = Agent(name="Clerk", instructions="Answer correctly", model=self.model)
        self.add = add

    def call(self, prompt: str) -> str:
        return str(Runner.run_sync(self.plain, prompt).final_output)

    async def acall(self, prompt: str) -> str:
        return str((await Runner.run(self.plain, prompt)).final_output)

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        async for event in Runner.run_streamed(self.plain, prompt).stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                yield event.data.delta

    def make_agent(self, prompt: str) -> Any:
        tools = [function_tool(self.add)]
        return Agent(name="Clerk", instructions="Answer correctly", model=self.model, tools=tools)

    def run(self, agent: Any, prompt: str) -> str:
        return str(Runner.run_sync(agent, prompt).final_output)

    async def arun(self, agent: Any, prompt: str) -> str:
        return str((await Runner.run(agent, prompt)).final_output)
