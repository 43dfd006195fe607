"""Policies: what wraps around any LLM. Each takes a handler and returns a handler."""

from oarlock.policies.deadline import Deadline
from oarlock.policies.log import Log
from oarlock.policies.metrics import Metrics
from oarlock.policies.rate_limit import RateLimit
from oarlock.policies.retry import Retry

__all__ = ["Deadline", "Log", "Metrics", "RateLimit", "Retry"]
