"""The port for what comes between a model's wish for a tool and the tool: agents' hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from oarlock.runtime import Runtime

if TYPE_CHECKING:
    from oarlock.tools.answers import ToolAnswer
    from oarlock.tools.base import BaseTool

__all__ = ["ToolHooks"]


class ToolHooks(Protocol):
    """Is told of each tool call whose arguments are a JSON object, before they are checked and after there is an answer."""

    async def before_tool(
        self, runtime: Runtime, tool: BaseTool, arguments: dict[str, Any], key: str
    ) -> ToolAnswer | None:
        """Change the arguments in place, or answer in place of the tool, or raise `ToolError` to forbid it.

        Args:
            runtime: drives it.
            tool: what is to be run.
            arguments: as the model wrote them.
            key: the same whenever this very call is repeated; `""` if there is none.
        """

    async def after_tool(
        self, runtime: Runtime, tool: BaseTool, arguments: dict[str, Any], told: ToolAnswer, key: str
    ) -> ToolAnswer:
        """Return what to tell the model."""
