"""Tools: what agents can do besides talking. `@tool` for functions, `BaseTool` for classes."""

from __future__ import annotations

from oarlock.tools.answers import ToolAnswer
from oarlock.tools.approval import ApprovalRequest, Approver
from oarlock.tools.base import BaseTool
from oarlock.tools.calls import ToolTimeoutError, run_tool
from oarlock.tools.collect import as_tool, tools_by_name
from oarlock.tools.function import FunctionTool, tool
from oarlock.tools.guard import FunctionsOnDemand, GuardedFunctions, guarded_functions
from oarlock.tools.hooks import ToolHooks
from oarlock.tools.results import result_as_text
from oarlock.tools.sources import ToolSource, split
from oarlock.tools.store import ToolRules, ToolStore

__all__ = [
    "ApprovalRequest",
    "Approver",
    "BaseTool",
    "FunctionTool",
    "FunctionsOnDemand",
    "GuardedFunctions",
    "ToolAnswer",
    "ToolHooks",
    "ToolRules",
    "ToolSource",
    "ToolStore",
    "ToolTimeoutError",
    "as_tool",
    "guarded_functions",
    "result_as_text",
    "run_tool",
    "split",
    "tool",
    "tools_by_name",
]
