"""What a model asks for in a wrong way: never run, told to the model, and never for ever."""

from __future__ import annotations

import pytest

from oarlock import Agent, ChatLLM, OarlockError, Task, tool
from oarlock.policies import Retry
from oarlock.testing import faults

GOOD = {
    *("calls_many", "calls_duplicate_ids", "calls_without_ids", "calls_id_number", "calls_and_text", "calls_but_stop"),
    *("arguments_object", "tool_type_unknown", "legacy_function_call", "endless_tool_loop"),
}
"""Faults whose arguments are good: these may run the tool."""

LENIENT = {"arguments_encoded_twice", "arguments_duplicate_keys", "arguments_extra"}
"""Faults whose arguments a reader may mend; where it does, the tool must get whole numbers."""


def run(server: faults.FaultServer, **settings: object) -> tuple[list[tuple[object, object]], object]:
    ran: list[tuple[object, object]] = []

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        ran.append((a, b))
        return a + b

    llm = ChatLLM("m", server.url, timeout=20, policies=[Retry(base_delay=0.01)])
    agent = Agent(role="R", goal="G", backstory="B", llm=llm, tools=[add], **settings)
    try:
        return ran, agent.execute_task(Task(description="Add 1 and 2.", expected_output="A number", agent=agent))
    except OarlockError as error:
        return ran, error


@pytest.mark.parametrize("name", [name for name in faults.names("tools") if name != "endless_tool_loop"])
def test_a_wrong_wish_is_told_to_the_model_and_not_granted(name):
    with faults.serve(name, then="answer") as server:
        ran, outcome = run(server)
        requests = server.requests
    assert all(type(a) is int and type(b) is int for a, b in ran)
    if name not in GOOD | LENIENT:
        assert ran == []
    if faults.get(name).expect == ("answer",):
        assert outcome == "Hello there."
    if faults.get(name).expect == ("answer",) and name not in {"calls_in_word_only"}:
        told = [message for message in requests[-1].json["messages"] if message["role"] == "tool"]
        assert told, "the model was not told"


def test_an_endless_loop_ends_within_twenty_five_requests():
    with faults.serve("endless_tool_loop") as server:
        ran, outcome = run(server)
        assert len(server.requests) <= 25
        assert len(ran) <= 25
        assert isinstance(outcome, str | OarlockError)


def test_three_hundred_calls_at_once_do_not_run_away():
    with faults.serve("calls_many") as server:
        run(server, max_iter=3)
        assert len(server.requests) <= 3
