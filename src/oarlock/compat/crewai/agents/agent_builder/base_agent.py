"""`crewai.agents.agent_builder.base_agent`: there is one kind of agent here."""

from oarlock.agents.agent import Agent as BaseAgent

__all__ = ["BaseAgent"]
