"""Policies: what wraps around any LLM. Each takes a handler and returns a handler."""

from oarlock.policies.budget import Amounts, Budget
from oarlock.policies.cache import Cache
from oarlock.policies.circuit_breaker import CircuitBreaker
from oarlock.policies.concurrency import Concurrency
from oarlock.policies.deadline import Deadline
from oarlock.policies.fallback import Fallback
from oarlock.policies.log import Log
from oarlock.policies.metrics import Metrics
from oarlock.policies.prices import Price
from oarlock.policies.rate_limit import RateLimit
from oarlock.policies.retry import Retry
from oarlock.policies.retry_budget import RetryBudget

__all__ = [
    "Amounts",
    "Budget",
    "Cache",
    "CircuitBreaker",
    "Concurrency",
    "Deadline",
    "Fallback",
    "Log",
    "Metrics",
    "Price",
    "RateLimit",
    "Retry",
    "RetryBudget",
]
