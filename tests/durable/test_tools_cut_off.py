"""Tools that were cut off: what never began is run, what may have happened is asked about, what has happened is known."""

from __future__ import annotations

from typing import Any

import pytest
from durable_helpers import CountingLLM, Crash, calls, one_agent

from oarlock import BaseTool, Crew, ToolError, tool
from oarlock.contract.errors import EffectUnknownError
from oarlock.durable import RunHandle


def asks_for(name: str) -> CountingLLM:
    """Return a model that asks for a tool once, and answers with what it was told."""

    def answer(request: Any, before: int) -> Any:
        told = [message["content"] for message in request.messages if message["role"] == "tool"]
        return str(told[-1]) if told else calls((name, "{}"))

    return CountingLLM(answer)


class Once(BaseTool):
    """Dies the first time, in the middle of what it does."""

    name = "once"
    ran: list[str | None]

    def _run(self) -> str:
        from oarlock import current_call

        self.ran.append(current_call().idempotency_key)
        if len(self.ran) == 1:
            raise Crash
        return f"done, run {len(self.ran)}"


def cut_off(kickoff: Any, run_id: str, **settings: Any) -> tuple[Once, Crew]:
    once = Once(ran=[], **settings)
    crew = one_agent(asks_for("once"), tools=[once])
    with pytest.raises(Crash):
        kickoff(crew, run_id, {"word": "x"})
    return once, crew


@pytest.mark.parametrize("settings", [{"idempotent": True}, {"on_resume": "retry"}])
def test_one_that_may_be_repeated_is(kickoff, run_id, settings):
    once, crew = cut_off(kickoff, run_id, **settings)
    assert str(kickoff(crew, run_id, {"word": "x"})) == "done, run 2"
    assert once.ran == [f"{run_id}:1:1:0"] * 2


def test_one_that_takes_a_key_gets_the_same_one_again(kickoff, run_id):
    keys: list[str] = []

    @tool
    def pay(idempotency_key: str) -> str:
        """Pay."""
        keys.append(idempotency_key)
        if len(keys) == 1:
            raise Crash
        return "paid"

    crew = one_agent(asks_for("pay"), tools=[pay])
    with pytest.raises(Crash):
        kickoff(crew, run_id, {"word": "x"})
    assert str(kickoff(crew, run_id, {"word": "x"})) == "paid"
    assert keys == [f"{run_id}:1:1:0"] * 2


def test_one_that_must_not_be_repeated_is_not_and_the_model_is_told(kickoff, run_id):
    once, crew = cut_off(kickoff, run_id, on_resume="skip")
    assert "Nobody knows whether it did its work; it was not run again" in str(kickoff(crew, run_id, {"word": "x"}))
    assert len(once.ran) == 1


@pytest.mark.parametrize("settings", [{}, {"on_resume": "fail"}])
def test_one_of_which_nothing_is_said_ends_the_run_until_somebody_decides(kickoff, database, run_id, settings):
    once, crew = cut_off(kickoff, run_id, **settings)
    for _ in range(2):
        with pytest.raises(EffectUnknownError, match=r"'once' ran: nobody knows.*--retry-tools.*idempotent=True"):
            kickoff(crew, run_id, {"word": "x"})
    assert len(once.ran) == 1
    with RunHandle(run_id, database=database) as handle:
        handle.resume(tools="retry")
    assert str(kickoff(crew, run_id, {"word": "x"})) == "done, run 2"


def test_somebody_decides_that_it_is_not_repeated(kickoff, database, run_id):
    once, crew = cut_off(kickoff, run_id)
    with pytest.raises(EffectUnknownError):
        kickoff(crew, run_id, {"word": "x"})
    with RunHandle(run_id, database=database) as handle:
        handle.resume(tools="skip")
    assert "it was not run again" in str(kickoff(crew, run_id, {"word": "x"}))
    assert len(once.ran) == 1


def test_a_decision_is_about_what_had_happened_by_then(kickoff, database, run_id):
    """The next one that is cut off is asked about anew."""
    once, crew = cut_off(kickoff, run_id)
    with pytest.raises(EffectUnknownError):
        kickoff(crew, run_id, {"word": "x"})
    once.ran.clear()  # it will die once more
    with RunHandle(run_id, database=database) as handle:
        handle.resume(tools="retry")
    with pytest.raises(Crash):
        kickoff(crew, run_id, {"word": "x"})
    with pytest.raises(EffectUnknownError):
        kickoff(crew, run_id, {"word": "x"})


def test_one_that_never_began_is_simply_run(kickoff, run_id):
    died: list[bool] = []
    ran: list[str] = []

    @tool
    def first() -> str:
        """Do the first thing."""
        ran.append("first")
        return "1"

    @tool
    def second() -> str:
        """Do the second thing."""
        ran.append("second")
        return "2"

    def answer(request: Any, before: int) -> Any:
        told = [message["content"] for message in request.messages if message["role"] == "tool"]
        if len(told) == 1 and not died:
            died.append(True)
            raise Crash
        return "done" if len(told) == 2 else calls((("first", "second")[len(told)], "{}"))

    crew = one_agent(CountingLLM(answer), tools=[first, second])
    with pytest.raises(Crash):
        kickoff(crew, run_id, {"word": "x"})
    assert str(kickoff(crew, run_id, {"word": "x"})) == "done"
    assert ran == ["first", "second"]


def test_on_resume_is_one_of_three():
    with pytest.raises(ToolError, match=r"on_resume must be one of \('retry', 'skip', 'fail'\), not 'maybe'"):
        _ = Once(ran=[], on_resume="maybe").resume_policy
