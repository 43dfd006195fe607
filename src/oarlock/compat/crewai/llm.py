"""`crewai.llm`, without its `LLM`, which picks a provider by a model's name."""

from oarlock.contract.llm import BaseLLM

__all__ = ["BaseLLM"]
