"""The one retry loop."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from oarlock.contract.classify import chain
from oarlock.contract.context import current_call
from oarlock.contract.errors import CircuitOpenError, ConfigurationError, LLMError, RateLimitError
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request, waiting
from oarlock.policies.checks import positive, whole
from oarlock.policies.idempotency import key_of
from oarlock.policies.retry_budget import RetryBudget, budget_of
from oarlock.runtime import Runtime

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["Retry"]

# Clients told to wait the same time come back spread over a fifth of it. Twenty that were told 2 s are then at least
# 0.2 s apart, first to last, in all but 2 of 100,000 cases; over a tenth they never would be.
_HINT_JITTER = 0.2

# Puts the starts of attempts and the ends of loops in order, over all threads: so a loop knows an error that another one
# within its attempt (of a tool's model, or in a thread of the user's own) has given up on already.
_moments = itertools.count(1)
_GIVEN_UP = "_oarlock_given_up"


class Retry:
    """Sends a request again after a failure that may heal: connection, timeout, 408, 409, 429, 5xx.

    Waits with full jitter, `random() * min(base_delay * 2**i, max_delay)`, longer after a 429; a server's hint
    (`retry-after-ms`, `retry-after` in seconds or as a date) is a floor, plus up to a fifth of it. It never waits past the
    deadline, never retries what cannot heal (a wrong key, a bad request, an exhausted quota, a bad certificate, or what
    the server forbids by `x-should-retry: false`) and never once a piece of a streamed answer has been handed out, unless
    its reader can tell attempts apart. All attempts of a call carry the same idempotency key.

    Each retry is paid from a budget that all calls to the endpoint share, over all LLM objects of the process: see
    `RetryBudget`. When it is used up, the error is raised at once, with a note that says so.

    There is one retry loop in a stack, the outermost: a `Retry` inside of it, such as that of a `ChatLLM` which a custom
    `call()` asks, sends once and leaves trying again to the one outside. A model that a tool asks has its own loop; what
    that one has given up on is not tried again here.

    Args:
        attempts: how often a request is sent at most, the first time included.
        base_delay: seconds, upper bound of the first wait. The defaults here and below are those of the AWS SDKs'
            standard mode and of the OpenAI SDK.
        max_delay: seconds, upper bound of any wait.
        throttled_base_delay: seconds, in place of `base_delay` after a 429.
        throttled_max_delay: seconds, in place of `max_delay` after a 429.
        max_retry_after: seconds; a server that asks for more makes the call fail at once, with the hint in the error.
        retry_on: decides for an `LLMError`: `True`, `False`, or a number of seconds to wait, which then counts instead of
            backoff and hints; default: its `retryable`.
        budget: `"endpoint"` for the budget of the LLM's endpoint (an LLM whose `endpoint_name()` is `None` has one of its
            own); a `RetryBudget` of your own, shared by whoever is given it; `None` for no limit but `attempts`.

    Raises:
        ConfigurationError: a setting that cannot work.

    Example:
        >>> Retry(attempts=5, max_delay=30)
        Retry(attempts=5)
    """

    rank: ClassVar[int] = 40

    def __init__(
        self,
        attempts: int = 3,
        *,
        base_delay: float = 0.5,
        max_delay: float = 8.0,
        throttled_base_delay: float = 1.0,
        throttled_max_delay: float = 20.0,
        max_retry_after: float = 60.0,
        retry_on: Callable[[LLMError], bool | float] | None = None,
        budget: RetryBudget | Literal["endpoint"] | None = "endpoint",
    ) -> None:
        self.attempts = whole("Retry", "attempts", attempts)
        self.base_delay = positive("Retry", "base_delay", base_delay, zero=True)
        self.max_delay = positive("Retry", "max_delay", max_delay, zero=True)
        self.throttled_base_delay = positive("Retry", "throttled_base_delay", throttled_base_delay, zero=True)
        self.throttled_max_delay = positive("Retry", "throttled_max_delay", throttled_max_delay, zero=True)
        self.max_retry_after = positive("Retry", "max_retry_after", max_retry_after, zero=True)
        if retry_on is not None and not callable(retry_on):
            raise ConfigurationError(f"Retry: retry_on must be a function of an error, not {retry_on!r}.")
        self.retry_on = retry_on
        if not (budget is None or budget == "endpoint" or isinstance(budget, RetryBudget)):
            raise ConfigurationError(f'Retry: budget must be a RetryBudget, "endpoint" or None, not {budget!r}.')
        self.budget = budget
        self._endpoint: str | None = None

    def bind(self, llm: BaseLLM) -> Retry:
        """Return this policy with the budget of the LLM's endpoint."""
        if self.budget != "endpoint":
            return self
        bound, endpoint = copy.copy(self), llm.endpoint_name()
        vars(bound).update(budget=budget_of(endpoint), _endpoint=endpoint)
        return bound

    def __call__(self, handler: Handler) -> Handler:
        budget = RetryBudget() if isinstance(self.budget, str) else self.budget

        async def handle(runtime: Runtime, request: Request) -> Reply:
            around = request.retried or current_call().retried
            request = request.replace(idempotency_key=key_of(runtime, request), retried=True)
            if around:  # the loop that is around counts and waits for both
                return await handler(runtime, request)
            started = runtime.now()
            paid: int | None = 1  # what a success gives back: 1, or the price of the last retry
            while True:
                began = next(_moments)
                try:
                    reply = await handler(runtime, request)
                except LLMError as error:
                    if _given_up_since(began, error):
                        raise
                    error.attempts, error.elapsed = _sent(request, error), runtime.now() - started
                    delay = self._delay(runtime, request, error)
                    costs = error.code != "limit_store"  # a shared limit's store failed: no load on the endpoint
                    if delay is not None and budget is not None and costs and (paid := budget.pay(error)) is None:
                        _note_used_up(error, self._endpoint)
                        delay = None
                    if delay is None:
                        vars(error)[_GIVEN_UP] = next(_moments)
                        raise
                    wait = waiting(runtime, request, "retry", seconds=delay, error=error, attempt=request.attempt)
                else:
                    if budget is not None and paid is not None:
                        budget.give_back(paid)
                    return reply
                with wait:
                    await runtime.sleep(delay)
                request = request.again()

        return handle

    def _delay(self, runtime: Runtime, request: Request, error: LLMError) -> float | None:
        """Return the seconds to wait before the next attempt, `None` for no more attempts."""
        if request.attempt >= self.attempts or (request.deltas is not None and not request.deltas.may_begin_anew):
            return None
        verdict = error.retryable if self.retry_on is None else self.retry_on(error)
        if verdict is False:
            return None
        if verdict is True:
            delay = self._backoff(runtime, request.attempt, error)
        else:
            delay = positive("Retry", "the answer of retry_on (where not True or False)", verdict, zero=True)
        if delay is None or (request.deadline is not None and runtime.now() + delay >= request.deadline):
            return None
        return delay

    def _backoff(self, runtime: Runtime, attempt: int, error: LLMError) -> float | None:
        throttled = isinstance(error, RateLimitError)
        base = self.throttled_base_delay if throttled else self.base_delay
        cap = self.throttled_max_delay if throttled else self.max_delay
        delay = runtime.random() * min(base * 2.0 ** min(attempt - 1, 60), cap)
        hint = error.retry_after
        if hint is None or not hint > 0:
            return delay
        if hint > self.max_retry_after:
            return None
        return max(delay, hint * (1 + _HINT_JITTER * runtime.random()))

    def explain(self) -> str:
        """Return in a sentence what this policy does."""
        if self.attempts == 1:
            return "Sends a request once, and never again."
        failures = "a lost connection, a timeout or HTTP 408, 409, 429 or 5xx"
        if self.retry_on is not None:
            failures = "a failure that retry_on accepts"
        return (
            f"Sends a request up to {self.attempts} times: after {failures} it waits a random time of up to "
            f"{self.base_delay:g} s, doubled each time up to {self.max_delay:g} s (after a 429 {self.throttled_base_delay:g} s "
            f"and {self.throttled_max_delay:g} s), and at least as long as the server asks, if that is no more than "
            f"{self.max_retry_after:g} s{self._explain_budget()}."
        )

    def _explain_budget(self) -> str:
        if self.budget is None:
            return ""
        own = isinstance(self.budget, RetryBudget)
        budget = self.budget if isinstance(self.budget, RetryBudget) else RetryBudget()
        return (
            f"; each retry costs {budget.retry_cost} ({budget.throttled_retry_cost} after a 429) of a budget of "
            f"{budget.capacity}, shared by all calls {'that were given it' if own else 'to the endpoint'}, and a call that "
            "succeeds at once gives 1 back"
        )

    def __repr__(self) -> str:
        return f"Retry(attempts={self.attempts})"


def _sent(request: Request, error: LLMError) -> int:
    """Return how many attempts went out; the circuit breaker inside lets none through that it refuses."""
    return request.attempt - isinstance(error, CircuitOpenError)


def _given_up_since(began: int, error: LLMError) -> bool:
    """Return whether a loop that ended after this moment raised the error, or one that caused it."""
    return any(vars(link).get(_GIVEN_UP, 0) > began for link in chain(error))


def _note_used_up(error: LLMError, endpoint: str | None) -> None:
    whose = f"the retry budget of {endpoint}" if endpoint else "the retry budget"
    note = f"It was not sent again: {whose} is used up by earlier failures."
    if note not in getattr(error, "__notes__", ()):  # an error may be raised more than once
        error.add_note(note)
