"""Tasks side by side, what each of them sees, and conditional ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock import Agent, AuthenticationError, BaseLLM, ConfigurationError, Crew, Reply, ServerError, Task, Usage
from oarlock.agents.conditional import ConditionalTask
from oarlock.agents.graph import Order, run_side_by_side
from oarlock.contract.events import TaskSkipped, TaskStarted
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime


class Clerk(BaseLLM):
    """Answers with the name of its task, which takes as long as the task says: "name:seconds"."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        super().__init__()
        self.runtime = runtime
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.prompts: dict[str, str] = {}

    def call(self, messages: Any) -> str:
        prompt = messages[-1]["content"]
        name, _, seconds = prompt.split()[0].partition(":")
        self.prompts[name] = prompt
        self.began[name] = self.runtime.now()
        self.runtime.advance(float(seconds or 1))
        self.ended[name] = self.runtime.now()
        if name.startswith("bad"):
            raise AuthenticationError(f"no key for {name}")
        return f"answer of {name}"


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime() as runtime:
        yield runtime


@pytest.fixture
def clerk(runtime: VirtualRuntime) -> Clerk:
    return Clerk(runtime)


@pytest.fixture(params=["blocking", "async"])
def kickoff(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(crew: Crew, **given: Any) -> Any:
        return crew.kickoff(**given) if request.param == "blocking" else asyncio.run(crew.akickoff(**given))

    return run


def agent_of(llm: BaseLLM, role: str = "R", **settings: Any) -> Agent:
    return Agent(role=role, goal="G", backstory="", llm=llm, **settings)


def seen_by(clerk: Clerk, name: str) -> set[str]:
    return {other for other in clerk.began if f"answer of {other}" in clerk.prompts[name]}


def test_asynchronous_tasks_run_side_by_side_and_are_awaited_by_those_who_see_them(
    clerk: Clerk, runtime: VirtualRuntime, kickoff: Callable[..., Any]
) -> None:
    agent = agent_of(clerk)
    ideas = Task(description="ideas:5", agent=agent, async_execution=True)
    history = Task(description="history:3", agent=agent, async_execution=True)
    article = Task(description="article:1", agent=agent, context=[ideas, history])
    result = kickoff(Crew(agents=[agent], tasks=[ideas, history, article]))
    assert runtime.now() == 6
    assert clerk.began == {"ideas": 0, "history": 0, "article": 5}
    assert seen_by(clerk, "article") == {"ideas", "history"}
    assert seen_by(clerk, "history") == set()
    assert [output.raw for output in result.tasks_output] == [f"answer of {n}" for n in ("ideas", "history", "article")]
    assert result.raw == "answer of article"
    assert result.usage_metrics.requests == 3


def test_a_task_without_context_sees_all_tasks_before_it(clerk: Clerk, kickoff: Callable[..., Any]) -> None:
    agent = agent_of(clerk)
    names = {"a": False, "b": True, "c": True, "d": False, "e": True}
    kickoff(Crew(tasks=[Task(description=name, agent=agent, async_execution=side) for name, side in names.items()]))
    assert seen_by(clerk, "b") == seen_by(clerk, "c") == {"a"}
    assert seen_by(clerk, "d") == {"a", "b", "c"}
    assert seen_by(clerk, "e") == {"a", "b", "c", "d"}


def test_all_asynchronous_tasks_are_awaited_at_the_end(clerk: Clerk, kickoff: Callable[..., Any]) -> None:
    agent = agent_of(clerk)
    tasks = [Task(description=f"{name}:{5 - n}", agent=agent, async_execution=True) for n, name in enumerate("abc")]
    result = kickoff(Crew(tasks=tasks))
    assert [output.raw for output in result.tasks_output] == ["answer of a", "answer of b", "answer of c"]
    assert result.raw == "answer of c"
    assert clerk.ended == {"a": 5, "b": 4, "c": 3}


def test_a_task_waits_only_for_what_it_sees(clerk: Clerk, kickoff: Callable[..., Any]) -> None:
    agent = agent_of(clerk)
    slow = Task(description="slow:9", agent=agent, async_execution=True)
    quick = Task(description="quick:1", agent=agent, context=[])
    after = Task(description="after:1", agent=agent, context=[quick], async_execution=True)
    last = Task(description="last:1", agent=agent, context=[quick])
    kickoff(Crew(tasks=[slow, quick, after, last]))
    assert clerk.began == {"slow": 0, "quick": 0, "after": 1, "last": 1}


def test_synchronous_tasks_keep_their_order_whatever_they_see(clerk: Clerk, kickoff: Callable[..., Any]) -> None:
    agent = agent_of(clerk)
    tasks = [Task(description=name, agent=agent, context=[]) for name in ("a", "b")]
    aside = Task(description="aside:1", agent=agent, context=[], async_execution=True)
    kickoff(Crew(tasks=[*tasks, aside]))
    assert clerk.began == {"a": 0, "b": 1, "aside": 0}


def test_a_failure_begins_nothing_more_and_awaits_what_is_under_way(clerk: Clerk, kickoff: Callable[..., Any]) -> None:
    agent = agent_of(clerk)
    slow = Task(description="slow:9", agent=agent, async_execution=True)
    bad = Task(description="bad:1", name="the bad one", agent=agent, async_execution=True)
    worse = Task(description="bad2:3", agent=agent, async_execution=True)
    chained = Task(description="chained:1", agent=agent, async_execution=True, context=[slow])
    with pytest.raises(AuthenticationError, match=r"no key for bad\n") as caught:
        kickoff(Crew(tasks=[slow, bad, worse, chained, Task(description="last", agent=agent)]))
    assert clerk.ended == {"slow": 9, "bad": 1, "bad2": 3}
    assert caught.value.__notes__ == [
        "This happened while agent 'R' worked on task 'the bad one'.",
        "Another task failed after that: AuthenticationError: no key for bad2",
    ]


def test_whatever_ends_a_job_ends_the_others(runtime: VirtualRuntime, kickoff: Callable[..., Any]) -> None:
    def leave(request: Any) -> str:
        raise SystemExit(3)

    one = Task(description="a", agent=agent_of(ScriptedLLM(leave)), async_execution=True)
    two = Task(description="b", agent=agent_of(ScriptedLLM(["x"], latency=3)), async_execution=True)
    three = Task(description="c", agent=agent_of(ScriptedLLM([])), async_execution=True, context=[one])
    four = Task(description="d", agent=agent_of(ScriptedLLM([])), async_execution=True, context=[two])
    with pytest.raises(SystemExit):
        kickoff(Crew(tasks=[one, two, three, four]))


def test_whoever_waits_for_a_task_that_fails_is_let_go(kickoff: Callable[..., Any]) -> None:
    agent = agent_of(ScriptedLLM([ServerError("down")], latency=0.05))
    first = Task(description="a", agent=agent, async_execution=True)
    others = [Task(description=name, agent=agent, async_execution=True, context=[first]) for name in "bc"]
    with pytest.raises(ServerError, match="down"):
        kickoff(Crew(tasks=[first, *others]))


def test_blocking_calls_are_truly_side_by_side() -> None:
    barrier = threading.Barrier(3, timeout=30)

    class Meeting(BaseLLM):
        def call(self, messages: Any) -> str:
            barrier.wait()  # passes only if three are here at once
            return "ok"

    agent = agent_of(Meeting())
    crew = Crew(tasks=[Task(description=name, agent=agent, async_execution=True) for name in "abc"])
    assert crew.kickoff().raw == asyncio.run(crew.akickoff()).raw == "ok"


def test_awaitable_calls_are_side_by_side_in_a_blocking_run_too() -> None:
    waiting: list[asyncio.Event] = []

    class Meeting(BaseLLM):
        async def acall(self, messages: Any) -> str:
            waiting.append(asyncio.Event())
            if len(waiting) == 3:
                for event in waiting:
                    event.set()
            async with asyncio.timeout(30):
                await waiting[-1].wait()  # passes only if three are here at once
            return "ok"

    agent = agent_of(Meeting())
    assert (
        Crew(tasks=[Task(description=name, agent=agent, async_execution=True) for name in "abc"]).kickoff().raw == "ok"
    )


def test_a_graph_of_any_size_needs_no_deep_stack(kickoff: Callable[..., Any]) -> None:
    agent = agent_of(FunctionLLM(lambda messages: "ok"))
    tasks: list[Task] = []
    for number in range(600):  # a diamond after the other
        context = tasks[-2:] if number % 3 == 2 else tasks[-1 - number % 3 :][:1]
        tasks.append(Task(description=str(number), agent=agent, async_execution=True, context=context))
    assert len(kickoff(Crew(tasks=tasks)).tasks_output) == 600


async def test_a_cancelled_run_begins_nothing_more() -> None:
    begun, ended = asyncio.Event(), []

    class Slow(BaseLLM):
        async def acall(self, messages: Any) -> str:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(messages[-1]["content"])
            return "never"

    agent = agent_of(Slow())
    tasks = [Task(description=name, agent=agent, async_execution=True) for name in "ab"]
    run = asyncio.ensure_future(Crew(tasks=[*tasks, Task(description="c", agent=agent)]).akickoff())
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sorted(ended) == ["a", "b"]


def test_one_agent_may_do_several_tasks_at_once(kickoff: Callable[..., Any]) -> None:
    def answer(messages: Any, tools: Any) -> Reply:
        return Reply(text="ok", usage=Usage(prompt_tokens=1, completion_tokens=1, requests=1))

    agent = agent_of(FunctionLLM(answer))
    crew = Crew(tasks=[Task(description=str(n), agent=agent, async_execution=True) for n in range(20)])
    result = kickoff(crew)
    assert result.usage_by_agent == {"R": Usage(prompt_tokens=20, completion_tokens=20, requests=20)}


# What cannot be ordered.


def test_contexts_that_cannot_come_before_are_told_when_the_crew_is_built() -> None:
    agent = agent_of(ScriptedLLM([]))

    def task(name: str) -> Task:
        return Task(description=name, agent=agent)

    one, two, three, stranger = map(task, ("one", "two", "three", "stranger"))
    one.context = [three]
    with pytest.raises(
        ConfigurationError, match=r"'one' has 'three' as its context, which is not among the tasks before"
    ):
        Crew(tasks=[one, two, three])
    three.context, two.context = [two], [one]
    with pytest.raises(ConfigurationError, match="'one' and 'three' wait for each other: their contexts form a cycle"):
        Crew(tasks=[one, two, three])
    one.context = [one]
    with pytest.raises(ConfigurationError, match="'one' has itself as its context"):
        Crew(tasks=[one, two, three])
    one.context = [stranger]
    stranger.context = [stranger]
    with pytest.raises(ConfigurationError, match="'stranger' as its context, which is not among the crew's tasks"):
        Crew(tasks=[one, two, three])
    one.context, stranger.context = [two], [stranger, two]
    two.context = [stranger]
    with pytest.raises(ConfigurationError, match=r"not among the tasks before it\. Change their order"):
        Crew(tasks=[one, two, stranger])


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_async_execution_is_true_or_false(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="async_execution must be True or False"):
        Task(description="D", async_execution=value)


# Conditional tasks.


@pytest.mark.parametrize("side", [False, True])
@pytest.mark.parametrize("met", [False, True])
def test_a_conditional_task_is_done_if_its_condition_is_met(
    met: bool, side: bool, clerk: Clerk, kickoff: Callable[..., Any]
) -> None:
    agent, events, told, outputs = agent_of(clerk), [], [], []
    find = Task(description="find", agent=agent, async_execution=side)

    def condition(output: Any) -> bool:
        told.append(output.raw)
        return met

    more = ConditionalTask(
        description="more", name="More", agent=agent, condition=condition, context=[], async_execution=side
    )
    last = Task(description="last", agent=agent)
    crew = Crew(tasks=[find, more, last], task_callback=lambda output: outputs.append(output.raw))
    result = kickoff(crew, on_event=events.append)
    assert told == ["answer of find"]
    assert [output.skipped for output in result.tasks_output] == [False, not met, False]
    assert result.tasks_output[1].raw == ("answer of more" if met else "")
    assert result.tasks_output[1].name == "More"
    assert seen_by(clerk, "last") == {"find", "more"} & set(clerk.began)
    assert len(outputs) == len(clerk.began) == 2 + met
    assert [event.task for event in events if isinstance(event, TaskSkipped)] == ["More"] * (not met)
    assert sum(isinstance(event, TaskStarted) for event in events) == 2 + met
    assert result.usage_metrics.requests == 2 + met


def test_the_answer_of_a_crew_whose_last_task_was_skipped_is_the_one_before(kickoff: Callable[..., Any]) -> None:
    agent = agent_of(ScriptedLLM(["first"]))

    async def never(output: Any) -> bool:
        return False

    tasks = [ConditionalTask(description=name, agent=agent, condition=never) for name in "bc"]
    result = kickoff(Crew(tasks=[Task(description="a", agent=agent), *tasks]))
    assert result.raw == "first"
    assert [output.skipped for output in result.tasks_output] == [False, True, True]


def test_what_a_condition_raises_ends_the_run(kickoff: Callable[..., Any]) -> None:
    agent = agent_of(ScriptedLLM(["first"]))
    task = ConditionalTask(description="b", agent=agent, condition=lambda output: output.nothing_like_this)
    with pytest.raises(AttributeError):
        kickoff(Crew(tasks=[Task(description="a", agent=agent), task]))


def test_conditional_tasks_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="condition must be a function of the last TaskOutput, not 'x'"):
        ConditionalTask(description="D", condition="x")
    with pytest.raises(ConfigurationError, match=r"ConditionalTask needs the argument condition"):
        ConditionalTask(description="D")
    with pytest.raises(ConfigurationError, match="Did you mean 'condition'"):
        ConditionalTask(description="D", conditon=bool)
    with pytest.raises(ConfigurationError, match="description must be a non-empty text"):
        ConditionalTask(description="", condition=bool)
    with pytest.raises(ConfigurationError, match="is conditional, and there is no task before it"):
        Crew(tasks=[ConditionalTask(description="D", agent=agent_of(ScriptedLLM([])), condition=bool)])


# Any graph.


@st.composite
def crews(draw: st.DrawFn) -> list[tuple[bool, list[int] | None, int]]:
    """Draw tasks: asynchronous or not, their context, and how long each takes."""
    tasks: list[tuple[bool, list[int] | None, int]] = []
    for position in range(draw(st.integers(1, 8))):
        earlier = st.lists(st.integers(0, position - 1), unique=True, max_size=3) if position else st.just([])
        tasks.append((draw(st.booleans()), draw(st.none() | earlier), draw(st.integers(1, 3))))
    return tasks


@given(crews())
def test_any_graph_is_done_at_its_earliest(drawn: list[tuple[bool, list[int] | None, int]]) -> None:
    tasks: list[Task] = []
    for side, context, seconds in drawn:
        chosen = None if context is None else [tasks[position] for position in context]
        tasks.append(Task(description=str(seconds), async_execution=side, context=chosen))
    order = Order(tasks)
    ended: dict[int, float] = {}
    with VirtualRuntime() as runtime:

        async def do(position: int) -> None:
            await runtime.sleep(drawn[position][2])
            ended[position] = runtime.now()

        runtime.run(run_side_by_side(runtime, order.needs(), do))
    expected: dict[int, float] = {}
    for position, (side, _, seconds) in enumerate(drawn):
        awaited = set(order.seen_by(position)) | {p for p in range(position) if not side and not drawn[p][0]}
        expected[position] = max((expected[one] for one in awaited), default=0.0) + seconds
    assert ended == expected
