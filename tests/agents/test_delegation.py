"""Agents who delegate work to coworkers and ask them questions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock import (
    Agent,
    AuthenticationError,
    BaseLLM,
    ConfigurationError,
    Crew,
    Reply,
    StepsExhaustedError,
    Task,
    ToolCall,
    Usage,
    current_call,
    tool,
)
from oarlock.contract.errors import BudgetExceededError
from oarlock.contract.events import CallFinished, Delegated
from oarlock.policies import Budget
from oarlock.testing import FunctionLLM, ScriptedLLM

DELEGATE, ASK = "delegate_work_to_coworker", "ask_question_to_coworker"


@pytest.fixture(params=["blocking", "async"])
def kickoff(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(crew: Crew, **given: Any) -> Any:
        return crew.kickoff(**given) if request.param == "blocking" else asyncio.run(crew.akickoff(**given))

    return run


def delegate(coworker: str, task: str = "Find facts", **more: Any) -> ToolCall:
    return ToolCall(id="1", name=DELEGATE, arguments=json.dumps({"coworker": coworker, "task": task, **more}))


def ask(coworker: str, question: str = "Why?", **more: Any) -> ToolCall:
    return ToolCall(id="1", name=ASK, arguments=json.dumps({"coworker": coworker, "question": question, **more}))


def native(*script: Any) -> ScriptedLLM:
    return ScriptedLLM(script, supports_function_calling=True)


def agent_of(llm: BaseLLM | None, role: str, **settings: Any) -> Agent:
    return Agent(role=role, goal=f"Goal of {role}", backstory="", llm=llm, **settings)


def crew_of(writer: Agent, *others: Agent, **settings: Any) -> Crew:
    return Crew(agents=[writer, *others], tasks=[Task(description="Write", name="the text", agent=writer)], **settings)


def told(llm: ScriptedLLM) -> str:
    """Return the last tool answer that the model was given."""
    return str(next(m["content"] for m in reversed(llm.requests[-1].messages) if m["role"] == "tool"))


def prompt(llm: ScriptedLLM, number: int = 0) -> str:
    return "\n".join(str(message["content"]) for message in llm.requests[number].messages)


def test_an_agent_delegates_and_goes_on_with_the_result(kickoff: Callable[..., Any]) -> None:
    model = native(delegate("Researcher", "Find {three} facts", context="On tides"), "The text")
    helper = ScriptedLLM(["Three facts"])
    writer = agent_of(model, "Writer", allow_delegation=True)
    result = kickoff(crew_of(writer, agent_of(helper, "Researcher")))
    assert result.raw == "The text"
    assert told(model) == "Three facts"
    assert "You are Researcher" in prompt(helper)
    assert "Find {three} facts" in prompt(helper)
    assert "On tides" in prompt(helper)
    assert "a coworker who sees nothing else" in prompt(helper)


def test_an_agent_asks_a_question(kickoff: Callable[..., Any]) -> None:
    model, helper = native(ask("Researcher", "How high?"), "The text"), ScriptedLLM(["Two metres"])
    kickoff(crew_of(agent_of(model, "Writer", allow_delegation=True), agent_of(helper, "Researcher")))
    assert told(model) == "Two metres"
    assert "How high?" in prompt(helper)


def test_models_that_only_write_text_delegate_too(kickoff: Callable[..., Any]) -> None:
    model = ScriptedLLM([
        f'Action: {DELEGATE}\nAction Input: {{"task": "Find", "coworker": "researcher"}}',
        "Final Answer: The text",
    ])  # fmt: skip
    writer = agent_of(model, "Writer", allow_delegation=True)
    assert kickoff(crew_of(writer, agent_of(ScriptedLLM(["Facts"]), "Researcher"))).raw == "The text"
    assert "Observation: Facts" in prompt(model, 1)


def test_the_tools_name_the_coworkers_and_not_oneself() -> None:
    model = native("The text")
    crew_of(
        agent_of(model, "Writer", allow_delegation=True), agent_of(native(), "Researcher"), agent_of(native(), "Editor")
    ).kickoff()
    offered = {schema["function"]["name"]: schema["function"] for schema in model.requests[0].tools}
    assert set(offered) == {DELEGATE, ASK}
    for function in offered.values():
        assert "- Researcher: Goal of Researcher\n- Editor: Goal of Editor" in function["description"]
        assert "Writer" not in function["description"]
    assert set(offered[DELEGATE]["parameters"]["required"]) == {"task", "coworker"}


def test_without_permission_or_coworkers_there_are_no_such_tools() -> None:
    alone, forbidden = native("x"), native("x")
    crew_of(agent_of(alone, "Writer", allow_delegation=True)).kickoff()
    crew_of(agent_of(forbidden, "Writer"), agent_of(native(), "Researcher", allow_delegation=True)).kickoff()
    assert alone.requests[0].tools == forbidden.requests[0].tools == ()


def test_coworkers_use_their_own_tools_and_settings() -> None:
    @tool
    def look_up(word: str) -> str:
        """Look it up."""
        return f"{word} is found"

    @tool
    def spell(word: str) -> str:
        """Spell it."""
        return word

    helper = native(ToolCall(id="1", name="look_up", arguments='{"word": "tide"}'), "Facts")
    steps: list[Any] = []
    model = native(delegate("Researcher"), "The text")
    researcher = agent_of(helper, "{kind} Researcher", tools=[look_up], step_callback=steps.append)
    writer = agent_of(model, "Writer", allow_delegation=True)
    task = Task(description="Write", agent=writer, tools=[spell])
    Crew(agents=[writer, researcher], tasks=[task]).kickoff({"kind": "Senior"})
    assert told(helper) == "tide is found"
    assert [schema["function"]["name"] for schema in helper.requests[0].tools] == ["look_up"]
    assert {schema["function"]["name"] for schema in model.requests[0].tools} == {"spell", DELEGATE, ASK}
    assert "You are Senior Researcher" in prompt(helper)
    assert len(steps) == 2


def test_a_coworker_does_not_get_what_belongs_to_the_task() -> None:
    called: list[str] = []
    model, helper = native(delegate("Researcher"), "The text"), ScriptedLLM(["Facts"])
    writer = agent_of(model, "Writer", allow_delegation=True)
    task = Task(description="Write", agent=writer, callback=lambda output: called.append(output.raw))
    Crew(agents=[writer, agent_of(helper, "Researcher")], tasks=[task]).kickoff()
    assert called == ["The text"]


@pytest.mark.parametrize(
    "name", ["Senior Researcher", "senior researcher", " Senior  Researcher ", "senior_researcher", '"Senior Researcher"',
             "Senior Reseacher", "researcher", "Senior Researcher (tides)", "SENIOR-RESEARCHER."]
)  # fmt: skip
def test_coworkers_are_found_by_names_that_are_nearly_right(name: str) -> None:
    model, helper = native(delegate(name), "The text"), ScriptedLLM(["Facts"])
    crew_of(
        agent_of(model, "Writer", allow_delegation=True),
        agent_of(helper, "Senior Researcher"),
        agent_of(native(), "Editor in chief"),
    ).kickoff()
    assert told(model) == "Facts"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "Pilot",
            "Error: there is no coworker 'Pilot'. The coworkers are: 'Data Analyst 1', 'Data Analyst 2', 'Chef'.",
        ),
        ("", "Error: there is no coworker ''. The coworkers are: 'Data Analyst 1', 'Data Analyst 2', 'Chef'."),
        ("Data Analyst", "Error: it is not clear which coworker is 'Data Analyst'. The coworkers are: "),
        ("Data Analyst 3", "Error: it is not clear which coworker is 'Data Analyst 3'. The coworkers are: "),
        ("Writer", "Error: there is no coworker 'Writer'. "),
        ("x" * 100_000, "Error: there is no coworker 'xxxx"),
    ],
)
def test_an_unknown_coworker_is_told_to_the_model(name: str, answer: str) -> None:
    model = native(delegate(name), "The text")
    writer = agent_of(model, "Writer", allow_delegation=True)
    others = [agent_of(native(), role) for role in ("Data Analyst 1", "Data Analyst 2", "Chef")]
    assert crew_of(writer, *others).kickoff().raw == "The text"
    assert told(model).startswith(answer)


@given(st.text(max_size=50))
def test_any_name_finds_somebody_or_is_told(name: str) -> None:
    model = native(delegate(name), "The text")
    writer = agent_of(model, "Writer", allow_delegation=True)
    anybody = FunctionLLM(lambda messages: "Facts")
    assert crew_of(writer, agent_of(anybody, "Researcher"), agent_of(anybody, "Chef")).kickoff().raw == "The text"
    assert told(model) == "Facts" or told(model).startswith("Error: ")


def test_of_two_coworkers_of_one_role_the_first_is_meant() -> None:
    model, first = native(delegate("Researcher"), "The text"), ScriptedLLM(["Facts"])
    writer = agent_of(model, "Writer", allow_delegation=True)
    crew_of(writer, agent_of(first, "Researcher"), agent_of(native(), "researcher")).kickoff()
    assert told(model) == "Facts"


def test_nothing_to_do_is_told_to_the_model() -> None:
    model = native(delegate("Researcher", " "), "The text")
    crew_of(agent_of(model, "Writer", allow_delegation=True), agent_of(native(), "Researcher")).kickoff()
    assert told(model) == "Error: there was nothing to do in it. Say what you want of your coworker."


# What goes on in delegated work.


def test_usage_counts_for_the_task_and_for_whoever_spent_it(kickoff: Callable[..., Any]) -> None:
    def reply(item: Any) -> Reply:
        usage = Usage(prompt_tokens=10, completion_tokens=1, requests=1)
        return Reply(text=item, usage=usage) if isinstance(item, str) else Reply(tool_calls=(item,), usage=usage)

    writer = agent_of(native(reply(delegate("B")), reply(delegate("B")), reply("x")), "A", allow_delegation=True)
    other = agent_of(native(reply("y"), reply("z")), "B")
    result = kickoff(crew_of(writer, other))
    assert {role: usage.requests for role, usage in result.usage_by_agent.items()} == {"A": 3, "B": 2}
    assert result.usage_metrics.total_tokens == 55
    assert result.tasks_output[0].usage.requests == 5


def test_run_user_task_and_budgets_go_on_in_delegated_work(kickoff: Callable[..., Any]) -> None:
    seen: list[Any] = []

    class Nosy(BaseLLM):
        def call(self, messages: Any) -> str:
            seen.append(current_call())
            return "Facts"

    writer = agent_of(native(delegate("Researcher"), "x"), "Writer", allow_delegation=True)
    budget = Budget(requests=9)
    result = kickoff(crew_of(writer, agent_of(Nosy(), "Researcher"), budget=budget), user="ada")
    here = seen[0]
    assert (here.run_id, here.user, here.task, here.agent) == (result.run_id, "ada", "the text", "Researcher")
    assert [type(one) for one in here.budgets] == [Budget]


@pytest.mark.parametrize("whose", ["crew", "writer", "researcher"])
def test_a_budget_ends_delegated_work(whose: str, kickoff: Callable[..., Any]) -> None:
    model = native(*[delegate("Researcher") for _ in range(9)])
    helper = FunctionLLM(lambda messages: "Facts")
    budgets = {name: Budget(requests=3) if name == whose else None for name in ("crew", "writer", "researcher")}
    writer = agent_of(model, "Writer", allow_delegation=True, budget=budgets["writer"])
    crew = crew_of(writer, agent_of(helper, "Researcher", budget=budgets["researcher"]), budget=budgets["crew"])
    with pytest.raises(BudgetExceededError, match="3 of 3 requests"):
        kickoff(crew)
    assert len(helper.requests) == (3 if whose == "researcher" else 1)


def test_a_coworkers_budget_is_one_for_all_tasks_of_a_run() -> None:
    researcher = agent_of(FunctionLLM(lambda messages: "ok"), "Researcher", budget=Budget(requests=2))
    writer = agent_of(native(delegate("Researcher"), "x", delegate("Researcher")), "Writer", allow_delegation=True)
    tasks = [Task(description=name, agent=agent) for name, agent in [("a", researcher), ("b", writer), ("c", writer)]]
    with pytest.raises(BudgetExceededError):
        Crew(tasks=tasks).kickoff()


def test_events_and_the_console_show_who_delegates_what(
    kickoff: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[Any] = []
    model = native(delegate("Researcher", "Find\x1b[31m facts"), ask("Researcher", "Why?"), "x")
    writer = agent_of(model, "Writer", allow_delegation=True)
    kickoff(crew_of(writer, agent_of(ScriptedLLM(["a", "b"]), "Researcher"), verbose=True), on_event=events.append)
    handed = [event for event in events if isinstance(event, Delegated)]
    assert [(event.agent, event.coworker, event.question) for event in handed] == [
        ("Writer", "Researcher", False),
        ("Writer", "Researcher", True),
    ]
    assert [event.agent for event in events if isinstance(event, CallFinished)] == [
        "Writer", "Researcher", "Writer", "Researcher", "Writer",
    ]  # fmt: skip
    shown = capsys.readouterr().err
    assert "  [1] Writer delegates to Researcher: Find [31m facts\n" in shown
    assert "  [1] Writer asks Researcher: Why?\n" in shown


def test_an_error_of_a_coworker_ends_the_run_and_says_where(kickoff: Callable[..., Any]) -> None:
    writer = agent_of(native(delegate("Researcher")), "Writer", allow_delegation=True)
    with pytest.raises(AuthenticationError) as caught:
        kickoff(crew_of(writer, agent_of(ScriptedLLM([AuthenticationError("wrong key")]), "Researcher")))
    assert caught.value.__notes__ == [
        "This happened while agent 'Researcher' worked on a part of it for another one.",
        "This happened while agent 'Writer' worked on task 'the text'.",
    ]


def test_several_pieces_are_done_side_by_side() -> None:
    async def main() -> None:
        both = asyncio.Barrier(2)

        class Meeting(BaseLLM):
            async def acall(self, messages: Any) -> str:
                async with asyncio.timeout(30):
                    await both.wait()  # passes only if two are here at once
                return "ok"

        calls = [delegate("B"), ToolCall(id="2", name=ASK, arguments='{"coworker": "C", "question": "Why?"}')]
        writer = agent_of(native(calls, "x"), "A", allow_delegation=True)
        crew = crew_of(writer, agent_of(Meeting(), "B"), agent_of(Meeting(), "C"))
        assert (await crew.akickoff()).raw == "x"

    asyncio.run(main())


def test_a_model_that_runs_tools_itself_delegates_too(kickoff: Callable[..., Any]) -> None:
    class Itself(BaseLLM):
        def supports_function_calling(self) -> bool:
            return True

        def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> str:
            return f"They say: {available_functions[ASK](question='Why?', coworker='researcher')}"

    writer = agent_of(Itself(), "Writer", allow_delegation=True)
    result = kickoff(crew_of(writer, agent_of(ScriptedLLM(["Because"]), "Researcher")))
    assert result.raw == "They say: Because"
    assert set(result.usage_by_agent) == {"Writer", "Researcher"}


def test_a_coworker_without_an_llm_is_told_before_any_call() -> None:
    model = native()
    with pytest.raises(ConfigurationError, match="Agent 'Researcher' has no LLM"):
        crew_of(agent_of(model, "Writer", allow_delegation=True), agent_of(None, "Researcher")).kickoff()
    assert model.requests == []


def test_runs_change_nothing_and_share_nothing() -> None:
    model = FunctionLLM(
        lambda messages, tools: delegate("B") if messages[-1]["role"] == "user" else "done",
        supports_function_calling=True,
    )
    crew = crew_of(agent_of(model, "A", allow_delegation=True), agent_of(FunctionLLM(lambda messages: "b"), "B"))

    async def main() -> list[Any]:
        return await asyncio.gather(*(crew.akickoff() for _ in range(50)))

    assert {result.usage_metrics.requests for result in asyncio.run(main())} == {3}
    assert crew.agents[0].tools == []


# Endless delegation.


def endless(name: str) -> FunctionLLM:
    numbers = iter(range(10_000))
    return FunctionLLM(
        lambda messages, tools: delegate(name, f"Go on {next(numbers)}") if tools else "enough",
        supports_function_calling=True,
    )


def test_agents_who_delegate_back_and_forth_come_to_an_end(kickoff: Callable[..., Any]) -> None:
    one, two = endless("B"), endless("A")
    crew = crew_of(agent_of(one, "A", allow_delegation=True), agent_of(two, "B", allow_delegation=True))
    with pytest.raises(StepsExhaustedError, match="25 pieces of it were delegated, and still the agents delegate"):
        kickoff(crew)
    assert len(one.requests) + len(two.requests) <= 30
    answers = [str(m["content"]) for llm in (one, two) for r in llm.requests for m in r.messages if m["role"] == "tool"]
    assert any(text == "Error: this work was delegated 3 times already. Do it yourself." for text in answers)
    assert any(text.startswith("Error: nothing more can be delegated, 25 pieces were.") for text in answers)


def test_an_agent_who_only_delegates_must_answer_in_the_end(kickoff: Callable[..., Any]) -> None:
    helper = FunctionLLM(lambda messages: "Facts")
    crew = crew_of(agent_of(endless("B"), "A", allow_delegation=True, max_iter=9), agent_of(helper, "B"))
    assert kickoff(crew).raw == "enough"
    assert len(helper.requests) == 8


def test_a_coworker_who_comes_to_no_end_is_told_to_the_one_who_asked(kickoff: Callable[..., Any]) -> None:
    stuck = FunctionLLM(
        lambda messages, tools: ToolCall(id="1", name="look", arguments="{}"), supports_function_calling=True
    )
    model = native(delegate("B"), "Then without it")
    crew = crew_of(agent_of(model, "A", allow_delegation=True), agent_of(stuck, "B", max_iter=2))
    assert kickoff(crew).raw == "Then without it"
    assert told(model).startswith("Error: B came to no end with it. Agent 'B' gave no answer within 2 model calls")
