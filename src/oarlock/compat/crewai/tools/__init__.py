"""`crewai.tools`."""

from oarlock.tools import BaseTool, tool

__all__ = ["BaseTool", "tool"]
