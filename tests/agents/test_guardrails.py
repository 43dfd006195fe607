"""Guardrails: functions, rules in words, lists of both."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from oarlock import Agent, ConfigurationError, Crew, GuardrailError, OutputError, Task, ToolCall, tool
from oarlock.agents.guardrails import LLMGuardrail
from oarlock.agents.outputs import TaskOutput
from oarlock.testing import ScriptedLLM, VirtualRuntime


class City(BaseModel):
    name: str


@tool
def look_up(name: str) -> str:
    """Look a city up."""
    return f"{name} is big."


def crew_of(llm: Any, *, tools: list[Any] | None = None, max_iter: int = 25, **task: Any) -> Crew:
    agent = Agent(role="Clerk", goal="Know cities", llm=llm, tools=tools or [], max_iter=max_iter)
    return Crew(agents=[agent], tasks=[Task(description="Which city?", agent=agent, **task)])


def run_blocking(crew: Crew) -> Any:
    return crew.kickoff()


def run_async(crew: Crew) -> Any:
    return asyncio.run(crew.akickoff())


def run_virtual(crew: Crew) -> Any:
    with VirtualRuntime() as runtime:
        return runtime.run(crew.akickoff())


@pytest.fixture(params=[run_blocking, run_async, run_virtual])
def run(request: pytest.FixtureRequest) -> Callable[[Crew], Any]:
    return request.param  # type: ignore[no-any-return]


def short(output: TaskOutput) -> tuple[bool, Any]:
    return (len(output.raw) < 6, "too long" if len(output.raw) >= 6 else output.raw)


async def loud(output: TaskOutput) -> tuple[bool, Any]:
    await asyncio.sleep(0)
    return True, output.raw.upper()


# Functions.


def test_an_answer_that_passes_stays(run: Callable[[Crew], Any]) -> None:
    assert run(crew_of(ScriptedLLM(["Oslo"]), guardrail=short)).raw == "Oslo"


def test_a_failure_goes_back_to_the_agent_with_the_reason(run: Callable[[Crew], Any]) -> None:
    llm = ScriptedLLM(["Reykjavik", "Oslo"])
    result = run(crew_of(llm, guardrail=short))
    assert result.raw == "Oslo"
    assert result.usage_metrics.requests == 2
    assert llm.requests[1].messages[-2] == {"role": "assistant", "content": "Reykjavik"}
    assert "not accepted: too long" in str(llm.requests[1].messages[-1]["content"])


@pytest.mark.parametrize("guardrail", [loud, [loud], (short, loud), [short, "short"]])
def test_all_forms(guardrail: Any) -> None:
    llm = ScriptedLLM(["Oslo", '{"valid": true, "reason": ""}'])
    assert crew_of(llm, guardrails=guardrail).kickoff().raw.lower() == "oslo"


def test_a_text_replaces_the_answer(run: Callable[[Crew], Any]) -> None:
    seen: list[Any] = []
    assert run(crew_of(ScriptedLLM(["Oslo"]), guardrail=loud, callback=seen.append)).raw == "OSLO"
    assert seen[0].raw == "OSLO"


def test_an_output_replaces_the_answer() -> None:
    def other(output: TaskOutput) -> tuple[bool, Any]:
        return True, dataclasses.replace(output, raw="Rome", json_dict={"name": "Rome"})

    result = crew_of(ScriptedLLM(["Oslo"]), guardrail=other).kickoff()
    assert (result.raw, result["name"]) == ("Rome", "Rome")


@pytest.mark.parametrize("value", [None, True, {"name": "Rome"}, 3])
def test_any_other_value_changes_nothing(value: Any) -> None:
    assert crew_of(ScriptedLLM(["Oslo"]), guardrail=lambda output: (True, value)).kickoff().raw == "Oslo"


def test_they_run_in_order_each_on_what_the_one_before_left() -> None:
    seen: list[str] = []

    def note(output: TaskOutput) -> tuple[bool, Any]:
        seen.append(output.raw)
        return True, output.raw + "!"

    result = crew_of(ScriptedLLM(["Oslo"]), guardrail=note, guardrails=[loud, note]).kickoff()
    assert (result.raw, seen) == ("OSLO!!", ["Oslo", "OSLO!"])


def test_after_a_failure_all_of_them_run_again() -> None:
    llm = ScriptedLLM(["Reykjavik", "Oslo"])
    seen: list[str] = []

    def note(output: TaskOutput) -> tuple[bool, Any]:
        seen.append(output.raw)
        return True, None

    crew_of(llm, guardrails=[note, short]).kickoff()
    assert seen == ["Reykjavik", "Oslo"]


def test_in_the_end_all_reasons_are_told(run: Callable[[Crew], Any]) -> None:
    reasons = iter(["first", "", None, "fourth"])
    llm = ScriptedLLM(["a", "b", "c", "d"])
    with pytest.raises(
        GuardrailError, match=r"'Which city\?': the answer failed its guardrail 4 times: 1\. first; 2"
    ) as failure:
        run(crew_of(llm, guardrail=lambda output: (False, next(reasons))))
    assert failure.value.reasons == ("first", "it did not pass the check", "it did not pass the check", "fourth")
    assert failure.value.text == "d"
    again = pickle.loads(pickle.dumps(failure.value))
    assert (again.text, again.reasons) == ("d", failure.value.reasons)


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_how_often_is_a_setting(retries: int) -> None:
    llm = ScriptedLLM(["no"] * 9)
    with pytest.raises(GuardrailError):
        crew_of(llm, guardrail=lambda output: (False, "no"), guardrail_max_retries=retries).kickoff()
    assert len(llm.requests) == retries + 1


@pytest.mark.parametrize("said", [None, True, "fine", (True,), ("yes", 1), (1, "x")])
def test_a_function_that_returns_something_else_is_named(said: Any) -> None:
    def odd(output: TaskOutput) -> Any:
        return said

    with pytest.raises(ConfigurationError, match=r"The guardrail odd returned .* it must return \(True, value\) or"):
        crew_of(ScriptedLLM(["Oslo"]), guardrail=odd).kickoff()


def test_what_a_function_raises_ends_the_run(run: Callable[[Crew], Any]) -> None:
    def broken(output: TaskOutput) -> Any:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x") as failure:
        run(crew_of(ScriptedLLM(["Oslo"]), guardrail=broken))
    assert "task 'Which city?'" in failure.value.__notes__[0]


def test_a_builtin_without_a_signature_is_taken() -> None:
    assert Task(description="D", guardrail=dict).guardrail is dict


def test_what_is_sent_back_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oarlock.agents")
    llm = ScriptedLLM(["Oslo", '{"name": "Reykjavik"}', '{"name": "O"}'])

    def one_letter(output: TaskOutput) -> tuple[bool, Any]:
        return len(output.pydantic.name) == 1, "one letter" if len(output.pydantic.name) > 1 else None

    crew_of(llm, output_pydantic=City, guardrail=one_letter).kickoff()
    assert [record.getMessage() for record in caplog.records] == [
        "Agent 'Clerk' is to mend an answer that does not fit City: there is no JSON in it",
        "Task 'Which city?': the answer was sent back: one letter",
    ]


# With tools, and with a structure.


def test_the_agent_may_use_its_tools_again() -> None:
    call = ToolCall(id="1", name="look_up", arguments='{"name": "Oslo"}')
    llm = ScriptedLLM(["Reykjavik", call, "Oslo"], supports_function_calling=True)
    assert crew_of(llm, tools=[look_up], guardrail=short, max_iter=2).kickoff().raw == "Oslo"
    assert llm.requests[1].tools


def test_tools_through_text_are_explained_once() -> None:
    act = 'Thought: look\nAction: look_up\nAction Input: {"name": "Oslo"}'
    llm = ScriptedLLM(["Final Answer: Reykjavik", act, "Final Answer: Oslo"])
    assert crew_of(llm, tools=[look_up], guardrail=short).kickoff().raw == "Oslo"
    assert str(llm.requests[2].messages[0]["content"]).count("Action Input:") == 1


def test_the_structure_comes_first_and_follows_a_replaced_text(run: Callable[[Crew], Any]) -> None:
    def move(output: TaskOutput) -> tuple[bool, Any]:
        assert output.pydantic == City(name="Oslo")
        return True, '{"name": "Rome"}'

    result = run(crew_of(ScriptedLLM(['So: {"name": "Oslo"}']), output_pydantic=City, guardrail=move))
    assert result.pydantic == City(name="Rome")


def test_a_new_try_has_its_own_structure() -> None:
    llm = ScriptedLLM(['{"name": "Reykjavik"}', '{"name": 1}', '{"name": "Oslo"}'])

    def oslo(output: TaskOutput) -> tuple[bool, Any]:
        return (True, None) if output.json_dict == {"name": "Oslo"} else (False, "no")

    result = crew_of(llm, output_json=City, guardrail=oslo).kickoff()
    assert result.json_dict == {"name": "Oslo"}


def test_a_replaced_text_must_fit_the_structure() -> None:
    llm = ScriptedLLM(['{"name": "Oslo"}'])
    with pytest.raises(OutputError, match="what a guardrail put in place of the answer does not fit City") as failure:
        crew_of(llm, output_pydantic=City, guardrail=lambda output: (True, "Rome")).kickoff()
    assert failure.value.text == "Rome"


# Rules in words.


def test_a_rule_is_judged_by_the_llm(run: Callable[[Crew], Any]) -> None:
    no, yes = '{"valid": false, "reason": "Name a capital"}', 'I say:\n```json\n{"valid": true, "reason": ""}\n```'
    llm = ScriptedLLM(["Bergen", no, "Oslo", yes])
    result = run(crew_of(llm, guardrail="It must be a {capital}"))
    assert result.raw == "Oslo"
    assert result.usage_metrics.requests == 4
    judging = llm.requests[1].messages
    assert "It must be a {capital}" in str(judging[0]["content"])
    assert judging[1] == {"role": "user", "content": "The answer to check:\nBergen"}
    assert not llm.requests[1].tools
    assert "Name a capital" in str(llm.requests[2].messages[-1]["content"])


def test_an_llm_that_keeps_to_schemas_is_bound_to_a_verdict() -> None:
    class SchemaLLM(ScriptedLLM):
        def supports_json_schema(self) -> bool:
            return True

    llm = SchemaLLM(["Oslo", '{"valid": true, "reason": ""}'])
    crew_of(llm, guardrail="A city").kickoff()
    assert llm.requests[0].json_schema is None
    assert (llm.requests[1].json_schema or {})["required"] == ["valid", "reason"]


def test_what_is_no_verdict_is_asked_again() -> None:
    llm = ScriptedLLM(["Oslo", "Looks good!", '{"valid": "yes"} [x', '{"valid": true}'])
    assert crew_of(llm, guardrail="A city").kickoff().raw == "Oslo"
    assert "no verdict" in str(llm.requests[2].messages[-1]["content"])


def test_no_verdict_at_all_is_an_error_that_keeps_the_answer() -> None:
    llm = ScriptedLLM(["Oslo", "Hm", "Hm", '{"valid": '])
    with pytest.raises(GuardrailError, match="gave no verdict on the guardrail 'A city', asked 3 times") as failure:
        crew_of(llm, guardrail="A city").kickoff()
    assert failure.value.text == "Oslo"
    assert failure.value.reasons == ('no verdict: {"valid": ',)


def test_a_rule_may_have_an_llm_of_its_own(run: Callable[[Crew], Any]) -> None:
    judge = ScriptedLLM(['{"valid": false, "reason": "no capital"}', '{"valid": true, "reason": ""}'])
    llm = ScriptedLLM(["Bergen", "Oslo"])
    result = run(crew_of(llm, guardrail=LLMGuardrail("A capital", judge)))
    assert result.raw == "Oslo"
    assert result.usage_metrics.requests == 4
    assert len(judge.requests) == 2


def test_a_rule_with_an_llm_is_a_function_too() -> None:
    rule = LLMGuardrail(description="A capital", llm=ScriptedLLM(['{"valid": true}', '{"valid": false}']))
    output = TaskOutput(raw="Oslo", description="Which city?")
    assert rule(output) == (True, "Oslo")
    assert rule(output) == (False, "it did not pass the check")


def test_a_rule_needs_words_and_an_llm() -> None:
    with pytest.raises(ConfigurationError, match="LLMGuardrail: description must be"):
        LLMGuardrail("", ScriptedLLM([]))
    with pytest.raises(ConfigurationError, match="LLMGuardrail: llm must be an LLM object"):
        LLMGuardrail("A capital", "gpt-x")  # type: ignore[arg-type]
