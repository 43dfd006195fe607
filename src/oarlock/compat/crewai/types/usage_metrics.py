"""`crewai.types.usage_metrics`."""

from oarlock.contract.reply import Usage as UsageMetrics

__all__ = ["UsageMetrics"]
