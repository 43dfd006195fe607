"""`crewai.llms.base_llm`."""

from oarlock.contract.llm import BaseLLM

__all__ = ["BaseLLM"]
