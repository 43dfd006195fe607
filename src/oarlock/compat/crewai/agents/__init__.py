"""`crewai.agents`."""
