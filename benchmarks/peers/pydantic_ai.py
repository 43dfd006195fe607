"""pydantic-ai: one `Agent`, shared by all runs, on the OpenAI SDK with aiohttp; calls through its `direct` functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from httpx2 import Limits
from openai import AsyncOpenAI, DefaultAioHttpClient
from pydantic_ai import Agent
from pydantic_ai.direct import model_request, model_request_stream_sync, model_request_sync
from pydantic_ai.messages import ModelRequest, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

LIMITS = Limits(max_connections=20_000, max_keepalive_connections=20_000)


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        client = AsyncOpenAI(base_url=url, api_key="k", http_client=DefaultAioHttpClient(limits=LIMITS))
        self.model = OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))
        self.add = add

    def call(self, prompt: str) -> str:
        return str(model_request_sync(self.model, [ModelRequest.user_text_prompt(prompt)]).text)

    async def acall(self, prompt: str) -> str:
        return str((await model_request(self.model, [ModelRequest.user_text_prompt(prompt)])).text)

    def stream(self, prompt: str) -> Iterator[str]:
        with model_request_stream_sync(self.model, [ModelRequest.user_text_prompt(prompt)]) as events:
            for event in events:
                if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                    yield event.part.content
                elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                    yield event.delta.content_delta

    def make_agent(self, prompt: str) -> Any:
        agent = Agent(self.model, instructions="Answer correctly")
        agent.tool_plain(self.add)
        return agent

    def run(self, agent: Any, prompt: str) -> str:
        return str(agent.run_sync(prompt).output)

    async def arun(self, agent: Any, prompt: str) -> str:
        return str((await agent.run(prompt)).output)
