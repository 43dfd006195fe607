"""`crewai.hooks.decorators`."""

from oarlock.compat.crewai.hooks import after_llm_call, after_tool_call, before_llm_call, before_tool_call

__all__ = ["after_llm_call", "after_tool_call", "before_llm_call", "before_tool_call"]
