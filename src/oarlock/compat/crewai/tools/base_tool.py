"""`crewai.tools.base_tool`."""

from __future__ import annotations

from dataclasses import dataclass

from oarlock.tools import BaseTool, tool
from oarlock.tools.function import FunctionTool as Tool

__all__ = ["BaseTool", "EnvVar", "Tool", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """An environment variable that a tool reads, for those who list what tools need; nothing else is done with it.

    Example:
        >>> EnvVar(name="WEATHER_KEY", description="The key of the weather service").required
        True
    """

    name: str
    description: str
    required: bool = True
    default: str | None = None
