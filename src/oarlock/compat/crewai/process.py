"""`crewai.process`."""

from oarlock.agents.crew import Process

__all__ = ["Process"]
