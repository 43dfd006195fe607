"""Crews, agents and tools as spans and metrics of OpenTelemetry's."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from telemetry_helpers import ADD, Seen, crew_of, events_of

from oarlock import Agent, BaseLLM, Crew, Request, Task, ToolCall, current_call, tool
from oarlock.agents.conditional import ConditionalTask
from oarlock.contract.errors import AuthenticationError, OarlockError
from oarlock.contract.events import TaskFinished, ToolFinished
from oarlock.telemetry import uninstrument
from oarlock.testing import FunctionLLM, ScriptedLLM


def run(crew: Crew, how: str) -> None:
    if how == "blocking":
        crew.kickoff()
    elif how == "async":
        asyncio.run(crew.akickoff())
    elif how == "stream":
        list(crew.stream())
    else:
        asyncio.run(_read(crew))


async def _read(crew: Crew) -> None:
    before = trace.get_current_span()
    async for _ in crew.astream():
        assert trace.get_current_span() is before


@pytest.fixture(params=["blocking", "async", "stream", "astream"])
def how(request) -> str:
    return str(request.param)


TREE = ["invoke_workflow boat", "  invoke_agent Cox", "    chat m", "    execute_tool add", "    chat m"]


def test_a_run_is_a_tree_of_spans(seen: Seen, how):
    seen.instrument()
    run(crew_of(ADD, "three"), how)
    assert seen.tree() == TREE
    workflow, agent, call, used, _ = seen.spans
    assert workflow.attributes["gen_ai.workflow.name"] == "boat"
    assert workflow.attributes["oarlock.run.id"] == agent.attributes["oarlock.run.id"]
    assert agent.attributes["gen_ai.agent.name"] == call.attributes["gen_ai.agent.name"] == "Cox"
    assert used.attributes["gen_ai.tool.name"] == "add"
    assert all(span.status.status_code is StatusCode.UNSET for span in seen.spans)
    for metric, name in (
        ("gen_ai.invoke_workflow.duration", "boat"),
        ("gen_ai.invoke_agent.duration", "Cox"),
        ("gen_ai.execute_tool.duration", "add"),
    ):
        ((values, point),) = seen.points(metric).items()
        assert name in values
        assert point.count == 1
        assert point.explicit_bounds[-1] == 81.92
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_run_stands_below_the_programs_own_span(seen: Seen, how):
    seen.instrument()
    with seen.tracers.get_tracer("theirs").start_as_current_span("request") as outer:
        run(crew_of(ADD, "three"), how)
        assert trace.get_current_span() is outer
    assert seen.tree() == ["request", *(f"  {line}" for line in TREE)]


def test_a_tools_own_spans_stand_below_it(seen: Seen, how):
    tracer = seen.tracers.get_tracer("theirs")

    @tool
    def look() -> str:
        """Look."""
        with tracer.start_as_current_span("query"):
            return "seen"

    seen.instrument()
    run(crew_of(ToolCall(id="1", name="look"), "three", tools=[look]), how)
    assert "      query" in seen.tree()


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_tasks_side_by_side_do_not_get_mixed_up(seen: Seen, colour):
    barrier = threading.Barrier(2, timeout=30)

    def answer(request: Request) -> Any:
        if request.messages[-1]["role"] == "tool" or "End" in str(request.messages):
            return "done"
        return ToolCall(id="1", name="meet", arguments=json.dumps({"who": current_call().agent}))

    @tool
    def meet(who: str) -> str:
        """Wait for the other one."""
        barrier.wait()
        return who

    llm = FunctionLLM(answer, model="m", supports_function_calling=True)
    agents = [Agent(role=role, goal="g", backstory="", llm=llm, tools=[meet]) for role in ("Bow", "Stroke")]
    tasks = [Task(description="Meet", expected_output="x", agent=agent, async_execution=True) for agent in agents]
    tasks.append(Task(description="End", expected_output="x", agent=agents[0], context=tasks[:]))
    seen.instrument()
    crew = Crew(agents=agents, tasks=tasks, name="boat")
    run(crew, colour)
    agents_of = {
        span.context.span_id: span.attributes["gen_ai.agent.name"] for span in seen.spans if "agent" in span.name
    }
    for span in seen.spans:
        if span.name == "chat m":
            assert agents_of[span.parent.span_id] == span.attributes["gen_ai.agent.name"]
    assert sorted(agents_of[span.parent.span_id] for span in seen.spans if "meet" in span.name) == ["Bow", "Stroke"]
    assert len({span.context.trace_id for span in seen.spans}) == 1


def test_what_fails_ends_every_span_around_it(seen: Seen, how):
    @tool
    def ask() -> str:
        """Ask somebody else."""
        raise AuthenticationError("key wrong-key-of-another refused", status=401)

    seen.instrument()
    with pytest.raises(OarlockError):
        run(crew_of(ToolCall(id="1", name="ask"), "x", tools=[ask]), how)
    assert [line.strip() for line in seen.tree()] == [
        "invoke_workflow boat",
        "invoke_agent Cox",
        "chat m",
        "execute_tool ask",
    ]
    failed = [span for span in seen.spans if span.status.status_code is StatusCode.ERROR]
    assert [span.name for span in failed] == ["invoke_workflow boat", "invoke_agent Cox", "execute_tool ask"]
    assert {span.attributes["error.type"] for span in failed} == {"AuthenticationError"}
    assert "wrong-key" not in seen.everything()
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_tool_that_tells_the_model_of_an_error_failed_alone(seen: Seen):
    seen.instrument()
    crew_of(ToolCall(id="1", name="add", arguments="{}"), ADD, "three").kickoff()
    first, second = [span for span in seen.spans if span.name == "execute_tool add"]
    assert (first.status.status_code, first.attributes["error.type"]) == (StatusCode.ERROR, "ToolError")
    assert second.status.status_code is StatusCode.UNSET
    assert seen.span("invoke_agent Cox").status.status_code is StatusCode.UNSET


async def test_a_run_that_is_cancelled_leaves_nothing_open(seen: Seen):
    hanging = asyncio.Event()

    class Hanging(BaseLLM):
        async def acall(self, messages):
            hanging.set()
            await asyncio.Event().wait()

    seen.instrument()
    agent = Agent(role="Cox", goal="g", backstory="", llm=Hanging(model="m"))
    crew = Crew(agents=[agent], tasks=[Task(description="x", expected_output="y", agent=agent)], name="boat")
    running = asyncio.ensure_future(crew.akickoff())
    await hanging.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert seen.tree() == ["invoke_workflow boat", "  invoke_agent Cox", "    chat m"]
    assert all(span.attributes["oarlock.abandoned"] for span in seen.spans)
    assert all(span.status.status_code is StatusCode.UNSET for span in seen.spans)


async def test_an_agent_alone_that_is_cancelled_leaves_nothing_open(seen: Seen):
    hanging = asyncio.Event()

    class Hanging(BaseLLM):
        async def acall(self, messages):
            hanging.set()
            await asyncio.Event().wait()

    seen.instrument()
    agent = Agent(role="Cox", goal="g", backstory="", llm=Hanging(model="m"))
    running = asyncio.ensure_future(agent.aexecute_task(Task(description="x", expected_output="y")))
    await hanging.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert seen.tree() == ["invoke_agent Cox", "  chat m"]
    assert all(span.attributes["oarlock.abandoned"] for span in seen.spans)


def test_an_agent_alone_has_a_tree_too(seen: Seen):
    seen.instrument()
    agent = Agent(role="Cox", goal="g", backstory="", llm=ScriptedLLM(["done"], model="m"))
    agent.execute_task(Task(description="x", expected_output="y"))
    assert seen.tree() == ["invoke_agent Cox", "  chat m"]


def test_what_happens_at_a_task_is_told_on_its_span(seen: Seen):
    def long_enough(output: Any) -> tuple[bool, str]:
        return (len(output.raw) > 3, "too short, Mr. Smith")

    seen.instrument()
    crew_of("no", "long enough", guardrail=long_enough).kickoff()
    (first, checked), (second, rejected), (third, passed) = events_of(seen.span("invoke_agent Cox"))
    assert (first, second, third) == ("oarlock.guardrail", "oarlock.answer_rejected", "oarlock.guardrail")
    assert (checked["oarlock.guardrail.passed"], passed["oarlock.guardrail.passed"]) == (False, True)
    assert rejected == {"oarlock.rejected_by": "guardrail"}
    assert "Smith" not in seen.everything()


def test_delegated_work_and_approvals_are_told_on_the_tools_span(seen: Seen):
    @tool(dangerous=True)
    def burn() -> str:
        """Burn it."""
        return "burnt"

    seen.instrument()
    crew = crew_of(ToolCall(id="1", name="burn"), "done", tools=[burn])
    crew.on_approval = lambda request: True
    crew.kickoff()
    names = [name for name, _ in events_of(seen.span("execute_tool burn"))]
    assert names == ["oarlock.approval_requested", "oarlock.approval_decided"]

    arguments = json.dumps({"task": "row hard", "coworker": "Bow", "context": ""})
    delegate = ToolCall(id="1", name="delegate_work_to_coworker", arguments=arguments)
    boss = Agent(
        role="Cox",
        goal="g",
        backstory="",
        allow_delegation=True,
        llm=ScriptedLLM([delegate, "done"], model="m", supports_function_calling=True),
    )
    bow = Agent(role="Bow", goal="g", backstory="", llm=ScriptedLLM(["rowed"], model="n"))
    task = Task(description="x", expected_output="y", agent=boss)
    Crew(agents=[boss, bow], tasks=[task]).kickoff()
    span = seen.span("execute_tool delegate_work_to_coworker")
    assert events_of(span) == [("oarlock.delegated", {"oarlock.coworker": "Bow"})]
    inner = seen.span("chat n")
    assert inner.parent.span_id == span.context.span_id
    assert inner.attributes["gen_ai.agent.name"] == "Bow"


def test_events_of_what_began_unseen_are_passed_over(seen: Seen):
    telemetry = seen.telemetry()
    telemetry.on_event(TaskFinished(seconds=1.0, answer="x", span_id="r:1"))
    telemetry.on_event(ToolFinished(tool="t", seconds=1.0, answer="x", span_id="r:1:1"))
    assert seen.spans == []


def test_as_a_listener_it_watches_one_run(seen: Seen):
    telemetry = seen.telemetry()
    crew_of("done").kickoff(on_event=telemetry.on_event)
    crew_of("done").kickoff()
    assert seen.tree() == ["invoke_workflow boat", "  invoke_agent Cox"]


def test_after_uninstrument_nothing_is_seen(seen: Seen):
    seen.instrument()
    uninstrument()
    crew_of(ADD, "done").kickoff()
    assert seen.spans == []


@pytest.mark.parametrize("verbose", [True, False])
def test_other_listeners_hear_as_before(seen: Seen, verbose, capsys):
    heard: list[str] = []
    seen.instrument()
    crew = crew_of("done")
    crew.verbose = verbose
    crew.kickoff(on_event=lambda event: heard.append(type(event).__name__))
    assert heard == ["RunStarted", "TaskStarted", "CallStarted", "CallFinished", "TaskFinished", "RunFinished"]
    assert bool(capsys.readouterr().err) is verbose
    assert len(seen.spans) == 3


def test_what_rarely_happens_at_a_task_is_told_too(seen: Seen):
    """A task that is skipped, a conversation that is shortened, a human who is asked."""

    @tool
    def read() -> str:
        """Read a long text."""
        return "word " * 3000

    seen.instrument()
    telemetry = seen.telemetry(content=True)
    replies = [ToolCall(id="1", name="read"), "first", "better"]
    llm = ScriptedLLM(replies, model="m", context_window=1000, supports_function_calling=True)
    agent = Agent(role="Cox", goal="g", backstory="", llm=llm, tools=[read])
    first = Task(description="Read it", expected_output="y", agent=agent, human_input=True)
    never = ConditionalTask(description="x", expected_output="y", agent=agent, condition=lambda output: False)
    said = iter(["better, Mr. Smith", ""])
    crew = Crew(agents=[agent], tasks=[first, never], name="boat", on_human_input=lambda question: next(said))
    crew.kickoff(on_event=telemetry.on_event)
    names = {name for span in seen.spans for name, _ in events_of(span)}
    assert {
        "oarlock.context_shortened",
        "oarlock.human_asked",
        "oarlock.human_answered",
        "oarlock.answer_rejected",
        "oarlock.task_skipped",
    } <= names
    reasons = {facts.get("oarlock.reason") for span in seen.spans for _, facts in events_of(span)}
    assert "better, Mr. Smith" in reasons  # for the one that asked for content
    assert None in reasons
    assert (
        not trace.get_current_span().get_span_context().is_valid
    )  # though the outer spans ended before the inner ones
