"""The crew with a model that answers by script: no network, no key, no cost."""

import pytest
from report import read_note, research_crew

from oarlock import ToolCall
from oarlock.testing import ScriptedLLM


def test_what_the_manager_accepts_is_written_to_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = '{"coworker": "Writer", "task": "Write it."}'
    llm = ScriptedLLM(
        ["Facts [costs]", ToolCall(id="1", name="delegate_work_to_coworker", arguments=task), "# Draft", "# Tides"],
        supports_function_calling=True,
    )
    result = research_crew(llm).kickoff({"topic": "tides"})
    assert result.raw == "# Tides"
    assert (tmp_path / "report.md").read_text() == "# Tides"
    assert "Facts [costs]" in str(llm.requests[1].messages)


def test_notes_are_read_and_nothing_else():
    assert read_note.run(name="costs").startswith("# Costs")
    with pytest.raises(ValueError, match="There is no note"):
        read_note.run(name="../report.py")
