"""`crewai.agent`: its `Agent`, with the LLM named as CrewAI's users name it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import oarlock
from oarlock.compat.crewai.lite_agent_output import LiteAgentOutput
from oarlock.compat.crewai.utilities.llm_utils import environment_llm, with_llms
from oarlock.compat.missing import Says, public, sentence
from oarlock.compat.settings import settled, without_left_out

__all__ = ["Agent"]


class Agent(oarlock.Agent, metaclass=Says):
    """`oarlock.Agent`, and what scripts for CrewAI count on besides.

    `llm` may be a model's name as `crewai.LLM` knows it; without one, the environment variables `MODEL`, `MODEL_NAME` and
    `OPENAI_MODEL_NAME` may name it. Nothing else is ever asked. `mcps` are MCP servers, or their URLs.

    Raises:
        ConfigurationError: see `oarlock.Agent`.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Poet", goal="Rhyme", backstory="", llm=ScriptedLLM(["Row, row."]))
        >>> agent.kickoff("A line, please.").agent_role
        'Poet'
    """

    __slots__ = ()

    def __init__(self, *args: Any, **given: Any) -> None:
        given = with_llms("Agent", settled("Agent", given), "llm", "function_calling_llm")
        if mcps := given.pop("mcps", None):
            from oarlock.compat.mcp_servers import servers_in  # only where there are any

            given["tools"] = [*(given.get("tools") or ()), *servers_in(mcps)]
        if given.get("llm") is None and not _names_llm(given.get("config")):
            given["llm"] = environment_llm()
        super().__init__(*args, **given)

    def kickoff(
        self,
        messages: Any,
        response_format: type[Any] | None = None,
        input_files: Any = None,
        from_checkpoint: Any = None,
    ) -> LiteAgentOutput:
        """Answer a prompt, or the last of several messages in the light of those before it, without a crew."""
        without_left_out("Agent.kickoff", {"input_files": input_files, "from_checkpoint": from_checkpoint})
        return LiteAgentOutput.of(super().kickoff(_prompt(messages), response_format))

    async def akickoff(
        self,
        messages: Any,
        response_format: type[Any] | None = None,
        input_files: Any = None,
        from_checkpoint: Any = None,
    ) -> LiteAgentOutput:
        """Answer a prompt from a coroutine; the same as `kickoff`."""
        without_left_out("Agent.akickoff", {"input_files": input_files, "from_checkpoint": from_checkpoint})
        return LiteAgentOutput.of(await super().akickoff(_prompt(messages), response_format))

    kickoff_async = akickoff

    def copy(self) -> Agent:
        """Return another agent like this one. Runs do not change one, so that there is seldom need for two."""
        return dataclasses.replace(self)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(sentence(f"crewai.Agent.{name}", public(type(self))))


def _names_llm(config: Any) -> bool:
    return isinstance(config, Mapping) and config.get("llm") is not None


def _prompt(messages: Any) -> Any:
    """Return chat messages as one prompt; a text is one already."""
    if isinstance(messages, str) or not isinstance(messages, Iterable):
        return messages
    texts = [(str(one.get("role", "user")), str(one.get("content", ""))) for one in messages]
    return texts[0][1] if len(texts) == 1 else "\n\n".join(f"{role}: {text}" for role, text in texts)
