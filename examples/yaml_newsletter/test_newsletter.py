"""The crew of the file with a model that answers by script: no network, no key, no cost."""

from pathlib import Path

from newsletter_tools import changes_of_week

from oarlock import ToolCall
from oarlock.project import load_crew
from oarlock.testing import ScriptedLLM

CREW = Path(__file__).with_name("crew.yaml")


def test_a_newsletter_that_is_too_long_is_sent_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = ToolCall(id="1", name="changes_of_week", arguments='{"week": 48}')
    script = [call, "Passkeys", "word " * 100, "Dear readers, passkeys!", '{"valid": true, "reason": ""}']
    llm = ScriptedLLM(script, supports_function_calling=True)
    crew = load_crew(CREW, llm=llm)
    assert crew.kickoff({"week": 48}).raw == "Dear readers, passkeys!"
    assert Path("newsletter.md").read_text() == "Dear readers, passkeys!"
    assert "It has 100 words" in llm.requests[3].messages[-1]["content"]


def test_the_change_log():
    assert "passkey" in changes_of_week.run(week=48)
    assert changes_of_week.run(week=1) == "Nothing changed in week 1."
