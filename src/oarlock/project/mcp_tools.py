"""`self.get_mcp_tools()` in a `@CrewBase` class: the tools of the MCP servers that the class names."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from oarlock.contract.errors import ConfigurationError
from oarlock.project.servers import server_for
from oarlock.runtime import Runtime
from oarlock.tools import BaseTool
from oarlock.tools.names import function_name, nearest, shown

if TYPE_CHECKING:
    from oarlock.mcp import MCPServer

__all__ = ["ToolsOfServers", "get_mcp_tools"]

_SERVERS: Final = "_oarlock_servers"  # on an instance: those that its class names, once they have been asked for
_CONNECT_TIMEOUT: Final = 30.0  # seconds; CrewAI's default


class ToolsOfServers:
    """The tools of several MCP servers, known when a run begins; it may stand among an agent's tools.

    Args:
        owner: who has it, for messages.
        servers: they connect when a run begins, and stay connected for later ones.
        names: of the tools to offer; all, if there are none.
    """

    def __init__(self, owner: str, servers: Sequence[MCPServer], names: Sequence[str] = ()) -> None:
        self._owner = owner
        self._servers = tuple(servers)
        self._names = tuple(names)

    async def refresh(self, runtime: Runtime) -> None:
        """Let all servers connect, side by side, and say what they have."""
        await runtime.gather(*(functools.partial(server.refresh, runtime) for server in self._servers))

    async def offered(self, runtime: Runtime) -> list[BaseTool]:
        """Return the tools.

        Raises:
            MCPServerError: a server could not be started or reached.
            ConfigurationError: none of the servers has a tool of one of the names.
        """
        tools: list[BaseTool] = [tool for server in self._servers for tool in await server.offered(runtime)]
        if not self._names:
            return tools
        wanted = {function_name(name): name for name in self._names}
        there = {tool.function_name for tool in tools}
        for name in wanted.keys() - there:
            near = nearest(name, there)
            hint = f"Did you mean {near!r}?" if near else f"Their tools are: {shown(sorted(there))}."
            raise ConfigurationError(
                f"{self._owner}: get_mcp_tools() names {wanted[name]!r}, which none of its servers has. {hint}"
            )
        return [tool for tool in tools if tool.function_name in wanted]

    def __repr__(self) -> str:
        return f"<the MCP tools {', '.join(self._names) or 'of all servers'} of {self._owner}>"


def get_mcp_tools(self: Any, *names: str) -> list[ToolsOfServers]:
    """Return what brings the tools of the servers in the class's `mcp_server_params`, for `Agent(tools=...)`.

    Nothing is started here: servers connect when a run begins, once for all agents and all runs of the object, and end with
    it. Without `mcp_server_params` there are no tools, and the list is empty.

    Args:
        self: an object of the class.
        names: of the tools; default: all.

    Raises:
        ConfigurationError: `mcp_server_params` or `mcp_connect_timeout` cannot work, or `oarlock[mcp]` is not installed.
    """
    given = getattr(self, "mcp_server_params", None)
    if not given:
        return []
    owner = type(self).__name__
    servers = vars(self).get(_SERVERS)
    if servers is None:
        several = given if isinstance(given, list | tuple) else [given]
        seconds = getattr(self, "mcp_connect_timeout", _CONNECT_TIMEOUT)
        servers = [server_for(one, f"{owner}.mcp_server_params", seconds) for one in several]
        vars(self)[_SERVERS] = servers
    return [ToolsOfServers(owner, servers, names)]
