"""A sealed database: nothing of the content can be read in it without the key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from durable_helpers import CountingLLM, new_sqlite, one_agent, until

from oarlock import Agent, ConfigurationError, Crew, Task
from oarlock.contract.errors import RunError, RunStoreError
from oarlock.durable import RunHandle, new_key
from oarlock.durable.here import HERE

CONTENT = ("the-inputs-canary", "the-answer-canary", "the-error-canary", "the-human-canary")


@pytest.fixture
def sealed(tmp_path, monkeypatch) -> str:
    HERE.close()
    monkeypatch.setenv("RUNS_KEY", new_key())
    return f"{new_sqlite(tmp_path)}?key=env:RUNS_KEY"


def crew(answer: str = CONTENT[1]):
    return one_agent(CountingLLM(lambda request, before: answer))


def test_no_content_is_readable(sealed, tmp_path, run_id):
    assert str(crew().kickoff({"word": CONTENT[0]}, durable=sealed, run_id=run_id)) == CONTENT[1]

    def fails(request, before):
        raise ValueError(CONTENT[2])

    with pytest.raises(Exception, match=CONTENT[2]):
        one_agent(CountingLLM(fails)).kickoff({"word": "x"}, durable=sealed, run_id=f"{run_id}-2")
    with RunHandle(run_id, database=sealed) as handle:
        assert next(event.text for event in handle.events()) == CONTENT[1]
    HERE.close()
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert run_id.encode() in written
    assert [text for text in CONTENT if text.encode() in written] == []
    assert str(crew("other").kickoff({"word": CONTENT[0]}, durable=sealed, run_id=run_id)) == CONTENT[1]
    HERE.close()


def asked(handle: RunHandle) -> bool:
    try:
        return bool(handle.questions())
    except RunError:  # the run has not begun
        return False


def test_what_humans_are_asked_and_answer_is_sealed_too(sealed, tmp_path, run_id):
    agent = Agent(role="Cox", goal="Steer", llm=CountingLLM(lambda request, before: f"answer {before}"))
    asking = Crew(agents=[agent], tasks=[Task(description=CONTENT[0], agent=agent, human_input=True)])
    with ThreadPoolExecutor() as pool, RunHandle(run_id, database=sealed) as handle:
        result = pool.submit(asking.kickoff, durable=sealed, run_id=run_id)
        until(lambda: asked(handle))
        assert handle.questions() == {"1:1:human": {"task": CONTENT[0], "agent": "Cox"}}
        handle.signal(CONTENT[3])
        until(handle.questions)
        handle.signal()
        assert str(result.result(60)) == "answer 1"
    HERE.close()
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"asks:" in written
    assert [text for text in CONTENT if text.encode() in written] == []


def test_another_key_opens_nothing(sealed, run_id, monkeypatch):
    crew().kickoff({"word": "x"}, durable=sealed, run_id=run_id)
    HERE.close()
    monkeypatch.setenv("RUNS_KEY", new_key())
    with pytest.raises(RunStoreError, match="cannot be opened with this key"):
        crew().kickoff({"word": "x"}, durable=sealed, run_id=run_id)
    with RunHandle(run_id, database=sealed) as handle, pytest.raises(RunStoreError, match="cannot be opened"):
        handle.result(5)
    HERE.close()


def test_no_key_opens_nothing(sealed, run_id):
    crew().kickoff({"word": "x"}, durable=sealed, run_id=run_id)
    HERE.close()
    with pytest.raises(RunStoreError, match=r"are sealed, or damaged\. Name the key"):
        crew().kickoff({"word": "x"}, durable=sealed.partition("?")[0], run_id=run_id)
    HERE.close()


def test_keys_are_changed_one_after_the_other(sealed, run_id, monkeypatch, tmp_path):
    import os

    old = os.environ["RUNS_KEY"]
    crew().kickoff({"word": "x"}, durable=sealed, run_id=run_id)
    HERE.close()
    file = tmp_path / "key"
    file.write_text(f"{new_key()},{old}\n")
    address = sealed.replace("env:RUNS_KEY", f"file:{file}")
    assert str(crew("other").kickoff({"word": "x"}, durable=address, run_id=run_id)) == CONTENT[1]
    HERE.close()


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("hunter2", "never itself"),
        ("env:NOT_THERE_AT_ALL", "NOT_THERE_AT_ALL is not set"),
        ("file:/nowhere/key", "cannot be read"),
        ("env:BAD_KEY", "is no key. Make one"),
    ],
)
def test_a_key_that_cannot_be(tmp_path, monkeypatch, key, problem):
    monkeypatch.setenv("BAD_KEY", "hunter2")
    HERE.close()
    with pytest.raises(ConfigurationError, match=problem) as failure:
        crew().kickoff({"word": "x"}, durable=f"{new_sqlite(tmp_path)}?key={key}")
    assert "hunter2" not in str(failure.value)


def test_a_setting_for_the_database_stays_in_its_address():
    from oarlock.durable.address import address_of

    address = address_of("postgresql://me:hunter2@db/runs?sslmode=require&key=env:X")
    assert (address.url, address.key) == ("postgresql://me:hunter2@db/runs?sslmode=require", "env:X")
    assert "hunter2" not in repr(address)
