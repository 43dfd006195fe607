"""`crewai.agent`."""

from oarlock.agents.agent import Agent

__all__ = ["Agent"]
