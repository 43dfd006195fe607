"""`record=`: everything that happens in a run, in a file, as it happens."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from oarlock import Agent, ConfigurationError, Crew, ServerError, Task, ToolCall, current_call, tool
from oarlock.events import CallFinished, CallStarted, Event, ModelDelta, RecordingFailed, TaskFinished, to_dict
from oarlock.policies import Budget, Price
from oarlock.report import Recording
from oarlock.testing import FunctionLLM, ScriptedLLM

KEY = "sk-abcdefghijklmnopqrstuvwx1234"


@tool
def look_up(topic: str, api_key: str = "") -> str:
    """Look a topic up."""
    return f"Much is known about {topic}; password: hunter2hunter2."


def clerk(*script: Any, tools: Any = (look_up,), goal: str = "Know") -> Agent:
    return Agent(role="Clerk", goal=goal, llm=ScriptedLLM(script, supports_function_calling=True), tools=list(tools))


def asks_for(tool: str, **arguments: Any) -> ToolCall:
    return ToolCall(id="call-1", name=tool, arguments=json.dumps(arguments))


def crew_of(*script: Any, **settings: Any) -> Crew:
    agent = clerk(*script)
    tasks = [Task(name=f"t{number}", description="About {topic}", agent=agent) for number in range(2)]
    return Crew(agents=[agent], tasks=tasks, **settings)


def asking_a_tool() -> list[Any]:
    return [asks_for("look_up", topic="boats", api_key="zq7-canary"), "First.", "Second."]


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OARLOCK_RECORD", raising=False)
    return tmp_path / "run.jsonl"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line]


def run(how: str, crew: Crew, **settings: Any) -> Any:
    if how == "blocking":
        return crew.kickoff({"topic": "boats"}, **settings)
    if how == "async":
        return asyncio.run(crew.akickoff({"topic": "boats"}, **settings))
    stream = crew.stream({"topic": "boats"}, **settings)
    for _ in stream:
        pass
    return stream.result


@pytest.mark.parametrize("how", ["blocking", "async", "read as a stream"])
def test_all_that_happens_is_recorded_but_pieces(path: Path, how: str) -> None:
    heard: list[Event] = []
    crew = crew_of(*asking_a_tool())
    output = run(how, crew, on_event=heard.append, record=path)
    header, *events = lines_of(path)
    assert header["oarlock_record"] == 1
    assert header["run_id"] == output.run_id
    assert header["crew"] == "crew"
    assert [event["event"] for event in events] == [
        type(event).__name__ for event in heard if not isinstance(event, ModelDelta)
    ]
    for event, told in zip(events, [one for one in heard if not isinstance(one, ModelDelta)], strict=True):
        assert {**to_dict(told), **event} == event or "error" in event  # with all facts, and content beside them
    assert events[-1]["answer"] == "Second."
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_conversation_is_kept_once(path: Path) -> None:
    crew_of(*asking_a_tool()).kickoff({"topic": "boats"}, record=path)
    first, second, other = (line["request"] for line in lines_of(path) if line.get("event") == "CallStarted")
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert "after" not in first
    calls = [line["span_id"] for line in lines_of(path) if line.get("event") == "CallStarted"]
    assert second["after"] == {"span_id": calls[0], "count": 2}
    assert [message["role"] for message in second["messages"]] == ["assistant", "tool"]
    assert first["tools"] == ["look_up"]
    assert "after" not in other, "another task's conversation is another one"


def test_nothing_is_recorded_unless_asked(tmp_path: Path) -> None:
    crew_of("a", "b").kickoff({"topic": "boats"})
    assert list(tmp_path.iterdir()) == []


def test_the_crew_or_the_environment_may_say_where(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crew_of("a", "b", record=path).kickoff({"topic": "boats"})
    assert len(lines_of(path)) == 11
    monkeypatch.setenv("OARLOCK_RECORD", str(tmp_path / "other.jsonl"))
    crew_of("a", "b", record="run.jsonl").kickoff({"topic": "boats"})
    assert len(lines_of(path)) == 22, "runs add to a record"
    crew_of("a", "b").kickoff({"topic": "boats"})
    assert len(lines_of(tmp_path / "other.jsonl")) == 11


def test_many_runs_write_to_one_file_at_once(path: Path) -> None:
    agent = Agent(role="Clerk", goal="G", llm=FunctionLLM(lambda messages, tools: "Said. " * 2000))
    tasks = [Task(description="{n}", agent=agent, async_execution=True) for _ in range(3)]
    crew = Crew(agents=[agent], tasks=tasks)
    inputs = [{"n": number} for number in range(20)]
    threads = [threading.Thread(target=crew.kickoff_for_each, args=(inputs,), kwargs={"record": path}) for _ in "ab"]
    for thread in threads:
        thread.start()
    asyncio.run(crew.akickoff_for_each(inputs, record=path))
    for thread in threads:
        thread.join()
    lines = lines_of(path)
    ids = [line["run_id"] for line in lines if "oarlock_record" in line]
    assert len(set(ids)) == 60
    for run_id in ids:
        mine = [line for line in lines if line["run_id"] == run_id]
        assert "oarlock_record" in mine[0]
        assert [line["event"] for line in mine[1:]].count("TaskFinished") == 3
        assert mine[-1]["event"] == "RunFinished"


def test_what_looks_like_a_credential_is_left_out(path: Path) -> None:
    agent = clerk(*asking_a_tool()[:1], "Bearer abc.def.ghi9", ServerError(f"bad {KEY}"), goal=f"Use {KEY}")
    crew = Crew(agents=[agent], tasks=[Task(description="D", agent=agent), Task(description="E", agent=agent)])
    with pytest.raises(ServerError):
        crew.kickoff(record=path)
    text = path.read_text()
    for secret in (KEY, "abc.def.ghi9", "zq7-canary", "hunter2hunter2"):
        assert secret not in text
    (tool_started,) = (line for line in lines_of(path) if line.get("event") == "ToolStarted")
    assert tool_started["arguments"] == {"topic": "boats", "api_key": "…"}


def test_without_content_nothing_is_kept_of_what_was_said(path: Path) -> None:
    crew_of(*asking_a_tool()).kickoff({"topic": "boats"}, record=Recording(path, content=False))
    header, *events = lines_of(path)
    assert header["content"] is False
    assert "boats" not in path.read_text()
    assert "First." not in path.read_text()
    finished = [event for event in events if event["event"] == "CallFinished"]
    assert [event["reply"]["tool_calls"] for event in finished] == [1, 0, 0]


def test_the_users_own_redaction_sees_all_texts_and_no_names(path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    seen: list[str] = []

    def redact(text: str) -> str:
        seen.append(text)
        return "[text]"

    def with_picture(context: Any) -> None:
        if len(context.messages) == 2:
            context.messages.append({"role": "user", "content": [{"type": "text", "text": "Look"}, picture]})

    agent = clerk(*asking_a_tool()[:1], ServerError("down in Ely"))

    crew = Crew(agents=[agent], tasks=[Task(description="D", agent=agent)], before_llm_call=with_picture)
    with pytest.raises(ServerError):
        crew.kickoff(record=Recording(path, redact=redact))
    text = path.read_text()
    assert "boats" not in text
    assert "Ely" not in text
    assert "data:image/png;base64,… (5,022 characters)" in seen
    first, second = (line["request"] for line in lines_of(path) if line.get("event") == "CallStarted")
    assert first["messages"][0] == {"role": "system", "content": "[text]"}
    assert first["messages"][-1]["content"] == [
        {"type": "text", "text": "[text]"},
        {"type": "image_url", "image_url": {"url": "[text]"}},
    ]
    (call,) = second["messages"][0]["tool_calls"]
    assert call["function"] == {"name": "look_up", "arguments": "[text]"}


def test_a_redaction_that_fails_keeps_the_text_out(
    path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def redact(text: str) -> str:
        raise ZeroDivisionError(text)

    heard: list[Event] = []
    crew = crew_of("a", "b", verbose=True)
    output = crew.kickoff({"topic": "boats"}, on_event=heard.append, record=Recording(path, redact=redact))
    assert output.raw == "b"
    (failed,) = (event for event in heard if isinstance(event, RecordingFailed))
    assert failed.why == "ZeroDivisionError in what makes lines of events"
    assert "boats" not in path.read_text()
    assert "is not complete: ZeroDivisionError" in caplog.text
    assert "boats" not in caplog.text
    assert capsys.readouterr().err.count("run.jsonl is not complete: ZeroDivisionError") == 1


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_a_full_disk_costs_the_record_and_not_the_run(path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """A limit on the size of files is met as a full disk is: first a part of a line can be written, then nothing."""
    heard: list[Event] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def listen(event: Event) -> None:
        heard.append(event)
        if isinstance(event, CallStarted) and event.task == "t0":
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, hard))
        if isinstance(event, TaskFinished):
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        output = run(how, crew_of("a", "b"), on_event=listen, record=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert output.raw == "b"
    (failed,) = (event for event in heard if isinstance(event, RecordingFailed))
    assert failed.path == str(path)
    assert failed.run_id == output.run_id
    assert len([one for one in caplog.records if "is not complete" in one.message]) == 1
    whole, cut = [], []
    for line in path.read_bytes().splitlines():
        try:
            whole.append(json.loads(line))
        except ValueError:
            cut.append(line)
    assert [len(line) for line in cut] == [40]
    (missed,) = (line for line in whole if line.get("event") == "EventsMissed")
    assert missed["count"] == 2, "the first call's end and the first task's"
    assert whole[-1]["event"] == "RunFinished"


def test_a_line_that_a_crash_has_cut_stays_alone(path: Path) -> None:
    crew_of("a", "b").kickoff({"topic": "boats"}, record=path)
    path.write_bytes(path.read_bytes()[:-30])
    crew_of("a", "b").kickoff({"topic": "boats"}, record=path)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 22
    assert json.loads(lines[11])["oarlock_record"] == 1
    path.write_bytes(b'{"oarlo')
    crew_of("a", "b").kickoff({"topic": "boats"}, record=path)
    assert len(path.read_bytes().splitlines()) == 12


def test_where_nothing_can_be_recorded_nothing_begins(tmp_path: Path) -> None:
    asked: list[Any] = []
    agent = Agent(role="Clerk", goal="G", llm=FunctionLLM(lambda messages, tools: asked.append(messages) or "a"))
    crew = Crew(agents=[agent], tasks=[Task(description="D", agent=agent)])
    (tmp_path / "script.py").write_text("print('mine')")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "script.py")
    os.mkfifo(tmp_path / "pipe")
    for name, why in [
        ("no/such/folder.jsonl", "No such file or directory"),
        (str(tmp_path), "Is a directory"),
        ("script.py", "is no record of runs"),
        ("link.jsonl", "symbolic link"),
        ("pipe", "is no file"),
        ("nul\0.jsonl", "null"),
    ]:
        with pytest.raises(ConfigurationError, match=why) as caught:
            crew.kickoff(record=name)
        assert repr(name) in str(caught.value)
        with pytest.raises(ConfigurationError, match=why):
            asyncio.run(crew.akickoff(record=name))
    assert asked == []
    assert (tmp_path / "script.py").read_text() == "print('mine')"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda crew: Crew(agents=crew.agents, tasks=crew.tasks, record=True), "Crew: record must be the path"),
        (lambda crew: Crew(agents=crew.agents, tasks=crew.tasks, record=" "), "Crew: record must be the path"),
        (
            lambda crew: crew.kickoff({"topic": "x"}, record=7),
            "kickoff: record must be the path of a file, or a Recording, not 7",
        ),
        (lambda crew: crew.kickoff({"topic": "x"}, record=""), "kickoff: record must be the path of a file"),
        (lambda crew: Recording("runs/"), "Recording: path must be that of a file"),
        (lambda crew: Recording("run.jsonl", content=1), "Recording: content must be True or False"),
        (lambda crew: Recording("run.jsonl", redact="x"), "Recording: redact must be a function"),
        (lambda crew: Recording("run.jsonl", prices={"m": 3}), "Recording: prices must map names of models"),
    ],
)
def test_wrong_settings(make: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        make(crew_of("a"))


def test_prices_come_with_the_record(path: Path) -> None:
    price = Price(input=Decimal("2.50"), output=10)
    crew = crew_of("a", "b", budget=Budget(money=5, prices={"scripted": price}))
    crew.kickoff(
        {"topic": "boats"}, record=Recording(path, prices={"gpt-x": Price(input=1, output=2, cached_input=0.5)})
    )
    assert lines_of(path)[0]["prices"] == {
        "scripted": {"input": "2.50", "output": "10"},
        "gpt-x": {"input": "1", "output": "2", "cached_input": "0.5"},
    }


def test_half_characters_and_strange_keys_are_kept_as_they_can_be(path: Path) -> None:
    @tool
    def strange(given: dict[str, str]) -> str:
        """Take anything."""
        return "\ud800\x1b[31m\u202e\x00"

    agent = clerk(asks_for("strange", given={"\u2028": "\u2029"}), "One \ud83d", tools=[strange])
    Crew(agents=[agent], tasks=[Task(description="D", agent=agent)]).kickoff(record=path)
    (finished,) = (line for line in lines_of(path) if line.get("event") == "ToolFinished")
    assert finished["answer"] == "?\x1b[31m\u202e\x00"
    assert [line["reply"]["text"] for line in lines_of(path) if line.get("event") == CallFinished.__name__] == [
        "",
        "One ?",
    ]


def test_runs_that_are_read_in_chunks_are_recorded(path: Path) -> None:
    for _ in crew_of("a", "b", streams=True).kickoff({"topic": "boats"}, record=path):
        pass

    async def for_each() -> None:
        crew = crew_of("a", "b", "c", "d", streams=True)
        async for _ in await crew.akickoff_for_each([{"topic": "x"}, {"topic": "y"}], record=path):
            pass

    asyncio.run(for_each())
    lines = lines_of(path)
    assert sum("oarlock_record" in line for line in lines) == 3
    assert [line.get("event") for line in lines].count("RunFinished") == 3
    assert not [line for line in lines if line.get("event") == "ModelDelta"]


def test_what_is_told_after_the_end_is_not_written(path: Path) -> None:
    """By a callback's thread, say, that goes on when its run is over."""
    heard: list[Any] = []
    crew = crew_of("a", "b", step_callback=lambda step: heard.append(current_call().listener))
    crew.kickoff({"topic": "boats"}, record=path)
    before = path.read_bytes()
    heard[0](TaskFinished(seconds=1.0, answer="late"))
    assert path.read_bytes() == before


def test_a_file_is_open_once_for_any_number_of_runs(path: Path) -> None:
    counts: list[int] = []

    def opened() -> int:
        here, found = path.stat(), 0
        for number in Path("/dev/fd").iterdir():
            try:
                found += os.path.samestat(os.fstat(int(number.name)), here)
            except OSError:  # that of the listing itself
                continue
        return found

    agent = Agent(role="Clerk", goal="G", llm=FunctionLLM(lambda messages, tools: "Said."))
    crew = Crew(agents=[agent], tasks=[Task(description="{n}", agent=agent)], record=path)

    def look(event: Event) -> None:
        if isinstance(event, TaskFinished):
            counts.append(opened())

    asyncio.run(crew.akickoff_for_each([{"n": number} for number in range(40)], on_event=look))
    assert counts == [1] * 40
    assert opened() == 0


def test_a_file_that_was_moved_away_is_begun_anew(path: Path) -> None:
    moved = path.with_name("old.jsonl")

    def move(event: Event) -> None:
        if isinstance(event, TaskFinished) and not moved.exists():
            path.rename(moved)
            crew_of("c", "d").kickoff({"topic": "x"}, record=path)

    crew_of("a", "b").kickoff({"topic": "boats"}, on_event=move, record=path)
    for file in (moved, path):
        (header,) = (line for line in lines_of(file) if "oarlock_record" in line)
        assert {line["run_id"] for line in lines_of(file)} == {header["run_id"]}
        assert lines_of(file)[-1]["event"] == "RunFinished"
