"""`crewai.tools.base_tool`."""

from oarlock.tools import BaseTool, tool

__all__ = ["BaseTool", "tool"]
