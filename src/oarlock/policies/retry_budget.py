"""What all calls to an endpoint may spend on retries, so that an outage is not multiplied."""

from __future__ import annotations

from typing import Any, Self
from weakref import WeakValueDictionary

from oarlock.contract.errors import ConfigurationError, LLMError, RateLimitError
from oarlock.policies.checks import whole
from oarlock.policies.locks import ForkSafeLock

__all__ = ["RetryBudget", "budget_of"]


class RetryBudget:
    """A bucket from which every retry is paid; an empty one lets failures through to the caller at once.

    It begins full. A call that succeeds without a retry puts 1 back, one that succeeds after retries the price of its
    last one: retries that help stay free, those into an outage use it up. So 100 calls against an endpoint that only
    fails put at most 135 requests on the wire, not 300, and 200 against one that only answers 429.

    `Retry` keeps one for each endpoint by itself; make one for limits of your own, or to share one between endpoints.
    Safe for threads and event loops. A copy is the same bucket; a pickle takes the settings only, and begins full.

    Args:
        capacity: how much it holds. The defaults here and below are those of the AWS SDKs' standard mode.
        retry_cost: the price of a retry.
        throttled_retry_cost: the price of a retry after a 429.

    Raises:
        ConfigurationError: a setting that cannot work.

    Example:
        >>> budget = RetryBudget(28)
        >>> error = LLMError("down")
        >>> budget.pay(error), budget.pay(error), budget.pay(error)
        (14, 14, None)
        >>> budget.give_back(14)
        >>> budget.left
        14
    """

    def __init__(self, capacity: int = 500, *, retry_cost: int = 14, throttled_retry_cost: int = 5) -> None:
        self.capacity = whole("RetryBudget", "capacity", capacity)
        self.retry_cost = whole("RetryBudget", "retry_cost", retry_cost)
        self.throttled_retry_cost = whole("RetryBudget", "throttled_retry_cost", throttled_retry_cost)
        for name in ("retry_cost", "throttled_retry_cost"):
            if getattr(self, name) > capacity:
                raise ConfigurationError(
                    f"RetryBudget: {name} must not be above capacity ({capacity}), and is {getattr(self, name)}."
                )
        self._left = capacity
        self._lock = ForkSafeLock()  # held for an addition

    @property
    def left(self) -> int:
        """How much is in the bucket now."""
        return self._left

    def pay(self, error: LLMError) -> int | None:
        """Take the price of a retry after this error out of the bucket; return it, or `None` if there is too little."""
        price = self.throttled_retry_cost if isinstance(error, RateLimitError) else self.retry_cost
        with self._lock:
            if self._left < price:
                return None
            self._left -= price
            return price

    def give_back(self, amount: int = 1) -> None:
        """Put something back, as far as there is room for it."""
        if self._left < self.capacity:  # seldom: a healthy endpoint's bucket is full
            with self._lock:
                self._left = min(self.capacity, self._left + amount)

    def __repr__(self) -> str:
        return f"RetryBudget({', '.join(f'{name}={value}' for name, value in self.__getstate__().items())})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # the copy of an LLM asks the same endpoint, and shares what is left

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("capacity", "retry_cost", "throttled_retry_cost")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        RetryBudget.__init__(self, **state)


# Shared over the process: an endpoint that fails does so for each of a thousand LLM objects, and is not to get a thousand
# times the retries. Values are weak: the last LLM of an endpoint takes its budget along.
_shared: WeakValueDictionary[str, RetryBudget] = WeakValueDictionary()
_shared_lock = ForkSafeLock()


def budget_of(endpoint: str | None) -> RetryBudget:
    """Return the one budget of an endpoint, or a new one for an LLM that names none.

    Example:
        >>> budget = budget_of("gpt-x at https://llm.example.com/v1")
        >>> budget_of("gpt-x at https://llm.example.com/v1") is budget
        True
        >>> budget_of(None) is budget_of(None)
        False
    """
    if endpoint is None:
        return RetryBudget()
    with _shared_lock:
        budget = _shared.get(endpoint)
        if budget is None:
            budget = _shared[endpoint] = RetryBudget()
    return budget
