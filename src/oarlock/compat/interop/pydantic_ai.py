"""An LLM as a model of pydantic-ai: theirs for chat completions, over a client that asks the LLM."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from oarlock.compat.interop.openai_client import async_client, with_cause
from oarlock.contract.llm import BaseLLM

__all__ = ["OarlockModel"]


class OarlockModel(OpenAIChatModel):
    """A `Model` for `pydantic_ai.Agent(...)`. How messages, tools and outputs are written is pydantic-ai's own business."""

    def __init__(self, llm: BaseLLM, settings: Any = None) -> None:
        provider = OpenAICompatibleProvider("oarlock", openai_client=async_client(llm))
        super().__init__(llm.model, provider=provider, profile=_profile(llm), settings=settings)
        self._llm = llm

    async def request(self, *args: Any, **given: Any) -> Any:
        """Return the whole answer."""
        with with_cause():
            return await super().request(*args, **given)

    @asynccontextmanager
    async def request_stream(self, *args: Any, **given: Any) -> AsyncIterator[Any]:
        """Give the answer as it comes."""
        with with_cause():
            async with super().request_stream(*args, **given) as response:
                yield response

    def __repr__(self) -> str:
        return f"as_pydantic_ai_model({self._llm!r})"


def _profile(llm: BaseLLM) -> OpenAIModelProfile:
    """Return what this LLM can do."""
    return OpenAIModelProfile(
        supports_tools=llm.supports_function_calling(),
        supports_json_schema_output=True,  # asked for in the prompt, too, so that it holds for any LLM
        supports_json_object_output=llm.supports_option("response_format"),
        default_structured_output_mode="tool" if llm.supports_function_calling() else "native",
        supports_forced_tool_choice=llm.supports_option("tool_choice"),
    )
