"""`crewai.crews.crew_output`."""

from oarlock.agents.outputs import CrewOutput

__all__ = ["CrewOutput"]
