"""`human_input`, and the functions before and after a run."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from oarlock import Agent, ConfigurationError, Crew, OutputError, StepsExhaustedError, Task
from oarlock.agents.outputs import CrewOutput, TaskOutput
from oarlock.testing import ScriptedLLM, VirtualRuntime


class City(BaseModel):
    name: str


def crew_of(llm: Any, *, on_human_input: Any = None, crew: dict[str, Any] | None = None, **task: Any) -> Crew:
    agent = Agent(role="Clerk", goal="Know cities", llm=llm)
    described = Task(description="Which city? {hint}", agent=agent, **{"human_input": True, **task})
    return Crew(agents=[agent], tasks=[described], on_human_input=on_human_input, **(crew or {}))


def run_blocking(crew: Crew) -> Any:
    return crew.kickoff(inputs={"hint": "North"})


def run_async(crew: Crew) -> Any:
    return asyncio.run(crew.akickoff(inputs={"hint": "North"}))


def run_virtual(crew: Crew) -> Any:
    with VirtualRuntime() as runtime:
        return runtime.run(crew.akickoff(inputs={"hint": "North"}))


@pytest.fixture(params=[run_blocking, run_async, run_virtual])
def run(request: pytest.FixtureRequest) -> Callable[[Crew], Any]:
    return request.param  # type: ignore[no-any-return]


class Human:
    """Somebody who says one thing after the other."""

    def __init__(self, *sayings: Any) -> None:
        self.sayings = list(sayings)
        self.seen: list[TaskOutput] = []

    def __call__(self, output: TaskOutput) -> Any:
        self.seen.append(output)
        return self.sayings.pop(0)


# Through a hook.


@pytest.mark.parametrize("nothing", [None, "", "  \n", True])
def test_an_answer_that_is_accepted_stays(run: Callable[[Crew], Any], nothing: Any) -> None:
    human = Human(nothing)
    assert run(crew_of(ScriptedLLM(["Oslo"]), on_human_input=human)).raw == "Oslo"
    assert (human.seen[0].raw, human.seen[0].agent, human.seen[0].name) == ("Oslo", "Clerk", "Which city? {hint}")


def test_what_to_change_goes_to_the_agent_until_it_is_nothing(run: Callable[[Crew], Any]) -> None:
    human, llm = Human("Further north", "Even further", None), ScriptedLLM(["Oslo", "Bergen", "Tromso"])
    assert run(crew_of(llm, on_human_input=human)).raw == "Tromso"
    assert [output.raw for output in human.seen] == ["Oslo", "Bergen", "Tromso"]
    assert "Even further" in str(llm.requests[2].messages[-1]["content"])
    assert {"role": "assistant", "content": "Bergen"} in llm.requests[2].messages


def test_a_coroutine_function_is_awaited(run: Callable[[Crew], Any]) -> None:
    async def ask(output: TaskOutput) -> str | None:
        await asyncio.sleep(0)
        return "Shorter" if output.raw == "Reykjavik" else None

    assert run(crew_of(ScriptedLLM(["Reykjavik", "Oslo"]), on_human_input=ask)).raw == "Oslo"


def test_the_human_sees_what_has_passed_the_checks_and_it_is_checked_again() -> None:
    human = Human("Another", None)
    llm = ScriptedLLM(["{}", '{"name": "Oslo"}', '{"name": ""}', '{"name": "Bergen"}'])
    crew = crew_of(
        llm,
        on_human_input=human,
        output_pydantic=City,
        guardrail=lambda output: (True, None) if output.pydantic.name else (False, "no name"),
    )
    assert run_blocking(crew).pydantic == City(name="Bergen")
    assert [output.pydantic for output in human.seen] == [City(name="Oslo"), City(name="Bergen")]


def test_a_blocking_hook_does_not_hold_up_the_event_loop() -> None:
    goes_on = threading.Event()

    def wait(output: TaskOutput) -> None:
        assert goes_on.wait(30)

    async def both() -> Any:
        running = asyncio.ensure_future(
            crew_of(ScriptedLLM(["Oslo"]), on_human_input=wait).akickoff(inputs={"hint": "x"})
        )
        await asyncio.sleep(0)
        goes_on.set()  # only a loop that turns comes here
        return await running

    assert asyncio.run(both()).raw == "Oslo"


@pytest.mark.parametrize("said", [False, 3, ["x"]])
def test_a_hook_that_returns_something_else_is_told(said: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_human_input must return a text with what to change, or None"):
        run_blocking(crew_of(ScriptedLLM(["Oslo"]), on_human_input=Human(said)))


def test_a_hook_that_is_never_content_ends() -> None:
    llm = ScriptedLLM([str(number) for number in range(99)])
    with pytest.raises(StepsExhaustedError, match="sent back 26 times by human_input"):
        run_blocking(crew_of(llm, on_human_input=lambda output: "Again"))
    assert len(llm.requests) == 26


def test_what_a_hook_raises_ends_the_run() -> None:
    def gone(output: TaskOutput) -> None:
        raise ConnectionError("nobody is there")

    with pytest.raises(ConnectionError, match="nobody is there"):
        run_blocking(crew_of(ScriptedLLM(["Oslo"]), on_human_input=gone))


# On the terminal.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_and_a_hook_nothing_is_begun(
    run: Callable[[Crew], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stdin in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        llm = ScriptedLLM(["Oslo"])
        with pytest.raises(ConfigurationError, match=r"no terminal. Pass Crew\(on_human_input=function\)"):
            run(crew_of(llm))
        assert not llm.requests


def test_an_agent_alone_asks_the_terminal_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    agent = Agent(role="Clerk", goal="Know", llm=ScriptedLLM(["Oslo"]))
    assert agent.execute_task(Task(description="Which city?", human_input=True)) == "Oslo"
    assert "Clerk has answered:\n\nOslo" in capsys.readouterr().err


def test_what_is_typed_goes_to_the_agent(
    run: Callable[[Crew], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("Further north\n\n"))
    llm = ScriptedLLM(["Oslo", "Tromso\x1b[2J\u202e"])
    assert run(crew_of(llm)).raw.startswith("Tromso")
    assert "Further north" in str(llm.requests[1].messages[-1]["content"])
    shown = capsys.readouterr()
    assert "Press Enter to accept it, or write what to change: " in shown.out
    assert "Tromso[2J\n" in shown.err  # nothing that a model writes changes the terminal


def test_a_terminal_that_closes_loses_nothing(run: Callable[[Crew], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    with pytest.raises(OutputError, match="closed before anybody accepted") as failure:
        run(crew_of(ScriptedLLM(["Oslo"])))
    assert failure.value.text == "Oslo"


@pytest.mark.parametrize("runs", [run_blocking, run_async])
def test_one_question_is_asked_at_a_time(runs: Callable[[Crew], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    second = threading.Semaphore(0)

    class OneAtATime(Terminal):
        reading = 0
        most = 0

        def readline(self, *limit: Any) -> str:  # type: ignore[override]
            type(self).reading += 1
            type(self).most = max(self.most, self.reading)
            second.release()
            second.acquire()
            second.acquire(timeout=0.2)  # another question would come meanwhile
            type(self).reading -= 1
            return "\n"

    monkeypatch.setattr(sys, "stdin", OneAtATime())
    agent = Agent(role="Clerk", goal="Know", llm=ScriptedLLM(["Oslo", "Bergen"]))
    tasks = [Task(description=f"{n}?", agent=agent, human_input=True, async_execution=True) for n in (1, 2)]
    runs(Crew(agents=[agent], tasks=tasks))
    assert OneAtATime.most == 1


PROGRAM = """
import asyncio
from oarlock import Agent, Crew, Task
from oarlock.testing import ScriptedLLM

agent = Agent(role="Clerk", goal="Know", llm=ScriptedLLM(["Oslo", "Bergen"]))
crew = Crew(agents=[agent], tasks=[Task(description="Which city?", agent=agent, human_input=True)])

async def main():
    ticks = 0
    running = asyncio.ensure_future(crew.akickoff())
    while not running.done():
        ticks += 1
        await asyncio.sleep(0.01)
    print("RESULT", running.result(), ticks > 0)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_a_real_terminal() -> None:
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(theirs)
        os.write(ours, b"Not that one\n\n")
        out, err = process.communicate(timeout=60)
    os.close(ours)
    assert "RESULT Bergen True" in out, err


# Before and after a run.


def test_functions_before_change_the_inputs_and_those_after_the_result(run: Callable[[Crew], Any]) -> None:
    def before(inputs: dict[str, Any]) -> dict[str, Any]:
        inputs["hint"] = inputs["hint"].upper()
        return inputs

    async def also_before(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"hint": inputs["hint"] + "!"}

    def after(result: CrewOutput) -> CrewOutput:
        result.raw += ", changed"
        return result

    llm = ScriptedLLM(["Oslo"])
    hooks = {"before_kickoff_callbacks": [before, also_before], "after_kickoff_callbacks": [after]}
    assert run(crew_of(llm, human_input=False, crew=hooks)).raw == "Oslo, changed"
    assert llm.requests[0].messages[-1]["content"] == "Which city? NORTH!"


def test_the_callers_inputs_stay_as_they_are() -> None:
    def before(inputs: dict[str, Any]) -> None:
        inputs["hint"] = "changed in place"

    inputs, llm = {"hint": "North"}, ScriptedLLM(["Oslo"])
    crew_of(llm, human_input=False, crew={"before_kickoff_callbacks": [before]}).kickoff(inputs=inputs)
    assert inputs == {"hint": "North"}
    assert llm.requests[0].messages[-1]["content"] == "Which city? changed in place"


def test_functions_that_return_nothing_change_nothing(run: Callable[[Crew], Any]) -> None:
    seen: list[Any] = []
    hooks = {"before_kickoff_callbacks": seen.append, "after_kickoff_callbacks": (seen.append,)}
    assert run(crew_of(ScriptedLLM(["Oslo"]), human_input=False, crew=hooks)).raw == "Oslo"
    assert seen[0] == {"hint": "North"}
    assert seen[1].raw == "Oslo"


def test_a_function_before_that_returns_no_inputs_is_told() -> None:
    llm = ScriptedLLM(["Oslo"])
    with pytest.raises(ConfigurationError, match="inputs must be a mapping"):
        run_blocking(crew_of(llm, human_input=False, crew={"before_kickoff_callbacks": [lambda inputs: 3]}))
    assert not llm.requests


def test_each_run_of_many_has_its_own() -> None:
    seen: list[Any] = []
    crew = crew_of(ScriptedLLM(["a", "b"]), human_input=False, crew={"before_kickoff_callbacks": [seen.append]})
    crew.kickoff_for_each([{"hint": 1}, {"hint": 2}])
    assert sorted(one["hint"] for one in seen) == [1, 2]


@pytest.mark.parametrize(
    "wrong", [{"on_human_input": "x"}, {"before_kickoff_callbacks": [1]}, {"after_kickoff_callbacks": 5}]
)
def test_what_is_no_function_is_refused(wrong: dict[str, Any]) -> None:
    task = Task(description="D", agent=Agent(role="R", goal="G"))
    with pytest.raises(ConfigurationError, match=f"Crew: {next(iter(wrong))} must be a"):
        Crew(tasks=[task], **wrong)
