"""What `verbose=True` shows: who is told of a run's events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from oarlock.contract.context import current_call
from oarlock.contract.events import Event
from oarlock.contract.watching import listening

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.contract.reply import Usage
    from oarlock.policies import Budget

__all__ = ["Listener", "watched"]

Listener = Callable[[Event], None]


def watched(
    verbose: bool,
    loud: Collection[str],
    on_event: Listener | None,
    agents: Callable[[], Iterable[Agent]],
    budget: Budget | None = None,
) -> AbstractContextManager[Listener | None]:
    """Return a block in which a run is shown if that is wanted; it gives who listens to the run.

    Those are, in this order, whoever watches the process, the terminal, and the user's function.

    Args:
        verbose: all of it is shown.
        loud: else what agents of these roles do.
        on_event: the user's function.
        agents: tells who works; where their budgets or models have prices, money is shown.
        budget: that of the run.
    """
    return _shown(verbose, loud, on_event, agents, budget) if verbose or loud else nullcontext(listening(on_event))


@contextmanager
def _shown(
    verbose: bool,
    loud: Collection[str],
    on_event: Listener | None,
    agents: Callable[[], Iterable[Agent]],
    budget: Budget | None,
) -> Iterator[Listener | None]:
    from oarlock.views.console import watching

    with watching(_prices(agents, budget)) as show:
        if show is None:
            yield listening(on_event)
            return

        def listen(event: Event) -> None:
            if verbose or event.agent in loud:
                show(event)
            if on_event is not None:
                on_event(event)

        yield listening(listen)


def _prices(
    agents: Callable[[], Iterable[Agent]], budget: Budget | None
) -> Callable[[str, Usage], Decimal | None] | None:
    """Return the prices that the budgets around a run know."""
    from oarlock.policies import Budget
    from oarlock.policies.prices import PriceTable

    around: list[Any] = [budget, *current_call().budgets]
    for agent in agents():
        around += [agent.budget, *getattr(agent.llm, "policies", ())]
    tables = [PriceTable(one.prices) for one in around if isinstance(one, Budget) and one.prices is not None]
    if not tables:
        return None

    def price(model: str, usage: Usage) -> Decimal | None:
        costs = (table.cost(model, usage) for table in tables)
        return next((cost for cost in costs if cost is not None), None)

    return price
