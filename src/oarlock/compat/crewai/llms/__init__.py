"""`crewai.llms`."""
