"""`crewai.agents`."""

from oarlock.agents.outputs import AgentAction, AgentFinish

__all__ = ["AgentAction", "AgentFinish"]
