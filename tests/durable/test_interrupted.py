"""Runs that whoever began them leaves: by Ctrl-C, by cancelling, by taking another way."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from durable_helpers import CountingLLM, Crash, in_line, new_sqlite
from spawning import Forked

from oarlock import BaseLLM, current_call
from oarlock.contract.errors import RunCancelledError, RunError
from oarlock.durable import RunHandle, State
from oarlock.durable.here import HERE


def slow_run(database: str, seconds: float) -> None:
    """Run a crew whose second step takes so many seconds."""

    def answer(request: Any, before: int) -> str:
        print("asked", before, flush=True)
        if before == 1:
            time.sleep(seconds)
        return f"answer {before}"

    in_line(CountingLLM(answer), 4).kickoff(durable=database, run_id="r")


def at_its_second_step(database: str, seconds: float) -> Forked:
    """Return a process whose run is at its second step, which takes so many seconds."""
    process = Forked(slow_run, database, seconds)
    assert [process.line() for _ in range(2)] == ["asked 0\n", "asked 1\n"]
    return process


def test_ctrl_c_ends_a_run_with_the_step_that_it_is_at(tmp_path):
    HERE.close()
    database = new_sqlite(tmp_path)
    process = at_its_second_step(database, 0.5)
    said = process.end(signal.SIGINT)
    assert "KeyboardInterrupt" in said
    assert "asked" not in said
    llm = CountingLLM(lambda request, before: f"new answer {before}")
    result = in_line(llm, 4).kickoff(durable=database, run_id="r")
    assert [output.raw for output in result.tasks_output] == ["answer 0", "answer 1", "new answer 0", "new answer 1"]
    HERE.close()


def test_who_waits_for_a_run_whose_process_ends_goes_on_with_it(tmp_path):
    HERE.close()
    database = new_sqlite(tmp_path)
    process = at_its_second_step(database, 60)
    llm = CountingLLM(lambda request, before: f"new answer {before}")
    with ThreadPoolExecutor() as pool:
        result = pool.submit(in_line(llm, 4).kickoff, durable=database, run_id="r")
        assert not result.done()
        process.end(signal.SIGKILL)
        assert [output.raw for output in result.result(60).tasks_output][:2] == ["answer 0", "new answer 0"]
    assert llm.keys == ["r:2:1", "r:3:1", "r:4:1"]
    HERE.close()


class Gate:
    """Answers, and holds the second answer up until it is let through."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.llm = CountingLLM(self.answer)

    def answer(self, request: Any, before: int) -> str:
        if before == 1:
            self.asked.set()
            assert self.go_on.wait(60)
        return f"answer {before}"

    async def is_asked(self) -> None:
        while not self.asked.is_set():
            await asyncio.sleep(0.01)


async def test_a_task_that_is_cancelled_ends_its_run_with_the_step_that_it_is_at(database, run_id, caplog):
    caplog.set_level(logging.DEBUG)
    gate = Gate()
    crew = in_line(gate.llm, 3)
    task = asyncio.ensure_future(crew.akickoff(durable=database, run_id=run_id))
    await gate.is_asked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.llm.keys == [f"{run_id}:1:1", f"{run_id}:2:1"]
    again = asyncio.ensure_future(crew.akickoff(durable=database, run_id=run_id))
    gate.go_on.set()
    result = await again
    assert [output.raw for output in result.tasks_output] == ["answer 0", "answer 1", "answer 2"]
    assert gate.llm.keys == [f"{run_id}:{number}:1" for number in (1, 2, 3)]
    assert [record.getMessage() for record in caplog.records if "Task 1" in record.getMessage()] == []


async def test_who_waits_for_a_run_that_another_one_leaves_takes_it_over(database, run_id):
    gate = Gate()
    crew = in_line(gate.llm, 3)
    first, second = (asyncio.ensure_future(crew.akickoff(durable=database, run_id=run_id)) for _ in range(2))
    await gate.is_asked()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.go_on.set()
    assert [output.raw for output in (await second).tasks_output] == ["answer 0", "answer 1", "answer 2"]
    assert gate.llm.keys == [f"{run_id}:{number}:1" for number in (1, 2, 3)]


@pytest.mark.parametrize("begun", ["blocking", "async"])
async def test_a_run_goes_on_on_the_event_loop_that_it_is_awaited_on(database, run_id, begun):
    """To which its LLMs may be bound, such as by their connections."""

    class Bound(BaseLLM):
        loops: ClassVar[list[asyncio.AbstractEventLoop]] = []

        async def acall(self, messages: Any) -> str:
            self.loops.append(asyncio.get_running_loop())
            if len(self.loops) == 2:
                raise Crash
            return "hello"

    crew = in_line(Bound(), 3)
    with pytest.raises(Crash):
        if begun == "async":
            await crew.akickoff(durable=database, run_id=run_id)
        else:
            await asyncio.to_thread(crew.kickoff, durable=database, run_id=run_id)
    assert str(await crew.akickoff(durable=database, run_id=run_id)) == "hello"
    here = asyncio.get_running_loop()
    assert [loop is here for loop in Bound.loops[2:]] == [True, True]
    assert len(Bound.loops) == 4


def test_an_answer_that_is_lost_with_its_event_loop_is_asked_for_again(database, run_id):
    class Slow(BaseLLM):
        keys: ClassVar[list[str | None]] = []

        async def acall(self, messages: Any) -> str:
            self.keys.append(current_call().idempotency_key)
            if len(self.keys) == 2:
                begun.set()
                await asyncio.sleep(60)
            return "hello"

    async def begin() -> None:
        task = asyncio.ensure_future(crew.akickoff(durable=database, run_id=run_id))
        await begun.wait()
        task.cancel()

    begun = asyncio.Event()
    crew = in_line(Slow(), 2)
    asyncio.run(begin())
    assert str(asyncio.run(crew.akickoff(durable=database, run_id=run_id))) == "hello"
    assert Slow.keys == [f"{run_id}:{key}" for key in ("1:1", "2:1", "2:1")]


async def test_a_failure_after_the_run_was_left_is_not_recorded(database, run_id):
    """What the step needed may have been closed by those who left."""

    def answer(request: Any, before: int) -> str:
        if before == 0:
            asked.set()
            assert go_on.wait(60)
            raise RuntimeError("The client is closed")
        return f"answer {before}"

    asked, go_on = threading.Event(), threading.Event()
    crew = in_line(CountingLLM(answer), 1)
    task = asyncio.ensure_future(crew.akickoff(durable=database, run_id=run_id))
    while not asked.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert str(await crew.akickoff(durable=database, run_id=run_id)) == "answer 1"


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
