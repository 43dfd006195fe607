"""`crewai.tasks.llm_guardrail`."""

from oarlock.agents.guardrails import LLMGuardrail

__all__ = ["LLMGuardrail"]
