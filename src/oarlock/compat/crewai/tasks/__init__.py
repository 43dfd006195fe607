"""`crewai.tasks`."""

from oarlock.agents.outputs import OutputFormat, TaskOutput

__all__ = ["OutputFormat", "TaskOutput"]
