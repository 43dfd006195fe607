"""`crewai.hooks.tool_hooks`."""

from oarlock.compat.crewai.hooks import (
    ToolCallHookContext,
    clear_after_tool_call_hooks,
    clear_all_tool_call_hooks,
    clear_before_tool_call_hooks,
    get_after_tool_call_hooks,
    get_before_tool_call_hooks,
    register_after_tool_call_hook,
    register_before_tool_call_hook,
    unregister_after_tool_call_hook,
    unregister_before_tool_call_hook,
)

__all__ = [
    "ToolCallHookContext",
    "clear_after_tool_call_hooks",
    "clear_all_tool_call_hooks",
    "clear_before_tool_call_hooks",
    "get_after_tool_call_hooks",
    "get_before_tool_call_hooks",
    "register_after_tool_call_hook",
    "register_before_tool_call_hook",
    "unregister_after_tool_call_hook",
    "unregister_before_tool_call_hook",
]
