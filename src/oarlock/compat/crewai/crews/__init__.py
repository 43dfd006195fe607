"""`crewai.crews`."""

from oarlock.agents.outputs import CrewOutput

__all__ = ["CrewOutput"]
