"""The real CrewAI on an LLM of ours."""

from __future__ import annotations

import asyncio
import copy
import logging
import traceback
from typing import Any

import pytest

crewai = pytest.importorskip("crewai", reason="crewai is not installed here: make interop")

from crewai.events import crewai_event_bus  # noqa: E402
from crewai.events.types import llm_events  # noqa: E402
from crewai.tools import tool  # noqa: E402
from crewai.utilities.exceptions.context_window_exceeding_exception import (  # noqa: E402
    LLMContextLengthExceededError,
)
from interop_helpers import TOKEN, Behind  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from oarlock import AuthenticationError, RateLimitError  # noqa: E402
from oarlock.compat import as_crewai_llm  # noqa: E402
from oarlock.errors import ServerError  # noqa: E402
from oarlock.testing import FunctionLLM, ScriptedLLM, Status, ToolCalls  # noqa: E402

TOO_LONG = {"error": {"message": "maximum context length is 8192 tokens", "code": "context_length_exceeded"}}


class Weather(BaseModel):
    city: str
    degrees: int


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}"


def crew_on(llm: Any, tools: Any = (), **task: Any) -> Any:
    agent = crewai.Agent(role="Guide", goal="Help", backstory="Kind.", llm=llm, tools=list(tools), verbose=False)
    work = crewai.Task(description="What to pack for Oslo?", expected_output="A word", agent=agent, **task)
    return crewai.Crew(agents=[agent], tasks=[work], verbose=False)


def run(crew: Any, colour: str) -> Any:
    return asyncio.run(crew.akickoff()) if colour == "akickoff" else crew.kickoff()


def test_it_is_one_of_theirs() -> None:
    llm = as_crewai_llm(ScriptedLLM([], context_window=1000))
    assert isinstance(llm, crewai.BaseLLM)
    assert repr(llm) == str(llm) == "as_crewai_llm(ScriptedLLM(model='scripted'))"
    assert (llm.model, llm.provider, llm.get_context_window_size()) == ("scripted", "oarlock", 850)
    assert llm.get_input_tokens_count("Row, row, row your boat.") == 6
    assert copy.deepcopy(llm).model == "scripted"


@pytest.mark.parametrize("colour", ["kickoff", "akickoff"])
def test_a_crew_with_a_tool(colour: str, behind: Behind) -> None:
    llm, endpoint = behind(ToolCalls([("weather", {"city": "Oslo"})]), "Sunglasses.")
    result = run(crew_on(as_crewai_llm(llm), [weather]), colour)
    assert result.raw == "Sunglasses."
    assert result.token_usage.successful_requests == 2
    assert result.token_usage.total_tokens > 0
    first, second = endpoint.requests
    assert first.headers["authorization"] == f"Bearer {TOKEN}"
    assert first.json["tools"][0]["function"]["name"] == "weather"
    assert [message["role"] for message in second.json["messages"]] == ["system", "user", "assistant", "tool"]
    assert second.json["messages"][-1]["content"] == "Sunny in Oslo"


def test_a_model_that_uses_tools_by_writing_text(behind: Behind) -> None:
    action = 'Thought: look\nAction: weather\nAction Input: {"city": "Oslo"}\nObservation: rain'
    llm, endpoint = behind(action, "Thought: I know\nFinal Answer: Sunglasses.", function_calling=False)
    assert crew_on(as_crewai_llm(llm), [weather]).kickoff().raw == "Sunglasses."
    first, second = endpoint.requests
    assert "tools" not in first.json
    assert first.json["stop"] == ["\nObservation:"]
    assert "Sunny in Oslo" in str(second.json["messages"])


@pytest.mark.parametrize("bound", [True, False])
def test_a_structured_output(bound: bool, behind: Behind) -> None:
    llm, endpoint = behind('{"city": "Oslo", "degrees": 21}', json_schema=bound)
    result = crew_on(as_crewai_llm(llm), output_pydantic=Weather).kickoff()
    assert result.pydantic == Weather(city="Oslo", degrees=21)
    assert ("response_format" in endpoint.requests[0].json) is bound


@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_events_of_a_stream(colour: str, behind: Behind) -> None:
    llm, _ = behind("Row, row, row your boat")
    heard: list[Any] = []
    kinds = (llm_events.LLMCallStartedEvent, llm_events.LLMStreamChunkEvent, llm_events.LLMCallCompletedEvent)
    with crewai_event_bus.scoped_handlers():
        for kind in kinds:
            crewai_event_bus.on(kind)(lambda source, event: heard.append(event))
        theirs = as_crewai_llm(llm, stream=True)
        answer = theirs.call("Sing") if colour == "call" else await theirs.acall("Sing")
        crewai_event_bus.flush()
    assert answer == "Row, row, row your boat"
    pieces = [event.chunk for event in heard if isinstance(event, llm_events.LLMStreamChunkEvent)]
    assert len(pieces) > 1
    assert sorted("".join(pieces)) == sorted(answer)
    assert len({event.call_id for event in heard}) == 1
    (completed,) = (event for event in heard if isinstance(event, llm_events.LLMCallCompletedEvent))
    assert completed.usage["total_tokens"] > 0


def test_functions_are_run_as_crewais_own_llms_run_them(behind: Behind) -> None:
    llm, _ = behind(ToolCalls([("add", {"a": 1, "b": 2})]), ToolCalls([("add", "[1]")]))
    schema: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    theirs = as_crewai_llm(llm)
    functions = {"add": lambda a, b: a + b}
    assert theirs.call("1 + 2", tools=[schema], available_functions=functions) == "3"
    with pytest.raises(ValueError, match="called 'add' wrongly"):
        theirs.call("1 + 2", tools=[schema], available_functions=functions)


def test_an_answer_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit Weather"):
        as_crewai_llm(ScriptedLLM(["Sunny."])).call("Oslo?", response_model=Weather)


@pytest.mark.parametrize("colour", ["kickoff", "akickoff"])
@pytest.mark.parametrize(
    ("replies", "error", "requests"),
    [
        ([Status(401)] * 9, AuthenticationError, 1),
        ([Status(503)] * 9, ServerError, 3),
        ([Status(429)] * 9, RateLimitError, 3),
    ],
)
def test_crewai_repeats_nothing(replies: Any, error: Any, requests: int, colour: str, behind: Behind) -> None:
    """Without the adapter's care a refused key would cost three requests, a rate limit nine and more."""
    llm, endpoint = behind(*replies)
    with pytest.raises(error):
        run(crew_on(as_crewai_llm(llm)), colour)
    assert len(endpoint.requests) == requests


def test_a_prompt_that_is_too_long_is_said_in_their_words(behind: Behind) -> None:
    llm, _ = behind(Status(400, body=TOO_LONG))
    with pytest.raises(LLMContextLengthExceededError):
        as_crewai_llm(llm).call("A very long story")


def test_secrets_are_shown_nowhere(behind: Behind, caplog: Any, capsys: Any) -> None:
    caplog.set_level(logging.DEBUG)
    llm, _ = behind("Hello", token="wr0ng-token-of-ours")
    theirs = as_crewai_llm(llm)
    with pytest.raises(AuthenticationError) as caught:
        crew_on(theirs).kickoff()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + "".join(capsys.readouterr())
    shown += repr(theirs) + repr(theirs.model_dump()) + repr(theirs.to_config_dict())
    assert "wr0ng" not in shown


def test_our_call_sees_who_asks() -> None:
    class Own(FunctionLLM):
        pass

    asked = Own(lambda messages, tools: "Sunglasses.")
    assert crew_on(as_crewai_llm(asked)).kickoff().raw == "Sunglasses."
    assert asked.requests[0].extras["from_agent"].role == "Guide"


def test_a_hierarchical_crew(behind: Behind) -> None:
    work = {"task": "Look it up", "context": "", "coworker": "Guide"}
    manager, asked = behind(ToolCalls([("delegate_work_to_coworker", work)]), "Sunglasses.")
    agent = crewai.Agent(role="Guide", goal="Help", backstory="Kind.", llm=as_crewai_llm(ScriptedLLM(["It is sunny."])))
    task = crewai.Task(description="What to pack for Oslo?", expected_output="A word")
    process = crewai.Process.hierarchical
    crew = crewai.Crew(agents=[agent], tasks=[task], process=process, manager_llm=as_crewai_llm(manager))
    assert crew.kickoff().raw == "Sunglasses."
    assert "It is sunny." in str(asked.requests[1].json["messages"][-1])


def test_many_inputs() -> None:
    llm = FunctionLLM(lambda messages, tools: "Sunglasses.")
    crew = crew_on(as_crewai_llm(llm))
    assert [output.raw for output in crew.kickoff_for_each(inputs=[{}, {}])] == ["Sunglasses."] * 2
    assert [output.raw for output in asyncio.run(crew.kickoff_for_each_async(inputs=[{}, {}]))] == ["Sunglasses."] * 2
    assert len(llm.requests) == 4


def test_a_guardrail_in_words(behind: Behind) -> None:
    llm, endpoint = behind("Sunglasses.", '{"valid": true, "feedback": null}')
    assert crew_on(as_crewai_llm(llm), guardrail="It is one word.").kickoff().raw == "Sunglasses."
    assert len(endpoint.requests) == 2


def test_a_crew_that_streams(behind: Behind) -> None:
    llm, _ = behind("Row, row, row your boat")
    crew = crew_on(as_crewai_llm(llm))
    crew.stream = True
    output = crew.kickoff()
    pieces = [chunk.content for chunk in output]
    assert "".join(pieces) == output.result.raw == "Row, row, row your boat"
    assert len(pieces) > 1
