"""What a run has spent before it was cut off counts against its budget when it goes on."""

from __future__ import annotations

from typing import Any

import pytest
from durable_helpers import CountingLLM, Crash

from oarlock import Agent, BudgetExceededError, Crew, ServerError, Task
from oarlock.policies import Budget, Price, Retry


def spender(budget: Budget, *, agents: bool = False, fails_first: bool = False) -> tuple[CountingLLM, Crew]:
    died: list[bool] = []

    def answer(request: Any, before: int) -> str:
        if fails_first and before == 0:
            raise ServerError("later", status=503)
        if before == 2 and not died:
            died.append(True)
            raise Crash
        return "hello"

    llm = CountingLLM(answer)
    asked = llm.with_policies(Retry(base_delay=0)) if fails_first else llm
    agent = Agent(role="Cox", goal="Steer", backstory="", llm=asked, budget=budget if agents else None)
    tasks = [Task(description=f"Task {number}", agent=agent) for number in range(6)]
    return llm, Crew(agents=[agent], tasks=tasks, budget=None if agents else budget)


@pytest.mark.parametrize("agents", [False, True], ids=["crew", "agent"])
@pytest.mark.parametrize(
    "budget",
    [
        Budget(requests=4),
        Budget(tokens=48),
        Budget(money=48, prices={"counting": Price(input=1_000_000, output=1_000_000)}),
    ],
    ids=["requests", "tokens", "money"],
)
def test_it_ends_where_it_would_have_ended(kickoff, run_id, budget, agents):
    """Twelve tokens a call: four calls, of which two were made before."""
    llm, crew = spender(budget, agents=agents)
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    with pytest.raises(BudgetExceededError, match="used up"):
        kickoff(crew, run_id)
    assert len(set(llm.keys)) == 4
    assert len(llm.keys) == 5  # the one in flight, twice


def test_failed_attempts_count_too(kickoff, run_id):
    llm, crew = spender(Budget(requests=4), fails_first=True)
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    with pytest.raises(BudgetExceededError, match="4 of 4 requests"):
        kickoff(crew, run_id)
    assert len(set(llm.keys)) == 3


def test_time_counts_too(database, run_id, monkeypatch):
    """Not that between the crash and the next start: nobody worked then."""
    llm, crew = spender(Budget(seconds=1000))
    from oarlock.runtime.blocking import BLOCKING

    late = [0.0]
    real = BLOCKING.now
    monkeypatch.setattr(type(BLOCKING), "now", lambda self: real() + late[0])
    answer = llm.answer

    def slow(request: Any, before: int) -> str:
        late[0] += 450
        return answer(request, before)

    llm.answer = slow
    with pytest.raises(Crash):
        crew.kickoff(durable=database, run_id=run_id)
    late[0] += 100_000
    with pytest.raises(BudgetExceededError, match=r"of 1000 seconds"):
        crew.kickoff(durable=database, run_id=run_id)
    assert len(llm.keys) == 4  # two before; the one in flight, again; no further one
