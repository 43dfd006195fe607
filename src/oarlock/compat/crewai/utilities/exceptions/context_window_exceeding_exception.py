"""`crewai.utilities.exceptions.context_window_exceeding_exception`."""

from oarlock.contract.errors import ContextWindowExceededError as LLMContextLengthExceededError

__all__ = ["LLMContextLengthExceededError", "LLMContextLengthExceededException"]

LLMContextLengthExceededException = LLMContextLengthExceededError  # its older name
