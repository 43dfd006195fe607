"""`crewai.utilities`."""
