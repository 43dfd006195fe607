"""Traces that go on in another process, or after a crash: the run keeps the trace of whoever began it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from telemetry_helpers import Seen

from oarlock import Agent, BaseLLM, Crew, Task
from oarlock.contract.watching import resuming
from oarlock.durable import Registry, Worker
from oarlock.durable.here import HERE
from oarlock.durable.stores import open_store
from oarlock.telemetry import uninstrument
from oarlock.testing import FunctionLLM


class Crash(BaseException):
    """What a process that ends in the middle looks like from inside."""


def crew_of(answer: Callable[[Any], Any] | None = None) -> Crew:
    llm: BaseLLM = FunctionLLM(answer or (lambda request: "done"), model="m")
    agent = Agent(role="Cox", goal="g", backstory="", llm=llm)
    tasks = [Task(description=f"Task {number}", expected_output="y", agent=agent) for number in (1, 2)]
    return Crew(agents=[agent], tasks=tasks, name="boat")


TREE = ["request", "  invoke_workflow boat", *(["    invoke_agent Cox", "      chat m"] * 2)]


@pytest.fixture
def database(tmp_path: Path):
    HERE.close()  # a process has one database of runs at a time, and another test's may be open
    address = f"sqlite:///{tmp_path}/runs.db"
    open_store(address, make=True).close()
    yield address
    HERE.close()


def test_a_run_that_a_worker_takes_keeps_the_submitters_trace(seen: Seen, database):
    seen.instrument()
    crew = crew_of()
    with (
        seen.tracers.get_tracer("theirs").start_as_current_span("request"),
        crew.submit({}, database=database, run_id="r1") as handle,
    ):
        pass
    worker = Worker(Registry(crew), database, poll=0.05)
    stopped = threading.Event()
    serving = threading.Thread(target=worker.serve, args=(stopped,))
    serving.start()
    try:
        with crew.submit({}, database=database, run_id="r1") as handle:
            assert handle.result(timeout=60).raw == "done"
    finally:
        stopped.set()
        serving.join(30)
        worker.drain(1)
    assert seen.tree() == TREE
    assert "traceparent" in handle_facts(database, "r1")["trace"]


def handle_facts(database: str, run_id: str) -> dict[str, Any]:
    store = open_store(database)
    try:
        info = store.look(run_id, content=False)
        assert info is not None
        return dict(info.facts)
    finally:
        store.close()


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_a_durable_run_here_stands_below_the_programs_span(seen: Seen, database, colour):
    seen.instrument()
    crew = crew_of()
    with seen.tracers.get_tracer("theirs").start_as_current_span("request"):
        if colour == "blocking":
            crew.kickoff({}, durable=database, run_id="r2")
        else:
            asyncio.run(crew.akickoff({}, durable=database, run_id="r2"))
    assert seen.tree() == TREE


def test_a_run_that_goes_on_after_a_crash_goes_on_in_its_trace(seen: Seen, database):
    crashes = [True]

    def answer(request: Any) -> str:
        if crashes and "Task 2" in str(request.messages):
            crashes.pop()
            raise Crash
        return "done"

    seen.instrument()
    with seen.tracers.get_tracer("theirs").start_as_current_span("request"), pytest.raises(BaseException):
        crew_of(answer).kickoff({}, durable=database, run_id="r3")
    HERE.close()
    crew_of(answer).kickoff({}, durable=database, run_id="r3")
    first, again = [span for span in seen.spans if span.name == "invoke_workflow boat"]
    assert first.attributes["oarlock.abandoned"]
    assert first.context.trace_id == again.context.trace_id
    assert again.parent.span_id == first.parent.span_id == seen.span("request").context.span_id
    assert [span.name for span in seen.spans].count("chat m") == 3  # the recorded answer is not asked for again


def test_without_telemetry_nothing_is_kept_of_a_trace(database):
    crew_of().kickoff({}, durable=database, run_id="r4")
    assert "trace" not in handle_facts(database, "r4")


@pytest.mark.parametrize("kept", [None, {"traceparent": "nonsense"}, {"traceparent": 7}, "text"])
def test_what_the_database_holds_cannot_break_a_run(seen: Seen, kept):
    seen.instrument()
    with resuming(kept):
        crew_of().kickoff()
    uninstrument()
    assert seen.tree() == [line[2:] for line in TREE[1:]]
