"""What stands around an agent's prompts: templates, the date, one message instead of two; and who is asked when."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from oarlock import (
    Agent,
    BaseLLM,
    ConfigurationError,
    Crew,
    Process,
    Reply,
    Request,
    StepsExhaustedError,
    Task,
    ToolCall,
    tool,
)
from oarlock.errors import AuthenticationError, BadRequestError, GuardrailError, RateLimitError, ServerError
from oarlock.policies import Budget, Retry
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime


@tool
def look(number: int) -> str:
    """Look at a number."""
    return f"saw {number}"


def agent_of(llm: BaseLLM | None, **settings: Any) -> Agent:
    return Agent(**{"role": "Clerk", "goal": "Count {what}", "backstory": "Born to count.", "llm": llm, **settings})


def crew_of(
    llm: BaseLLM | None, crew: dict[str, Any] | None = None, task: dict[str, Any] | None = None, **settings: Any
) -> Crew:
    agent = agent_of(llm, **settings)
    given = {"description": "Count the {what}", "agent": agent, **(task or {})}
    return Crew(agents=[agent], tasks=[Task(**given)], **(crew or {}))


@pytest.fixture(params=["blocking", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., str]:
    def kickoff(crew: Crew, **given: Any) -> str:
        inputs = {"what": "boats", **given.pop("inputs", {})}
        if request.param == "async":
            return asyncio.run(crew.akickoff(inputs, **given)).raw
        return crew.kickoff(inputs, **given).raw

    return kickoff


def call_of(number: int) -> ToolCall:
    return ToolCall(id=str(number), name="look", arguments=json.dumps({"number": number}))


def sent(request: Request) -> list[tuple[str, str]]:
    return [(message["role"], str(message.get("content"))) for message in request.messages]


# Templates.


def test_templates_stand_around_prompts_and_answer(run: Callable[..., str]) -> None:
    llm = ScriptedLLM(["Three.<|end|> And more"])
    crew = crew_of(
        llm,
        system_template="<|system|>{{ .System }}<|end|>",
        prompt_template="<|user|>{{ .Prompt }}<|end|>",
        response_template="<|assistant|>{{ .Response }}<|end|>",
    )
    assert run(crew) == "Three."
    (request,) = llm.requests
    assert sent(request) == [
        ("system", "<|system|>You are Clerk. Born to count.\nYour goal: Count boats<|end|>"),
        ("user", "<|user|>Count the boats<|end|><|assistant|>"),
    ]
    assert request.stop == ("<|end|>",)


def test_names_in_templates_are_filled_in_once(run: Callable[..., str]) -> None:
    llm = ScriptedLLM(["3"])
    crew = crew_of(
        llm, system_template="{role} of {what}: {goal} {backstory}{{.System}}", prompt_template="{{ .Prompt }}!"
    )
    run(crew, inputs={"what": "{{ .System }}"})
    (_, system), (_, prompt) = sent(llm.requests[0])
    assert system.startswith("Clerk of {{ .System }}: Count {{ .System }} Born to count.")
    assert prompt == "Count the {{ .System }}!"


def test_a_name_that_is_missing_is_told_before_any_call() -> None:
    llm = ScriptedLLM([])
    with pytest.raises(ConfigurationError, match="Agent 'Clerk': system_template needs an input 'who'"):
        crew_of(llm, system_template="{who} {{ .System }}").kickoff({"what": "boats"})


def test_what_is_added_to_prompts_stands_within_the_templates(run: Callable[..., str]) -> None:
    llm = ScriptedLLM(["Thought: hm\nAction: look\nAction Input: 3", "Final Answer: **3**"])
    crew = crew_of(
        llm,
        task={"markdown": True},
        tools=[look],
        system_template="<s>{{ .System }}</s>",
        prompt_template="<u>{{ .Prompt }}</u>",
    )
    assert run(crew) == "**3**"
    (_, system), (_, prompt) = sent(llm.requests[0])
    assert system.endswith("Final Answer: the complete answer</s>")
    assert re.fullmatch(r"<u>Count the boats\n\nWrite the complete answer in Markdown.*</u>", prompt, re.DOTALL)


def test_one_message_for_models_that_take_no_system_prompt(run: Callable[..., str]) -> None:
    llm = ScriptedLLM(["Thought: hm\nAction: look\nAction Input: 3", "Final Answer: 3"])
    assert run(crew_of(llm, use_system_prompt=False, tools=[look], task={"markdown": True})) == "3"
    first = sent(llm.requests[0])
    assert [role for role, _ in first] == ["user"]
    assert first[0][1].startswith("You are Clerk. Born to count.\nYour goal: Count boats\n\nCount the boats\n\nWrite")
    assert "Action Input:" in first[0][1]
    assert [role for role, _ in sent(llm.requests[1])] == ["user", "assistant", "user"]


@pytest.mark.parametrize("name", ["system_template", "prompt_template", "response_template"])
@pytest.mark.parametrize(
    "template",
    ["", "no place", 3, "{{ .System }}{{ .System }}{{ .Prompt }}{{ .Prompt }}{{ .Response }}{{ .Response }}"],
)
def test_a_template_without_its_place_is_told(name: str, template: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"Agent 'Clerk': {name} must be a text with {{{{ "):
        agent_of(None, **{name: template})


# The date.


@pytest.mark.parametrize(("form", "shown"), [(None, "2026-01-02"), ("%d.%m.%Y", "02.01.2026"), ("%B", "January")])
def test_the_date_of_today(form: str | None, shown: str) -> None:
    llm = ScriptedLLM(["3"])
    with VirtualRuntime(start=36 * 3600):
        crew_of(llm, inject_date=True, **({"date_format": form} if form else {})).kickoff({"what": "boats"})
    assert sent(llm.requests[0])[0][1].endswith(f"\nThe date of today: {shown}")


def test_no_date_unless_asked_for() -> None:
    llm = ScriptedLLM(["3"])
    crew_of(llm).kickoff({"what": "boats"})
    assert "date" not in sent(llm.requests[0])[0][1]


@pytest.mark.parametrize("form", ["", "today", 3, None, "%"])
def test_a_form_that_gives_no_date_is_told(form: Any) -> None:
    with pytest.raises(ConfigurationError, match="Agent 'Clerk': date_format must be a form for dates such as"):
        agent_of(None, date_format=form)


# function_calling_llm.


def test_another_llm_calls_the_tools(run: Callable[..., str]) -> None:
    caller = ScriptedLLM([call_of(1), call_of(2), "enough"], model="caller", supports_function_calling=True)
    writer = ScriptedLLM(["Two were seen."], model="writer", supports_function_calling=True)
    events: list[Any] = []
    crew = crew_of(writer, function_calling_llm=caller, tools=[look])
    assert run(crew, on_event=events.append) == "Two were seen."
    assert [len(request.tools) for request in caller.requests] == [1, 1, 1]
    (request,) = writer.requests
    assert not request.tools
    assert [role for role, _ in sent(request)] == ["system", "user", "assistant", "tool", "assistant", "tool", "user"]
    asked = [event.model for event in events if type(event).__name__ == "CallStarted"]
    assert asked == ["caller", "caller", "caller", "writer"]
    assert events[-1].usage.requests == 4


def test_a_writer_that_calls_no_functions_reads_them_as_text(run: Callable[..., str]) -> None:
    with_words = Reply(text="Let me see", tool_calls=(call_of(1),))
    caller = ScriptedLLM([with_words, "enough"], supports_function_calling=True)
    writer = ScriptedLLM(["One was seen."])
    assert run(crew_of(writer, {"function_calling_llm": caller}, tools=[look])) == "One was seen."
    assert sent(writer.requests[0])[2:4] == [
        ("assistant", 'Let me see\nAction: look\nAction Input: {"number": 1}'),
        ("user", "Observation: saw 1"),
    ]


def test_an_agents_own_goes_before_the_crews_and_needs_tools(run: Callable[..., str]) -> None:
    own = ScriptedLLM([call_of(1), "enough"], supports_function_calling=True)
    crews = ScriptedLLM([], supports_function_calling=True)
    crew = crew_of(ScriptedLLM(["seen"]), {"function_calling_llm": crews}, function_calling_llm=own, tools=[look])
    assert run(crew) == "seen"
    assert run(crew_of(ScriptedLLM(["no tools"]), {"function_calling_llm": crews})) == "no tools"
    assert crews.requests == []


def test_it_is_within_the_agents_limits_and_budget(run: Callable[..., str]) -> None:
    caller = FunctionLLM(lambda request: call_of(1), supports_function_calling=True)
    writer = FunctionLLM(lambda request: call_of(2), supports_function_calling=True)
    with pytest.raises(StepsExhaustedError):
        run(crew_of(writer, function_calling_llm=caller, tools=[look], max_iter=5))
    assert (len(caller.requests), len(writer.requests)) == (4, 1)
    with pytest.raises(Exception, match="budget"):
        run(crew_of(writer, function_calling_llm=caller, tools=[look], budget=Budget(requests=2)))


def test_one_that_cannot_take_tools_after_all_leaves_it_to_text(run: Callable[..., str]) -> None:
    caller = ScriptedLLM([BadRequestError("tools are not supported")], supports_function_calling=True)
    writer = ScriptedLLM(["Action: look\nAction Input: 1", "Final Answer: seen"])
    assert run(crew_of(writer, function_calling_llm=caller, tools=[look])) == "seen"


def test_one_that_cannot_call_functions_is_told() -> None:
    crew = crew_of(ScriptedLLM([]), function_calling_llm=ScriptedLLM([]), tools=[look])
    with pytest.raises(
        ConfigurationError, match=r"Agent 'Clerk': function_calling_llm is ScriptedLLM\(.*\), which says that"
    ):
        crew.kickoff({"what": "boats"})
    with pytest.raises(ConfigurationError, match="Agent 'Clerk': function_calling_llm must be an LLM object"):
        agent_of(None, function_calling_llm=3)
    with pytest.raises(ConfigurationError, match="Crew: function_calling_llm must be an LLM object"):
        crew_of(None, {"function_calling_llm": 3})


def test_a_structured_answer_is_the_writers(run: Callable[..., str]) -> None:
    from pydantic import BaseModel

    class Count(BaseModel):
        boats: int

    caller = ScriptedLLM([call_of(1), "enough"], supports_function_calling=True)
    writer = ScriptedLLM(['{"boats": "many"}', '{"boats": 1}'])
    crew = crew_of(writer, function_calling_llm=caller, tools=[look], task={"output_pydantic": Count})
    assert run(crew) == '{"boats": 1}'


# max_retry_limit.


def test_by_itself_an_agent_tries_nothing_again(run: Callable[..., str]) -> None:
    llm = ScriptedLLM([ServerError("down"), "3"])
    with pytest.raises(ServerError):
        run(crew_of(llm))
    assert len(llm.requests) == 1


@pytest.mark.parametrize(
    ("limit", "own", "requests"), [(2, None, 3), (0, Retry(5, base_delay=0), 1), (1, Retry(5), 2), (4, Retry(2), 5)]
)
def test_a_call_is_tried_again_as_often_as_the_agent_says(limit: int, own: Retry | None, requests: int) -> None:
    llm = ScriptedLLM([ServerError("down")] * 9)
    policed = llm.with_policies(own) if own else llm
    with VirtualRuntime(), pytest.raises(ServerError):
        crew_of(policed, max_retry_limit=limit).kickoff({"what": "boats"})
    assert len(llm.requests) == requests
    assert own is None or own.attempts != limit + 1  # the LLM itself is left as it is


def test_what_cannot_heal_is_not_tried_again(run: Callable[..., str]) -> None:
    llm = ScriptedLLM([AuthenticationError("wrong key"), "never"])
    with pytest.raises(AuthenticationError):
        run(crew_of(llm, max_retry_limit=5))
    assert len(llm.requests) == 1


def test_a_later_answer_counts_and_max_rpm_holds_for_each_try() -> None:
    llm = ScriptedLLM([RateLimitError("slow down"), ServerError("down"), "3"])
    with VirtualRuntime() as runtime:
        assert crew_of(llm, max_retry_limit=2, max_rpm=1).kickoff({"what": "boats"}).raw == "3"
        assert runtime.now() >= 120


def test_retries_keep_one_llm_so_that_its_policies_keep_what_they_know() -> None:
    import copy
    import pickle

    agent = agent_of(ScriptedLLM([]), max_retry_limit=2)
    assert agent.tries is not None
    assert agent.llm is not None
    assert agent.tries.around(agent.llm) is agent.tries.around(agent.llm)
    assert copy.deepcopy(agent.tries) is agent.tries
    assert repr(pickle.loads(pickle.dumps(agent.tries))) == "max_retry_limit=2"


@pytest.mark.parametrize("limit", [-1, 1.5, True, "2"])
def test_a_limit_that_is_none_is_told(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="Agent 'Clerk': max_retry_limit must be a whole number of at least 0"):
        agent_of(None, max_retry_limit=limit)


# An agent's own guardrail.


def test_a_guardrail_of_an_agent_alone() -> None:
    llm = ScriptedLLM(["too long an answer", "short", "long again", "and again"])
    agent = agent_of(
        llm, goal="G", guardrail=lambda output: (len(output.raw) < 9, output.raw[:8]), guardrail_max_retries=1
    )
    assert agent.kickoff("Say something").raw == "short"
    with pytest.raises(GuardrailError):
        agent.kickoff("Say something")


def test_hierarchical_crews_have_it_all_too(run: Callable[..., str]) -> None:
    delegate = ToolCall(id="1", name="delegate_work_to_coworker", arguments='{"task": "Look", "coworker": "Clerk"}')
    caller = ScriptedLLM([delegate, call_of(1), "enough", "enough"], supports_function_calling=True)
    manager, worker = ScriptedLLM(["All seen."]), ScriptedLLM(["One seen."])
    agent = agent_of(worker, tools=[look], use_system_prompt=False)
    crew = Crew(
        agents=[agent],
        tasks=[Task(description="D")],
        process=Process.hierarchical,
        manager_llm=manager,
        function_calling_llm=caller,
    )
    assert run(crew) == "All seen."
    assert sent(worker.requests[0])[0][0] == "user"
