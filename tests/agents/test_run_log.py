"""`output_log_file`: what became of each task, in a file."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from oarlock import Agent, ConfigurationError, Crew, ServerError, Task
from oarlock.agents import ConditionalTask
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime


def crew_of(*script: Any, log: Any, tasks: int = 2, **settings: Any) -> Crew:
    agent = Agent(role="Clerk", goal="G", llm=ScriptedLLM(script))
    made = [Task(description=f'Task "{number}"', agent=agent, name=f"t{number}") for number in range(tasks)]
    return Crew(agents=[agent], tasks=made, output_log_file=log, **settings)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lines(folder: Path) -> None:
    with VirtualRuntime():
        crew_of("one\ntwo", "Zwölf", log="run.log").kickoff()
    lines = (folder / "run.log").read_text(encoding="utf-8").splitlines()
    assert lines == [
        'timestamp="2026-01-01T00:00:00.000+00:00" task_name="t0" task="Task \\"0\\"" agent="Clerk" status="started"',
        'timestamp="2026-01-01T00:00:00.000+00:00" task_name="t0" agent="Clerk" status="completed" output="one\\ntwo"',
        'timestamp="2026-01-01T00:00:00.000+00:00" task_name="t1" task="Task \\"1\\"" agent="Clerk" status="started"',
        'timestamp="2026-01-01T00:00:00.000+00:00" task_name="t1" agent="Clerk" status="completed" output="Zwölf"',
    ]


def test_true_means_the_usual_name_and_runs_add_to_it(folder: Path) -> None:
    crew = crew_of("a", "b", "c", "d", log=True)
    crew.kickoff()
    asyncio.run(crew.akickoff())
    assert len((folder / "logs.txt").read_text().splitlines()) == 8


@pytest.mark.parametrize("before", [None, "", "[]", "[\n]\n", "[\n{}\n]\n"])
def test_a_json_file_is_a_list_at_any_time(folder: Path, before: str | None) -> None:
    path = folder / "run.json"
    if before is not None:
        path.write_text(before)
    had = len(json.loads(before)) if before else 0
    seen: list[int] = []
    crew = crew_of(
        "a", "b" * 200, "c", "d", log=path, task_callback=lambda output: seen.append(len(json.loads(path.read_text())))
    )
    crew.kickoff()
    crew.kickoff()
    assert seen == [had + 2, had + 4, had + 6, had + 8]
    entries = json.loads(path.read_text())[had:]
    assert [entry["status"] for entry in entries] == ["started", "completed"] * 4
    assert entries[1]["output"] == "a"


def test_failures_and_skipped_tasks(folder: Path) -> None:
    agent = Agent(
        role="Clerk", goal="G", llm=ScriptedLLM(["a", ServerError("down, key sk-abcdefghijklmnopqrstuvwx1234")])
    )
    tasks = [
        Task(description="first", agent=agent),
        ConditionalTask(description="second", agent=agent, condition=lambda output: False),
        Task(description="third", agent=agent),
    ]
    with pytest.raises(ServerError):
        Crew(agents=[agent], tasks=tasks, output_log_file="run.json").kickoff()
    entries = json.loads((folder / "run.json").read_text())
    assert [entry["status"] for entry in entries] == ["started", "completed", "skipped", "started", "failed"]
    assert "down" in entries[-1]["error"]
    assert "abcdefghijklmnopqrstuvwx" not in entries[-1]["error"]


def test_many_runs_at_once_write_to_one_file(folder: Path) -> None:
    agent = Agent(role="Clerk", goal="G", llm=FunctionLLM(lambda messages: "done"))
    for log in ("run.log", "run.json"):
        crew = Crew(agents=[agent], tasks=[Task(description="D", agent=agent)], output_log_file=log)
        threads = [threading.Thread(target=crew.kickoff) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(crew.akickoff_for_each([{}] * 8))
    assert len((folder / "run.log").read_text().splitlines()) == 32
    assert len(json.loads((folder / "run.json").read_text())) == 32


def test_listeners_hear_all_the_same(folder: Path) -> None:
    events: list[Any] = []
    crew_of("a", "b", log="run.log").kickoff(on_event=events.append)
    assert {type(event).__name__ for event in events} >= {"RunStarted", "TaskStarted", "CallFinished", "RunFinished"}


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("missing/run.log", "Crew: output_log_file 'missing/run.log' cannot be written: No such file or directory"),
        (".", "cannot be written: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_any_call(log: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        crew_of(log=log).kickoff()


def test_a_json_file_of_another_kind_is_left_alone(folder: Path) -> None:
    (folder / "run.json").write_text('{"mine": 1}')
    with pytest.raises(ConfigurationError, match="is there already, and no JSON list"):
        crew_of(log="run.json").kickoff()
    assert (folder / "run.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("log", [3, "", " ", "logs/", ["a"]])
def test_what_is_no_path_is_told(log: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"Crew: output_log_file must be the path of a file, or True for 'logs\.txt'"
    ):
        crew_of(log=log)


@pytest.mark.parametrize("log", [None, False])
def test_no_log(folder: Path, log: Any) -> None:
    crew_of("a", "b", log=log, full_output=True).kickoff()
    assert list(folder.iterdir()) == []
