"""`crewai.tasks.task_output`."""

from oarlock.agents.outputs import TaskOutput

__all__ = ["TaskOutput"]
