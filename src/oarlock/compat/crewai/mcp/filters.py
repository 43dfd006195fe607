"""`crewai.mcp.filters`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["StaticToolFilter", "create_static_tool_filter"]


class StaticToolFilter:
    """Offers the tools of a list, and none of another; here `allowed_tools` and `blocked_tools` of a server do the same.

    Example:
        >>> wanted = StaticToolFilter(allowed_tool_names=["read"])
        >>> wanted({"name": "read"}), wanted({"name": "write"})
        (True, False)
    """

    def __init__(
        self, allowed_tool_names: Iterable[str] | None = None, blocked_tool_names: Iterable[str] | None = None
    ) -> None:
        self.allowed_tool_names = set(allowed_tool_names or ())
        self.blocked_tool_names = set(blocked_tool_names or ())

    def __call__(self, tool: Mapping[str, Any]) -> bool:
        """Return whether to offer a tool."""
        name = tool.get("name", "")
        return name not in self.blocked_tool_names and (not self.allowed_tool_names or name in self.allowed_tool_names)


def create_static_tool_filter(
    allowed_tool_names: Iterable[str] | None = None, blocked_tool_names: Iterable[str] | None = None
) -> StaticToolFilter:
    """Return a `StaticToolFilter`."""
    return StaticToolFilter(allowed_tool_names, blocked_tool_names)
