"""LiteLLM: `completion` and `acompletion` (on aiohttp, its default); an agent's loop by hand, as its documentation shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import litellm

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
        self.settings: dict[str, Any] = {"model": "openai/m", "api_base": url, "api_key": "k"}
        self.add = add
        litellm.telemetry = False
        litellm.REPEATED_STREAMING_CHUNK_LIMIT = (
            1_000_000  # the stream says one word a thousand times, which is no fault here
        )

    def call(self, prompt: str) -> str:
        response: Any = litellm.completion(messages=[{"role": "user", "content": prompt}], **self.settings)
        return str(response.choices[0].message.content)

    async def acall(self, prompt: str) -> str:
        response: Any = await litellm.acompletion(messages=[{"role": "user", "content": prompt}], **self.settings)
        return str(response.choices[0].message.content)

    def stream(self, prompt: str) -> Iterator[str]:
        messages = [{"role": "user", "content": prompt}]
        chunks: Any = litellm.completion(messages=messages, stream=True, **self.settings)
        for chunk in chunks:
            yield chunk.choices[0].delta.content or ""

    def make_agent(self, prompt: str) -> None:
        """There is none: the loop is in `run`."""

    def run(self, agent: None, prompt: str) -> str:
        messages: list[Any] = [{"role": "user", "content": prompt}]
        while True:
            response: Any = litellm.completion(messages=messages, tools=TOOLS, **self.settings)
            message = response.choices[0].message
            if not message.tool_calls:
                return str(message.content)
            messages += self.results(message)

    async def arun(self, agent: None, prompt: str) -> str:
        messages: list[Any] = [{"role": "user", "content": prompt}]
        while True:
            response: Any = await litellm.acompletion(messages=messages, tools=TOOLS, **self.settings)
            message = response.choices[0].message
            if not message.tool_calls:
                return str(message.content)
            messages += self.results(message)

    def results(self, message: Any) -> list[Any]:
        """Return the model's message and what its tools gave."""
        answers: list[Any] = [message]
        for call in message.tool_calls:
            content = str(self.add(**json.loads(call.function.arguments)))
            answers.append({"role": "tool", "tool_call_id": call.id, "content": content})
        return answers
