"""`crewai.task`."""

from oarlock.agents.task import Task

__all__ = ["Task"]
