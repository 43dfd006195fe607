"""`crewai.mcp.config`."""

from oarlock.mcp import MCPServer as MCPServerConfig
from oarlock.mcp import MCPServerHTTP, MCPServerSSE, MCPServerStdio

__all__ = ["MCPServerConfig", "MCPServerHTTP", "MCPServerSSE", "MCPServerStdio"]
