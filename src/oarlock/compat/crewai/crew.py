"""`crewai.crew`."""

from oarlock.agents.crew import Crew

__all__ = ["Crew"]
