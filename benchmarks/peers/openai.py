"""The OpenAI SDK: its clients, the async one on aiohttp (its `aiohttp` extra); an agent's loop by hand, as little as will do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from httpx2 import Limits
from openai import AsyncOpenAI, DefaultAioHttpClient, OpenAI

LIMITS = Limits(max_connections=20_000, max_keepalive_connections=20_000)
PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "add", "description": "Add two numbers.", "parameters": PARAMETERS}}
]


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        self.url = url
        self.add = add
        self.client = OpenAI(base_url=url, api_key="k")
        self.async_client: Any = None

    def concurrent(self) -> AsyncOpenAI:
        """Make the async client in the event loop that it is for."""
        if self.async_client is None:
            client = DefaultAioHttpClient(limits=LIMITS)
            self.async_client = AsyncOpenAI(base_url=self.url, api_key="k", http_client=client)
        return self.async_client

    def call(self, prompt: str) -> str:
        messages: Any = [{"role": "user", "content": prompt}]
        return str(self.client.chat.completions.create(model="m", messages=messages).choices[0].message.content)

    async def acall(self, prompt: str) -> str:
        messages: Any = [{"role": "user", "content": prompt}]
        completion = await self.concurrent().chat.completions.create(model="m", messages=messages)
        return str(completion.choices[0].message.content)

    def stream(self, prompt: str) -> Iterator[str]:
        messages: Any = [{"role": "user", "content": prompt}]
        for chunk in self.client.chat.completions.create(model="m", messages=messages, stream=True):
            yield chunk.choices[0].delta.content or ""

    def make_agent(self, prompt: str) -> None:
        """There is none: the loop is in `run`."""

    def run(self, agent: None, prompt: str) -> str:
        messages: list[Any] = [{"role": "user", "content": prompt}]
        create = self.client.chat.completions.create
        while (message := create(model="m", messages=messages, tools=TOOLS).choices[0].message).tool_calls:
            messages += self.results(message)
        return str(message.content)

    async def arun(self, agent: None, prompt: str) -> str:
        messages: list[Any] = [{"role": "user", "content": prompt}]
        create = self.concurrent().chat.completions.create
        while (message := (await create(model="m", messages=messages, tools=TOOLS)).choices[0].message).tool_calls:
            messages += self.results(message)
        return str(message.content)

    def results(self, message: Any) -> list[Any]:
        """Return the model's message and what its tools gave."""
        answers: list[Any] = [message]
        for call in message.tool_calls:
            content = str(self.add(**json.loads(call.function.arguments)))
            answers.append({"role": "tool", "tool_call_id": call.id, "content": content})
        return answers
