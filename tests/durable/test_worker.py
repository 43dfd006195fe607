"""Runs that are submitted, and driven by workers: here inside the test's process, and in processes that are killed."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from durable_helpers import CountingLLM, Crash, calls, in_line, new_sqlite, one_agent, until
from postgres_helpers import needs_postgres
from typer.testing import CliRunner

from oarlock import Agent, BaseLLM, ConfigurationError, Crew, Task, tool
from oarlock.cli.app import app
from oarlock.contract.errors import RateLimitError, RunCancelledError, RunChangedError, RunError
from oarlock.durable import Registry, RunHandle, State, Worker
from oarlock.durable.here import HERE
from oarlock.durable.port import Entry, RunInfo

Serve = Callable[..., Worker]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def database_of_workers(request, tmp_path_factory) -> str:
    """One database of each kind for all tests of the module: making one takes seconds."""
    if request.param == "postgresql":
        address: str = request.getfixturevalue("postgres").database()
        return address
    return new_sqlite(tmp_path_factory.mktemp("workers"))


@pytest.fixture
def serve(database_of_workers) -> Iterator[Serve]:
    """Serve crews in this process, until the test ends."""
    HERE.close()
    ends: list[Callable[[], None]] = []

    def start(crews: Crew | Registry, concurrency: int = 4) -> Worker:
        worker = Worker(Registry.of(crews), database_of_workers, concurrency, poll=0.05)
        stopped = threading.Event()
        thread = threading.Thread(target=worker.serve, args=(stopped,))
        thread.start()

        def end() -> None:
            stopped.set()
            thread.join(30)
            worker.drain(0)

        ends.append(end)
        return worker

    yield start
    for end in ends:
        end()


def named(crew: Crew, run_id: str) -> Crew:
    """Give a crew a name that no other test uses: its runs stay in the database."""
    crew.name = f"crew-{run_id}"
    return crew


def shown(*command: str) -> str:
    result = CliRunner().invoke(app, ["runs", *command])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def test_a_run_is_submitted_driven_and_shown(serve, database_of_workers, run_id):
    crew = named(in_line(CountingLLM(lambda request, before: f"answer {before}"), 2), run_id)
    handle = crew.submit({"topic": "oars"}, database=database_of_workers, run_id=run_id)
    assert handle.status is State.queued
    with pytest.raises(TimeoutError, match=r"had not ended after 0\.01 s: it is queued"):
        handle.result(timeout=0.01)
    assert "Waits for a worker with crew" in shown("show", run_id, "-d", database_of_workers)
    serve(crew)
    assert str(handle.result(timeout=60)) == "answer 1"
    events = list(handle.events())
    assert [(event.kind, event.key, event.text) for event in events[:2]] == [
        ("model", "1:1", "answer 0"),
        ("model", "2:1", "answer 1"),
    ]
    assert (events[2].kind, events[2].name) == ("state", "finished")
    assert str(crew.submit({"topic": "oars"}, database=database_of_workers, run_id=run_id).result(60)) == "answer 1"
    with pytest.raises(RunChangedError, match="other inputs"):
        crew.submit({"topic": "boats"}, database=database_of_workers, run_id=run_id)
    listed = json.loads(shown("list", "-d", database_of_workers, "--json", "--state", "finished"))
    assert (listed[0]["run"], listed[0]["state"], listed[0]["crew"]) == (run_id, "finished", crew.name)
    steps = json.loads(shown("show", run_id, "-d", database_of_workers, "--json"))["steps"]
    assert [step["text"] for step in steps] == ["answer 0", "answer 1"]
    assert "answer 1" in shown("show", run_id, "-d", database_of_workers)
    assert run_id in shown("list", "-d", database_of_workers)
    for again in (handle.cancel, handle.resume):
        with pytest.raises(RunError, match="is finished: there is nothing to"):
            again()


def test_a_failed_run_is_resumed(serve, database_of_workers, run_id):
    broken = [True]

    def answer(request: Any, before: int) -> str:
        if before == 1 and broken:
            raise RateLimitError("Too many", status=429)
        return f"answer {before}"

    llm = CountingLLM(answer)
    crew = named(in_line(llm, 2), run_id)
    serve(crew)
    handle = crew.submit(database=database_of_workers, run_id=run_id)
    with pytest.raises(RateLimitError, match="Too many") as failure:
        handle.result(60)
    assert failure.value.status == 429
    broken.clear()
    assert "waits for a worker" in shown("resume", run_id, "-d", database_of_workers)
    assert [output.raw for output in handle.result(60).tasks_output] == ["answer 0", "answer 2"]
    assert llm.keys == [f"{run_id}:{key}" for key in ("1:1", "2:1", "2:1")]


def test_a_run_is_cancelled_and_goes_on(serve, database_of_workers, run_id):
    asked, go_on = threading.Event(), threading.Event()

    def answer(request: Any, before: int) -> str:
        if before == 1:
            asked.set()
            assert go_on.wait(60)
        return f"answer {before}"

    llm = CountingLLM(answer)
    crew = named(in_line(llm, 3), run_id)
    serve(crew)
    handle = crew.submit(database=database_of_workers, run_id=run_id)
    assert asked.wait(60)
    assert "is cancelled" in shown("cancel", run_id, "-d", database_of_workers)
    go_on.set()
    with pytest.raises(RunCancelledError):
        handle.result(60)
    handle.resume()
    assert handle.result(60).tasks_output[0].raw == "answer 0"
    assert Counter(llm.keys).most_common(1)[0] == (f"{run_id}:2:1", 2)


def test_a_fork_takes_the_answers_up_to_a_step(serve, database_of_workers, run_id):
    llm = CountingLLM(lambda request, before: f"answer {before}")
    crew = named(in_line(llm, 3), run_id)
    serve(crew)
    handle = crew.submit(database=database_of_workers, run_id=run_id)
    handle.result(60)
    forked = shown("fork", run_id, "-d", database_of_workers, "--from-step", "3").strip()
    result = RunHandle(forked, database=database_of_workers).result(60)
    assert [output.raw for output in result.tasks_output] == ["answer 0", "answer 1", "answer 3"]
    assert llm.keys[-1] == f"{forked}:3:1"
    assert f"Forked from {run_id}" in shown("show", forked, "-d", database_of_workers)
    again = handle.fork(from_step=1)
    assert [output.raw for output in again.result(60).tasks_output] == ["answer 4", "answer 5", "answer 6"]
    with pytest.raises(RunError, match="must be 1 or more"):
        handle.fork(0)


def test_a_crew_that_has_changed_leaves_older_runs_alone(serve, database_of_workers, run_id, tmp_path, monkeypatch):
    """They wait for a worker with the definition that they began with; a fork lets the new one do it."""
    old = named(in_line(CountingLLM(lambda request, before: "old"), 1), run_id)
    new = named(in_line(CountingLLM(lambda request, before: "new"), 2), run_id)
    handle = old.submit(database=database_of_workers, run_id=run_id)
    serve(new)
    assert str(new.submit(database=database_of_workers, run_id=f"{run_id}-new").result(60)) == "new"
    assert handle.status is State.queued
    with pytest.raises(RunChangedError, match="has changed since"):
        new.submit(database=database_of_workers, run_id=run_id)
    (tmp_path / f"program_{run_id.replace('-', '_')}.py").write_text("crew = None")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"program_{run_id.replace('-', '_')}"
    __import__(module)
    monkeypatch.setattr(sys.modules[module], "crew", new)
    command = ("fork", run_id, "-d", database_of_workers, "--from-step", "1", "--to", f"{module}:crew")
    assert str(RunHandle(shown(*command).strip(), database=database_of_workers).result(60)) == "new"


def test_a_human_answers_days_later(serve, database_of_workers, run_id, monkeypatch):
    """Meanwhile the run is put aside: it needs neither a thread nor a place."""
    monkeypatch.setattr("oarlock.durable.humans._PATIENCE", 0.0)
    llm = CountingLLM(lambda request, before: f"answer {before}")
    agent = Agent(role="Cox", goal="Steer", backstory="", llm=llm)
    crew = Crew(name=f"crew-{run_id}", agents=[agent], tasks=[Task(description="Say", agent=agent, human_input=True)])
    serve(crew, concurrency=1)
    handle = crew.submit(database=database_of_workers, run_id=run_id)
    until(lambda: handle.status is State.waiting)
    other = crew.submit(database=database_of_workers, run_id=f"{run_id}-2")
    until(lambda: other.status is State.waiting)
    assert "Waits for a human" in shown("show", run_id, "-d", database_of_workers)
    assert "about task 'Say': oarlock runs signal" in shown("show", run_id, "-d", database_of_workers)
    assert handle.questions() == {"1:1:human": {"task": "Say", "agent": "Cox"}}
    handle.signal("shorter")
    until(lambda: list(handle.questions()) == ["1:2:human"])
    assert "has the answer" in shown("signal", run_id, "-d", database_of_workers)
    assert str(handle.result(60)).startswith("answer")
    with pytest.raises(RunError, match=r"does not ask exactly one thing\. Its open questions: none"):
        handle.signal("too late")
    with pytest.raises(RunError, match="asks nothing of that name"):
        other.signal("x", question="9:9")
    other.signal()
    other.result(60)
    assert [key for key in llm.keys if f"{run_id}:" in key] == [f"{run_id}:1:1", f"{run_id}:1:2"]


def test_commands_on_what_is_not_there(database_of_workers, tmp_path):
    HERE.close()
    in_line(CountingLLM(lambda request, before: "x"), 1).submit(database=database_of_workers)
    for command in ("show", "resume", "cancel", "signal"):
        result = CliRunner().invoke(app, ["runs", command, "nothing", "-d", database_of_workers])
        assert "There is no run 'nothing'" in str(result.exception)
    result = CliRunner().invoke(app, ["runs", "list", "-d", f"sqlite:///{tmp_path}/none.db"])
    assert isinstance(result.exception, ConfigurationError)
    assert "There is no database of runs" in str(result.exception)
    result = CliRunner().invoke(app, ["runs", "list", "-d", database_of_workers, "--state", "odd"])
    assert "--state must be one of" in str(result.exception)


@pytest.mark.parametrize(
    ("crews", "problem"),
    [((), "no crews"), ((1,), "takes crews, not an int"), (([object()],), "takes crews, not an object")],
)
def test_a_registry_has_crews(crews, problem):
    with pytest.raises(ConfigurationError, match=problem):
        Registry(*crews)


def test_a_registry_is_made_of_what_a_program_has():
    one = in_line(CountingLLM(lambda request, before: "x"), 1)
    two = in_line(CountingLLM(lambda request, before: "x"), 1)
    with pytest.raises(ConfigurationError, match="two crews have the name 'crew'"):
        Registry(one, two)
    two.name = "two"
    for found in (Registry(one, two), [one, two], {"a": one, "b": two}, lambda: [one, two]):
        assert Registry.of(found).names == ("crew", "two")
    assert Registry.of(one).names == ("crew",)
    with pytest.raises(RunError, match="There is no crew 'three' in this registry; it has: crew"):
        Registry.of(one).fingerprint("three")


def test_a_worker_has_other_llms_and_tools_for_the_names_of_the_crew(serve, database_of_workers, run_id):
    """What a run remembers of its crew stays the same."""

    def send(text: str) -> str:
        """Send a mail."""
        raise AssertionError("sent")

    def harmless(text: str) -> str:
        """Send a mail."""
        return "kept"

    harmless.__name__ = "send"

    def crew(llm: BaseLLM) -> Crew:
        return named(one_agent(llm, tools=[send], description="Send"), run_id)

    def answer(request: Any, before: int) -> Any:
        return calls(("send", '{"text": "hello"}')) if before == 0 else request.messages[-1]["content"]

    handle = crew(CountingLLM(lambda request, before: "wrong")).submit(database=database_of_workers, run_id=run_id)
    here = CountingLLM(answer)
    serve(Registry(crew(CountingLLM(answer)), llms={"counting": here}, tools=[harmless]))
    assert str(handle.result(60)) == "kept"
    assert len(here.keys) == 2


@tool
def look() -> str:
    """Look."""
    return "seen"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"llms": {}}, "crew 'crew' asks the model 'counting', and llms= has none of that name; it has: none"),
        (
            {"llms": {"counting": CountingLLM(lambda request, before: "x"), "other": CountingLLM(str)}},
            "of the name 'other'",
        ),
        ({"llms": {"counting": "gpt"}}, r"llms\['counting'\] must be an LLM, not a str"),
        ({"tools": [look]}, "no crew has a tool of the name 'look'"),
    ],
)
def test_names_in_a_registry_are_those_of_its_crews(given, problem):
    with pytest.raises(ConfigurationError, match=problem):
        Registry(in_line(CountingLLM(lambda request, before: "x"), 1), **given)


def test_agents_that_two_crews_share_are_bound_once():
    llm = CountingLLM(lambda request, before: "x")
    first = in_line(CountingLLM(lambda request, before: "x"), 1)
    second = Crew(name="second", agents=first.agents, tasks=first.tasks, manager_llm=CountingLLM(str))
    llm.model = "other"
    Registry(first, second, llms={"counting": llm})
    assert (first.agents[0].llm, second.manager_llm) == (llm, llm)


def test_a_run_whose_process_has_ended_says_so(database_of_workers, run_id):
    died: list[bool] = []

    def answer(request: Any, before: int) -> str:
        if not died:
            died.append(True)
            raise Crash
        return "hello"

    crew = in_line(CountingLLM(answer), 1)
    with pytest.raises(Crash):
        crew.kickoff(durable=database_of_workers, run_id=run_id)
    assert "Its process has ended" not in shown("show", run_id, "-d", database_of_workers)
    HERE.close()
    left = "running. Its process has ended. It goes on when its program asks for it again"
    assert left in shown("show", run_id, "-d", database_of_workers)
    assert json.loads(shown("show", run_id, "-d", database_of_workers, "--json"))["left"] is True
    with RunHandle(run_id, database=database_of_workers) as handle:
        handle.cancel()
        handle.resume()
    assert "It goes on when its program asks" in shown("list", "-d", database_of_workers, "--limit", "1")
    assert str(crew.kickoff(durable=database_of_workers, run_id=run_id)) == "hello"
    assert "ended" not in shown("list", "-d", database_of_workers, "--limit", "1")
    HERE.close()


def test_a_run_that_a_worker_had_to_let_go_goes_back_to_its_queue(serve, database_of_workers, run_id):
    """As when the database failed: the worker lives, and nobody drives the run."""
    died: list[bool] = []

    def answer(request: Any, before: int) -> str:
        if before == 1 and not died:
            died.append(True)
            raise Crash
        return f"answer {before}"

    llm = CountingLLM(answer)
    crew = named(in_line(llm, 2), run_id)
    serve(crew)
    handle = crew.submit(database=database_of_workers, run_id=run_id)
    assert str(handle.result(60)) == "answer 2"
    assert llm.keys == [f"{run_id}:{key}" for key in ("1:1", "2:1", "2:1")]


def test_only_what_fits_is_accepted(tmp_path):
    registry = Registry(in_line(CountingLLM(lambda request, before: "x"), 1))
    for settings in ({"concurrency": 0}, {"poll": 0}):
        with pytest.raises(ConfigurationError, match=f"Worker: {next(iter(settings))}"):
            Worker(registry, f"sqlite:///{tmp_path}/runs.db", **settings)


def test_a_result_is_awaited(serve, database_of_workers, run_id):
    crew = named(in_line(CountingLLM(lambda request, before: "hello"), 1), run_id)
    serve(crew)
    with crew.submit(database=database_of_workers, run_id=run_id) as handle:
        assert str(asyncio.run(handle.aresult(60))) == "hello"


def test_events_read_each_step_once(run_id):
    """Steps side by side are recorded in any order; only those before which nothing can come are not looked at again."""

    class Recorded:
        after: ClassVar[list[int]] = []

        def look(self, run_id: str, *, content: bool = True) -> RunInfo:
            return RunInfo(run_id=run_id, state=State.running if len(self.after) < 3 else State.finished)

        def entries(self, run_id: str, *, after: int = 0, content: bool = True) -> list[Entry]:
            self.after.append(after)
            there = ([1, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3, 4])[len(self.after) - 1]
            value = {"at": 1.0, "name": "m", "value": "x"}
            return [Entry(position=one, name=f"model:{one}:1", value=value) for one in there[after:]]

    told = list(RunHandle(run_id, database=Recorded()).events())  # type: ignore[arg-type]
    assert [event.step for event in told] == [1, 3, 0, 2, 4, 0]
    assert Recorded.after == [0, 1, 3, 3]


def test_tables_for_people_and_lines_for_programs(serve, database_of_workers, run_id, monkeypatch):
    crew = named(in_line(CountingLLM(lambda request, before: "hello\x1b[31m"), 1), run_id)
    serve(crew)
    crew.submit(database=database_of_workers, run_id=run_id).result(60)
    assert "1\tmodel\tcounting\tTask 0\tCox\t" in shown("show", run_id, "-d", database_of_workers)
    from oarlock.cli import runs

    monkeypatch.setattr(runs, "_is_terminal", lambda: True)
    table = shown("show", run_id, "-d", database_of_workers)
    assert "what came of it" in table
    assert "\x1b[31m" not in table
