"""`crewai.mcp`: servers for `Agent(mcps=[...])`."""

from oarlock.compat.crewai.mcp.config import MCPServerConfig, MCPServerHTTP, MCPServerSSE, MCPServerStdio
from oarlock.compat.crewai.mcp.filters import StaticToolFilter, create_static_tool_filter

__all__ = [
    "MCPServerConfig",
    "MCPServerHTTP",
    "MCPServerSSE",
    "MCPServerStdio",
    "StaticToolFilter",
    "create_static_tool_filter",
]
