"""`crewai.tasks`."""

from oarlock.agents.outputs import TaskOutput

__all__ = ["TaskOutput"]
