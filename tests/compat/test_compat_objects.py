"""CrewAI's `Agent`, `Task` and `Crew`: Oarlock's own, and what scripts count on besides."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import logging
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

import oarlock
from oarlock import ConfigurationError
from oarlock.compat.crewai import LLM, Agent, Crew, Task
from oarlock.compat.crewai.lite_agent_output import LiteAgentOutput
from oarlock.compat.crewai.tasks.conditional_task import ConditionalTask
from oarlock.testing import ScriptedLLM

POET: dict[str, Any] = {"role": "Poet", "goal": "Rhyme", "backstory": "Born on a boat."}
LINE: dict[str, Any] = {"description": "A line", "expected_output": "One line"}
VARIABLES = ("MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME")


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*VARIABLES, "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(variable, raising=False)


# LLMs.


def test_an_agents_llm_by_name() -> None:
    for given in ("gpt-4o", "openai/gpt-4o", {"model": "gpt-4o"}):
        llm = Agent(**POET, llm=given).llm
        assert isinstance(llm, LLM)
        assert repr(llm) == "LLM('openai/gpt-4o', base_url='https://api.openai.com/v1')"


def test_an_llm_named_in_a_config() -> None:
    assert repr(Agent(config={**POET, "llm": "gpt-4o"}).llm).startswith("LLM('openai/gpt-4o'")
    assert repr(Agent(config={**POET, "llm": "gpt-4o"}, llm="mistral/m").llm).startswith("LLM('mistral/m'")


def test_llms_for_tools_by_name() -> None:
    agent = Agent(**POET, llm=ScriptedLLM([]), function_calling_llm="gpt-4o-mini")
    crew = Crew(tasks=[Task(**LINE, agent=agent)], function_calling_llm="gpt-4o")
    assert repr(agent.function_calling_llm).startswith("LLM('openai/gpt-4o-mini'")
    assert repr(crew.function_calling_llm).startswith("LLM('openai/gpt-4o'")


def test_managers_by_name() -> None:
    crew = Crew(agents=[Agent(**POET)], tasks=[Task(**LINE)], manager_llm="gpt-4o", process="hierarchical")
    assert repr(crew.manager_llm).startswith("LLM('openai/gpt-4o'")


@pytest.mark.parametrize("variable", VARIABLES)
def test_what_the_environment_names_serves_agents_without_an_llm(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "gpt-4o-mini")
    assert repr(Agent(**POET).llm).startswith("LLM('openai/gpt-4o-mini'")
    assert repr(Agent(config=POET).llm).startswith("LLM('openai/gpt-4o-mini'")
    assert repr(Agent(**POET, llm="mistral/m").llm).startswith("LLM('mistral/m'")


def test_nothing_serves_where_nothing_is_named() -> None:
    agent = Agent(**POET)
    assert agent.llm is None
    with pytest.raises(ConfigurationError, match="Agent 'Poet' has no LLM"):
        agent.kickoff("A line")


@pytest.mark.parametrize("name", ["llama3", "gpt-oss-20b"])
def test_names_that_say_nothing_of_their_provider(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Agent\\(llm='{name}'\\): '{name}' names no provider"):
        Agent(**POET, llm=name)
    with pytest.raises(ConfigurationError, match="Crew: manager_llm must be an LLM object"):
        Crew(agents=[Agent(**POET)], tasks=[Task(**LINE)], manager_llm=7)


# What a run leaves behind.


def crew_of(*answers: Any, **settings: Any) -> Crew:
    agent = Agent(**POET, llm=ScriptedLLM(list(answers)))
    tasks = [
        Task(**LINE, agent=agent),
        ConditionalTask(**LINE, agent=agent, condition=lambda output: "more" in output.raw),
    ]
    return Crew(agents=[agent], tasks=tasks, **settings)


KICKOFFS: list[Callable[[Crew], Any]] = [
    lambda crew: crew.kickoff(),
    lambda crew: asyncio.run(crew.kickoff_async()),
    lambda crew: crew.kickoff_for_each([{}])[0],
    lambda crew: asyncio.run(crew.kickoff_for_each_async([{}]))[0],
]


@pytest.mark.parametrize("kickoff", KICKOFFS)
def test_a_crew_and_its_tasks_tell_of_the_last_run(kickoff: Callable[[Crew], Any]) -> None:
    crew = crew_of("One, and more", "Two", "Three")
    assert (crew.usage_metrics, crew.tasks[0].output) == (None, None)
    result = kickoff(crew)
    assert [task.output.raw for task in crew.tasks] == ["One, and more", "Two"]
    assert crew.usage_metrics == result.usage_metrics
    assert crew.usage_metrics.successful_requests == 2
    kickoff(crew)
    assert [task.output.raw for task in crew.tasks] == ["Three", ""]
    assert crew.tasks[1].output.skipped
    assert result.tasks_output[0].raw == "One, and more"


def test_what_after_kickoff_puts_in_the_results_place() -> None:
    crew = crew_of("One", after_kickoff_callbacks=[lambda result: result.raw])
    assert crew.kickoff() == "One"
    assert crew.usage_metrics is None


def test_tasks_of_oarlock_itself_in_a_crew_of_crewai() -> None:
    agent = oarlock.Agent(role="Poet", goal="Rhyme", llm=ScriptedLLM(["One"]))
    crew = Crew(tasks=[oarlock.Task(description="A line", agent=agent)])
    assert crew.kickoff().raw == "One"
    assert not hasattr(crew.tasks[0], "output")


def test_a_crew_may_get_its_tasks_later() -> None:
    crew = Crew(agents=[Agent(**POET, llm=ScriptedLLM(["Row."]))])
    with pytest.raises(ConfigurationError, match="Crew: there are no tasks"):
        crew.kickoff()
    crew.tasks.append(Task(**LINE, max_retries=5))
    assert crew.kickoff().raw == "Row."
    assert crew.tasks[0].guardrail_max_retries == 5  # which CrewAI calls by this name now, too


def test_what_outputs_have_not() -> None:
    agent = Agent(**POET)
    agent.llm = ScriptedLLM(["Row.", "Row."])
    result = Crew(agents=[agent], tasks=[Task(**LINE)]).kickoff()
    for output, name, said in (
        (result, "tool_failures", r"CrewOutput.tool_failures is not in Oarlock: kickoff\(on_event="),
        (result.tasks_output[0], "messages", "TaskOutput.messages is not in Oarlock: kickoff"),
        (agent.kickoff("Hi"), "model_dump", r"LiteAgentOutput.model_dump is not in Oarlock: it is a dataclass"),
        (result, "rwa", "'CrewOutput' object has no attribute 'rwa'"),
    ):
        with pytest.raises(AttributeError, match=said):
            getattr(output, name)
    assert pickle.loads(pickle.dumps(result)).raw == copy.deepcopy(result).raw == "Row."


def test_an_llm_by_name_set_later_is_refused() -> None:
    agent = Agent(**POET, llm=ScriptedLLM([]))
    agent.llm = "gpt-4o"  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match="Agent 'Poet': llm must be an LLM object, and is 'gpt-4o'"):
        agent.kickoff("Hi")


def test_none_where_crewai_takes_it_for_the_default() -> None:
    agent = Agent(**POET, llm=ScriptedLLM(["Row."]), verbose=None, use_system_prompt=None, callbacks=[])
    task = Task(**LINE, async_execution=None, human_input=None, markdown=None, create_directory=None, max_retries=None)
    assert Crew(name=None, agents=[agent], tasks=[task], verbose=None).kickoff(input_files={}).raw == "Row."


@pytest.mark.parametrize(
    ("kickoff", "said"),
    [
        (
            lambda crew: crew.kickoff(input_files={"a": "b"}),
            r"Crew.kickoff\(input_files=.* is not in Oarlock: give the agent",
        ),
        (
            lambda crew: asyncio.run(crew.kickoff_async(from_checkpoint="c")),
            r"Crew.akickoff\(from_checkpoint='c'\) is not",
        ),
        (
            lambda crew: crew.agents[0].kickoff("Hi", input_files=["a"]),
            r"Agent.kickoff\(input_files=\['a'\]\) is not in",
        ),
        (
            lambda crew: asyncio.run(crew.agents[0].akickoff("Hi", from_checkpoint="c")),
            r"Agent.akickoff\(from_checkpoint=",
        ),
        (
            lambda crew: crew.kickoff_for_each(inputs={"a": 1}),
            "takes a list of inputs, a mapping for each run, not a dict",
        ),
        (lambda crew: asyncio.run(crew.akickoff_for_each(inputs=3)), "a mapping for each run, not an int"),
    ],
)
def test_what_a_kickoff_does_not_take(kickoff: Callable[[Crew], Any], said: str) -> None:
    crew = Crew(agents=[Agent(**POET, llm=ScriptedLLM([]))], tasks=[Task(**LINE)])
    with pytest.raises(ConfigurationError, match=said):
        kickoff(crew)


def test_copies() -> None:
    crew = crew_of("One", "Two")
    crew.kickoff()
    other = crew.copy()
    assert type(other) is Crew
    assert (other.usage_metrics, other.tasks) == (None, crew.tasks)
    assert other.kickoff().raw == "Two"
    twin = crew.agents[0].copy()
    assert (type(twin), twin.role, twin.llm) == (Agent, "Poet", crew.agents[0].llm)
    assert copy.copy(crew.agents[0]).role == dataclasses.replace(crew.agents[0], goal="Write").role == "Poet"


class Poem(BaseModel):
    lines: int


def messages_of(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("A line", "A line"),
        (messages_of("A line"), "A line"),
        ([*messages_of("A line"), {"role": "assistant", "content": "Row."}], "user: A line\n\nassistant: Row."),
    ],
)
def test_one_agent_alone(prompt: Any, sent: str) -> None:
    llm = ScriptedLLM(["Row, row.", "Row, row."])
    agent = Agent(**POET, llm=llm)
    for result in (agent.kickoff(prompt), asyncio.run(agent.kickoff_async(prompt))):
        assert isinstance(result, LiteAgentOutput)
        assert (str(result), result.raw, result.agent_role, result.pydantic) == ("Row, row.", "Row, row.", "Poet", None)
        assert set(result.usage_metrics) >= {"total_tokens", "prompt_tokens", "completion_tokens"}
        assert result.usage_metrics["successful_requests"] == 1
    assert [request.messages[-1]["content"] for request in llm.requests] == [sent, sent]


def test_one_agent_alone_with_a_structure() -> None:
    result = Agent(**POET, llm=ScriptedLLM(['{"lines": 4}'])).kickoff("Count", response_format=Poem)
    assert result.pydantic == Poem(lines=4)
    assert pickle.loads(pickle.dumps(result)) == result


# Arguments that are not here.


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda: Agent(**POET, allow_code_execution=True),
            r"Agent\(allow_code_execution=True\) has no effect in Oarlock: it does nothing in CrewAI any more",
        ),
        (lambda: Crew(tasks=[Task(**LINE, agent=Agent(**POET))], tracing=True), "nothing is sent anywhere"),
        (lambda: Crew(tasks=[Task(**LINE, agent=Agent(**POET))], share_crew=True), "nothing is ever shared"),
    ],
)
def test_what_has_no_effect_is_logged(build: Callable[[], Any], said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "oarlock.compat"):
        build()
    (record,) = caplog.records
    assert re.search(said, record.getMessage())


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Agent(**POET, memory=True), r"Agent\(memory=True\) is not in Oarlock: give an agent"),
        (lambda: Agent(**POET, reasoning=True), r"Agent\(reasoning=True\) is not in Oarlock: write the plan"),
        (lambda: Agent(**POET, a2a=object()), r"Agent\(a2a=<object object at .*>\) is not in Oarlock: reach a remote"),
        (lambda: Agent(**POET, knowledge_sources=["x" * 99]), r"Agent\(knowledge_sources=\.\.\.\) is not in Oarlock"),
        (lambda: Crew(tasks=[], planning=True), r"Crew\(planning=True\) is not in Oarlock: write the plan"),
        (lambda: Crew(tasks=[], config={"a": 1}), r"Crew\(config=\{'a': 1\}\) is not in Oarlock: give agents="),
        (lambda: Task(**LINE, input_files={"a": 1}), r"Task\(input_files=\{'a': 1\}\) is not in Oarlock"),
        (lambda: Agent(**POET, rolle="x"), "Did you mean 'role'"),
        (lambda: Agent("Poet"), "Agent takes keyword arguments only"),
    ],
)
def test_what_is_not_here_is_refused(build: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        build()


def test_more_than_verbose_is_verbose() -> None:
    assert Agent(**POET, verbose=2).verbose is True
    assert Crew(tasks=[Task(**LINE, agent=Agent(**POET, verbose=0))], verbose=1).verbose is True


def test_what_only_switches_off_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "oarlock.compat"):
        agent = Agent(**POET, memory=False, reasoning=False, planning=None, knowledge=None, code_execution_mode=None)
        crew = Crew(
            tasks=[Task(**LINE, agent=agent, security_config=None)],
            tracing=False,
            skills=None,
            planning=False,
            verbose=2,
        )
    assert crew.verbose is True
    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("train", r"crewai\.Crew\.train is not in Oarlock: run the crew on your examples in a test"),
        ("test", r"crewai\.Crew\.test is not in Oarlock: run the crew on your examples"),
        ("replay", r"crewai\.Crew\.replay is not in Oarlock: kickoff\(durable="),
        ("reset_memories", "there is no memory to reset"),
        ("fingerprint", r"result\.run_id"),
        ("nothing", r"crewai\.Crew\.nothing is not in Oarlock\."),
    ],
)
def test_methods_that_are_not_here(name: str, said: str) -> None:
    crew = crew_of()
    assert not hasattr(crew, name)
    with pytest.raises(AttributeError, match=said):
        getattr(crew, name)


# Streams.


def test_a_stream_leaves_the_same_behind() -> None:
    crew = crew_of("One, and more", "Two", stream=True)
    stream = crew.kickoff()
    assert "".join(chunk.content for chunk in stream)
    assert stream.result.raw == "Two"
    assert [task.output.raw for task in crew.tasks] == ["One, and more", "Two"]
    assert crew.usage_metrics.successful_requests == 2
