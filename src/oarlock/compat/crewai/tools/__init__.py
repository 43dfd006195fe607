"""`crewai.tools`."""

from oarlock.compat.crewai.tools.base_tool import BaseTool, EnvVar, tool

__all__ = ["BaseTool", "EnvVar", "tool"]
