"""`crewai.utilities.exceptions`."""
