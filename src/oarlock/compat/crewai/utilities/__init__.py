"""`crewai.utilities`."""

from oarlock.contract.errors import ContextWindowExceededError as LLMContextLengthExceededError

__all__ = ["LLMContextLengthExceededError"]
