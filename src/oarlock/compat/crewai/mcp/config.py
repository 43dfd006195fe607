"""`crewai.mcp.config`."""

from oarlock.mcp import MCPServerHTTP, MCPServerSSE, MCPServerStdio

__all__ = ["MCPServerHTTP", "MCPServerSSE", "MCPServerStdio"]
