"""`crewai.tasks.output_format`."""

from oarlock.agents.outputs import OutputFormat

__all__ = ["OutputFormat"]
