"""`crewai_tools`: those of its tools that need nothing but the working folder, and MCP servers. Each of the others says what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.compat.crewai_tools.files import DirectoryReadTool, FileReadTool, FileWriterTool
    from oarlock.compat.crewai_tools.mcp_adapter import MCPServerAdapter
    from oarlock.tools import BaseTool, tool

__all__ = ["BaseTool", "DirectoryReadTool", "FileReadTool", "FileWriterTool", "MCPServerAdapter", "tool"]

_import = lazy_names(
    __name__,
    {
        "DirectoryReadTool": "files",
        "FileReadTool": "files",
        "FileWriterTool": "files",
        "MCPServerAdapter": "mcp_adapter",
    },
)


def __getattr__(name: str) -> object:
    if name in ("BaseTool", "tool"):
        from oarlock import tools

        return getattr(tools, name)
    return _import(name)
