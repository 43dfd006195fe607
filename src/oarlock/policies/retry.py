"""The one retry loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from oarlock.contract.context import current_call
from oarlock.contract.errors import ConfigurationError, LLMError, RateLimitError
from oarlock.contract.events import Waiting
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies.checks import positive, whole
from oarlock.runtime import Runtime

__all__ = ["Retry"]

_HINT_JITTER = 0.1  # clients told to wait the same time come back spread over a tenth of it


class Retry:
    """Sends a request again after a failure that may heal: connection, timeout, 408, 409, 429, 5xx.

    Waits with full jitter, `random() * min(base_delay * 2**i, max_delay)`, longer after a 429; a server's hint
    (`retry-after-ms`, `retry-after`) is a floor. It never waits past the deadline, never retries what cannot heal (a wrong
    key, a bad request, an exhausted quota) and never once a piece of a streamed answer has been handed out. All attempts
    of a call carry the same idempotency key.

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

    def __call__(self, handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            if request.retried or current_call().retried:  # the loop that is around counts and waits for both
                return await handler(runtime, request)
            started = runtime.now()
            key = request.idempotency_key or runtime.new_id()
            request = request.replace(idempotency_key=key, retried=True)
            while True:
                try:
                    return await handler(runtime, request)
                except LLMError as error:
                    error.attempts, error.elapsed = request.attempt, runtime.now() - started
                    delay = self._delay(runtime, request, error)
                    if delay is None:
                        raise
                    request.emit(Waiting(cause="retry", seconds=delay, error=error, attempt=request.attempt))
                await runtime.sleep(delay)
                request = request.replace(attempt=request.attempt + 1)

        return handle

    def _delay(self, runtime: Runtime, request: Request, error: LLMError) -> float | None:
        """Return the seconds to wait before the next attempt, `None` for no more attempts."""
        if request.attempt >= self.attempts or (request.deltas is not None and request.deltas.delivered):
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

    def __repr__(self) -> str:
        return f"Retry(attempts={self.attempts})"
