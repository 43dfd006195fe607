"""`max_iter`, `max_execution_time` and `max_rpm` mean what they say."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oarlock import (
    Agent,
    BaseLLM,
    ConfigurationError,
    Crew,
    LLMTimeoutError,
    Process,
    RateLimitError,
    StepsExhaustedError,
    Task,
    ToolCall,
    tool,
)
from oarlock.agents.limits import PerMinute
from oarlock.contract.errors import ServerError
from oarlock.contract.events import Waiting
from oarlock.policies import Deadline, RateLimit, Retry
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    with VirtualRuntime() as runtime:
        yield runtime


@pytest.fixture(params=["blocking", "async"])
def kickoff(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(crew: Crew, **given: Any) -> Any:
        return crew.kickoff(**given) if request.param == "blocking" else asyncio.run(crew.akickoff(**given))

    return run


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What hangs waits for this; it is set when the test is over, so that no thread stays."""
    event = threading.Event()
    yield event
    event.set()


def agent_of(llm: BaseLLM | None, role: str = "R", **settings: Any) -> Agent:
    return Agent(role=role, goal="G", backstory="", llm=llm, **settings)


def crew_of(llm: BaseLLM, tasks: int = 1, **settings: Any) -> Crew:
    agent = agent_of(llm, **settings)
    return Crew(agents=[agent], tasks=[Task(description=f"Task {n}", agent=agent) for n in range(tasks)])


def native(*script: Any, **settings: Any) -> ScriptedLLM:
    return ScriptedLLM(script, supports_function_calling=True, **settings)


def call_of(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=json.dumps(arguments))


STOPPED = "Agent 'R' was stopped after its max_execution_time of 5 s"


# max_execution_time


def test_a_run_within_its_time_is_left_alone(runtime: VirtualRuntime, kickoff: Callable[..., Any]) -> None:
    result = kickoff(crew_of(ScriptedLLM(["a", "b"], latency=4), 2, max_execution_time=5))
    assert result.raw == "b"
    assert runtime.now() == 8


def test_a_slow_model_ends_at_the_limit(runtime: VirtualRuntime, kickoff: Callable[..., Any]) -> None:
    with pytest.raises(LLMTimeoutError, match=STOPPED) as caught:
        kickoff(crew_of(ScriptedLLM(["late"], latency=60), max_execution_time=5))
    assert runtime.now() == 5
    assert isinstance(caught.value, TimeoutError)
    assert not caught.value.retryable
    assert caught.value.__notes__ == ["This happened while agent 'R' worked on task 'Task 0'."]


def test_many_quick_calls_end_at_the_limit_too(runtime: VirtualRuntime, kickoff: Callable[..., Any]) -> None:
    @tool
    def look(number: int) -> str:
        """Look."""
        runtime.advance(0.5)
        return "nothing"

    llm = native(*[call_of("look", number=number) for number in range(20)], latency=1)
    with pytest.raises(LLMTimeoutError, match=STOPPED):
        kickoff(crew_of(llm, max_execution_time=5, tools=[look]))
    assert runtime.now() == 5
    assert len(llm.requests) == 4


def test_no_call_begins_after_the_limit(runtime: VirtualRuntime) -> None:
    llm = native(call_of("look"), "late")

    @tool
    def look() -> str:
        """Look."""
        return "nothing"

    def late(step: Any) -> None:
        runtime.advance(9)

    with pytest.raises(LLMTimeoutError, match=STOPPED):
        crew_of(llm, max_execution_time=5, tools=[look], step_callback=late).kickoff()
    assert len(llm.requests) == 1


def test_a_model_call_that_hangs_is_left_behind(kickoff: Callable[..., Any], released: threading.Event) -> None:
    class Hanging(BaseLLM):
        def call(self, messages: Any) -> str:
            released.wait(60)
            return "late"

    with pytest.raises(LLMTimeoutError, match=r"max_execution_time of 0\.05 s"):
        kickoff(crew_of(Hanging(), max_execution_time=0.05))
    assert not released.is_set()


def test_a_tool_that_hangs_is_left_behind(kickoff: Callable[..., Any], released: threading.Event) -> None:
    @tool
    def hang() -> str:
        """Hang."""
        released.wait(60)
        return "late"

    with pytest.raises(LLMTimeoutError, match=r"max_execution_time of 0\.05 s"):
        kickoff(crew_of(native(call_of("hang")), max_execution_time=0.05, tools=[hang]))


def test_each_task_has_its_time_and_alone_too(runtime: VirtualRuntime) -> None:
    agent = agent_of(ScriptedLLM(["a", "b"], latency=4), max_execution_time=5)
    assert (agent.kickoff("A").raw, agent.execute_task(Task(description="B"))) == ("a", "b")
    with pytest.raises(LLMTimeoutError, match=STOPPED):
        agent_of(ScriptedLLM(["c"], latency=6), max_execution_time=5).kickoff("C")


def test_an_earlier_deadline_stays_and_says_so_itself(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["late"], latency=60).with_policies(Deadline(3))
    with pytest.raises(LLMTimeoutError) as caught:
        crew_of(llm, max_execution_time=5).kickoff()
    assert "max_execution_time" not in str(caught.value)
    assert runtime.now() == 3


def test_other_errors_are_left_as_they_are(runtime: VirtualRuntime) -> None:
    with pytest.raises(ServerError, match="down"):
        crew_of(ScriptedLLM([ServerError("down")], latency=1), max_execution_time=5).kickoff()


def test_delegated_work_ends_with_the_time_of_whoever_delegates(runtime: VirtualRuntime) -> None:
    ask = call_of("ask_question_to_coworker", question="Why?", coworker="B")
    asker = agent_of(native(ask), allow_delegation=True, max_execution_time=5)
    slow = agent_of(ScriptedLLM(["late"], latency=60), "B", max_execution_time=30)
    with pytest.raises(LLMTimeoutError, match=STOPPED):
        Crew(agents=[asker, slow], tasks=[Task(description="D", agent=asker)]).kickoff()
    assert runtime.now() == 5


def test_a_coworkers_own_time_holds_for_delegated_work(runtime: VirtualRuntime) -> None:
    manager = native(call_of("delegate_work_to_coworker", task="Go", coworker="R"))
    slow = agent_of(ScriptedLLM(["late"], latency=60), max_execution_time=5)
    crew = Crew(agents=[slow], tasks=[Task(description="D")], process=Process.hierarchical, manager_llm=manager)
    with pytest.raises(LLMTimeoutError, match=STOPPED):
        crew.kickoff()


def test_a_crew_in_a_tool_ends_with_the_time_around_it(runtime: VirtualRuntime) -> None:
    inner = crew_of(ScriptedLLM(["late"], latency=60))

    @tool
    def others() -> str:
        """Ask another crew."""
        return inner.kickoff().raw

    with pytest.raises(LLMTimeoutError, match=STOPPED):
        crew_of(native(call_of("others")), max_execution_time=5, tools=[others]).kickoff()
    assert runtime.now() == 5


# max_rpm


def at(runtime: VirtualRuntime) -> tuple[FunctionLLM, list[float]]:
    """Return an LLM and the times at which it is asked."""
    times: list[float] = []

    def answer(messages: Any) -> str:
        times.append(runtime.now())
        return "ok"

    return FunctionLLM(answer), times


def most_in_a_minute(times: list[float]) -> int:
    return max(sum(begin <= time < begin + 60 for time in times) for begin in times)


def test_an_agents_calls_keep_to_its_max_rpm_over_all_runs(
    runtime: VirtualRuntime, kickoff: Callable[..., Any]
) -> None:
    llm, times = at(runtime)
    events: list[Any] = []
    crew = crew_of(llm, 5, max_rpm=10)
    for _ in range(5):
        kickoff(crew, on_event=events.append)
    assert len(times) == 25
    assert most_in_a_minute(times) <= 10
    assert [round(time) for time in times] == [0] * 10 + [60] * 10 + [120] * 5  # waits no longer than needed
    assert {event.cause for event in events if isinstance(event, Waiting)} == {"rate_limit"}


def test_a_crews_max_rpm_holds_for_all_its_agents_together(runtime: VirtualRuntime) -> None:
    (one, times), (two, others) = at(runtime), at(runtime)
    agents = [agent_of(one, "A"), agent_of(two, "B"), agent_of(None, "C")]
    tasks = [Task(description=str(n), agent=agents[n % 3], async_execution=True) for n in range(30)]
    Crew(agents=agents, tasks=tasks, manager_llm=one, max_rpm=10).kickoff()
    assert (len(times), len(others)) == (20, 10)
    assert most_in_a_minute(times + others) <= 10


def test_the_limits_of_an_agent_a_crew_and_an_llm_all_hold(runtime: VirtualRuntime) -> None:
    for agents, crews, llms in [(6, 60, 600), (60, 6, 600), (600, 60, 6)]:
        llm, times = at(runtime)
        agent = agent_of(llm.with_policies(RateLimit(requests_per_minute=llms)), max_rpm=agents)
        tasks = [Task(description=str(n), agent=agent) for n in range(12)]
        Crew(agents=[agent], tasks=tasks, max_rpm=crews).kickoff()
        assert most_in_a_minute(times) <= 6


def test_attempts_count_against_max_rpm(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([ServerError("down"), ServerError("down"), "ok"])
    assert crew_of(llm.with_policies(Retry(3)), max_rpm=1).kickoff().raw == "ok"
    assert runtime.now() >= 120


def test_max_rpm_and_time_together_end_at_once(runtime: VirtualRuntime) -> None:
    llm = native(call_of("look"), "late")

    @tool
    def look() -> str:
        """Look."""
        return "nothing"

    with pytest.raises(RateLimitError):
        crew_of(llm, max_rpm=1, max_execution_time=5, tools=[look]).kickoff()
    assert runtime.now() < 5


def test_a_limited_llm_keeps_what_its_policies_know() -> None:
    limit, llm = PerMinute(6), ScriptedLLM([])
    other = PerMinute(7)
    assert limit.around(llm, []) is limit.around(llm, [])
    assert limit.around(llm, [other]) is limit.around(llm, [other]) is not limit.around(llm, [])
    assert copy.deepcopy(limit) is limit
    assert pickle.loads(pickle.dumps(limit)).most == 6
    assert repr(limit) == "max_rpm=6"
    assert limit.explain().startswith("max_rpm of an agent or a crew. Lets at most 6 requests")


# max_iter


def test_the_last_turn_has_no_tools_and_asks_for_the_answer(kickoff: Callable[..., Any]) -> None:
    @tool
    def look(number: int) -> str:
        """Look."""
        return "nothing"

    llm = native(*[call_of("look", number=number) for number in range(3)], "My best answer")
    assert kickoff(crew_of(llm, max_iter=4, tools=[look])).raw == "My best answer"
    assert [len(request.tools) for request in llm.requests] == [1, 1, 1, 0]
    assert "Give your best final answer" in str(llm.requests[-1].messages[-1]["content"])


def test_a_model_that_still_calls_a_tool_in_the_last_turn_is_a_clear_error(kickoff: Callable[..., Any]) -> None:
    @tool
    def look(number: int) -> str:
        """Look."""
        return "nothing"

    llm = native(*[call_of("look", number=number) for number in range(9)])
    with pytest.raises(StepsExhaustedError, match="gave no answer within 4 model calls: it kept calling tools"):
        kickoff(crew_of(llm, max_iter=4, tools=[look]))
    assert len(llm.requests) == 4


def test_a_text_model_that_still_acts_in_the_last_turn_is_a_clear_error(kickoff: Callable[..., Any]) -> None:
    @tool
    def look() -> str:
        """Look."""
        return "nothing"

    llm = FunctionLLM(lambda messages: "Thought: more\nAction: look\nAction Input: {}")
    with pytest.raises(StepsExhaustedError, match="gave no answer within 4 model calls"):
        kickoff(crew_of(llm, max_iter=4, tools=[look]))
    assert len(llm.requests) == 4


@pytest.mark.parametrize(
    ("last", "answer"),
    [
        ("Thought: done\nFinal Answer: It is 4.", "It is 4."),
        ("It is 4.", "It is 4."),
        ("It is 4.\nObservation: no", "It is 4."),
    ],
)
def test_the_last_turn_of_a_text_model_is_read_like_the_others(last: str, answer: str) -> None:
    @tool
    def look() -> str:
        """Look."""
        return "nothing"

    llm = ScriptedLLM(["Action: look\nAction Input: {}", last])
    assert crew_of(llm, max_iter=2, tools=[look]).kickoff().raw == answer


def test_a_tool_call_of_a_text_model_is_done() -> None:
    @tool
    def look(number: int) -> str:
        """Look."""
        return f"{number} is found"

    llm = ScriptedLLM([call_of("look", number=3), "Final Answer: 3"])
    assert crew_of(llm, tools=[look]).kickoff().raw == "3"
    assert [message["content"] for message in llm.requests[1].messages[-2:]] == [
        'Action: look\nAction Input: {"number": 3}',
        "Observation: 3 is found",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_execution_time": 0}, "Agent 'R': max_execution_time must be a finite number, above zero, not 0"),
        ({"max_execution_time": "5"}, "max_execution_time must be a finite number, above zero, not '5'"),
        ({"max_rpm": 0}, "Agent 'R': max_rpm must be a whole number of at least 1, not 0"),
        ({"max_rpm": 1.5}, "max_rpm must be a whole number of at least 1"),
        ({"allow_delegation": "yes"}, "allow_delegation must be True or False, not 'yes'"),
    ],
)
def test_limits_that_cannot_work_are_told_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        agent_of(None, **settings)


def test_a_crews_max_rpm_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="Crew: max_rpm must be a whole number of at least 1, not 0"):
        Crew(tasks=[Task(description="D", agent=agent_of(None))], max_rpm=0)
