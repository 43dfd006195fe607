"""`crewai.agent.core`."""

from oarlock.compat.crewai.agent import Agent

__all__ = ["Agent"]
