"""MCP servers in scripts written for CrewAI."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from mcp import StdioServerParameters
from mcp_helpers import HttpServer

import oarlock
import oarlock.mcp
from oarlock import ConfigurationError, ToolCall
from oarlock.compat import as_crewai
from oarlock.mcp import MCPServerError
from oarlock.project import CrewBase, agent, crew, task
from oarlock.testing import ScriptedLLM

PROGRAM = str(Path(__file__).parent / "server_program.py")
ADD = ToolCall(id="1", name="add", arguments='{"a": 1}')


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with as_crewai():
        yield


def scripted(*replies: Any) -> ScriptedLLM:
    return ScriptedLLM(list(replies), supports_function_calling=True)


def told(llm: ScriptedLLM) -> list[str]:
    return [str(message["content"]) for message in llm.requests[-1].messages if message["role"] == "tool"]


def test_an_agent_with_mcps(shop: HttpServer) -> None:
    from crewai import Agent, Crew, Task  # type: ignore[import-not-found]
    from crewai.mcp import MCPServerStdio, create_static_tool_filter  # type: ignore[import-not-found]

    program = MCPServerStdio(
        command=sys.executable,
        args=[PROGRAM],
        env={"API_KEY": "your_key"},
        tool_filter=create_static_tool_filter(allowed_tool_names=["add", "fail"], blocked_tool_names=["fail"]),
        cache_tools_list=True,
    )
    llm = scripted([ADD, ToolCall(id="2", name="price", arguments='{"item": "tea"}')], "done")
    agent = Agent(role="R", goal="G", backstory="B", llm=llm, mcps=[program, f"{shop.url}#price"])
    assert (
        str(Crew(agents=[agent], tasks=[Task(description="D", expected_output="E", agent=agent)]).kickoff()) == "done"
    )
    assert told(llm) == ["2", "tea costs 3"]
    assert {tool["function"]["name"] for tool in llm.requests[0].tools} == {"add", "price"}
    program.close()


@pytest.mark.parametrize(
    ("mcps", "words"),
    [("https://e.com/mcp", "mcps must be a list"), (["snowflake"], "'snowflake'"), ([3], r"mcps=\[an int\]")],
)
def test_mcps_that_are_none(mcps: Any, words: str) -> None:
    from crewai import Agent

    with pytest.raises(ConfigurationError, match=words):
        Agent(role="R", goal="G", backstory="B", llm=scripted(), mcps=mcps)


def test_our_own_agents_say_where_servers_belong() -> None:
    with pytest.raises(ConfigurationError, match=r"give servers of oarlock.mcp in tools"):
        oarlock.Agent(role="R", goal="G", mcps=["https://e.com/mcp"])  # type: ignore[call-arg]


def test_an_adapter(shop: HttpServer, old_shop: HttpServer) -> None:
    from crewai import Agent, Task
    from crewai_tools import MCPServerAdapter  # type: ignore[import-not-found]

    program = StdioServerParameters(command=sys.executable, args=[PROGRAM])
    with MCPServerAdapter(program, "add") as tools:
        assert [tool.name for tool in tools] == ["add"]
        assert tools["add"] is tools[0]
        with pytest.raises(KeyError):
            tools["fail"]
        llm = scripted(ADD, "done")
        agent = Agent(role="R", goal="G", backstory="B", llm=llm, tools=tools)
        assert agent.execute_task(Task(description="D", expected_output="E")) == "done"
        assert told(llm) == ["2"]
    servers = [
        {"url": shop.url, "transport": "streamable-http", "headers": {"x-team": "blue"}},
        {"url": f"{old_shop.origin}/sse"},
    ]
    adapter = MCPServerAdapter(servers, connect_timeout=60)
    assert [tool.name for tool in adapter.tools] == ["price", "price"]
    assert adapter.tools[1].run(item="tea") == "tea costs 3"
    adapter.stop()
    assert shop.seen("x-team") == {"blue"}


def test_an_adapter_that_cannot_be(caplog: pytest.LogCaptureFixture) -> None:
    from crewai_tools import MCPServerAdapter

    with caplog.at_level(logging.ERROR), pytest.raises(MCPServerError, match="could not be started"):
        MCPServerAdapter(StdioServerParameters(command="no-such-program-anywhere"))
    for wrong, words in (
        ({"url": "https://e.com", "transport": "pigeon"}, "transport must be"),
        ({"transport": "sse"}, "needs the argument url"),
        (3, "give StdioServerParameters"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            MCPServerAdapter(wrong)


def with_servers(llm: ScriptedLLM, *names: str, **attributes: Any) -> Any:
    """Return an object of a `@CrewBase` class with MCP servers, whose one agent has their tools of these names."""
    from crewai import Agent, Crew, Task

    class Shop:
        agents_config: ClassVar[Any] = {"buyer": {"role": "Buyer", "goal": "Buy tea", "backstory": "Thirsty"}}

        @agent
        def buyer(self) -> Any:
            tools = self.get_mcp_tools(*names)  # type: ignore[attr-defined]
            return Agent(config=self.agents_config["buyer"], llm=llm, tools=tools)

        @task
        def buying(self) -> Any:
            return Task(description="Buy", expected_output="Tea", agent=self.buyer())

        @crew
        def crew(self) -> Any:
            return Crew(agents=self.agents, tasks=self.tasks)  # type: ignore[attr-defined]

    for name, value in attributes.items():
        setattr(Shop, name, value)
    return CrewBase(Shop)()


def test_a_class_with_servers(shop: HttpServer) -> None:
    ours = oarlock.mcp.MCPServerHTTP(url=shop.url, prefix="new")
    servers = [ours, StdioServerParameters(command=sys.executable, args=[PROGRAM])]
    llm = scripted(ADD, "done", "again")
    buyer = with_servers(llm, "add", "new_price", mcp_server_params=servers, mcp_connect_timeout=60)
    assert repr(buyer.agents[0].tools[0]) == "<the MCP tools add, new_price of Shop>"
    with ours:
        assert buyer.crew().kickoff().raw == "done"
    assert told(llm) == ["2"]
    assert {tool["function"]["name"] for tool in llm.requests[0].tools} == {"add", "new_price"}
    assert asyncio.run(buyer.crew().kickoff_async()).raw == "again"  # they are connected still


def test_a_class_with_one_server_offers_all_of_it(shop: HttpServer) -> None:
    llm = scripted("done")
    here = {"url": shop.url, "transport": "streamable-http"}
    assert with_servers(llm, mcp_server_params=here).crew().kickoff().raw == "done"
    assert [tool["function"]["name"] for tool in llm.requests[0].tools] == ["price"]


def test_a_class_without_servers_or_with_wrong_ones(shop: HttpServer) -> None:
    assert with_servers(scripted("done")).agents[0].tools == []
    own = with_servers(scripted(), get_mcp_tools=lambda self: [], mcp_server_params={"url": shop.url})
    assert own.agents[0].tools == []
    with pytest.raises(ConfigurationError, match=r"Shop\.mcp_server_params: transport must be"):
        _ = with_servers(scripted(), mcp_server_params={"url": shop.url, "transport": "pigeon"}).agents
    here = {"url": shop.url, "transport": "streamable-http"}
    for name, hint in (("prices", "Did you mean 'price'"), ("sell", "Their tools are: price")):
        with pytest.raises(ConfigurationError, match=f"Shop: get_mcp_tools.. names '{name}', .* {hint}"):
            with_servers(scripted(), name, mcp_server_params=here).crew().kickoff()


def test_what_is_not_there_says_so() -> None:
    with pytest.raises(ImportError, match="give each agent a server of its own"):
        from crewai.mcp.filters import create_dynamic_tool_filter  # noqa: F401
