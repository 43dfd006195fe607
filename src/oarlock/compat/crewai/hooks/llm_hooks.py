"""`crewai.hooks.llm_hooks`."""

from oarlock.compat.crewai.hooks import (
    LLMCallHookContext,
    clear_after_llm_call_hooks,
    clear_all_llm_call_hooks,
    clear_before_llm_call_hooks,
    get_after_llm_call_hooks,
    get_before_llm_call_hooks,
    register_after_llm_call_hook,
    register_before_llm_call_hook,
    unregister_after_llm_call_hook,
    unregister_before_llm_call_hook,
)

__all__ = [
    "LLMCallHookContext",
    "clear_after_llm_call_hooks",
    "clear_all_llm_call_hooks",
    "clear_before_llm_call_hooks",
    "get_after_llm_call_hooks",
    "get_before_llm_call_hooks",
    "register_after_llm_call_hook",
    "register_before_llm_call_hook",
    "unregister_after_llm_call_hook",
    "unregister_before_llm_call_hook",
]
