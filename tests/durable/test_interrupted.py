"""Runs that whoever began them leaves: by Ctrl-C, by cancelling, by taking another way."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from durable_helpers import CountingLLM, in_line, new_sqlite

from oarlock.contract.errors import RunCancelledError, RunError
from oarlock.durable import RunHandle, State

FOLDER = Path(__file__).parent

PROGRAM = """
import sys, time
from durable_helpers import CountingLLM, in_line
def answer(request, before):
    print("asked", before, flush=True)
    if before == 1 and sys.argv[2] == "slow":
        time.sleep(1.5)
    return f"answer {before}"
print(in_line(CountingLLM(answer), 4).kickoff(durable=sys.argv[1], run_id="r"), flush=True)
"""


def test_ctrl_c_ends_a_run_with_the_step_that_it_is_at(tmp_path):
    database = new_sqlite(tmp_path)
    command = [sys.executable, "-c", PROGRAM, database]
    slow = subprocess.Popen([*command, "slow"], cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert slow.stdout is not None
    assert [slow.stdout.readline() for _ in range(2)] == ["asked 0\n", "asked 1\n"]
    slow.send_signal(signal.SIGINT)
    rest, problem = slow.communicate(timeout=60)
    assert "KeyboardInterrupt" in problem
    assert rest == ""
    with RunHandle("r", database=database) as handle:
        assert [event.text for event in handle.events(follow=False) if event.kind == "model"] == [
            "answer 0",
            "answer 1",
        ]
    again = subprocess.run([*command, "fast"], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout == "asked 0\nasked 1\nanswer 1\n"


async def test_a_task_that_is_cancelled_ends_its_run_with_the_step_that_it_is_at(database, run_id):
    asked, go_on = threading.Event(), threading.Event()

    def answer(request: Any, before: int) -> str:
        if before == 1 and not go_on.is_set():
            asked.set()
            assert go_on.wait(60)
        return f"answer {before}"

    llm = CountingLLM(answer)
    task = asyncio.ensure_future(in_line(llm, 3).akickoff(durable=database, run_id=run_id))
    while not asked.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    with RunHandle(run_id, database=database) as handle:
        for _ in range(500):
            if len(list(handle.events(follow=False))) == 3:
                break
            await asyncio.sleep(0.01)
    result = await in_line(llm, 3).akickoff(durable=database, run_id=run_id)
    assert [output.raw for output in result.tasks_output] == ["answer 0", "answer 1", "answer 2"]


def test_a_run_that_was_cancelled_goes_on_only_when_told(kickoff, database, run_id):
    handle: list[RunHandle] = []

    def answer(request: Any, before: int) -> str:
        if before == 1:
            handle.append(RunHandle(run_id, database=database))
            handle[0].cancel()
        return f"answer {before}"

    llm = CountingLLM(answer)
    with pytest.raises(RunCancelledError, match="was cancelled"):
        kickoff(in_line(llm, 3), run_id)
    with pytest.raises(RunCancelledError, match=r"oarlock runs resume .* lets it go on"):
        kickoff(in_line(llm, 3), run_id)
    with pytest.raises(RunCancelledError):
        handle[0].result(5)
    handle[0].resume()
    assert handle[0].status is State.queued
    llm.answer = lambda request, before: f"answer {before}"
    assert str(kickoff(in_line(llm, 3), run_id)).startswith("answer")
    handle[0].close()


def test_a_fork_goes_on_with_the_crew_as_it_is_now(kickoff, database, run_id):
    llm = CountingLLM(lambda request, before: f"answer {before}")
    kickoff(in_line(llm, 2), run_id)
    with RunHandle(run_id, database=database) as handle:
        forked = handle.fork(from_step=2).run_id
    result = kickoff(in_line(llm, 4), forked)
    assert [output.raw for output in result.tasks_output] == ["answer 0", "answer 2", "answer 3", "answer 4"]


def test_a_question_of_a_run_in_this_process_waits_here(database, run_id):
    from oarlock import Agent, Crew, Task

    agent = Agent(role="Cox", goal="Steer", llm=CountingLLM(lambda request, before: f"answer {before}"))
    crew = Crew(agents=[agent], tasks=[Task(description="Say", agent=agent, human_input=True)])
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(str(crew.kickoff(durable=database, run_id=run_id))))
    thread.start()
    with RunHandle(run_id, database=database) as handle:
        for said in ("shorter", ""):
            for _ in range(3000):
                try:
                    handle.signal(said)
                except RunError:
                    threading.Event().wait(0.02)
                else:
                    break
    thread.join(60)
    assert results == ["answer 1"]
