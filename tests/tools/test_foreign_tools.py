"""Tools of other libraries, recognised by what they have. (The real ones: tests/interop.)"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from oarlock import Agent, ConfigurationError, Crew, Task, ToolCall, ToolError
from oarlock.testing import ScriptedLLM, VirtualRuntime
from oarlock.tools import as_tool, tools_by_name


class Takes(BaseModel):
    """What it takes."""

    city: str
    days: int = 1


class LangChainLike:
    """As LangChain's `StructuredTool`."""

    name = "forecast"
    description = "Tell the weather."
    args_schema: Any = Takes

    def __init__(self, **changes: Any) -> None:
        self.calls: list[Any] = []
        vars(self).update(changes)

    def invoke(self, arguments: dict[str, Any]) -> str:
        self.calls.append(("invoke", arguments))
        return f"rain in {arguments['city']}"

    async def ainvoke(self, arguments: dict[str, Any]) -> str:
        self.calls.append(("ainvoke", arguments))
        return f"rain in {arguments['city']}"


class CrewAILike:
    """As CrewAI's `BaseTool`."""

    name = "Forecast"
    description = "Tool Name: forecast\nTool Arguments: {...}\nTool Description: Tell the weather."
    args_schema: Any = Takes
    result_as_answer = True
    max_usage_count = 1

    def _run(self, city: str, days: int = 1) -> str:
        return f"sun in {city}"

    def run(self, **arguments: Any) -> str:
        return self._run(**arguments)


CALL = ToolCall(id="1", name="forecast", arguments=json.dumps({"city": "Oslo"}))


def blocking(crew: Crew) -> Any:
    return crew.kickoff()


def on_a_loop(crew: Crew) -> Any:
    return asyncio.run(crew.akickoff())


def virtual(crew: Crew) -> Any:
    with VirtualRuntime() as runtime:
        return runtime.run(crew.akickoff())


@pytest.mark.parametrize("run", [blocking, on_a_loop, virtual])
def test_an_agent_uses_them(run: Callable[[Crew], Any]) -> None:
    lang = LangChainLike()
    wrong = ToolCall(id="2", name="forecast", arguments='{"city": 5, "when": "now"}')
    llm = ScriptedLLM([wrong, CALL, "done"], supports_function_calling=True)
    agent = Agent(role="R", goal="G", llm=llm, tools=[lang])
    assert run(Crew(agents=[agent], tasks=[Task(description="D", agent=agent)])).raw == "done"
    told = [message["content"] for message in llm.requests[-1].messages if message["role"] == "tool"]
    assert told == [
        "Error: 'forecast' was not run: wrong arguments: 'city' must be a string, not an integer.",
        "rain in Oslo",
    ]
    assert lang.calls == [("invoke", {"city": "Oslo"})]
    assert llm.requests[0].tools[0]["function"] == {
        "name": "forecast",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
            "required": ["city"],
        },
    }
    call = ToolCall(id="1", name="Forecast", arguments=CALL.arguments)
    llm = ScriptedLLM([call], supports_function_calling=True)
    agent = Agent(role="R", goal="G", llm=llm, tools=[CrewAILike()])
    assert run(Crew(agents=[agent], tasks=[Task(description="D", agent=agent)])).raw == "sun in Oslo"


def test_settings_are_taken_over() -> None:
    tool = as_tool(CrewAILike())
    assert (tool.description, tool.result_as_answer, tool.max_usage_count) == ("Tell the weather.", True, 1)
    assert as_tool(LangChainLike(return_direct=True)).result_as_answer
    assert list(tools_by_name([CrewAILike()])) == ["Forecast"]


def test_a_coroutine_of_its_own_is_awaited() -> None:
    async def coroutine() -> None: ...

    both = LangChainLike(coroutine=coroutine)
    assert asyncio.run(as_tool(both).arun(city="Oslo")) == "rain in Oslo"
    assert as_tool(both).run(city="Oslo") == "rain in Oslo"
    assert [name for name, _ in both.calls] == ["ainvoke", "invoke"]
    only = LangChainLike(coroutine=coroutine, func=None)
    assert as_tool(only).run(city="Oslo") == "rain in Oslo"
    assert [name for name, _ in only.calls] == ["ainvoke"]

    class Own(CrewAILike):
        async def _arun(self, city: str, days: int = 1) -> str:
            return f"stars in {city}"

        async def arun(self, **arguments: Any) -> str:
            return await self._arun(**arguments)

    assert asyncio.run(as_tool(Own()).arun(city="Oslo")) == "stars in Oslo"
    assert as_tool(Own()).run(city="Oslo") == "sun in Oslo"


def test_a_tool_of_one_text_need_not_say_so() -> None:
    text = {"tool_input": {"type": "string"}}
    tool = as_tool(LangChainLike(args_schema=None, args=text, invoke=lambda arguments: arguments["tool_input"]))
    assert tool.schema["function"]["parameters"] == {"type": "object", "properties": text, "required": ["tool_input"]}
    assert tool.run(tool_input="tides") == "tides"


def test_a_schema_may_be_a_mapping() -> None:
    schema = {"type": "object", "description": "x", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = as_tool(LangChainLike(args_schema=schema))
    assert tool.run(city="Oslo") == "rain in Oslo"
    with pytest.raises(ToolError, match="'city' is missing"):
        tool.run()

    class Before:
        @staticmethod
        def schema() -> Any:
            return schema

    assert as_tool(LangChainLike(args_schema=Before)).arguments.order == ("city",)


class Odd:
    @staticmethod
    def model_json_schema() -> Any:
        raise TypeError("no schema")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (None, "has no args_schema"),
        (Odd, "cannot say what it takes: TypeError: no schema"),
        ({"type": "array"}, "not described by a JSON schema"),
    ],
)
def test_one_that_no_model_can_be_told_about(schema: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Agent(role="R", goal="G", tools=[LangChainLike(args_schema=schema)])


@pytest.mark.parametrize("thing", [object(), 3, "text", Takes(city="x")])
def test_what_is_no_tool_is_told(thing: Any) -> None:
    with pytest.raises(ToolError, match="tools must be BaseTool objects"):
        as_tool(thing)
