"""MCP servers as scripts for CrewAI name them: in `Agent(mcps=[...])`, and as parameters of an `MCPServerAdapter`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from oarlock.contract.errors import ConfigurationError
from oarlock.mcp import MCPServer, MCPServerHTTP, MCPServerSSE, MCPServerStdio

__all__ = ["server_for", "servers_in"]


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
        raise ConfigurationError(f"Agent: mcps must be a list of MCP servers, not a {type(mcps).__name__}.")
    return [one if isinstance(one, MCPServer) else _named(one) for one in mcps]


def _named(reference: object) -> MCPServer:
    if not isinstance(reference, str) or "://" not in reference:
        shown = repr(reference) if isinstance(reference, str) else f"a {type(reference).__name__}"
        raise ConfigurationError(
            f"Agent(mcps=[{shown}]) is not in Oarlock: it takes URLs, and servers of crewai.mcp; CrewAI's catalog is a service "
            "of theirs."
        )
    url, _, tool = reference.partition("#")
    return MCPServerHTTP(url=url, allowed_tools=[unquote(tool)] if tool else None)


def server_for(parameters: Any, connect_timeout: float) -> MCPServer:
    """Return the server of an `MCPServerAdapter`'s parameters: the SDK's `StdioServerParameters`, or a mapping with `url`.

    Raises:
        ConfigurationError: they are something else, or ask for what is not there.
    """
    if isinstance(parameters, Mapping):
        given = dict(parameters)
        transport = given.pop("transport", "sse")
        kinds: dict[Any, type[MCPServerHTTP]] = {"sse": MCPServerSSE, "streamable-http": MCPServerHTTP}
        if transport not in kinds:
            raise ConfigurationError(
                f"MCPServerAdapter: transport must be 'sse' or 'streamable-http', not {transport!r}."
            )
        return kinds[transport](**{"connect_timeout": connect_timeout, **given})
    if not hasattr(parameters, "command"):
        raise ConfigurationError(
            "MCPServerAdapter: give StdioServerParameters(command=...) from mcp, or a mapping such as "
            f"{{'url': ..., 'transport': 'streamable-http'}}, not a {type(parameters).__name__}."
        )
    return MCPServerStdio(
        command=parameters.command,
        args=parameters.args,
        env=parameters.env,
        cwd=parameters.cwd,
        connect_timeout=connect_timeout,
    )
