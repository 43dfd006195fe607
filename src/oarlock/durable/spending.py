"""Budgets of a run that goes on: what its recorded steps have cost counts, though they are not done again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oarlock.contract.policy import Policy
from oarlock.policies.budget import Budget
from oarlock.policies.ledger import tallied
from oarlock.runtime import Job

__all__ = ["recall", "spending"]


async def spending(budgets: Sequence[Policy], job: Job[Any], record: dict[str, Any]) -> Any:
    """Do a step, and note in its record what it cost of each of the budgets around it, failed attempts included."""
    try:
        with tallied() as tally:
            return await job()
    finally:
        record["spent"] = [
            [*budget.spent_within(tally), budget.spent.seconds] if isinstance(budget, Budget) else None
            for budget in budgets
        ]


def recall(budgets: Sequence[Policy], spent: Any) -> None:
    """Charge what a recorded step cost to the budgets around it now."""
    if not isinstance(spent, list):
        return
    for budget, cost in zip(budgets, spent, strict=False):
        if isinstance(budget, Budget) and isinstance(cost, list) and len(cost) == 4:
            requests, tokens, money, seconds = cost
            budget.recall((requests, tokens, money), float(seconds or 0.0))
