"""MCP servers that are programs: real ones, and ones that misbehave."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oarlock import Agent, ConfigurationError, Crew, LLMTimeoutError, Task, ToolCall, ToolError
from oarlock.contract.events import ToolFinished
from oarlock.contract.secret import Secret
from oarlock.mcp import MCPServer, MCPServerError, MCPServerStdio, MCPTool
from oarlock.testing import ScriptedLLM

Run = Callable[..., Any]
PROGRAM = str(Path(__file__).parent / "server_program.py")


@pytest.fixture(scope="module")
def _program() -> Iterator[MCPServer]:
    with MCPServerStdio(command=[sys.executable, PROGRAM], name="shop") as server:
        yield server


@pytest.fixture
def program(_program: MCPServer) -> MCPServer:
    return _program


def named(server: MCPServer) -> dict[str, Any]:
    return {tool.name: tool for tool in server.tools}


def crew_of(server: Any, *replies: Any, **agent: Any) -> tuple[Crew, ScriptedLLM]:
    llm = ScriptedLLM([*replies, "done"], supports_function_calling=True)
    clerk = Agent(role="Clerk", goal="Count", llm=llm, tools=[server], **agent)
    return Crew(agents=[clerk], tasks=[Task(description="Count", agent=clerk)]), llm


def call(name: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


def told(llm: ScriptedLLM) -> list[str]:
    return [str(message["content"]) for message in llm.requests[-1].messages if message["role"] == "tool"]


def is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    return True


def test_an_agent_uses_its_tools(run: Run, program: MCPServer) -> None:
    crew, llm = crew_of(
        program,
        call("add", '{"a": 1, "b": 2}'),
        call("add", '{"a": "1"}'),
        call("add", '{"a": 1, "c": 2}'),
        call("ad"),
        call("fail", '{"why": "no luck"}'),
    )
    assert run(crew).raw == "done"
    answers = told(llm)
    assert answers[0] == "3"
    assert answers[1] == "Error: 'add' was not run: wrong arguments: 'a' must be an integer, not a string."
    assert answers[3].startswith("Error: there is no tool 'ad'. Did you mean 'add'?")
    assert answers[4].startswith("Error: Error executing tool fail")
    offered = {schema["function"]["name"]: schema["function"] for schema in llm.requests[0].tools}
    assert offered["add"] == {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}},
            "required": ["a"],
        },
    }


def test_one_program_serves_all_runs(run: Run, program: MCPServer) -> None:
    before = named(program)["process"].run()
    crew, llm = crew_of(program, call("process"))
    run(crew)
    assert told(llm) == [before]
    assert named(program)["process"].run() == before


def test_tools_of_a_server_and_others_stand_together(program: MCPServer) -> None:
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    llm = ScriptedLLM([[call("double", '{"n": 2}'), call("add", '{"a": 2}')], "done"], supports_function_calling=True)
    agent = Agent(role="Clerk", goal="Count", llm=llm, tools=[double, program])
    assert agent.execute_task(Task(description="Count")) == "done"
    assert told(llm) == ["4", "3"]
    llm = ScriptedLLM([call("add", '{"a": 2}'), "done"], supports_function_calling=True)
    agent = Agent(role="Clerk", goal="Count", llm=llm)
    agent.execute_task(Task(description="Count"), tools=[program])
    assert told(llm) == ["3"]


def test_its_list_of_tools_can_be_taken_apart(run: Run, program: MCPServer) -> None:
    crew, llm = crew_of(named(program)["add"], call("add", '{"a": 2}'))
    run(crew)
    assert told(llm) == ["3"]


def test_two_tools_of_one_name_are_told_and_a_prefix_helps(run: Run, program: MCPServer) -> None:
    def add(a: int) -> int:
        """Add."""
        return a

    llm = ScriptedLLM(["done"], supports_function_calling=True)
    agent = Agent(role="Clerk", goal="Count", llm=llm, tools=[add, program])
    with pytest.raises(ConfigurationError, match="Agent 'Clerk': Two tools have the name 'add'"):
        run(Crew(agents=[agent], tasks=[Task(description="D", agent=agent)]))
    assert not llm.requests
    with MCPServerStdio(command=[sys.executable, PROGRAM], prefix="shop") as other:
        assert "shop_add" in named(other)
        assert named(other)["shop_add"].run(a=1) == "2"
        agent.tools[1] = other
        run(Crew(agents=[agent], tasks=[Task(description="D", agent=agent)]))
    assert {schema["function"]["name"] for schema in llm.requests[0].tools} >= {"add", "shop_add"}


def test_tools_are_chosen() -> None:
    server = MCPServerStdio(
        command=[sys.executable, PROGRAM],
        allowed_tools=["add", "fail", "process"],
        blocked_tools=["fail"],
        tool_filter=lambda tool: "process" not in tool["description"],
    )
    with server:
        assert [tool.name for tool in server.tools] == ["add"]
    for setting in ("allowed_tools", "dangerous"):
        with (
            pytest.raises(ConfigurationError, match=rf"{setting} names 'ad', which .* Did you mean 'add'\?"),
            MCPServerStdio(command=[sys.executable, PROGRAM], **{setting: ["ad"]}),
        ):
            pass
    with (
        pytest.raises(ConfigurationError, match="Its tools are: add, fail"),
        MCPServerStdio(command=[sys.executable, PROGRAM], allowed_tools=["zzz"]),
    ):
        pass


def test_what_may_be_run_again_after_a_crash_is_what_the_server_says() -> None:
    with MCPServerStdio(command=[sys.executable, PROGRAM]) as server:
        policies = {tool.remote_name: tool.resume_policy for tool in server.tools}
        assert {name for name, policy in policies.items() if policy == "retry"} == {"variable", "sleep"}
        assert set(policies.values()) == {"retry", "fail"}


def test_dangerous_tools_are_asked_about(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with MCPServerStdio(command=[sys.executable, PROGRAM], dangerous=["add"]) as server:
        asked: list[Any] = []
        crew, llm = crew_of(server, call("add", '{"a": 1}'), on_approval=lambda request: asked.append(request) or "no")
        run(crew)
        assert told(llm) == ["Error: 'add' was not run: the call was refused: no. Do not try it again as it is."]
        assert asked[0].arguments == {"a": 1}
        monkeypatch.setattr("sys.stdin", None)
        crew, llm = crew_of(server)
        with pytest.raises(ConfigurationError, match="the tool 'add' is dangerous"):
            run(crew)
        assert not llm.requests
    assert all(tool.dangerous for tool in MCPServerStdio(command=[sys.executable, PROGRAM], dangerous=True).tools)


def test_results_are_given_again_where_that_is_wanted(run: Run, program: MCPServer) -> None:
    events: list[Any] = []
    crew, _ = crew_of(program, call("process"), call("process"), cache=True)
    run(crew, on_event=events.append)
    assert [event.cached for event in events if isinstance(event, ToolFinished)] == [False, True]


def test_its_environment_holds_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "not for it")
    server = MCPServerStdio(
        command=[sys.executable, PROGRAM], env={"THEIRS": "s3cret-value", "KEY": Secret("k3y-value")}
    )
    with server:
        variable = named(server)["variable"]
        assert [variable.run(name=name) for name in ("THEIRS", "KEY", "OURS")] == [
            "s3cret-value",
            "k3y-value",
            "(none)",
        ]
        assert variable.run(name="PATH") != "(none)"
    assert "s3cret" not in repr(server) + repr(vars(server))


def test_closing_ends_the_program_and_a_later_use_starts_it_again() -> None:
    server = MCPServerStdio(command=sys.executable, args=[PROGRAM])
    with server:
        first = named(server)["process"].run()
        tool = named(server)["process"]
    assert not is_running(first)
    server.close()  # twice is no harm
    second = tool.run()
    assert second != first
    assert is_running(second)
    server.close()
    assert not is_running(second)


async def test_in_coroutines() -> None:
    async with MCPServerStdio(command=[sys.executable, PROGRAM]) as server:
        process = await named(server)["process"].arun()
        results = await asyncio.gather(*(named(server)["add"].arun(a=n) for n in range(50)))
        assert results == [str(n + 1) for n in range(50)]
    assert not is_running(process)


def test_a_program_that_ends_is_told_and_started_again(run: Run) -> None:
    with MCPServerStdio(command=[sys.executable, PROGRAM], name="shop") as server:
        crew, llm = crew_of(server, call("leave"), call("add", '{"a": 1}'))
        run(crew)
        assert told(llm)[0].startswith(
            "Error: The MCP server 'shop' has ended, or closed the connection. Its last words:"
        )
        assert "the server was told to go" in told(llm)[0]
        assert told(llm)[1] == "2"


def test_a_program_that_ended_between_calls_is_started_again_unnoticed() -> None:
    with MCPServerStdio(command=[sys.executable, PROGRAM]) as server:
        process = named(server)["process"]
        first = process.run()
        connection = server._connection._life
        os.kill(int(first), 9)
        reading = BLOCKING_READ(server)
        while not reading.ended:
            threading.Event().wait(0.01)
        assert process.run() != first
        assert server._connection._life is not connection


def BLOCKING_READ(server: MCPServer) -> Any:
    async def look(session: Any) -> Any:
        return session.reading

    return server._connection.use(look, 30)


def test_a_call_that_takes_too_long_is_told_and_others_go_on(run: Run) -> None:
    with MCPServerStdio(command=[sys.executable, PROGRAM], name="shop", timeout=0.3) as server:
        crew, llm = crew_of(server, call("sleep", '{"seconds": 1}'))
        run(crew)
        assert told(llm) == ["Error: The MCP server 'shop' gave no answer within 0.3 s."]


@pytest.mark.parametrize("runs", ["blocking", "async"])
def test_a_call_ends_with_the_time_of_the_run(runs: str, program: MCPServer) -> None:
    crew, _ = crew_of(program, call("sleep", '{"seconds": 30}'), max_execution_time=0.5)
    with pytest.raises(LLMTimeoutError, match="max_execution_time"):
        crew.kickoff() if runs == "blocking" else asyncio.run(crew.akickoff())


async def test_a_cancelled_call_is_given_up(program: MCPServer) -> None:
    task = asyncio.ensure_future(named(program)["sleep"].arun(seconds=30))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(named(program)["add"].run, a=1) == "2"


def test_a_long_result_is_cut(run: Run, program: MCPServer) -> None:
    crew, llm = crew_of(program, call("long", '{"characters": 300000}'))
    run(crew)
    assert told(llm)[0].endswith("[cut: 200,000 more characters are not shown]")


# Programs that are no good servers.


def script(tmp_path: Path, body: str) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(f"import json, sys, os, time\n{body}")
    return [sys.executable, str(path)]


ANSWERS = """
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({{'jsonrpc': '2.0', 'id': request.get('id'), {}}}), flush=True)
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit('no licence found')", "has ended, or closed the connection. Its last words: no licence found"),
        ("print('Hello!', flush=True); sys.exit(1)", "has ended"),
        ("print('Hello!', flush=True); time.sleep(60)", "gave no answer within 2 s"),
        ("time.sleep(60)", "gave no answer within 2 s"),
        ("sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush(); time.sleep(60)", ""),
        ("for line in sys.stdin: print(line, end='', flush=True)", ""),
        ("os.close(1); time.sleep(60)", ""),  # it is killed first, which may take longer
        (ANSWERS.format("'result': 3"), ""),
        (
            ANSWERS.format("'error': {'code': -1, 'message': 'go away, sk-abcdefghijklmnop123456'}"),
            "failed: go away, …",
        ),
    ],
    ids=["exits", "talks and exits", "talks", "hangs", "no text", "echoes", "closes", "no result", "refuses"],
)
def test_a_program_that_is_no_server_ends_the_run(run: Run, tmp_path: Path, body: str, words: str) -> None:
    server = MCPServerStdio(command=script(tmp_path, body), name="shop", connect_timeout=2)
    crew, llm = crew_of(server)
    with pytest.raises(MCPServerError) as caught:
        run(crew)
    assert str(caught.value).startswith("The MCP server 'shop' ")
    assert words in str(caught.value)
    assert not llm.requests
    server.close()


@pytest.mark.parametrize("command", ["/no/such/program", "no-such-program-anywhere", str(Path(__file__).parent)])
def test_a_program_that_cannot_be_started(command: str) -> None:
    with pytest.raises(MCPServerError, match=r"could not be started: (there is no such program|Permission denied)"):
        MCPServerStdio(command=command).tools


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MCPServerError, match="could not be started: there is no such program or folder"):
        MCPServerStdio(command=sys.executable, cwd=tmp_path / "none").tools


def test_a_value_of_the_environment_does_not_show_in_last_words(tmp_path: Path) -> None:
    command = script(tmp_path, "sys.exit('bad value: ' + os.environ['KEY'])")
    with pytest.raises(MCPServerError) as caught:
        MCPServerStdio(command=command, env={"KEY": "h0rse-battery"}).tools
    assert "bad value: …" in str(caught.value)


LIES = """
tools = TOOLS
def answer(request):
    method, version = request["method"], "2025-06-18"
    if method == "initialize":
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "l", "version": "1"}}
    if method == "tools/list":
        return {"tools": tools, "nextCursor": "again"} if ENDLESS else {"tools": tools}
    if method == "tools/call":
        return RESULT
    return None

for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        result = answer(request)
        reply = {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}), flush=True)
"""


def lying(tmp_path: Path, tools: Any, result: Any = None, *, endless: bool = False, **settings: Any) -> MCPServerStdio:
    body = LIES.replace("TOOLS", repr(tools)).replace("RESULT", repr(result)).replace("ENDLESS", repr(endless))
    return MCPServerStdio(command=script(tmp_path, body), name="liar", **settings)


def described(name: str, schema: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": schema, **more}


OBJECT = {"type": "object"}


def test_tools_that_no_model_can_be_told_about_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tools = [
        described("good", OBJECT, description="Good."),
        described("huge", {"type": "object", "description": "x" * 200_000}),
        described("nested", {"type": "object", "properties": {"x": {"properties": 3}}}),
        described("good", OBJECT, description="Another of this name."),
        described("no words", OBJECT),
        described("long", OBJECT, description="y" * 50_000),
        described("../../\x1b[2J", OBJECT),
    ]
    with lying(tmp_path, tools) as server:
        found = {tool.function_name: tool for tool in server.tools}
    assert set(found) == {"good", "nested", "no_words", "long", "2j"}
    assert found["good"].description == "Good."
    assert found["no_words"].description == "The tool 'no words'."
    assert len(found["long"].description) == 10_000
    assert "at most 100,000" in caplog.text
    assert "another tool has that name" in caplog.text


@pytest.mark.parametrize("tools", [[described("list", {"type": "array"})], [{"name": 5}], "none", [3]])
def test_a_list_that_is_none_is_told(tmp_path: Path, tools: Any) -> None:
    with pytest.raises(MCPServerError, match="The MCP server 'liar' failed"), lying(tmp_path, tools):
        pass


def test_a_list_without_end_is_cut(tmp_path: Path) -> None:
    with lying(tmp_path, [described(f"t{n}", OBJECT) for n in range(300)], endless=True) as server:
        assert len(server.tools) == 300  # one of each name, after at most a thousand


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": []}, ""),
        ({"content": [], "structuredContent": {"n": 1}}, '{"n": 1}'),
        ({"content": [{"type": "text", "text": "one"}], "structuredContent": {"n": 1}}, "one"),
        (
            {"content": [{"type": "image", "data": "AAAA" * 1000, "mimeType": "image/png"}]},
            "[image, image/png, 3,000 bytes, not shown]",
        ),
        (
            {"content": [{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}]},
            "[audio, audio/wav, 3 bytes, not shown]",
        ),
        (
            {"content": [{"type": "resource_link", "uri": "file:///a", "name": "a", "description": "A file"}]},
            "[resource 'a' at file:///a: A file]",
        ),
        ({"content": [{"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}]}, "inside"),
        (
            {"content": [{"type": "resource", "resource": {"uri": "file:///a", "blob": "AAAA"}}]},
            "[resource at file:///a, not shown]",
        ),
    ],
)
def test_results_become_text(tmp_path: Path, result: Any, text: str) -> None:
    with lying(tmp_path, [described("look", OBJECT)], result) as server:
        assert server.tools[0].run() == text


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"content": [{"type": "text", "text": "bad luck"}], "isError": True}, "^bad luck$"),
        ({"content": [], "isError": True}, "did not say why"),
        ({"content": "text"}, "The MCP server 'liar' failed"),
        ({"content": [{"type": "smell", "strength": 3}]}, "The MCP server 'liar' failed"),
        ({"nothing": 1}, "The MCP server 'liar' failed"),
    ],
)
def test_results_that_are_failures_or_none(tmp_path: Path, result: Any, words: str) -> None:
    with lying(tmp_path, [described("look", OBJECT)], result) as server, pytest.raises(ToolError, match=words):
        server.tools[0].run()


def test_a_result_that_its_own_schema_forbids_is_told(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = [described("look", OBJECT, outputSchema=schema)]
    with (
        lying(tmp_path, tools, {"content": [], "structuredContent": {"n": "x"}}) as server,
        pytest.raises(ToolError, match="The MCP server 'liar' failed"),
    ):
        server.tools[0].run()


def test_a_list_that_changes_is_asked_for_again(tmp_path: Path, run: Run) -> None:
    body = """
calls = 0
for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    method = request["method"]
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}},
                  "serverInfo": {"name": "l", "version": "1"}}
    elif method == "tools/list":
        names = ["first"] if calls == 0 else ["first", "second"]
        result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
    elif method == "tools/call":
        calls += 1
        print(json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}), flush=True)
        result = {"content": [{"type": "text", "text": request["params"]["name"]}]}
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no"}}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""
    with MCPServerStdio(command=script(tmp_path, body), name="growing") as server:
        llm = ScriptedLLM([call("first"), "one", call("second"), "two"], supports_function_calling=True)
        agent = Agent(role="Clerk", goal="G", llm=llm, tools=[server])
        run(Crew(agents=[agent], tasks=[Task(description=f"Task {n}", agent=agent) for n in (1, 2)]))
        assert told(llm) == ["second"]
        first = named(server)["first"]
        server.forget()
        assert named(server)["first"] is first  # what has not changed stays the same object


def test_the_end_of_the_interpreter_ends_the_program(tmp_path: Path) -> None:
    code = (
        "import sys; from oarlock.mcp import MCPServerStdio\n"
        f"server = MCPServerStdio(command=[sys.executable, {PROGRAM!r}])\n"
        "print({tool.name: tool for tool in server.tools}['process'].run())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stderr == ""
    assert not is_running(done.stdout)


def test_a_server_that_nobody_holds_is_ended() -> None:
    import gc

    server: Any = MCPServerStdio(command=[sys.executable, PROGRAM])
    process = named(server)["process"].run()
    life = server._connection._life
    del server
    gc.collect()
    life.wait()
    assert not is_running(process)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks there")
def test_a_fork_starts_its_own(tmp_path: Path) -> None:
    code = (
        "import os, sys, warnings; from oarlock.mcp import MCPServerStdio\n"
        f"server = MCPServerStdio(command=[sys.executable, {PROGRAM!r}])\n"
        "process = {tool.name: tool for tool in server.tools}['process']\n"
        "first = process.run()\n"
        "warnings.simplefilter('ignore')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print(process.run() != first, flush=True); server.close(); os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(process.run() == first)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"command": ""}, "command must be a program"),
        ({"command": []}, "command must be a program"),
        ({"command": ["python", 3]}, "command must be a program"),
        ({"command": "a\0b"}, "command must be a program"),
        ({"command": "python server.py"}, "give the arguments apart"),
        ({"command": "python", "env": ["A=1"]}, "env must be a mapping"),
        ({"command": "python", "env": {"A": 1}}, r"env\['A'\] must be a text"),
        ({"comand": "python"}, "Did you mean 'command'"),
        ({}, "needs the argument command"),
    ],
)
def test_settings_that_cannot_work_are_told(settings: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        MCPServerStdio(**settings)


def test_what_it_says_of_itself() -> None:
    assert repr(MCPServerStdio(command="npx", args=["-y", "secret-arg"])) == "MCPServerStdio('npx')"
    assert MCPServerStdio(command=["python", "/srv/server.py"]).title == "server.py"
    assert MCPServerStdio(command="npx", name="files").title == "files"


def test_a_pickled_one_starts_its_own() -> None:
    server = pickle.loads(pickle.dumps(MCPServerStdio(command=[sys.executable, PROGRAM])))
    with server:
        assert isinstance(server.tools[0], MCPTool)


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'oarlock\[mcp\]'"):
        MCPServerStdio(command="python")
