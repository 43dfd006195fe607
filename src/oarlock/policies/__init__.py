"""Policies: what wraps around any LLM. Each takes a handler and returns a handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        "Amounts": "budget",
        "Budget": "budget",
        "Cache": "cache",
        "CircuitBreaker": "circuit_breaker",
        "Concurrency": "concurrency",
        "Deadline": "deadline",
        "Fallback": "fallback",
        "Log": "log",
        "Metrics": "metrics",
        "Price": "prices",
        "RateLimit": "rate_limit",
        "Retry": "retry",
        "RetryBudget": "retry_budget",
    },
)


def __dir__() -> list[str]:
    return __all__
