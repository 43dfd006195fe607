"""`crewai.agents.parser`: what a `step_callback` is called with."""

from oarlock.agents.outputs import AgentAction, AgentFinish

__all__ = ["AgentAction", "AgentFinish"]
