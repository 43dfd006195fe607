"""The page's function calling: the LLM's own code runs the tools, and asks again by calling itself."""

from __future__ import annotations

from typing import Any

import pytest
from page_blocks import page_llm

from oarlock import CallFailedError, ResponseFormatError, StepsExhaustedError
from oarlock.contract.events import Event, ToolFinished, ToolStarted
from oarlock.policies import Metrics, Retry
from oarlock.testing.endpoint import ToolCalls

ADD = ToolCalls([("add", {"a": 2, "b": 3})])
SCHEMA = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def ran() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def add(ran: list[tuple[int, int]]) -> Any:
    from crewai.tools import tool

    @tool("add")
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        ran.append((a, b))
        return a + b

    return add


def crew_of(llm: Any, *tools: Any, **settings: Any) -> Any:
    from crewai import Agent, Crew, Task

    agent = Agent(role="Clerk", goal="Add", backstory="", llm=llm, tools=list(tools), **settings)
    return Crew(agents=[agent], tasks=[Task(description="What is 2 + 3?", agent=agent)])


def answers_of(request: Any) -> list[str]:
    return [message["content"] for message in request.json["messages"] if message["role"] == "tool"]


def test_called_directly(serve: Any) -> None:
    endpoint = serve(ADD, "It is 5.", strict=True)
    llm = page_llm("function_calling", endpoint.url)
    answer = llm.call("What is 2 + 3?", tools=[SCHEMA], available_functions={"add": lambda a, b: a + b})
    assert answer == "It is 5."
    assert endpoint.requests[0].json["tools"] == [SCHEMA]
    assert answers_of(endpoint.requests[1]) == ["5"]


def test_in_a_crew(serve: Any, add: Any, ran: list[Any]) -> None:
    endpoint = serve(ADD, "It is 5.", strict=True)
    events: list[Event] = []

    result = crew_of(page_llm("function_calling", endpoint.url), add).kickoff(on_event=events.append)

    assert result.raw == "It is 5."
    assert ran == [(2, 3)]
    function = endpoint.requests[0].json["tools"][0]["function"]
    assert (function["name"], function["description"]) == ("add", "Add two numbers.")
    assert function["parameters"]["required"] == ["a", "b"]
    assert answers_of(endpoint.requests[1]) == ["5"]
    assert len([event for event in events if isinstance(event, ToolStarted)]) == 1
    (finished,) = [event for event in events if isinstance(event, ToolFinished)]
    assert (finished.tool, finished.answer, finished.failed, finished.agent) == ("add", "5", False, "Clerk")


async def test_on_an_event_loop(serve: Any, add: Any, ran: list[Any]) -> None:
    endpoint = serve(ADD, ToolCalls([("add", {"a": 5, "b": 1}), ("add", {"a": 1, "b": 1})]), "Done.", strict=True)
    result = await crew_of(page_llm("function_calling", endpoint.url), add).akickoff()
    assert result.raw == "Done."
    assert ran == [(2, 3), (5, 1), (1, 1)]
    assert answers_of(endpoint.requests[2]) == ["5", "6", "2"]


def test_an_async_tool(serve: Any) -> None:
    from crewai.tools import BaseTool

    class Weather(BaseTool):
        name: str = "weather"
        description: str = "Tell the weather."

        async def _arun(self, city: str) -> str:
            return f"Rain in {city}."

    endpoint = serve(ToolCalls([("weather", {"city": "Oslo"})]), "Rain.", strict=True)
    assert crew_of(page_llm("function_calling", endpoint.url), Weather()).kickoff().raw == "Rain."
    assert answers_of(endpoint.requests[1]) == ["Rain in Oslo."]


def test_a_raising_tool_is_told_to_the_model(serve: Any) -> None:
    from crewai.tools import tool

    @tool
    def look_up(name: str) -> str:
        """Look something up."""
        raise KeyError(name)

    endpoint = serve(ToolCalls([("look_up", {"name": "x"})]), "I could not.", strict=True)
    assert crew_of(page_llm("function_calling", endpoint.url), look_up).kickoff().raw == "I could not."
    (said,) = answers_of(endpoint.requests[1])
    assert said.startswith("Error: 'look_up' failed: KeyError")


@pytest.mark.parametrize("wrong", [{"a": "two", "b": 3}, {"a": 2}, {"a": 2, "b": 3, "c": 4}, {"a": 2.5, "b": 3}, {}])
def test_wrong_arguments_never_run_the_tool(wrong: Any, serve: Any, add: Any, ran: list[Any]) -> None:
    endpoint = serve(ToolCalls([("add", wrong)]), ADD, "It is 5.", strict=True)
    events: list[Event] = []
    result = crew_of(page_llm("function_calling", endpoint.url), add).kickoff(on_event=events.append)
    assert result.raw == "It is 5."
    assert ran == [(2, 3)]
    said, right = answers_of(endpoint.requests[2])
    assert said.startswith("Error: 'add' was not run: ")
    assert right == "5"
    assert [event.failed for event in events if isinstance(event, ToolFinished)] == [True, False]


@pytest.mark.parametrize(("written", "ours"), [("{not json", ResponseFormatError), ("[1, 2]", CallFailedError)])
def test_arguments_that_the_pages_code_cannot_read(
    written: str, ours: type[Exception], serve: Any, add: Any, ran: list[Any]
) -> None:
    """The page's own `json.loads` and `**` fail, before any tool is reached: a typed error, and nothing ran."""
    endpoint = serve(ToolCalls([("add", written)]))
    with pytest.raises(ours):
        crew_of(page_llm("function_calling", endpoint.url), add).kickoff()
    assert ran == []
    assert len(endpoint.requests) == 1


ENDLESS = {
    "unknown function": ToolCalls([("imaginary", {})]),
    "two unknown functions": ToolCalls([("imaginary", {}), ("made_up", {})]),
    "known function": ADD,
    "wrong arguments": ToolCalls([("add", {"a": "two"})]),
}


@pytest.mark.parametrize("reply", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_loop_ends(reply: Any, serve: Any, add: Any) -> None:
    endpoint = serve(reply)
    with pytest.raises(StepsExhaustedError) as caught:
        crew_of(page_llm("function_calling", endpoint.url), add).kickoff()
    assert len(endpoint.requests) <= 25
    assert "within one model call" in str(caught.value)


@pytest.mark.parametrize("reply", ENDLESS.values(), ids=ENDLESS)
async def test_an_endless_loop_ends_on_an_event_loop(reply: Any, serve: Any, add: Any) -> None:
    endpoint = serve(reply)
    with pytest.raises(StepsExhaustedError):
        await crew_of(page_llm("function_calling", endpoint.url), add).akickoff()
    assert len(endpoint.requests) <= 25


def test_an_endless_loop_ends_within_policies(serve: Any, add: Any) -> None:
    endpoint = serve(ENDLESS["unknown function"])
    llm = page_llm("function_calling", endpoint.url).with_policies(Retry(base_delay=0), Metrics())
    with pytest.raises(StepsExhaustedError):
        crew_of(llm, add).kickoff()
    assert len(endpoint.requests) <= 25


def test_an_endless_loop_ends_without_tools(serve: Any) -> None:
    endpoint = serve(ENDLESS["unknown function"])
    with pytest.raises(StepsExhaustedError):
        crew_of(page_llm("function_calling", endpoint.url)).kickoff()
    assert len(endpoint.requests) <= 25


@pytest.mark.parametrize("functions", [None, {}, {"add": lambda a, b: a + b}])
def test_an_endless_loop_ends_outside_of_a_crew(functions: Any, serve: Any) -> None:
    endpoint = serve(ADD)
    llm = page_llm("function_calling", endpoint.url)
    with pytest.raises(StepsExhaustedError, match="called itself 25 times"):
        llm.call("What is 2 + 3?", available_functions=functions)
    assert len(endpoint.requests) == 25
    with pytest.raises(StepsExhaustedError):  # and again: nothing is left over of the first time
        llm.call("What is 2 + 3?", available_functions=functions)
    assert len(endpoint.requests) == 50


def test_asking_another_llm_many_times_is_no_loop(serve: Any) -> None:
    """What counts is how deep a `call()` is inside itself, not how often it is called."""
    from crewai import BaseLLM

    member = page_llm("function_calling", serve("Yes.").url)

    class Committee(BaseLLM):
        def call(self, messages: Any) -> str:
            return " ".join(member.call("Agreed?") for _ in range(40))

    assert crew_of(Committee()).kickoff().raw == " ".join(["Yes."] * 40)


def test_a_tool_that_runs_a_crew_of_the_same_llm(serve: Any) -> None:
    from crewai.tools import tool

    endpoint = serve(ToolCalls([("ask_crew", {})]), "From inside.", "From outside.", strict=True)
    llm = page_llm("function_calling", endpoint.url)

    @tool
    def ask_crew() -> str:
        """Ask another crew."""
        return crew_of(llm).kickoff().raw

    assert crew_of(llm, ask_crew).kickoff().raw == "From outside."
    assert answers_of(endpoint.requests[2]) == ["From inside."]


def test_tools_through_text_where_the_llm_answers_in_text(serve: Any, add: Any, ran: list[Any]) -> None:
    """The page's basic class says that it supports function calling but gives `content` only: tool calls become `None`."""
    endpoint = serve(ADD, 'Action: add\nAction Input: {"a": 2, "b": 3}', "Final Answer: 5.", strict=True)
    assert crew_of(page_llm("basic", endpoint.url), add).kickoff().raw == "5."
    assert ran == [(2, 3)]
    assert endpoint.requests[2].prompt == "Observation: 5"
