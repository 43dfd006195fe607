"""MCP servers as tools: programs on this machine, and servers behind HTTP with any of our sign-ins. Needs `oarlock[mcp]`."""

from __future__ import annotations

from oarlock.mcp.http import MCPServerHTTP, MCPServerSSE
from oarlock.mcp.problems import MCPServerError
from oarlock.mcp.server import MCPServer
from oarlock.mcp.stdio import MCPServerStdio
from oarlock.mcp.tool import MCPTool

__all__ = ["MCPServer", "MCPServerError", "MCPServerHTTP", "MCPServerSSE", "MCPServerStdio", "MCPTool"]
