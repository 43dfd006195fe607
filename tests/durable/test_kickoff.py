"""A run that was cut off goes on where it was: nothing that was recorded is done again."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from durable_helpers import CountingLLM, Crash, calls, in_line, one_agent
from pydantic import BaseModel

from oarlock import Agent, ConfigurationError, Crew, Process, Task, TaskOutput, tool
from oarlock.agents.conditional import ConditionalTask
from oarlock.contract.errors import RateLimitError, RunChangedError
from oarlock.contract.events import CallFinished, CallStarted, Event, RunFinished, RunStarted, TaskFinished, TaskStarted


def dies_at(number: int) -> Any:
    """Answer "answer 0", "answer 1" and so on, but die once at this one."""
    dead: list[bool] = []

    def answer(request: Any, before: int) -> str:
        if before == number and not dead:
            dead.append(True)
            raise Crash
        return f"answer {before - len(dead)}"

    return answer


def test_the_same_run_id_returns_the_finished_result(kickoff, run_id):
    llm = CountingLLM(lambda request, before: f"answer {before}")
    first = kickoff(in_line(llm, 2), run_id)
    again = kickoff(in_line(llm, 2), run_id)
    assert first.raw == again.raw == "answer 1"
    assert [output.raw for output in again.tasks_output] == ["answer 0", "answer 1"]
    assert first == again
    assert first.run_id == run_id
    assert first.usage_metrics.prompt_tokens == 20
    assert len(llm.keys) == 2


def test_a_run_that_was_cut_off_goes_on(kickoff, run_id):
    llm = CountingLLM(dies_at(2))
    with pytest.raises(Crash):
        kickoff(in_line(llm, 4), run_id)
    result = kickoff(in_line(llm, 4), run_id)
    assert [output.raw for output in result.tasks_output] == ["answer 0", "answer 1", "answer 2", "answer 3"]
    assert llm.keys == [f"{run_id}:{key}" for key in ("1:1", "2:1", "3:1", "3:1", "4:1")]  # the one in flight, twice
    assert result.usage_metrics.requests == 4


def test_tasks_side_by_side_go_on(kickoff, run_id):
    """In whichever order steps were recorded, each one is found again."""
    died = threading.Event()

    def answer(request: Any, before: int) -> Any:
        text = str(request.messages[1]["content"])
        if "tool" in str(request.messages[-1].get("role")):
            return f"done {text.split()[1]}"
        if "aside 2" in text and not died.is_set():
            died.set()
            raise Crash
        return calls(("look", '{"at": "' + text.split()[1] + '"}'))

    seen: list[str] = []

    @tool(idempotent=True)
    def look(at: str) -> str:
        """Look at something."""
        seen.append(at)
        return at

    llm = CountingLLM(answer)
    agents = [Agent(role=f"Rower {n}", goal="Row", backstory="", llm=llm, tools=[look]) for n in range(4)]
    tasks = [Task(description=f"aside {n}", agent=agent, async_execution=True) for n, agent in enumerate(agents)]
    crew = Crew(agents=agents, tasks=tasks)
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    result = kickoff(crew, run_id)
    assert [output.raw for output in result.tasks_output] == ["done 0", "done 1", "done 2", "done 3"]
    repeated = [key for key in llm.keys if llm.keys.count(key) > 1]
    assert set(repeated) <= {f"{run_id}:{number}:1" for number in range(1, 5)}
    assert f"{run_id}:3:1" in repeated


def test_delegated_work_is_made_of_steps_of_its_own(kickoff, run_id):
    died: list[bool] = []

    def answer(request: Any, before: int) -> Any:
        system = str(request.messages[0]["content"])
        if "Rower" in system.split("\n", maxsplit=1)[0]:
            if len(request.messages) > 3 and not died:
                died.append(True)
                raise Crash
            return "pulled" if len(request.messages) > 3 else calls(("look", "{}"))
        if len(request.messages) > 3:
            return "all done"
        return calls(("delegate_work_to_coworker", '{"task": "pull", "coworker": "Rower"}'))

    looked: list[str] = []

    @tool(idempotent=True)
    def look() -> str:
        """Look."""
        looked.append("!")
        return "seen"

    llm = CountingLLM(answer)
    rower = Agent(role="Rower", goal="Pull", backstory="", llm=llm, tools=[look])
    crew = Crew(
        agents=[rower],
        tasks=[Task(description="Row", expected_output="rowed")],
        process=Process.hierarchical,
        manager_llm=llm,
    )
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    assert str(kickoff(crew, run_id)) == "all done"
    assert looked == ["!"]
    assert llm.keys == [f"{run_id}:{key}" for key in ("1:1", "1:1:0:1", "1:1:0:2", "1:1:0:2", "1:2")]


def test_functions_of_the_user_are_called_once(kickoff, run_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called: list[str] = []
    llm = CountingLLM(dies_at(3))

    def before(inputs: dict[str, Any]) -> dict[str, Any]:
        called.append("before")
        return {**inputs, "word": f"{inputs['word']}!"}

    def guard(output: TaskOutput) -> tuple[bool, Any]:
        called.append(f"guard {output.raw}")
        return (False, "again") if output.raw == "answer 0" else (True, output.raw.upper())

    def condition(output: TaskOutput) -> bool:
        called.append(f"condition {output.raw}")
        return True

    agent = Agent(
        role="Cox", goal="Row", backstory="", llm=llm, step_callback=lambda step: called.append(type(step).__name__)
    )
    tasks = [
        Task(
            description="Say {word}",
            agent=agent,
            guardrail=guard,
            callback=lambda output: called.append(f"done {output.raw}"),
            output_file="said.txt",
        ),
        ConditionalTask(description="Then", agent=agent, condition=condition),
        Task(description="End", agent=agent),
    ]
    crew = Crew(
        agents=[agent],
        tasks=tasks,
        task_callback=lambda output: called.append(f"told {output.raw}"),
        before_kickoff_callbacks=[before],
    )
    with pytest.raises(Crash):
        kickoff(crew, run_id, {"word": "hello"})
    assert Path("said.txt").read_text() == "ANSWER 1"
    Path("said.txt").unlink()
    result = kickoff(crew, run_id, {"word": "hello"})
    assert [output.raw for output in result.tasks_output] == ["ANSWER 1", "answer 2", "answer 3"]
    assert not Path("said.txt").exists()
    assert called == [
        *("before", "AgentFinish", "guard answer 0", "AgentFinish", "guard answer 1", "done ANSWER 1", "told ANSWER 1"),
        *("condition ANSWER 1", "AgentFinish", "told answer 2", "AgentFinish", "told answer 3"),
    ]


def test_a_human_is_asked_once(kickoff, run_id):
    asked: list[str] = []

    def human(output: TaskOutput) -> str | None:
        asked.append(output.raw)
        return "shorter" if len(asked) == 1 else None

    llm = CountingLLM(dies_at(1))
    agent = Agent(role="Cox", goal="Row", backstory="", llm=llm)
    crew = Crew(agents=[agent], tasks=[Task(description="Say", agent=agent, human_input=True)], on_human_input=human)
    with pytest.raises(Crash):
        kickoff(crew, run_id)
    assert str(kickoff(crew, run_id)) == "answer 1"
    assert asked == ["answer 0", "answer 1"]


class Boat(BaseModel):
    name: str
    seats: int = 8


def test_structured_output_comes_back_as_it_was(kickoff, run_id):
    llm = CountingLLM(lambda request, before: '{"name": "Ada"}')
    crew = one_agent(llm, output_pydantic=Boat)
    first, again = kickoff(crew, run_id, {"word": "x"}), kickoff(crew, run_id, {"word": "x"})
    assert first.pydantic == again.pydantic == again.tasks_output[0].pydantic == Boat(name="Ada")
    assert again["seats"] == 8


def test_a_failed_run_goes_on_from_what_failed(kickoff, run_id):
    """What it paid for stays; what failed is asked anew, as the reason may be gone."""
    llm = CountingLLM(lambda request, before: f"answer {before}")
    broken = llm.answer

    def fails(request: Any, before: int) -> Any:
        if before == 1:
            raise RateLimitError("Too many", status=429, retry_after=7.0)
        return broken(request, before)

    llm.answer = fails
    with pytest.raises(RateLimitError, match="Too many"):
        kickoff(in_line(llm, 2), run_id)
    result = kickoff(in_line(llm, 2), run_id)
    assert [output.raw for output in result.tasks_output] == ["answer 0", "answer 2"]
    assert llm.keys == [f"{run_id}:{key}" for key in ("1:1", "2:1", "2:1")]
    assert kickoff(in_line(llm, 2), run_id) == result


def test_a_failure_that_the_run_coped_with_is_not_asked_again(kickoff, run_id):
    """A model that takes no tools is asked without them; that it said so once is enough."""
    from oarlock.contract.errors import BadRequestError

    died: list[bool] = []

    def answer(request: Any, before: int) -> Any:
        if request.tools:
            raise BadRequestError("this model takes no tools")
        if before == 1 and not died:
            died.append(True)
            raise Crash
        return "Final Answer: done"

    @tool(idempotent=True)
    def look() -> str:
        """Look."""
        return "seen"

    llm = CountingLLM(answer)
    with pytest.raises(Crash):
        kickoff(one_agent(llm, tools=[look]), run_id, {"word": "x"})
    assert str(kickoff(one_agent(llm, tools=[look]), run_id, {"word": "x"})) == "done"
    assert llm.keys == [f"{run_id}:{key}" for key in ("1:1", "1:2", "1:2")]


def test_events_are_heard_once(kickoff, run_id):
    llm = CountingLLM(dies_at(1))
    before: list[Event] = []
    after: list[Event] = []
    with pytest.raises(Crash):
        kickoff(in_line(llm, 3), run_id, on_event=before.append)
    kickoff(in_line(llm, 3), run_id, on_event=after.append)
    assert [type(event) for event in after] == [
        *(RunStarted, TaskFinished, TaskStarted),  # what nobody knows to have been heard
        *(CallStarted, CallFinished, TaskFinished, TaskStarted, CallStarted, CallFinished, TaskFinished, RunFinished),
    ]
    finished: list[Event] = []
    kickoff(in_line(llm, 3), run_id, on_event=finished.append)
    assert finished == []


def test_other_inputs_under_one_run_id_are_refused(kickoff, run_id):
    llm = CountingLLM(lambda request, before: "hello")
    crew = one_agent(llm)
    kickoff(crew, run_id, {"word": "hello", "n": 1})
    with pytest.raises(RunChangedError, match=r"other inputs \(different: word\)"):
        kickoff(crew, run_id, {"word": "bye", "n": 1})
    assert len(llm.keys) == 1


def test_a_crew_that_has_changed_is_noticed_before_anything_is_asked(kickoff, run_id):
    llm = CountingLLM(dies_at(1))
    with pytest.raises(Crash):
        kickoff(in_line(llm, 3), run_id)
    with pytest.raises(RunChangedError, match=f"has changed since run '{run_id}' began.*runs fork"):
        kickoff(in_line(llm, 4), run_id)
    assert len(llm.keys) == 2
    result = kickoff(in_line(llm, 3), run_id)
    assert kickoff(in_line(llm, 4), run_id).raw == result.raw  # it has ended: that it has changed does not matter


def test_a_crew_of_another_name_is_not_the_same_run(kickoff, run_id):
    crew = in_line(CountingLLM(lambda request, before: "hello"), 1)
    kickoff(crew, run_id)
    crew.name = "other"
    with pytest.raises(RunChangedError, match="one of the crew 'crew', not of 'other'"):
        kickoff(crew, run_id)


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"when": object()}, r"inputs\['when'\] is of the type object"),
        ({"deep": {"list": [1, {2}]}}, r"inputs\['deep'\]\['list'\]\[1\] is of the type set"),
        ({"n": float("nan")}, "is nan, which JSON does not have"),
        ({"m": {1: "one"}}, "has the key 1; JSON's keys are texts"),
        ({1: "x"}, "names"),
        ([1], "must be a mapping"),
    ],
)
def test_inputs_that_cannot_be_kept_are_refused_at_once(kickoff, run_id, inputs, problem):
    llm = CountingLLM(lambda request, before: "hello")
    with pytest.raises(ConfigurationError, match=problem):
        kickoff(in_line(llm, 1), run_id, inputs)
    assert llm.keys == []


def test_a_secret_among_the_inputs_is_refused(kickoff, run_id):
    from oarlock.contract.secret import Secret

    with pytest.raises(ConfigurationError, match="is a Secret, and secrets are never stored"):
        kickoff(in_line(CountingLLM(lambda request, before: "hello"), 1), run_id, {"key": Secret("hunter2")})


@pytest.mark.parametrize("bad", ["", "a b", "x" * 201, 3])
def test_a_run_id_must_be_short_and_plain(kickoff, bad):
    with pytest.raises(ConfigurationError, match="run_id must be"):
        kickoff(in_line(CountingLLM(lambda request, before: "hello"), 1), bad)


def test_a_run_id_needs_a_database():
    with pytest.raises(ConfigurationError, match="pass durable="):
        in_line(CountingLLM(lambda request, before: "hello"), 1).kickoff(run_id="r")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("runs.db", "must be the address of a database"),
        ("mysql://x/y", "must be the address of a database"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:////nowhere/at/all/runs.db", "There is no folder"),
        ("postgresql://host:notaport/x", "cannot be read"),
        (7, "not int"),
    ],
)
def test_an_address_that_cannot_work_is_refused(address, problem):
    with pytest.raises(ConfigurationError, match=problem):
        in_line(CountingLLM(lambda request, before: "hello"), 1).kickoff(durable=address)


def test_a_run_without_an_id_gets_one(database):
    result = in_line(CountingLLM(lambda request, before: "hello"), 1).kickoff(durable=database)
    assert len(result.run_id) == 32


async def test_a_blocking_run_inside_an_event_loop(database, run_id):
    assert (
        str(in_line(CountingLLM(lambda request, before: "hello"), 1).kickoff(durable=database, run_id=run_id))
        == "hello"
    )


def test_two_that_want_the_same_run_get_the_same_result(database, run_id):
    """It is driven once; whoever comes second waits."""
    asked, go_on = threading.Event(), threading.Event()

    def answer(request: Any, before: int) -> str:
        asked.set()
        assert go_on.wait(60)
        return "hello"

    llm = CountingLLM(answer)
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(str(in_line(llm, 1).kickoff(durable=database, run_id=run_id))))
        for _ in range(2)
    ]
    threads[0].start()
    assert asked.wait(60)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert results == ["hello", "hello"]
    assert len(llm.keys) == 1


def test_a_durable_run_inside_a_step_of_another_one_is_refused(database, run_id):
    inner = in_line(CountingLLM(lambda request, before: "inner"), 1)

    @tool(idempotent=True)
    def ask() -> str:
        """Ask another crew."""
        return str(inner.kickoff(durable=database, run_id=f"{run_id}-inner"))

    llm = CountingLLM(lambda request, before: calls(("ask", "{}")))
    with pytest.raises(ConfigurationError, match="inside a step of another one"):
        one_agent(llm, tools=[ask]).kickoff({"word": "x"}, durable=database, run_id=run_id)


def test_a_crew_inside_a_tool_is_a_part_of_its_step(kickoff, run_id):
    inner = CountingLLM(lambda request, before: "inner")

    @tool(idempotent=True)
    def ask() -> str:
        """Ask another crew."""
        return str(in_line(inner, 1).kickoff())

    def answer(request: Any, before: int) -> Any:
        return calls(("ask", "{}")) if len(request.messages) < 3 else str(request.messages[-1]["content"])

    assert str(kickoff(one_agent(CountingLLM(answer), tools=[ask]), run_id, {"word": "x"})) == "inner"


def test_runs_in_two_databases_one_after_the_other(database, run_id, tmp_path):
    crew = in_line(CountingLLM(lambda request, before: f"answer {before}"), 1)
    other = f"sqlite:///{tmp_path}/other.db"
    assert str(crew.kickoff(durable=database, run_id=run_id)) == "answer 0"
    assert str(crew.kickoff(durable=other, run_id=run_id)) == "answer 1"
    assert str(crew.kickoff(durable=database, run_id=run_id)) == "answer 0"


def test_a_record_tells_of_a_run_that_was_cut_off_once(kickoff, run_id, tmp_path: Path):
    """What went on is added to what was recorded before; what was replayed is not told again, but for where it was cut."""
    llm, path = CountingLLM(dies_at(2)), tmp_path / "run.jsonl"
    with pytest.raises(Crash):
        kickoff(in_line(llm, 4), run_id, record=path)
    kickoff(in_line(llm, 4), run_id, record=path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["run_id"] for line in lines if "oarlock_record" in line] == [run_id, run_id]
    told = [line.get("event") for line in lines]
    assert told.count("RunStarted") == 2
    assert told.count("CallFinished") == 4
    assert told.count("CallStarted") == 5, "the one in flight, twice"
    ended = [line["span_id"] for line in lines if line.get("event") == "TaskFinished"]
    assert list(dict.fromkeys(ended)) == [f"{run_id}:{number}" for number in (1, 2, 3, 4)]
    assert len(ended) <= 5
