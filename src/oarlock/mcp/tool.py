"""A tool of an MCP server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oarlock.runtime import Runtime
from oarlock.tools import BaseTool
from oarlock.tools.json_schema import JsonArguments

if TYPE_CHECKING:
    from oarlock.mcp.server import MCPServer

__all__ = ["MCPTool"]

_MOST_DESCRIPTION = 10_000  # characters; each of them is sent to the model with every call


class MCPTool(BaseTool):
    """A tool of an MCP server, as the server describes it. `MCPServer.tools` makes these.

    Attributes:
        server: whose tool it is.
        remote_name: what the server calls it.
    """

    server: MCPServer
    remote_name: str

    def __init__(
        self,
        server: MCPServer,
        remote_name: str,
        description: str,
        arguments: JsonArguments,
        *,
        dangerous: bool,
        idempotent: bool = False,
    ) -> None:
        self.server = server
        self.remote_name = remote_name
        self.name = f"{server.prefix}_{remote_name}" if server.prefix else remote_name
        self.description = description.strip()[:_MOST_DESCRIPTION] or f"The tool {remote_name!r}."
        self.dangerous = dangerous
        self.idempotent = idempotent
        self._takes = arguments

    def _read_arguments(self) -> JsonArguments:
        return self._takes

    @property
    def arguments(self) -> JsonArguments:
        """What it takes."""
        return self._takes

    def _run(self, **arguments: Any) -> Any:
        """Ask the server."""
        return self.run(**arguments)

    async def handle(
        self,
        runtime: Runtime,
        arguments: Mapping[str, Any],
        *,
        deadline: float | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Ask the server, and return its answer as text."""
        return await self.server.ask(runtime, self.remote_name, arguments, deadline)

    def is_like(self, other: MCPTool) -> bool:
        """Return whether it is described in the same words."""
        return self._described() == other._described()

    def _described(self) -> tuple[Any, ...]:
        return self.name, self.description, self.dangerous, self.idempotent, self._takes.parameters
