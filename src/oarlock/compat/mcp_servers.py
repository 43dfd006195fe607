"""MCP servers as scripts for CrewAI name them in `Agent(mcps=[...])`."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.mcp import MCPServer, MCPServerHTTP

__all__ = ["servers_in"]


def servers_in(mcps: Any) -> list[MCPServer]:
    """Return the servers of an agent's `mcps`: objects as they are, URLs such as `"https://example.com/mcp#tool"` made ones.

    Unlike in CrewAI, one that cannot be reached ends the run: an agent does not go on with fewer tools in silence.

    Raises:
        ConfigurationError: something is neither.

    Example:
        >>> servers_in(["https://mcp.example.com/mcp#search"])
        [MCPServerHTTP('https://mcp.example.com/mcp')]
    """
    if not isinstance(mcps, list | tuple):
        raise ConfigurationError(f"Agent: mcps must be a list of MCP servers, not of the type {type(mcps).__name__}.")
    return [one if isinstance(one, MCPServer) else _named(one) for one in mcps]


def _named(reference: object) -> MCPServer:
    if not isinstance(reference, str) or "://" not in reference:
        shown = repr(reference) if isinstance(reference, str) else a_kind(reference)
        raise ConfigurationError(
            f"Agent(mcps=[{shown}]) is not in Oarlock: it takes URLs, and servers of crewai.mcp; CrewAI's catalog is a service "
            "of theirs."
        )
    url, _, tool = reference.partition("#")
    return MCPServerHTTP(url=url, allowed_tools=[unquote(tool)] if tool else None)
