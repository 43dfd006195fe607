"""An LLM as a model of the OpenAI Agents SDK: theirs for chat completions, over a client that asks the LLM."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agents import OpenAIChatCompletionsModel

from oarlock.compat.interop.openai_client import async_client, with_cause
from oarlock.contract.llm import BaseLLM

__all__ = ["OarlockModel"]


class OarlockModel(OpenAIChatCompletionsModel):
    """A `Model` for `agents.Agent(model=...)`. How messages, tools and handoffs are written is the SDK's own business."""

    def __init__(self, llm: BaseLLM) -> None:
        super().__init__(model=llm.model, openai_client=async_client(llm))
        self._llm = llm

    async def get_response(self, *args: Any, **given: Any) -> Any:
        """Return the whole answer."""
        with with_cause():
            return await super().get_response(*args, **given)

    async def stream_response(self, *args: Any, **given: Any) -> AsyncIterator[Any]:
        """Yield the answer's events as they come."""
        with with_cause():
            async for event in super().stream_response(*args, **given):
                yield event

    def get_retry_advice(self, request: Any) -> Any:
        """Advise against another attempt: the LLM has its own policies for that."""
        from agents.retry import ModelRetryAdvice

        return ModelRetryAdvice(suggested=False, reason="Oarlock's policies have decided already.")

    def __repr__(self) -> str:
        return f"as_openai_agents_model({self._llm!r})"
