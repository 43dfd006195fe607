"""One call inside a budget: what each of its attempts costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    LLMError,
    OarlockError,
    PermissionDeniedError,
    RateLimitError,
)
from oarlock.contract.estimates import prompt_tokens, text_tokens, with_usage
from oarlock.contract.events import Event, FellBack, Waiting
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies.ledger import NOTHING, Charge, Cost
from oarlock.policies.prices import PriceTable, Rate

__all__ = ["BudgetedCall"]

_REFUSED = (AuthenticationError, PermissionDeniedError, RateLimitError, BadRequestError)  # before the prompt was read


@dataclass(slots=True, eq=False)
class BudgetedCall:
    """Enters what a call costs into the ledger, attempt by attempt.

    Attributes:
        charge: the call's place on the ledger.
        request: what is asked.
        prices: the table, if money counts.
        rate: the price of the LLM's own model, if money counts.
        again: called before another attempt, with the failure of the last; raises if there may be none.
    """

    charge: Charge
    request: Request
    prices: PriceTable | None
    rate: Rate | None
    again: Callable[[OarlockError | None], None]

    def prepared(self, end: float | None) -> Request:
        """Return the request for those inside, which has to be answered by `end`."""
        request = self.request
        times = [time for time in (request.deadline, end) if time is not None]
        return request.replace(
            charges=(*request.charges, self.charge),
            observers=(*request.observers, self._observe),
            deadline=min(times, default=None),
        )

    def answered(self, reply: Reply) -> None:
        """Charge for an answer."""
        usage = with_usage(reply, self.request).usage
        if usage.estimated and self.charge.inside.requests:
            return  # the model that was asked in there has reported what this could only be guessed from
        rate = self.rate if self.prices is None else self.prices.find(reply.model) or self.rate
        self._charge(usage, rate)

    def failed(self, error: BaseException | None) -> None:
        """Charge for an attempt that failed."""
        if error is None or _was_sent(error):
            read = 0 if isinstance(error, _REFUSED) else prompt_tokens(self.request)
            pieces = self.request.deltas.delivered if self.request.deltas is not None else 0  # about a token each
            written = max(pieces, text_tokens(str(getattr(error, "text", ""))))
            self._charge(Usage(requests=1, prompt_tokens=read, completion_tokens=written), self.rate)
        self.charge.inside = NOTHING

    def _charge(self, usage: Usage, rate: Rate | None) -> None:
        cost = Cost(usage.requests, usage.total_tokens, 0 if rate is None else rate.cost(usage))
        self.charge.ledger.spend(cost.beyond(self.charge.inside), self.charge)

    def _observe(self, event: Event) -> None:
        if isinstance(event, FellBack) or (isinstance(event, Waiting) and event.cause == "retry"):
            self.failed(event.error)
            self.again(event.error)


def _was_sent(error: BaseException) -> bool:
    """Return whether a model may have been asked; where nobody knows, it may."""
    if isinstance(error, RateLimitError):
        return error.status is not None or error.retryable  # else a limit of ours, that left no time to wait
    if isinstance(error, LLMError):
        return not isinstance(error, CircuitOpenError)
    return not isinstance(error, OarlockError)
