"""MCP servers and approvals in crew files."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp_helpers import HttpServer, checking

from oarlock import ConfigurationError, ToolCall
from oarlock.cli.schema import crew_schema
from oarlock.mcp import MCPServerHTTP, MCPServerSSE, MCPServerStdio
from oarlock.project import load_crew
from oarlock.testing import JwtIssuer, ScriptedLLM

PROGRAM = str(Path(__file__).parent / "server_program.py")
CREW = """
mcp_servers:
  sums:
    command: [{python}, {program}]
    env: {{MODE: fast, API_KEY: env:SUMS_KEY}}
    allowed_tools: [add, variable]
    dangerous: [add]
  shop:
    url: {url}
    auth: {{bearer_token: env:SHOP_TOKEN}}
    prefix: shop
    tool_filter: checks:wanted
agents:
  clerk: {{role: Clerk, goal: Count, tools: [sums, shop, "checks:double"], on_approval: checks:approve}}
tasks:
  count: {{description: Count, agent: clerk}}
verbose: false
"""
CHECKS = '''
def wanted(tool):
    return tool["name"] == "price"

def approve(request):
    return request.arguments["a"] < 10

def double(n: int) -> int:
    """Double a number."""
    return 2 * n
'''


def test_a_whole_crew(tmp_path: Path, shop: HttpServer, issuer: JwtIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.instead = checking(issuer)
    monkeypatch.setenv("SHOP_TOKEN", issuer.issue("ada"))
    monkeypatch.setenv("SUMS_KEY", "k3y-value")
    (tmp_path / "checks.py").write_text(CHECKS)
    file = tmp_path / "crew.yaml"
    file.write_text(CREW.format(python=sys.executable, program=PROGRAM, url=shop.url))
    wanted = [
        ("add", {"a": 1}),
        ("add", {"a": 10}),
        ("variable", {"name": "API_KEY"}),
        ("variable", {"name": "MODE"}),
        ("shop_price", {"item": "tea"}),
        ("double", {"n": 2}),
    ]
    calls = [ToolCall(id=str(n), name=name, arguments=json.dumps(given)) for n, (name, given) in enumerate(wanted)]
    llm = ScriptedLLM([calls, "done"], supports_function_calling=True)
    crew = load_crew(file, llm=llm)
    assert crew.kickoff().raw == "done"
    told = [str(message["content"]) for message in llm.requests[-1].messages if message["role"] == "tool"]
    assert told[0] == "2"
    assert "the call was refused" in told[1]
    assert told[2:] == ["k3y-value", "fast", "tea costs 3", "4"]
    for server in crew.agents[0].tools[:2]:
        server.close()


@pytest.mark.parametrize(
    ("servers", "tools", "words"),
    [
        ("{s: {}}", "[s]", "needs either command"),
        ("{s: {command: a, url: 'https://e.com'}}", "[s]", "needs either command"),
        ("{s: {url: 'https://e.com', transport: pigeon}}", "[s]", "transport must be http or sse"),
        ("{s: {url: 'https://e.com', comand: a}}", "[s]", "no argument 'comand'"),
        (
            "{s: {url: 'https://e.com', headers: {Authorization: x}}}",
            "[s]",
            "headers.Authorization looks like a secret",
        ),
        ("{s: {command: a, env: {MY_API_KEY: x}}}", "[s]", "env.MY_API_KEY looks like a secret"),
        ("{s: {command: a, env: [1]}}", "[s]", "env must be a mapping"),
        ("{s: {command: a, env: {X: 'env:NOT_THERE_AT_ALL'}}}", "[s]", "NOT_THERE_AT_ALL is not set"),
        ("{s: {command: a, timeout: -1}}", "[s]", "timeout must be"),
        ("{s: {url: 'https://e.com', auth: {api_key: plain}}}", "[s]", "secret"),
        ("{s: 3}", "[s]", "must be a mapping"),
        ("{shop: {command: a}}", "[shp]", "Did you mean 'shop'?"),
        ("null", "[shop]", "shop"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, servers: str, tools: str, words: str) -> None:
    file = tmp_path / "crew.yaml"
    file.write_text(
        f"mcp_servers: {servers}\nagents: {{a: {{role: R, goal: G, tools: {tools}}}}}\n"
        "tasks: {t: {description: D, agent: a}}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_crew(file, llm=ScriptedLLM([]))
    assert words in str(caught.value)
    assert "crew.yaml" in str(caught.value)


def test_kinds_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_URL", "https://mcp.example.com/mcp")
    file = tmp_path / "crew.yaml"
    file.write_text(
        "mcp_servers:\n  a: {url: 'env:MCP_URL', headers: {x-team: blue}}\n"
        "  b: {url: 'https://e.com/sse', transport: sse}\n  c: {command: python, cwd: sub}\n"
        "agents: {a: {role: R, goal: G, tools: [a, b, c]}}\ntasks: {t: {description: D, agent: a}}\n"
    )
    first, second, third = load_crew(file, llm=ScriptedLLM([])).agents[0].tools
    assert (type(first), first.url, first.title) == (MCPServerHTTP, "https://mcp.example.com/mcp", "a")
    assert type(second) is MCPServerSSE
    assert (type(third), third.cwd) == (MCPServerStdio, tmp_path / "sub")


def test_the_schema_names_every_setting() -> None:
    def settings(kind: Any) -> set[str]:
        return {field.name for field in dataclasses.fields(kind) if field.init}

    named = set(crew_schema()["$defs"]["mcp_server"]["properties"])
    assert named == settings(MCPServerStdio) | settings(MCPServerHTTP) - {"transport"} | {"transport"}
