"""`verbose=True` as people see it: on a real pseudo-terminal, and where there is none."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from view_runs import CREWS, agent, calling, delegating

pytest.importorskip("pty", reason="pseudo-terminals are POSIX's")
from rich.cells import cell_len
from terminals import InFrontOf, Terminal

from oarlock import Agent, Crew, Task, tool
from oarlock.errors import ConfigurationError, OarlockError
from oarlock.events import RunStarted, TaskStarted
from oarlock.policies import Budget, Price
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime
from oarlock.views import console
from oarlock.views.console import paused, watching


@pytest.fixture(autouse=True)
def _as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("OARLOCK_VIEW", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def one(llm: Any, **given: Any) -> Crew:
    worker = Agent(role="Poet", goal="g", backstory="b", llm=llm, **given)
    return Crew(tasks=[Task(description="A line on boats", agent=worker)], verbose=True)


def seen(terminal: Terminal, answer: str = "Row, row.", *texts: str) -> FunctionLLM:
    """Return a model that answers once somebody could have read these texts."""

    looked = list(texts or ("is thinking",))
    one_looks = threading.Lock()  # and the others, who may ask later, go by that

    def reply(_request: Any) -> str:
        with one_looks:
            while looked:
                terminal.wait_for(looked.pop(0))
        return answer

    return FunctionLLM(reply)


@pytest.mark.parametrize("how", ["blocking", "async", "in a thread"])
def test_what_is_at_work_moves_and_what_has_ended_stays(terminal: Terminal, how: str) -> None:
    crew = one(seen(terminal, "Row, row.", "● 1 A line on boats  Poet", "  ● function is thinking", "0 of 1 task"))
    before = sys.stdout, sys.stderr
    with InFrontOf(terminal):
        if how == "blocking":
            crew.kickoff()
        elif how == "async":
            asyncio.run(crew.akickoff())
        else:
            thread = threading.Thread(target=crew.kickoff)
            thread.start()
            thread.join()
    assert (sys.stdout, sys.stderr) == before
    task, call, answer, summed = (line.split("  ")[0 if line[0] != " " else 1] for line in terminal.screen())
    assert (task, call, answer) == ("✓ 1 A line on boats", "✓ function answered", "→ Row, row.")
    assert summed.startswith("✓ Crew finished in ")
    assert terminal.has_cursor


def test_delegated_work_tools_waits_and_money(terminal: Terminal) -> None:
    with VirtualRuntime(), InFrontOf(terminal):
        crew = delegating()
        crew.verbose = True
        crew.budget = Budget(money=5, prices={"scripted": Price(input=10, output=100)})
        crew.kickoff()
    shown = [line.split("  ~")[0].rstrip() for line in terminal.screen()]
    assert shown[0].startswith("✓ 1 A line  Boss")
    assert shown[1] == "  ✓ scripted asks for 1 tool"
    assert shown[2].startswith("  ✓ Boss delegates to Poet: Rhyme on boats")
    assert shown[3] == "    ✓ Poet: scripted answered"
    assert shown[4].startswith("      ◷ waited 0.")
    assert "(TimeoutError)" in shown[4] + shown[5]  # in two lines: where it stays it is whole
    assert "    → Row." in shown
    assert "cost 0.0084" in " ".join(terminal.screen())
    assert "◷ Waited 0." in shown[-1]


def test_what_is_printed_and_logged_comes_above(terminal: Terminal) -> None:
    @tool
    def chatty(word: str) -> str:
        """Say it."""
        print("I look", "for", end=" ", flush=True)
        print(word)
        print("\r10 %\r20 %", file=sys.stderr)
        log.warning("It is late")
        terminal.wait_for("It is late")
        sys.stdout.writelines(["x" * 10_001, "no end"])
        return "found"

    llm = ScriptedLLM([calling("chatty", word="[b]tide[/b]"), "Tides."], supports_function_calling=True)
    log, handler = logging.getLogger("a.test.of.views"), logging.StreamHandler(terminal.out)
    log.addHandler(handler)
    try:
        with InFrontOf(terminal):
            one(llm, tools=[chatty]).kickoff()
            assert (sys.stdout, sys.stderr, handler.stream) == (terminal.out,) * 3
    finally:
        log.removeHandler(handler)
    shown = terminal.screen()
    assert shown[:3] == ["I look for [b]tide[/b]", "20 %", "It is late"]
    assert "".join(shown).count("x") > 10_000
    assert "no end" in shown
    assert any(line.startswith("✓ 1 A line on boats") for line in shown)


def test_streams_that_somebody_has_kept_lead_to_the_terminal(terminal: Terminal) -> None:
    kept: list[Any] = []

    def keep(_request: Any) -> str:
        kept.append(sys.stderr)
        assert (kept[0].isatty(), kept[0].writable(), kept[0].encoding, kept[0].name) == (
            True,
            True,
            "utf-8",
            terminal.out.name,
        )
        assert (kept[0].fileno(), kept[0].errors) == (terminal.out.fileno(), "replace")
        return "Row."

    with InFrontOf(terminal):
        one(FunctionLLM(keep)).kickoff()
        assert kept[0] is not sys.stderr
        print("later", file=kept[0], flush=True)
    assert terminal.screen()[-1] == "later"


def test_output_that_goes_elsewhere_stays_there(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    with InFrontOf(terminal, stdout=False):
        one(seen(terminal)).kickoff(on_event=lambda event: print(type(event).__name__))
    assert capsys.readouterr().out.split()[0] == "RunStarted"
    assert "RunStarted" not in "".join(terminal.screen())


def test_a_human_is_asked_in_peace(terminal: Terminal) -> None:
    crew = one(ScriptedLLM(["Row, row.", "Row faster."]))
    crew.tasks[0] = Task(description="A line", agent=crew.tasks[0].agent, human_input=True)
    with InFrontOf(terminal):
        answers = iter(["faster\n", "\n"])
        asked = threading.Thread(
            target=lambda: [
                _answer(terminal, text, answer)
                for text, answer in zip(["Row, row.", "Row faster."], answers, strict=True)
            ]
        )
        asked.start()
        assert crew.kickoff().raw == "Row faster."
        asked.join()
    shown = "\n".join(terminal.screen())
    assert shown.count("Press Enter to accept it") == 2
    assert "· the human wants a change: faster" in shown
    assert "for a human (2 times)" in shown
    assert terminal.has_cursor


def _answer(terminal: Terminal, text: str, answer: str) -> None:
    terminal.wait_for(f"{text}\n\nPress Enter to accept it, or write what to change:")
    terminal.type(answer)


@pytest.mark.parametrize("together", [True, False])
def test_many_runs_share_the_terminal(terminal: Terminal, together: bool) -> None:
    crew = one(seen(terminal, "Row.", *(["0 of 30 runs", "#1 ", "more at work"] if together else ["0 of 1 task"])))
    with InFrontOf(terminal):
        if together:
            asyncio.run(crew.akickoff_for_each([{}] * 30))
        else:
            crew.kickoff_for_each([{}] * 3)
    ended = [line for line in terminal.screen() if "Crew finished" in line]
    if together:
        assert {line.split()[1] for line in ended} == {f"#{number}" for number in range(1, 31)}
        assert sum("1 A line on boats" in line for line in terminal.screen()) >= 29  # the last one may be by itself
    else:
        assert [line.split()[1] for line in ended] == ["Crew"] * 3


def test_a_crew_in_a_tool_is_shown_in_its_place(terminal: Terminal) -> None:
    inner = one(seen(terminal, "Inner.", "    ● inner  0 of 1 task"))
    inner.name = "inner"

    @tool
    def ask_others(question: str) -> str:
        """Ask."""
        return inner.kickoff().raw

    llm = ScriptedLLM([calling("ask_others", question="?"), "Outer."], supports_function_calling=True)
    with InFrontOf(terminal):
        one(llm, tools=[ask_others]).kickoff()
    shown = terminal.screen()
    at = next(n for n, line in enumerate(shown) if "ask_others" in line)
    assert shown[at + 1].startswith("    ✓ inner  1 of 1 task")
    assert shown[at + 2].startswith("      ✓ 1 A line on boats")
    assert sum("finished in" in line for line in shown) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no \x1b[2J boat")])
def test_what_fails_leaves_the_terminal_as_it_was(terminal: Terminal, error: BaseException) -> None:
    def fail(_request: Any) -> str:
        terminal.wait_for("is thinking")
        raise error

    with InFrontOf(terminal), pytest.raises((KeyboardInterrupt, OarlockError)):
        one(FunctionLLM(fail)).kickoff()
    shown = "\n".join(terminal.screen())
    assert terminal.has_cursor
    if isinstance(error, ValueError):
        assert shown.count("no [2J boat") == 1
        assert "✗ Crew failed after" in shown
    else:
        assert "■ function was stopped" in shown
        assert shown.count("✗ KeyboardInterrupt") == 1
        assert "■ Crew stopped after" in shown


def test_a_cancelled_run_is_shown_as_such(terminal: Terminal) -> None:
    async def main() -> None:
        started = asyncio.Event()

        class Endless(FunctionLLM):
            async def acall(self, messages: Any) -> str:
                started.set()
                await asyncio.Event().wait()
                return ""

        run = asyncio.create_task(one(Endless(lambda _: "")).akickoff())
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    with InFrontOf(terminal):
        asyncio.run(main())
    assert terminal.screen()[-1].startswith("■ Crew stopped after")
    assert terminal.has_cursor


def test_agents_without_a_crew_and_verbose_agents_of_quiet_crews(terminal: Terminal) -> None:
    poet = agent(["Row."], "Poet", verbose=True)
    with VirtualRuntime(), InFrontOf(terminal):
        poet.kickoff("A line")
        quiet = agent(["Quiet."])
        poet.llm = ScriptedLLM(["Row again."])
        Crew(tasks=[Task(description="Silence", agent=quiet), Task(description="A second line", agent=poet)]).kickoff()
    shown = [line.split("  ")[0] for line in terminal.screen() if not line.startswith(" ")]
    assert shown == ["✓ 1 A line", "✓ 2 A second line"]


def test_an_interrupted_agent_without_a_crew(terminal: Terminal) -> None:
    def fail(_request: Any) -> str:
        raise KeyboardInterrupt

    with InFrontOf(terminal), pytest.raises(KeyboardInterrupt):
        agent([], "Poet", llm=FunctionLLM(fail), verbose=True).kickoff("A line")
    assert terminal.screen()[0].startswith("■ 1 A line  stopped · Poet")


@pytest.mark.parametrize("coloured", [True, False])
def test_colours_can_be_switched_off(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, coloured: bool) -> None:
    if not coloured:
        monkeypatch.setenv("NO_COLOR", "1")
    with InFrontOf(terminal):
        one(seen(terminal)).kickoff()
    assert terminal.is_coloured is coloured


@pytest.mark.parametrize("columns", [24, 44, 70, 200])
def test_lines_are_cut_to_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))  # rich asks the process's own streams, which are no terminal here
    terminal = Terminal(columns)
    try:
        with VirtualRuntime(), InFrontOf(terminal):
            for name in CREWS:
                crew = CREWS[name]()
                crew.verbose = True
                crew.tasks[0].description = "漢字 wide words " * 20
                try:
                    crew.kickoff()
                except OarlockError:
                    continue
        assert max(terminal.screen(), key=cell_len) == max(
            (line for line in terminal.screen() if cell_len(line) <= columns), key=cell_len
        )
        assert terminal.screen()[0].startswith("✓ 1 ")
        assert any("…" in line for line in terminal.screen())
    finally:
        terminal.close()


@pytest.mark.parametrize("way", ["OARLOCK_VIEW", "TERM", "encoding", "their own display"])
def test_plain_lines_where_nothing_can_move(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    from rich.console import Console
    from rich.live import Live

    with InFrontOf(terminal):
        if way == "their own display":
            with Live("theirs", console=Console(file=terminal.out), auto_refresh=False):
                one(ScriptedLLM(["Row."])).kickoff()
        else:
            if way == "encoding":
                terminal.out.reconfigure(encoding="ascii")
            else:
                monkeypatch.setenv(way, "plain" if way == "OARLOCK_VIEW" else "dumb")
            one(ScriptedLLM(["Row."])).kickoff()
            assert "\x1b" not in terminal.raw()
    assert terminal.screen()[:3] == ["Crew started: 1 task", "Task 1: A line on boats", "  Agent: Poet"]


def test_it_can_be_switched_off(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OARLOCK_VIEW", "off")
    told: list[Any] = []
    one(ScriptedLLM(["Row."])).kickoff(on_event=told.append)
    assert capsys.readouterr().err == ""
    assert told
    monkeypatch.setenv("OARLOCK_VIEW", "loud")
    with pytest.raises(ConfigurationError, match="OARLOCK_VIEW must be one of live, plain, off, not 'loud'"):
        one(ScriptedLLM(["Row."])).kickoff()


def test_runs_at_the_same_time_are_numbered_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    both = asyncio.Barrier(2)

    class Slow(FunctionLLM):
        async def acall(self, messages: Any) -> str:
            await both.wait()
            return "Row."

    asyncio.run(one(Slow(lambda _: "")).akickoff_for_each([{}, {}]))
    shown = capsys.readouterr().err.splitlines()
    assert "#1 Task 1 answered in 0.0 s: Row." in shown
    assert "#2 Task 1 answered in 0.0 s: Row." in shown
    one(ScriptedLLM(["Row."])).kickoff()
    assert capsys.readouterr().err.startswith("Crew started")


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def isatty(self) -> bool:
        return self.terminal

    terminal = False


@pytest.mark.parametrize("terminal_is_gone", [True, False])
def test_a_view_that_nobody_can_read_ends_no_run(monkeypatch: pytest.MonkeyPatch, terminal_is_gone: bool) -> None:
    gone = Gone()
    gone.terminal = terminal_is_gone
    monkeypatch.setattr(sys, "stderr", gone)
    assert one(ScriptedLLM(["Row."])).kickoff().raw == "Row."
    monkeypatch.setattr(sys, "stderr", None)
    assert one(ScriptedLLM(["Row."])).kickoff().raw == "Row."


def test_where_nobody_looks_nothing_is_loaded() -> None:
    program = (
        "import sys; from oarlock import *; from oarlock.testing import ScriptedLLM\n"
        "Crew(tasks=[Task(description='x', agent=Agent(role='a', goal='b', backstory='c', llm=ScriptedLLM(['x'])))]).kickoff()\n"
        "print([name for name in sys.modules if name.startswith(('rich', 'oarlock.views'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "[]\n"


def test_what_is_told_once_nobody_watches_is_not_shown(terminal: Terminal) -> None:
    begun = RunStarted(tasks=1, span_id="r", run_id="r", time=1)
    with InFrontOf(terminal):
        with watching(None) as show:
            assert show is not None
            show(begun)
        show(TaskStarted(span_id="t", parent_id="r", run_id="r", time=2))  # a thread that could not be stopped
        assert terminal.screen() == ["■ Crew stopped after 0.0 s: 1 task (1 not begun)"]
        with paused(), watching(None) as show:
            assert show is not None
            show(begun)
            assert len(terminal.screen()) == 1
        assert len(terminal.screen()) == 2


def test_an_agent_alone_has_no_bar(terminal: Terminal) -> None:
    with InFrontOf(terminal):
        agent([], "Poet", llm=seen(terminal, "Row.", " Poet  1 call · 0."), verbose=True).kickoff("A line")
    assert "━" not in terminal.raw()


def test_lines_need_no_pause(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_terminal", type(console._terminal)())
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    monkeypatch.setattr("oarlock.agents.human.is_terminal", lambda: True)
    crew = one(ScriptedLLM(["Row."]))
    crew.tasks[0] = Task(description="A line", agent=crew.tasks[0].agent, human_input=True)
    crew.kickoff()
    assert "  [1] waiting for a human\n" in capsys.readouterr().err


def test_a_program_that_ends_meanwhile_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    program = (
        "import sys, threading\n"
        "from oarlock import Agent, Crew, Task\n"
        "from oarlock.testing import FunctionLLM\n"
        "asked, never = threading.Event(), threading.Event()\n"
        "llm = FunctionLLM(lambda request: asked.set() or never.wait() and 'x')\n"
        "crew = Crew(tasks=[Task(description='A line', agent=Agent(role='a', goal='b', backstory='c', llm=llm))], verbose=True)\n"
        "threading.Thread(target=crew.kickoff, daemon=True).start()\n"
        "asked.wait()\n"
        "print('bye')\n"
    )
    streams = {"stdin": terminal.input, "stdout": terminal.out, "stderr": terminal.out}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, **streams)
    assert terminal.screen() == ["bye"]
    assert "\x1b[?25l" in terminal.raw()
    assert terminal.has_cursor
