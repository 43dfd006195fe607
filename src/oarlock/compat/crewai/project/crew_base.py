"""`crewai.project.crew_base`."""

from oarlock.project import CrewBase

__all__ = ["CrewBase"]
