"""Leaving an endpoint alone while it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from oarlock.contract.errors import (
    ConfigurationError,
    ConnectionFailedError,
    LLMError,
    LLMTimeoutError,
    ResponseFormatError,
    ServerError,
    TruncatedStream,
)
from oarlock.contract.policy import Handler, Policy
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies.checks import positive, whole
from oarlock.policies.circuit import Circuit, CircuitRules
from oarlock.policies.locks import ForkSafeLock
from oarlock.runtime import Runtime

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["CircuitBreaker"]

_MOST_ENDPOINTS = 1000


class CircuitBreaker:
    """Stops asking an endpoint that keeps failing, so that callers learn at once and it may recover.

    Opens when enough of the calls of the last seconds failed; then every call fails with `CircuitOpenError`, unsent. After
    `open_for` seconds one call at a time may try it: a success closes the circuit, a failure opens it for as long again.

    A failure is a lost connection, a timeout, a 5xx or a cut stream. Any other answer of the endpoint is a success, a 429
    too: being throttled is no outage, and `Retry` and `RateLimit` know how to wait, where an open circuit would refuse
    what the endpoint still serves. What never reached it (a wait that is too long, a failed sign-in), a call that was
    cancelled and a stream that its reader left count as neither.

    One object keeps a circuit for each endpoint by name, over all LLMs it is given to; an LLM whose `endpoint_name()` is
    `None` has its own. Calls that are under way when it opens are not stopped, and count no more; so of a hundred that
    begin at once all are sent. A call that tries the endpoint and does not end within `window` makes room for the next.
    Safe for threads and event loops. A copy shares the circuits; a pickle takes the settings only.

    Args:
        failure_rate: the share of calls, above 0 and at most 1, whose failure opens it. The defaults here and below are
            near those of Polly, .NET's resilience handlers and resilience4j.
        minimum_calls: calls within the window, below which it does not open.
        window: seconds over which calls are counted.
        open_for: seconds for which it stays open.
        trip_on: decides for an `LLMError` whether it is a failure, in place of the rule above.

    Raises:
        ConfigurationError: a setting that cannot work.
        CircuitOpenError: from a call that was not sent; `retry_after` says when the next may try.

    Example:
        >>> CircuitBreaker(open_for=10)
        CircuitBreaker(failure_rate=0.5, minimum_calls=20, window=30, open_for=10)
    """

    rank: ClassVar[int] = 45

    def __init__(
        self,
        *,
        failure_rate: float = 0.5,
        minimum_calls: int = 20,
        window: float = 30.0,
        open_for: float = 5.0,
        trip_on: Callable[[LLMError], bool] | None = None,
    ) -> None:
        self.failure_rate = positive("CircuitBreaker", "failure_rate", failure_rate)
        if self.failure_rate > 1:
            raise ConfigurationError(
                f"CircuitBreaker: failure_rate must be a share, above 0 and at most 1, not {failure_rate!r}."
            )
        self.minimum_calls = whole("CircuitBreaker", "minimum_calls", minimum_calls)
        self.window = positive("CircuitBreaker", "window", window)
        self.open_for = positive("CircuitBreaker", "open_for", open_for)
        if trip_on is not None and not callable(trip_on):
            raise ConfigurationError(f"CircuitBreaker: trip_on must be a function of an error, not {trip_on!r}.")
        self.trip_on = trip_on
        self._circuits: dict[str, Circuit] = {}
        self._lock = ForkSafeLock()

    def bind(self, llm: BaseLLM) -> Policy:
        """Return this policy with the circuit of the LLM's endpoint."""
        circuit = self._circuit(llm.endpoint_name())
        return lambda handler: self._around(handler, circuit)

    def __call__(self, handler: Handler) -> Handler:
        return self._around(handler, self._circuit(None))

    def _circuit(self, endpoint: str | None) -> Circuit:
        rules = CircuitRules(
            failure_rate=self.failure_rate,
            minimum_calls=self.minimum_calls,
            window=self.window,
            open_for=self.open_for,
        )
        if endpoint is None:
            return Circuit(None, rules)
        with self._lock:
            circuit = self._circuits.pop(endpoint, None) or Circuit(endpoint, rules)
            self._circuits[endpoint] = circuit  # the last one used is the last one forgotten
            while len(self._circuits) > _MOST_ENDPOINTS:
                del self._circuits[next(iter(self._circuits))]
        return circuit

    def _around(self, handler: Handler, circuit: Circuit) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            ticket, change = circuit.enter(runtime.now())
            failed: bool | None = None
            failure: LLMError | None = None
            try:
                if change is not None:
                    request.emit(change)
                reply = await handler(runtime, request)
                failed = False
            except LLMError as error:
                failure, failed = error, self._failed(error)
                raise
            finally:  # also when cancelled, or left in the middle of a stream
                change = circuit.leave(ticket, runtime.now(), failed=failed, error=failure)
                if change is not None:
                    request.emit(change)
            return reply

        return handle

    def _failed(self, error: LLMError) -> bool | None:
        """Return whether the endpoint failed; `None` if the error says nothing about it."""
        if error.code == "limit_store":  # the store of a shared limit could not be asked, and the endpoint was not
            return None
        if _is_outage(error) if self.trip_on is None else self.trip_on(error):
            return True
        answered = error.status is not None or isinstance(error, ResponseFormatError)
        return False if answered else None

    def explain(self) -> str:
        """Return in a sentence what this policy does."""
        failures = "a lost connection, a timeout, a 5xx or a cut stream"
        return (
            f"Stops asking an endpoint for {self.open_for:g} s once {100 * self.failure_rate:.3g} % of at least {self.minimum_calls} calls "
            f"within {self.window:g} s have failed ({failures if self.trip_on is None else 'by the rule of trip_on'}), then lets "
            "one call at a time try it: a success ends the pause, a failure begins it anew."
        )

    def __repr__(self) -> str:
        names = ("failure_rate", "minimum_calls", "window", "open_for")
        return f"CircuitBreaker({', '.join(f'{name}={getattr(self, name):g}' for name in names)})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # the copy of an LLM asks the same endpoint

    def __getstate__(self) -> dict[str, Any]:
        names = ("failure_rate", "minimum_calls", "window", "open_for", "trip_on")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        CircuitBreaker.__init__(self, **state)  # the circuits' times mean nothing in another process


def _is_outage(error: LLMError) -> bool:
    """Return whether an error shows that the endpoint does not work."""
    if isinstance(error, LLMTimeoutError):
        return error.retryable or error.status is not None  # the others had no time left to be sent
    return isinstance(error, ConnectionFailedError | ServerError | TruncatedStream)
