"""The crew with a model that answers by script: no network, no key, no cost."""

import pytest
from onboarding import DATABASE, onboarding_crew, open_account

from oarlock import ToolCall
from oarlock.errors import ServerError
from oarlock.testing import ScriptedLLM

CALL = ToolCall(id="1", name="open_account", arguments='{"supplier": "Ropewalk Ltd."}')


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_run_that_failed_goes_on_and_asks_nothing_twice():
    script = ["Accepted.", CALL, "7001", ServerError("The model is down."), "Dear Ropewalk!"]
    llm = ScriptedLLM(script, supports_function_calling=True)
    crew = onboarding_crew(llm)
    inputs = {"application": "Ropewalk Ltd."}
    with pytest.raises(ServerError):
        crew.kickoff(inputs, durable=DATABASE, run_id="onboarding-1")
    assert crew.kickoff(inputs, durable=DATABASE, run_id="onboarding-1").raw == "Dear Ropewalk!"
    assert llm.remaining == 0


def test_a_call_that_was_cut_off_opens_no_second_account():
    first = open_account("Ropewalk Ltd.", idempotency_key="a")
    assert first == open_account("Ropewalk Ltd.", idempotency_key="a")
    assert first != open_account("Ropewalk Ltd.", idempotency_key="b")
