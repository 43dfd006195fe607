"""Crews as their users run them."""

import asyncio
import copy
import threading

import pytest

from oarlock import (
    Agent,
    AuthenticationError,
    BaseLLM,
    ConfigurationError,
    Crew,
    LLMError,
    Process,
    Reply,
    Task,
    Usage,
    current_call,
)
from oarlock.contract.events import (
    CallFinished,
    CallStarted,
    RunFailed,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
)
from oarlock.testing import FunctionLLM, ScriptedLLM


def agent(llm: BaseLLM | None = None, role: str = "Researcher", **settings: object) -> Agent:
    return Agent(role=role, goal="Find out", backstory="Curious.", llm=llm, **settings)


def prompt(request) -> str:
    return "\n".join(str(message["content"]) for message in request.messages)


def run_blocking(crew: Crew, **arguments):
    return crew.kickoff(**arguments)


def run_async(crew: Crew, **arguments):
    return asyncio.run(crew.akickoff(**arguments))


def run_inside_a_loop(crew: Crew, **arguments):
    async def main():
        return crew.kickoff(**arguments)

    return asyncio.run(main())


@pytest.fixture(params=[run_blocking, run_async, run_inside_a_loop])
def kickoff(request):
    return request.param


def test_tasks_run_in_order_and_see_earlier_answers(kickoff):
    llm = ScriptedLLM(["Exercise is healthy.", "Go for a walk."])
    researcher, writer = agent(llm), agent(llm, role="Writer")
    crew = Crew(
        agents=[researcher, writer],
        tasks=[
            Task(description="Research", expected_output="Facts", agent=researcher),
            Task(description="Advise", expected_output="Advice", agent=writer),
        ],
    )
    result = kickoff(crew)
    assert str(result) == result.raw == "Go for a walk."
    assert [output.raw for output in result.tasks_output] == ["Exercise is healthy.", "Go for a walk."]
    assert [output.agent for output in result.tasks_output] == ["Researcher", "Writer"]
    assert "Exercise is healthy." not in prompt(llm.requests[0])
    assert "Exercise is healthy." in prompt(llm.requests[1])
    assert "You are Writer" in prompt(llm.requests[1])
    assert "Advice" in prompt(llm.requests[1])


def test_context_narrows_what_a_task_sees():
    llm = ScriptedLLM(["first", "second", "third", "fourth"])
    one = agent(llm)
    first = Task(description="A", agent=one)
    second = Task(description="B", agent=one)
    third = Task(description="C", agent=one, context=[first])
    fourth = Task(description="D", agent=one, context=[])
    Crew(agents=[one], tasks=[first, second, third, fourth]).kickoff()
    assert "first" in prompt(llm.requests[2])
    assert "second" not in prompt(llm.requests[2])
    assert "known from earlier" not in prompt(llm.requests[3])


def test_inputs_fill_role_goal_backstory_description_and_expected_output(kickoff):
    llm = ScriptedLLM(["ok"])
    one = Agent(role="{topic} expert", goal="Know {topic}", backstory="Born for {topic}.", llm=llm)
    crew = Crew(agents=[one], tasks=[Task(description="On {topic}", expected_output="{n} facts", agent=one)])
    result = kickoff(crew, inputs={"topic": "tides", "n": 3})
    assert prompt(llm.requests[0]).count("tides") == 4
    assert "3 facts" in prompt(llm.requests[0])
    assert result.tasks_output[0].description == "On tides"
    assert one.role == "{topic} expert"


@pytest.mark.parametrize("inputs", [None, {}, {"topik": "x"}])
def test_a_missing_input_fails_before_any_call(inputs):
    llm = ScriptedLLM(["unused", "unused"])
    one = agent(llm)
    crew = Crew(agents=[one], tasks=[Task(description="Go", agent=one), Task(description="On {topic}", agent=one)])
    with pytest.raises(ConfigurationError, match="needs an input 'topic'"):
        crew.kickoff(inputs)
    assert llm.requests == []


@pytest.mark.parametrize("inputs", ["topic", ["topic"], {1: "x"}])
def test_inputs_of_a_wrong_kind_are_told(inputs):
    one = agent(ScriptedLLM(["unused"]))
    with pytest.raises(ConfigurationError, match="inputs must be a mapping"):
        Crew(tasks=[Task(description="Go", agent=one)]).kickoff(inputs)


def test_an_agent_without_an_llm_is_told_before_any_call():
    llm = ScriptedLLM(["unused"])
    crew = Crew(tasks=[Task(description="A", agent=agent(llm)), Task(description="B", agent=agent(role="Poor"))])
    with pytest.raises(ConfigurationError, match=r"Agent 'Poor' has no LLM: pass Agent\(llm="):
        crew.kickoff()
    assert llm.requests == []


def test_the_managers_llm_serves_agents_without_one():
    own, managers = ScriptedLLM(["own"]), ScriptedLLM(["manager's"])
    crew = Crew(
        tasks=[Task(description="A", agent=agent(own)), Task(description="B", agent=agent())], manager_llm=managers
    )
    assert [output.raw for output in crew.kickoff().tasks_output] == ["own", "manager's"]


def test_the_only_agent_takes_tasks_without_one():
    crew = Crew(agents=[agent(ScriptedLLM(["done"]))], tasks=[Task(description="A")])
    assert crew.kickoff().raw == "done"


def test_callbacks_are_called_once_each_in_order(kickoff):
    seen = []
    one = agent(ScriptedLLM(["answer"]), step_callback=lambda step: seen.append(("agent", step.output)))
    crew = Crew(
        agents=[one],
        tasks=[Task(description="A", agent=one, callback=lambda output: seen.append(("task", output.raw)))],
        step_callback=lambda step: seen.append(("crew step", step.output)),
        task_callback=lambda output: seen.append(("crew", output.raw)),
    )
    kickoff(crew)
    assert seen == [("agent", "answer"), ("crew step", "answer"), ("task", "answer"), ("crew", "answer")]


async def test_a_coroutine_may_be_a_callback():
    seen = []

    async def callback(output):
        await asyncio.sleep(0)
        seen.append(output.raw)

    crew = Crew(tasks=[Task(description="A", agent=agent(ScriptedLLM(["x", "x"])), callback=callback)])
    await crew.akickoff()
    crew.kickoff()
    assert seen == ["x", "x"]


def test_what_a_callback_raises_ends_the_run(kickoff):
    def callback(output):
        raise LookupError("no")

    crew = Crew(tasks=[Task(description="A", agent=agent(ScriptedLLM(["x"])), callback=callback)])
    with pytest.raises(LookupError, match="no"):
        kickoff(crew)


def test_usage_is_counted_by_run_task_and_agent(kickoff):
    def answer(messages, tools):
        return Reply(text="ok", usage=Usage(prompt_tokens=10, completion_tokens=2, requests=1))

    llm = FunctionLLM(answer)
    one, two = agent(llm, "One"), agent(llm, "Two")
    crew = Crew(tasks=[Task(description=text, agent=who) for text, who in [("A", one), ("B", two), ("C", one)]])
    for _ in range(2):  # not cumulative over runs
        result = kickoff(crew)
        assert result.usage_metrics == Usage(prompt_tokens=30, completion_tokens=6, requests=3)
        assert result.token_usage.total_tokens == 36
        assert result.usage_by_agent["One"].requests == 2
        assert result.tasks_output[1].usage.requests == 1


def test_usage_is_estimated_and_marked_for_models_that_report_none():
    class Silent(BaseLLM):
        def call(self, messages):
            return "x" * 40

    usage = Crew(tasks=[Task(description="A" * 400, agent=agent(Silent()))]).kickoff().usage_metrics
    assert usage.estimated
    assert usage.completion_tokens == 10
    assert 100 <= usage.prompt_tokens < 200
    assert usage.requests == 1


def test_events_tell_the_run(kickoff):
    events = []
    crew = Crew(tasks=[Task(description="A", name="first", agent=agent(ScriptedLLM(["ok"])))])
    result = kickoff(crew, on_event=events.append)
    kinds = [RunStarted, TaskStarted, CallStarted, CallFinished, TaskFinished, RunFinished]
    assert [type(event) for event in events] == kinds
    assert {event.task for event in events[1:5]} == {"first"}
    assert {event.agent for event in events[1:5]} == {"Researcher"}
    assert events[0].run_id == events[-1].run_id == result.run_id


def test_a_failing_model_ends_the_run_with_its_error_and_where(kickoff):
    events = []
    crew = Crew(
        tasks=[Task(description="A", name="first", agent=agent(ScriptedLLM([AuthenticationError("wrong key")])))]
    )
    with pytest.raises(AuthenticationError, match="wrong key") as caught:
        kickoff(crew, on_event=events.append)
    assert caught.value.__notes__ == ["This happened while agent 'Researcher' worked on task 'first'."]
    assert isinstance(events[-1], RunFailed)


def test_a_wrong_key_costs_one_request():
    llm = ScriptedLLM([AuthenticationError("wrong key"), "never asked"])
    with pytest.raises(AuthenticationError):
        Crew(tasks=[Task(description="A", agent=agent(llm))]).kickoff()
    assert len(llm.requests) == 1


def test_current_call_tells_the_llm_where_it_is(kickoff):
    seen = []

    class Nosy(BaseLLM):
        def call(self, messages):
            seen.append(current_call())
            return "ok"

    result = kickoff(Crew(tasks=[Task(description="A", name="first", agent=agent(Nosy()))]))
    assert (seen[0].run_id, seen[0].task, seen[0].agent) == (result.run_id, "first", "Researcher")
    assert current_call().run_id is None


def test_kickoff_for_each():
    crew = Crew(
        tasks=[Task(description="On {n}", agent=agent(FunctionLLM(lambda messages, tools: messages[-1]["content"])))]
    )
    inputs = [{"n": n} for n in range(3)]
    assert [result.raw for result in crew.kickoff_for_each(inputs)] == ["On 0", "On 1", "On 2"]
    results = asyncio.run(crew.kickoff_for_each_async(inputs))
    assert [result.raw for result in results] == ["On 0", "On 1", "On 2"]


async def test_one_crew_runs_a_thousand_times_at_once():
    together = asyncio.Event()
    waiting = 0

    class Slow(BaseLLM):
        async def acall(self, messages):
            nonlocal waiting
            waiting += 1
            if waiting == 1000:  # only reached if all of them run side by side
                together.set()
            await together.wait()
            return messages[-1]["content"]

    one = agent(Slow())
    crew = Crew(agents=[one], tasks=[Task(description="On {n}", agent=one)])
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(crew.akickoff({"n": n}) for n in range(1000)))
    assert [result.raw for result in results] == [f"On {n}" for n in range(1000)]


async def test_blocking_llms_run_side_by_side_up_to_their_own_threads():
    barrier = threading.Barrier(5, timeout=30)

    class Blocking(BaseLLM):
        max_threads = 5

        def call(self, messages):
            barrier.wait()  # passes only if five are here at once
            return "ok"

    crew = Crew(tasks=[Task(description="A", agent=agent(Blocking()))])
    results = await asyncio.gather(*(crew.akickoff() for _ in range(10)))
    assert len(results) == 10


def test_one_crew_runs_in_many_threads_at_once():
    crew = Crew(
        tasks=[Task(description="On {n}", agent=agent(FunctionLLM(lambda messages, tools: messages[-1]["content"])))]
    )
    results: dict[int, str] = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: crew.kickoff({"n": n}).raw})) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: f"On {n}" for n in range(20)}


def test_runs_change_nothing():
    llm = ScriptedLLM(["a", "b"])
    one = agent(llm)
    task = Task(description="A", agent=one)
    crew = Crew(agents=[one], tasks=[task])
    before = [copy.copy(thing) for thing in (one, task, crew)]
    crew.kickoff()
    for old, new in zip(before, (one, task, crew), strict=True):
        assert all(getattr(old, name) == getattr(new, name) for name in type(new).__dataclass_fields__)


def test_a_crew_may_run_inside_a_tool_of_another(kickoff):
    from oarlock import ToolCall, tool

    inner = Crew(tasks=[Task(description="Inner", agent=agent(ScriptedLLM(["from inside"])))])

    @tool
    def ask_the_others() -> str:
        """Ask another crew."""
        return inner.kickoff().raw

    llm = ScriptedLLM([ToolCall(id="1", name="ask_the_others"), "done"], supports_function_calling=True)
    outer = Crew(tasks=[Task(description="Outer", agent=agent(llm, tools=[ask_the_others]))])
    assert kickoff(outer).raw == "done"
    assert llm.requests[1].messages[-1]["content"] == "from inside"


def test_agents_work_alone_too():
    llm = ScriptedLLM(["one", "two", "three", "four"])
    alone = agent(llm)
    task = Task(description="Do it", expected_output="Something")
    assert alone.execute_task(task, context="the sky is blue") == "one"
    assert "the sky is blue" in prompt(llm.requests[0])
    assert asyncio.run(alone.aexecute_task(task)) == "two"
    assert alone.kickoff("Hello?").raw == "three"
    assert asyncio.run(alone.akickoff("Hello?")).raw == "four"


def test_an_agent_alone_needs_an_llm_too():
    with pytest.raises(ConfigurationError, match="has no LLM"):
        agent().kickoff("Hello?")


def test_verbose_shows_plain_lines_on_standard_error(capsys):
    llm = ScriptedLLM(["\x1b[31mred\x1b[0m"])
    Crew(tasks=[Task(description="A", agent=agent(llm))], verbose=True).kickoff()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Task 1: A" in shown.err
    assert "Crew finished" in shown.err
    assert "\x1b" not in shown.err


def test_a_verbose_agent_shows_only_itself(capsys):
    loud, quiet = agent(ScriptedLLM(["x"]), "Loud", verbose=True), agent(ScriptedLLM(["x"]), "Quiet")
    Crew(agents=[loud, quiet], tasks=[Task(description="A", agent=loud), Task(description="B", agent=quiet)]).kickoff()
    shown = capsys.readouterr().err
    assert "Loud" in shown
    assert "Quiet" not in shown


def test_cancelling_a_run_ends_it():
    started = asyncio.Event()

    class Endless(BaseLLM):
        async def acall(self, messages):
            started.set()
            await asyncio.Event().wait()

    async def main():
        run = asyncio.ensure_future(Crew(tasks=[Task(description="A", agent=agent(Endless()))]).akickoff())
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())


def test_the_process_is_known_by_its_name_too():
    tasks = [Task(description="A", agent=agent())]
    assert Crew(tasks=tasks, process="sequential").process is Process.sequential


def test_llm_errors_are_caught_by_one_class():
    with pytest.raises(LLMError):
        Crew(tasks=[Task(description="A", agent=agent(ScriptedLLM([ConnectionError("gone")])))]).kickoff()
