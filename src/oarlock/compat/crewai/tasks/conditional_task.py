"""`crewai.tasks.conditional_task`."""

from oarlock.agents.conditional import ConditionalTask

__all__ = ["ConditionalTask"]
