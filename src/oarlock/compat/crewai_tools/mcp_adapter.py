"""`MCPServerAdapter`: the tools of MCP servers, from when it is built until it is stopped."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, SupportsIndex

from oarlock.project.servers import server_for
from oarlock.tools import BaseTool
from oarlock.tools.names import function_name

__all__ = ["MCPServerAdapter", "ToolCollection"]


class ToolCollection(list[BaseTool]):
    """A list of tools that may be asked for by name, too: `tools["search"]`."""

    def __getitem__(self, key: Any) -> Any:
        """Return the tool of a name, or what a list has there."""
        if not isinstance(key, str):
            wanted: SupportsIndex | slice = key
            return super().__getitem__(wanted)
        found = [tool for tool in self if key in (tool.name, tool.function_name)]
        if not found:
            raise KeyError(key)
        return found[0]

    def filter_by_names(self, names: Iterable[str] | None = None) -> ToolCollection:
        """Return those of these names; all if none are given."""
        wanted = None if names is None else {function_name(name) for name in names}
        return ToolCollection(tool for tool in self if wanted is None or tool.function_name in wanted)


class MCPServerAdapter:
    """Connects to MCP servers when it is built, and gives their tools: `with MCPServerAdapter(parameters) as tools:`.

    New code is shorter, and connects only when a run begins, with `Agent(tools=[oarlock.mcp.MCPServerStdio(...)])`.

    Args:
        serverparams: the SDK's `StdioServerParameters`, a mapping with `url`, `transport` (`"sse"`, which is the default, or
            `"streamable-http"`) and the settings of `oarlock.mcp.MCPServerHTTP`, or a list of these.
        tool_names: the tools to offer; default: all.
        connect_timeout: seconds for connecting.

    Raises:
        ConfigurationError: the parameters cannot work.
        MCPServerError: a server could not be started or reached.
    """

    def __init__(self, serverparams: Any, *tool_names: str, connect_timeout: float = 30) -> None:
        several = serverparams if isinstance(serverparams, list | tuple) else [serverparams]
        self._servers = [server_for(one, "MCPServerAdapter", connect_timeout) for one in several]
        self._names = tool_names or None
        self.start()

    def start(self) -> None:
        """Connect."""
        try:
            self._tools = ToolCollection(tool for server in self._servers for tool in server.tools)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the connections, and the programs."""
        for server in self._servers:
            server.close()

    @property
    def tools(self) -> ToolCollection:
        """The tools."""
        return self._tools.filter_by_names(self._names)

    def __enter__(self) -> ToolCollection:
        return self.tools

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
