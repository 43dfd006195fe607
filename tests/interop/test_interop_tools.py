"""Tools made for the real LangChain and the real CrewAI, given to our agents."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from typing import Any

import pytest

from oarlock import Agent, Crew, Task, ToolCall
from oarlock.testing import ScriptedLLM
from oarlock.tools import as_tool


def used(tool: Any, name: str, *arguments: dict[str, Any], run: str) -> list[str]:
    """Return what the model of an agent that has this tool was told of these calls."""
    calls = [ToolCall(id=str(n), name=name, arguments=json.dumps(one)) for n, one in enumerate(arguments)]
    llm = ScriptedLLM([*calls, "done"], supports_function_calling=True)
    agent = Agent(role="R", goal="G", llm=llm, tools=[tool])
    crew = Crew(agents=[agent], tasks=[Task(description="D", agent=agent)])
    crew.kickoff() if run == "blocking" else asyncio.run(crew.akickoff())
    return [str(message["content"]) for message in llm.requests[-1].messages if message["role"] == "tool"]


@pytest.mark.parametrize("run", ["blocking", "async"])
def test_langchain_tools(run: str) -> None:
    tools = pytest.importorskip("langchain_core.tools", reason="LangChain is not installed: make interop")

    @tools.tool
    def add(a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    @tools.tool
    async def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    class Fails(tools.BaseTool):
        name: str = "fails"
        description: str = "Fail."

        def _run(self, why: str) -> str:
            raise ValueError(why)

    assert used(add, "add", {"a": 1}, {"a": "x"}, {}, run=run) == [
        "2",
        "Error: 'add' was not run: wrong arguments: 'a' must be an integer, not a string.",
        "Error: 'add' was not run: wrong arguments: 'a' is missing.",
    ]
    assert used(double, "double", {"n": 2}, run=run) == ["4"]
    assert used(Fails(), "fails", {"why": "no luck"}, run=run) == ["Error: 'fails' failed: ValueError: no luck"]
    of_a_text = tools.Tool(name="search", description="Search.", func=lambda text: f"about {text}")
    assert used(of_a_text, "search", {"tool_input": "tides"}, run=run) == ["about tides"]
    direct = tools.StructuredTool.from_function(lambda q: q, name="echo", description="Echo.", return_direct=True)
    assert as_tool(direct).result_as_answer


@pytest.mark.parametrize("run", ["blocking", "async"])
def test_crewai_tools(run: str) -> None:
    if importlib.util.find_spec("crewai") is None:
        pytest.skip("CrewAI is not installed: make interop")
    from crewai.tools import BaseTool, tool

    class Add(BaseTool):
        name: str = "Adding machine"
        description: str = "Add two numbers."

        def _run(self, a: int, b: int = 1) -> str:
            return str(a + b)

    @tool("Double")
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    assert used(Add(), "adding_machine", {"a": 1}, {"a": "x"}, run=run) == [
        "2",
        "Error: 'adding_machine' was not run: wrong arguments: 'a' must be an integer, not a string.",
    ]
    assert used(double, "Double", {"n": 2}, run=run) == ["4"]
    assert as_tool(Add()).description == "Add two numbers."
