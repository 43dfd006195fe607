"""Totals that must not be passed: requests, tokens, money, time."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Self

from oarlock.contract.context import current_call, enter_budget, leave_budget
from oarlock.contract.errors import BudgetExceededError, ConfigurationError, LLMTimeoutError, OarlockError
from oarlock.contract.estimates import prompt_tokens
from oarlock.contract.policy import Handler
from oarlock.contract.records import dataclass
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request, waiting
from oarlock.policies.budget_call import BudgetedCall
from oarlock.policies.checks import positive, whole
from oarlock.policies.ledger import NOTHING, Charge, Cost, Ledger, Tally
from oarlock.policies.prices import Price, PriceTable, Rate, amount, grains
from oarlock.runtime import Runtime, driver_of

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["Amounts", "Budget"]

_PATIENCE = 600.0  # seconds; whoever holds the rest of a budget for longer is stuck
_CONTEXT_WINDOW = 8192  # tokens; `BaseLLM`'s own default
_ONE_REQUEST = Cost(1)
_A_MESSAGE = 16  # tokens that a message may have beside its text


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What is spent of a budget, or left of it; `None` for what it does not limit or cannot know.

    Attributes:
        requests: model calls, each attempt counted.
        tokens: read and written.
        money: in the currency of the prices.
        seconds: since the first call.

    Example:
        >>> Budget(requests=10).left.requests
        10
    """

    requests: int | None = None
    tokens: int | None = None
    money: Decimal | None = None
    seconds: float | None = None


class Budget:
    """Lets calls through until a total is used up, and refuses all after that.

    Use it as a policy, `llm.with_policies(Budget(tokens=1_000_000))`, or around code, `with Budget(money=5, prices=...):`,
    where every call of any model inside counts: whole crews, tools that ask models, work that is delegated. Both may be
    the same object. Nested ones all count. A call is counted once, however many ways lead it to the same budget.

    At most one call passes a limit. For that each call first holds the most that it should cost (twice its prompt's
    estimate, and `max_tokens` or the LLM's context window); when those in flight could pass the limit together, later
    ones wait until one has ended. A limit on requests is never passed: the last attempts are not retried.

    Counted is the usage that the provider reports; what is missing or cannot be is estimated (4 bytes a token). Every
    attempt is a request. A failed attempt also costs its prompt, unless the endpoint refused it (401, 403, 429, other 4xx);
    one that a policy of ours held back costs nothing. A stream that was left early costs its prompt and the pieces that
    had come. Answers from a `Cache` are free.

    A blocking call to a method that you wrote yourself is seen only through the library: in an agent, or `with_policies`.

    Args:
        requests: most requests.
        tokens: most tokens, read and written.
        money: most money, in the currency of the prices; needs `prices`.
        seconds: from the first call to the end of the last one; running calls are cut off there.
        prices: by model, such as `{"gpt-x": Price(input=2.5, output=10)}`, also for names that add a date to it. The model
            that the reply names counts, if it has a price; else that of the LLM, which must have one.

    Raises:
        ConfigurationError: no limit is given, or a setting cannot work; before the first call, if its model has no price.
        BudgetExceededError: from a call, once a limit is used up.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> budget = Budget(requests=2, seconds=600)
        >>> with budget:
        ...     ScriptedLLM(["Hello"]).call("Hi")
        'Hello'
        >>> budget.left.requests
        1
    """

    rank: ClassVar[int] = 27

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        money: float | Decimal | None = None,
        seconds: float | None = None,
        *,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        if requests is None and tokens is None and money is None and seconds is None:
            raise ConfigurationError("Budget: give at least one of requests, tokens, money and seconds.")
        if money is not None and prices is None:
            raise ConfigurationError(
                'Budget: money needs prices, such as prices={"gpt-x": Price(input=2.5, output=10)}.'
            )
        self.requests = None if requests is None else whole("Budget", "requests", requests)
        self.tokens = None if tokens is None else whole("Budget", "tokens", tokens)
        self.money = money
        self.seconds = None if seconds is None else positive("Budget", "seconds", seconds)
        self.prices = prices
        self._table = None if prices is None else PriceTable(prices)
        limits = {"requests": self.requests, "tokens": self.tokens}
        limits["money"] = None if money is None else grains("Budget", "money", money, zero=False)
        self._ledger = Ledger({name: limit for name, limit in limits.items() if limit is not None}, NOTHING)
        self._before = 0.0  # seconds, in the process that this was pickled in
        self._started: tuple[Runtime, float] | None = None

    def __call__(self, handler: Handler) -> Handler:
        return self._around(handler, None)

    def bind(self, llm: BaseLLM) -> _Bound:
        """Return this budget for one LLM.

        Raises:
            ConfigurationError: its model has no price.
        """
        if self._table is not None:
            self._table.of(llm.model)
        return _Bound(self, llm)

    def fresh(self) -> Budget:
        """Return a budget of the same limits of which nothing is spent."""
        return Budget(self.requests, self.tokens, self.money, self.seconds, prices=self.prices)

    @property
    def spent(self) -> Amounts:
        """What calls have cost so far, those that still run left out."""
        spent = self._ledger.spent
        return Amounts(
            requests=spent.requests,
            tokens=spent.tokens,
            money=None if self._table is None else amount(spent.money),
            seconds=self._elapsed(),
        )

    @property
    def left(self) -> Amounts:
        """What is left, nowhere below zero; `None` where there is no limit."""
        limits, spent = self._ledger.limits, self._ledger.spent
        left = {name: max(0, limit - getattr(spent, name)) for name, limit in limits.items()}
        return Amounts(
            requests=left.get("requests"),
            tokens=left.get("tokens"),
            money=amount(left["money"]) if "money" in left else None,
            seconds=None if self.seconds is None else max(0.0, self.seconds - self._elapsed()),
        )

    def spent_within(self, tally: Tally) -> tuple[int, int, int]:
        """Return the requests, tokens and grains of money that a tally has of this budget."""
        costs = [cost for ledger, cost in tally if ledger is self._ledger]
        total = sum(costs, NOTHING)
        return total.requests, total.tokens, total.money

    def recall(self, spent: tuple[int, int, int], seconds: float) -> None:
        """Count what a run had spent, and the time that it had taken, before it was cut off."""
        self._ledger.spent += Cost(*spent)
        if self._started is None:
            self._before = max(self._before, seconds)
        else:
            runtime, started = self._started
            self._started = (runtime, min(started, runtime.now() - seconds))

    def explain(self) -> str:
        """Return in a sentence what it does."""
        named = {"requests": self.requests, "tokens": self.tokens, "money": self.money}
        totals = [
            f"{limit:,} {name}" if name != "money" else f"{limit} in money" for name, limit in named.items() if limit
        ]
        if self.seconds is not None:
            totals.append(f"{self.seconds:g} seconds")
        return f"Lets calls through until a total of {' or '.join(totals)} is used up, then refuses all others."

    def __enter__(self) -> Self:
        enter_budget(self)
        return self

    def __exit__(self, *error: object) -> None:
        leave_budget(self)

    # One call.

    def _around(self, handler: Handler, llm: BaseLLM | None) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            if any(charge.ledger is self._ledger for charge in request.charges):
                return await handler(runtime, request)
            return await self._answer(runtime, request, handler, llm)

        return handle

    async def _answer(self, runtime: Runtime, request: Request, handler: Handler, llm: BaseLLM | None) -> Reply:
        end = self._begin(runtime)
        rate = None if self._table is None else self._table.of(getattr(llm, "model", None))
        self._refuse_if_used_up()
        around = self._charge_around()
        hold = self._most(request, llm, rate)
        charge = Charge(self._ledger, hold, driver_of(runtime), around=None if current_call().apart else around)
        call = BudgetedCall(charge, request, self._table, rate, self._refuse_another_attempt)
        try:
            if around is None:  # a call inside a call waits for nobody: the one around it does not end before
                await self._enter(runtime, request, charge, end)
            return await self._counted(runtime, handler, call, end)
        finally:
            self._ledger.leave(charge)

    async def _counted(self, runtime: Runtime, handler: Handler, call: BudgetedCall, end: float | None) -> Reply:
        try:
            reply = await handler(runtime, call.prepared(end))
        except BaseException as error:  # cancelled calls and streams that were left have cost something too
            call.failed(error)
            if isinstance(error, LLMTimeoutError) and end is not None and runtime.now() >= end:
                raise self._too_late() from error
            raise
        call.answered(reply)
        return reply

    def _begin(self, runtime: Runtime) -> float | None:
        """Return when the time is up."""
        if self._started is None:
            self._started = (runtime, runtime.now() - self._before)
        return None if self.seconds is None else self._started[1] + self.seconds

    def _elapsed(self) -> float:
        return self._before if self._started is None else self._started[0].now() - self._started[1]

    def _charge_around(self) -> Charge | None:
        """Return this budget's charge for the call in whose service this one is made."""
        charges = reversed(current_call().charges)
        return next((charge for charge in charges if charge.ledger is self._ledger), None)

    def _most(self, request: Request, llm: BaseLLM | None, rate: Rate | None) -> Cost:
        """Return the most that one attempt should cost."""
        if self.tokens is None and self.money is None:
            return _ONE_REQUEST
        read = 2 * prompt_tokens(request) + _A_MESSAGE * (len(request.messages) + 1)
        limits = (request.max_tokens, getattr(llm, "max_tokens", None), llm and llm.get_context_window_size())
        written = next((limit for limit in limits if isinstance(limit, int) and limit > 0), _CONTEXT_WINDOW)
        return Cost(1, read + written, 0 if rate is None else rate.most(read, written))

    async def _enter(self, runtime: Runtime, request: Request, charge: Charge, end: float | None) -> None:
        turn = self._ledger.enter(charge)
        if turn is not None:
            times = [time for time in (request.deadline, end, runtime.now() + _PATIENCE) if time is not None]
            try:
                with waiting(runtime, request, "budget"):
                    await runtime.wait(turn, min(times))
            except TimeoutError:
                raise self._no_turn(runtime, request) from None
        if not self._ledger.is_in(charge):
            self._refuse_if_used_up()

    def _no_turn(self, runtime: Runtime, request: Request) -> OarlockError:
        if request.deadline is not None and runtime.now() >= request.deadline:
            return LLMTimeoutError(
                "The deadline passed while calls in flight held the rest of the budget.", retryable=False
            )
        if self.seconds is not None and self._elapsed() >= self.seconds:
            return self._too_late()
        return BudgetExceededError(
            f"Calls in flight hold the rest of the budget, and none has ended for {_PATIENCE:.0f} s."
        )

    def _refuse_if_used_up(self) -> None:
        if self.seconds is not None and self._elapsed() >= self.seconds:
            raise self._too_late()
        limit = self._ledger.reached()
        if limit is not None:
            raise self._used_up(limit)

    def _refuse_another_attempt(self, error: OarlockError | None) -> None:
        limit = self._ledger.reached()
        if limit is not None:
            raise self._used_up(limit) from error
        limit = self._ledger.passed()
        if limit is not None:
            raise BudgetExceededError(
                f"The budget leaves no room to try again: {self._stand(limit)}, and calls in flight need the rest."
            ) from error

    def _used_up(self, limit: str) -> BudgetExceededError:
        return BudgetExceededError(f"The budget is used up: {self._stand(limit)}.")

    def _stand(self, limit: str) -> str:
        spent, allowed = getattr(self.spent, limit), getattr(self, limit)
        return f"{spent:,} of {allowed:,} {limit}" if limit != "money" else f"{spent} of {allowed} in money"

    def _too_late(self) -> BudgetExceededError:
        return BudgetExceededError(f"The budget is used up: {self._elapsed():.1f} of {self.seconds:g} seconds.")

    def __repr__(self) -> str:
        names = ("requests", "tokens", "money", "seconds")
        given = [
            f"{name}={value:g}" if name == "seconds" else f"{name}={value}"
            for name in names
            if (value := getattr(self, name)) is not None
        ]
        return f"Budget({', '.join(given)})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # the copy of an LLM spends from the same purse

    def __reduce__(self) -> tuple[Any, ...]:
        limits = (self.requests, self.tokens, self.money, self.seconds, self.prices)
        return _restored, (limits, self._ledger.spent, self._elapsed())


class _Bound:
    """A budget around one LLM."""

    def __init__(self, budget: Budget, llm: BaseLLM) -> None:
        self._budget = budget
        self._llm = llm

    def __call__(self, handler: Handler) -> Handler:
        return self._budget._around(handler, self._llm)  # noqa: SLF001  a part of it


def _restored(limits: tuple[Any, ...], spent: Cost, seconds: float) -> Budget:
    budget = Budget(*limits[:-1], prices=limits[-1])
    budget._ledger.spent = spent  # noqa: SLF001  a part of it
    budget._before = seconds  # noqa: SLF001
    return budget
