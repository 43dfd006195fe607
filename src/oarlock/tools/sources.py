"""What brings tools that are known only when a run begins, such as an MCP server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from oarlock.runtime import Runtime
from oarlock.tools.base import BaseTool

__all__ = ["ToolSource", "split"]


@runtime_checkable
class ToolSource(Protocol):
    """May stand among an agent's tools, in the place of those that it brings."""

    async def refresh(self, runtime: Runtime) -> None:
        """Know which tools there are now; called when a run begins."""

    async def offered(self, runtime: Runtime) -> Sequence[BaseTool]:
        """Return the tools; called when an agent begins to work."""


def split(things: Iterable[Any]) -> tuple[list[Any], tuple[ToolSource, ...]]:
    """Return what is or may be a tool, and the sources of further ones.

    Example:
        >>> split([print])
        ([<built-in function print>], ())
    """
    tools: list[Any] = []
    sources: list[ToolSource] = []
    for thing in things:
        if isinstance(thing, BaseTool | type) or not isinstance(thing, ToolSource):
            tools.append(thing)
        else:
            sources.append(thing)
    return tools, tuple(sources)
