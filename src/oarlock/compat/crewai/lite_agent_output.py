"""`crewai.lite_agent_output`: what an agent without a crew gives."""

from __future__ import annotations

import dataclasses
from typing import Any

from oarlock.agents.outputs import TaskOutput

__all__ = ["LiteAgentOutput"]


class LiteAgentOutput(TaskOutput):
    """A `TaskOutput` with the names that CrewAI has for an answer of `Agent.kickoff`.

    Example:
        >>> LiteAgentOutput.of(TaskOutput(raw="Row.", description="A line", agent="Poet")).agent_role
        'Poet'
    """

    __slots__ = ()

    @classmethod
    def of(cls, output: TaskOutput) -> LiteAgentOutput:
        """Return an output under these names."""
        return cls(**{one.name: getattr(output, one.name) for one in dataclasses.fields(output)})

    @property
    def agent_role(self) -> str:
        """Whose answer it is."""
        return self.agent

    @property
    def usage_metrics(self) -> dict[str, Any]:
        """Tokens and requests of this answer; `usage` is the same as an object."""
        usage = self.usage
        return {
            "total_tokens": usage.total_tokens,
            "prompt_tokens": usage.prompt_tokens,
            "cached_prompt_tokens": usage.cached_prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "successful_requests": usage.requests,
        }
