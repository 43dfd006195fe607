"""The crew with a model that answers by script: no network, no key, no cost."""

import pytest
from triage import Triage, promises_nothing, triage_crew

from oarlock import TaskOutput
from oarlock.errors import GuardrailError
from oarlock.testing import ScriptedLLM

TICKET = {"id": "T-1", "customer": "Fjord Bikes", "text": "We were charged twice."}
SORTED = '{"team": "billing", "urgency": 3, "summary": "Charged twice"}'
FINE = '{"valid": true, "reason": ""}'


def test_a_ticket_is_sorted_and_answered():
    llm = ScriptedLLM([SORTED, "A colleague will look into it.", FINE])
    result = triage_crew(llm).kickoff(TICKET)
    assert result.tasks_output[0].pydantic == Triage(team="billing", urgency=3, summary="Charged twice")
    assert result.raw == "A colleague will look into it."


def test_a_team_that_does_not_exist_is_sent_back():
    wrong = SORTED.replace("billing", "sales")
    llm = ScriptedLLM([wrong, SORTED, "A colleague will look into it.", FINE])
    assert triage_crew(llm).kickoff(TICKET).tasks_output[0].pydantic.team == "billing"
    assert "'accounts', 'billing' or 'platform'" in llm.requests[1].messages[-1]["content"]


def test_a_promise_is_sent_back_and_a_stubborn_model_ends_the_run():
    llm = ScriptedLLM([SORTED, *["You get a refund."] * 3])
    with pytest.raises(GuardrailError, match="promises something"):
        triage_crew(llm).kickoff(TICKET)


@pytest.mark.parametrize(
    ("reply", "passes"),
    [
        ("We look into it.", True),
        ("Full credit!", False),
        ("It works again by Friday.", False),
        ("Within 3 days", False),
    ],
)
def test_promises(reply, passes):
    assert promises_nothing(TaskOutput(description="", raw=reply))[0] is passes
