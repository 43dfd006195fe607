"""How often a tool may be used, which results are given again, and who approves what is dangerous."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import io
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from oarlock import Agent, BaseTool, ConfigurationError, Crew, LLMTimeoutError, Task, ToolCall, tool
from oarlock.contract.events import ApprovalDecided, ApprovalRequested, Event, ToolFinished
from oarlock.testing import FunctionLLM as FunctionLLM_
from oarlock.testing import ScriptedLLM as ScriptedLLM_
from oarlock.testing import VirtualRuntime
from oarlock.tools import ApprovalRequest, guarded_functions, tools_by_name

ScriptedLLM = functools.partial(ScriptedLLM_, supports_function_calling=True)
FunctionLLM = functools.partial(FunctionLLM_, supports_function_calling=True)


def calls(*wanted: tuple[str, dict[str, Any]]) -> list[ToolCall]:
    return [ToolCall(id=f"c{n}", name=name, arguments=json.dumps(given)) for n, (name, given) in enumerate(wanted)]


def run_blocking(crew: Crew, **settings: Any) -> Any:
    return crew.kickoff(**settings)


def run_async(crew: Crew, **settings: Any) -> Any:
    return asyncio.run(crew.akickoff(**settings))


def run_virtual(crew: Crew, **settings: Any) -> Any:
    with VirtualRuntime() as runtime:
        return runtime.run(crew.akickoff(**settings))


Run = Callable[..., Any]


@pytest.fixture(params=[run_blocking, run_async, run_virtual])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


def crew_of(llm: Any, tools: list[Any], *, agent: dict[str, Any] | None = None, tasks: int = 1, **crew: Any) -> Crew:
    clerk = Agent(role="Clerk", goal="Know", llm=llm, tools=tools, **(agent or {}))
    return Crew(agents=[clerk], tasks=[Task(description=f"Task {n}", agent=clerk) for n in range(tasks)], **crew)


def told(llm: ScriptedLLM_) -> list[str]:
    """Return what the model was told of its tool calls, in order."""
    return [str(message["content"]) for message in llm.requests[-1].messages if message["role"] == "tool"]


def counting(**settings: Any) -> tuple[Any, list[str]]:
    ran: list[str] = []

    @tool("look_up", **settings)
    def look_up(name: str, exact: bool = False) -> str:
        """Look a name up."""
        ran.append(name)
        return f"{name} is number {len(ran)}"

    return look_up, ran


ONCE, OTHER = ("look_up", {"name": "Oslo"}), ("look_up", {"name": "Bergen"})


# How often.


def test_a_tool_is_used_as_often_as_it_may(run: Run) -> None:
    look_up, ran = counting(max_usage_count=2)
    llm = ScriptedLLM([calls(ONCE), calls(OTHER), calls(ONCE), "done"])
    run(crew_of(llm, [look_up]))
    assert ran == ["Oslo", "Bergen"]
    assert told(llm)[2] == "Error: 'look_up' was not run: it may be used 2 times in a run, and was. Go on without it."


def test_each_run_counts_anew_and_the_tool_stays_as_it_is(run: Run) -> None:
    look_up, ran = counting(max_usage_count=1)
    crew = crew_of(FunctionLLM(lambda request: "done" if len(request.messages) > 2 else calls(ONCE)), [look_up])
    run(crew)
    before = dict(vars(look_up))
    run(crew)
    assert ran == ["Oslo", "Oslo"]
    assert vars(look_up) == before


def test_what_did_not_run_does_not_count(run: Run) -> None:
    look_up, ran = counting(max_usage_count=1)
    wrong = ("look_up", {"name": 1})
    llm = ScriptedLLM([calls(wrong), calls(("look_up", {})), calls(ONCE), calls(OTHER), "done"])
    run(crew_of(llm, [look_up]))
    assert ran == ["Oslo"]
    assert "may be used once in a run" in told(llm)[3]


def test_a_use_that_failed_counts(run: Run) -> None:
    ran: list[int] = []

    @tool(max_usage_count=2)
    def fail() -> str:
        """Fail."""
        ran.append(1)
        raise OSError("no")

    llm = ScriptedLLM([calls(("fail", {})), calls(("fail", {})), calls(("fail", {})), "done"])
    run(crew_of(llm, [fail]))
    assert len(ran) == 2


def test_calls_at_once_do_not_pass_the_limit(run: Run) -> None:
    look_up, ran = counting(max_usage_count=3)
    llm = ScriptedLLM([calls(*[("look_up", {"name": f"{n}"}) for n in range(300)]), "done"], context_window=100_000)
    run(crew_of(llm, [look_up]))
    assert len(ran) == 3
    assert sum("may be used 3 times" in answer for answer in told(llm)) == 297


def test_all_agents_of_a_run_share_the_count(run: Run) -> None:
    look_up, ran = counting(max_usage_count=1)
    llm = ScriptedLLM([calls(ONCE), "one", calls(OTHER), "two"])
    run(crew_of(llm, [look_up], tasks=2))
    assert ran == ["Oslo"]


def test_a_model_that_runs_tools_itself_is_counted_too(run: Run) -> None:
    look_up, ran = counting(max_usage_count=1)

    def answer(request: Any) -> str:
        function = request.available_functions["look_up"]
        return f"{function(name='Oslo')}; {function(name='Bergen')}"

    result = run(crew_of(FunctionLLM(answer), [look_up]))
    assert result.raw.startswith("Oslo is number 1; Error: 'look_up' was not run: it may be used once")
    assert ran == ["Oslo"]


def test_outside_of_a_run_nothing_is_counted() -> None:
    look_up, ran = counting(max_usage_count=1)
    functions = guarded_functions(tools_by_name([look_up]))
    functions["look_up"](name="a")
    functions["look_up"](name="b")
    look_up.run("c")
    assert ran == ["a", "b", "c"]


@pytest.mark.parametrize("most", [0, -1, True, "3", 1.5])
def test_a_limit_that_is_none_is_refused(most: Any) -> None:
    look_up, _ = counting(max_usage_count=most)
    with pytest.raises(ConfigurationError, match=r"Agent 'A'.*max_usage_count of .* must be a whole number"):
        Agent(role="A", goal="G", tools=[look_up])


# Which results are given again.


def test_by_default_every_call_runs(run: Run) -> None:
    look_up, ran = counting()
    run(crew_of(ScriptedLLM([calls(ONCE), calls(ONCE), "done"]), [look_up]))
    assert ran == ["Oslo", "Oslo"]


@pytest.mark.parametrize("where", ["agent", "crew", "tool"])
def test_equal_calls_are_answered_once(run: Run, where: str) -> None:
    look_up, ran = counting(**({"cache_function": True} if where == "tool" else {}))
    llm = ScriptedLLM([calls(ONCE), calls(OTHER), calls(("look_up", {"exact": False, "name": "Oslo"})), "done"])
    events: list[Event] = []
    settings: dict[str, Any] = {"agent": {"cache": True}} if where == "agent" else {}
    crew = crew_of(llm, [look_up], **({"cache": True} if where == "crew" else {}), **settings)
    run(crew, on_event=events.append)
    assert ran == ["Oslo", "Bergen"]
    assert told(llm) == ["Oslo is number 1", "Bergen is number 2", "Oslo is number 1"]
    assert [event.cached for event in events if isinstance(event, ToolFinished)] == [False, False, True]


def test_who_is_nearer_decides(run: Run) -> None:
    script = [calls(ONCE), calls(ONCE), "done"]
    look_up, ran = counting()
    run(crew_of(ScriptedLLM(script), [look_up], agent={"cache": False}, cache=True))
    look_up, ran_too = counting(cache_function=False)
    run(crew_of(ScriptedLLM(script), [look_up], agent={"cache": True}))
    look_up, never = counting(cache_function=True)
    run(crew_of(ScriptedLLM(script), [look_up], cache=False))
    assert (len(ran), len(ran_too), len(never)) == (2, 2, 2)


def test_agents_of_a_run_share_results_and_runs_do_not(run: Run) -> None:
    look_up, ran = counting(cache_function=True)

    def answer(request: Any) -> Any:
        return "done" if request.messages[-1]["role"] == "tool" else calls(ONCE)

    crew = crew_of(FunctionLLM(answer), [look_up], tasks=2)
    run(crew)
    assert len(ran) == 1
    run(crew)
    assert len(ran) == 2


def test_two_tools_of_one_name_are_two(run: Run) -> None:
    first, ran = counting(cache_function=True)
    second, ran_too = counting(cache_function=True)
    llm = ScriptedLLM([calls(ONCE), "one", calls(ONCE), "two"])
    agents = [Agent(role=f"A{n}", goal="G", llm=llm, tools=[one]) for n, one in enumerate((first, second))]
    run(Crew(agents=agents, tasks=[Task(description="T", agent=agent) for agent in agents]))
    assert (ran, ran_too) == (["Oslo"], ["Oslo"])


def test_a_function_of_the_tool_decides_by_arguments_and_result(run: Run) -> None:
    look_up, ran = counting()
    seen: list[Any] = []

    def only_oslo(args: dict[str, Any], result: str) -> bool:
        seen.append((args, result))
        return args["name"] == "Oslo"

    look_up.cache_function = only_oslo
    run(crew_of(ScriptedLLM([calls(ONCE), calls(ONCE), calls(OTHER), calls(OTHER), "done"]), [look_up]))
    assert ran == ["Oslo", "Bergen", "Bergen"]
    assert seen[0] == ({"name": "Oslo", "exact": False}, "Oslo is number 1")


def test_a_function_in_a_class_is_one_with_or_without_the_object(run: Run) -> None:
    ran: list[str] = []

    class Plain(BaseTool):
        """Say."""

        def _run(self, name: str) -> str:
            ran.append(name)
            return name

        def cache_function(args: Any, result: Any) -> bool:
            return True

    class Method(Plain):
        """Say."""

        def cache_function(self, args: Any, result: Any) -> bool:  # type: ignore[override]
            return bool(args["name"] == result)

    for one in (Plain(), Method()):
        asked = (one.function_name, {"name": "x"})
        run(crew_of(ScriptedLLM([calls(asked), calls(asked), "done"]), [one]))
    assert ran == ["x", "x"]


def test_a_function_that_fails_keeps_nothing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    look_up, ran = counting(cache_function=lambda args, result: 1 / 0)
    llm = ScriptedLLM([calls(ONCE), calls(ONCE), "done"])
    with caplog.at_level(logging.WARNING, "oarlock.tools"):
        run(crew_of(llm, [look_up]))
    assert (ran, told(llm)[0]) == (["Oslo", "Oslo"], "Oslo is number 1")
    assert "cache_function of the tool 'look_up' failed" in caplog.text


def test_failures_are_not_kept(run: Run) -> None:
    ran: list[int] = []

    @tool(cache_function=True)
    def shaky() -> str:
        """Fail at first."""
        ran.append(1)
        if len(ran) == 1:
            raise OSError("no")
        return "good"

    llm = ScriptedLLM([calls(("shaky", {})), calls(("shaky", {})), calls(("shaky", {})), "done"])
    run(crew_of(llm, [shaky]))
    assert len(ran) == 2
    assert told(llm)[1:] == ["good", "good"]


def test_a_result_as_answer_is_one_when_given_again(run: Run) -> None:
    look_up, ran = counting(cache_function=True, result_as_answer=True)
    result = run(crew_of(ScriptedLLM([calls(ONCE), calls(ONCE)]), [look_up], tasks=2))
    assert [output.raw for output in result.tasks_output] == ["Oslo is number 1"] * 2
    assert ran == ["Oslo"]


def test_values_that_look_alike_are_not_equal(run: Run) -> None:
    ran: list[Any] = []

    class Point(BaseModel):
        x: int

    @tool(cache_function=True)
    def take(value: str | dt.date | Point | float | bool) -> str:
        """Take."""
        ran.append(value)
        return "ok"

    values: list[Any] = ["true", True, "1", 1, {"x": 1}, "2024-01-01", True]
    llm = ScriptedLLM([*(calls(("take", {"value": value})) for value in values), "done"])
    run(crew_of(llm, [take]))
    assert len(ran) == len(values) - 1


def test_arguments_that_cannot_be_compared_run(run: Run) -> None:
    ran: list[Any] = []

    class Odd:
        pass

    @tool(cache_function=True)
    def take(name: Any) -> str:
        """Take."""
        ran.append(name)
        return "ok"

    functions: list[Any] = []

    def answer(request: Any) -> str:
        function = request.available_functions["take"]
        functions.append(function(name="x"))
        return str(function(name="x"))

    run(crew_of(FunctionLLM(answer), [take]))
    assert ran == ["x"]
    from oarlock.tools.store import _as_key

    assert _as_key({"name": Odd()}) is None


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_equal_calls_at_once_run_once(colour: str) -> None:
    """All calls of a turn begin; only one of them runs, and the others wait for it."""
    ran: list[str] = []
    others_begun = threading.Event()
    finished = threading.Event()

    @tool(cache_function=True)
    def slow(name: str) -> str:
        """Take time."""
        ran.append(name)
        assert others_begun.wait(30)
        return name

    @tool
    def last() -> str:
        """Let the slow one go on."""
        others_begun.set()
        finished.set()
        return "go"

    llm = ScriptedLLM([calls(*[("slow", {"name": "x"})] * 10, ("last", {})), "done"])
    crew = crew_of(llm, [slow, last])
    events: list[Event] = []
    (run_blocking if colour == "blocking" else run_async)(crew, on_event=events.append)
    assert ran == ["x"]
    assert told(llm) == [*["x"] * 10, "go"]
    assert sum(event.cached for event in events if isinstance(event, ToolFinished)) == 9


@pytest.mark.parametrize("kept", [True, False])
def test_equal_calls_at_once_whose_first_fails_or_is_not_kept(run: Run, kept: bool) -> None:
    ran: list[int] = []

    @tool(cache_function=lambda args, result: kept)
    async def shaky() -> str:
        """Fail at first."""
        ran.append(1)
        if kept and len(ran) == 1:
            raise OSError("no")
        return "good"

    llm = ScriptedLLM([calls(*[("shaky", {})] * 5), "done"])
    run(crew_of(llm, [shaky]))
    assert len(ran) == (2 if kept else 5)
    assert told(llm).count("good") == (4 if kept else 5)


def test_waiting_for_an_equal_call_ends_with_the_time_of_the_run() -> None:
    release = threading.Event()

    @tool(cache_function=True)
    def hangs() -> str:
        """Hang."""
        release.wait(60)
        return "late"

    llm = ScriptedLLM([calls(*[("hangs", {})] * 3), "done"])
    with pytest.raises(LLMTimeoutError, match="max_execution_time"):
        run_blocking(crew_of(llm, [hangs], agent={"max_execution_time": 0.05}))
    release.set()


@pytest.mark.parametrize("kind", [Agent, Crew])
def test_cache_is_a_yes_or_a_no(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="cache must be True"):
        Agent(role="R", goal="G", cache="yes") if kind is Agent else crew_of(None, [], cache=1)  # type: ignore[arg-type]


# What is dangerous.


def dangerous(**settings: Any) -> tuple[Any, list[Any]]:
    ran: list[Any] = []

    @tool(dangerous=True, **settings)
    def delete(path: str, force: bool = False) -> str:
        """Delete a file."""
        ran.append((path, force))
        return f"deleted {path}"

    return delete, ran


DELETE = ("delete", {"path": "a.txt"})


def test_what_is_allowed_runs(run: Run) -> None:
    delete, ran = dangerous()
    asked: list[ApprovalRequest] = []
    events: list[Event] = []

    def approve(request: ApprovalRequest) -> bool:
        asked.append(request)
        return True

    llm = ScriptedLLM([calls(DELETE), "done"])
    run(crew_of(llm, [delete], agent={"on_approval": approve}), on_event=events.append)
    assert ran == [("a.txt", False)]
    assert told(llm) == ["deleted a.txt"]
    assert asked == [
        ApprovalRequest(
            tool="delete", arguments={"path": "a.txt"}, description="Delete a file.", agent="Clerk", task="Task 0"
        )
    ]
    requested = next(event for event in events if isinstance(event, ApprovalRequested))
    decided = next(event for event in events if isinstance(event, ApprovalDecided))
    assert (requested.tool, requested.arguments, requested.agent) == ("delete", {"path": "a.txt"}, "Clerk")
    assert (decided.tool, decided.approved, decided.reason, decided.arguments) == ("delete", True, "", None)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (False, "the call was refused. Do not try it again as it is."),
        ("", "the call was refused. Do not try it again as it is."),
        ("Not that file.", "the call was refused: Not that file. Do not try it again as it is."),
    ],
)
def test_what_is_refused_does_not_run_and_the_model_hears_why(run: Run, verdict: Any, words: str) -> None:
    delete, ran = dangerous()
    events: list[Event] = []

    async def approve(request: ApprovalRequest) -> Any:
        return verdict

    llm = ScriptedLLM([calls(DELETE), "done"])
    run(crew_of(llm, [delete], on_approval=approve), on_event=events.append)
    assert (ran, told(llm)) == ([], [f"Error: 'delete' was not run: {words}"])
    decided = next(event for event in events if isinstance(event, ApprovalDecided))
    assert (decided.approved, decided.reason) == (False, (verdict or "").rstrip("."))


def test_arguments_may_be_changed_and_the_model_is_told(run: Run) -> None:
    delete, ran = dangerous()

    class Careful:
        def __call__(self, request: ApprovalRequest) -> dict[str, Any]:
            return {**request.arguments, "path": "b.txt"}

    llm = ScriptedLLM([calls(DELETE), "done"])
    run(crew_of(llm, [delete], on_approval=Careful()))
    assert ran == [("b.txt", False)]
    assert told(llm) == ['(Whoever approved the call changed the arguments to {"path": "b.txt"}.)\ndeleted b.txt']


@pytest.mark.parametrize("verdict", [None, 1, 0, [], {"path": 3}, {"file": "x"}, {"path": object()}])
def test_an_approver_that_gives_no_answer_ends_the_run(run: Run, verdict: Any) -> None:
    delete, ran = dangerous()
    with pytest.raises(ConfigurationError, match="on_approval"):
        run(crew_of(ScriptedLLM([calls(DELETE), "done"]), [delete], on_approval=lambda request: verdict))
    assert not ran


def test_an_approver_that_raises_ends_the_run(run: Run) -> None:
    delete, ran = dangerous()

    def broken(request: ApprovalRequest) -> bool:
        raise TimeoutError("the pager is down")

    with pytest.raises(TimeoutError, match="the pager is down"):
        run(crew_of(ScriptedLLM([calls(DELETE)]), [delete], on_approval=broken))
    assert not ran


def test_the_agents_own_approver_comes_first(run: Run) -> None:
    delete, ran = dangerous()
    crew = crew_of(
        ScriptedLLM([calls(DELETE), "done"]),
        [delete],
        agent={"on_approval": lambda request: True},
        on_approval=lambda request: False,
    )
    run(crew)
    assert ran


def test_wrong_arguments_are_told_without_asking(run: Run) -> None:
    delete, ran = dangerous()
    asked: list[Any] = []
    llm = ScriptedLLM([calls(("delete", {"path": 1})), "done"])
    run(crew_of(llm, [delete], on_approval=asked.append))
    assert not ran
    assert not asked


def test_each_call_is_asked_about_and_none_is_remembered(run: Run) -> None:
    delete, ran = dangerous(cache_function=True)
    asked: list[Any] = []

    def approve(request: ApprovalRequest) -> bool:
        asked.append(request)
        return len(asked) != 2

    llm = ScriptedLLM([calls(DELETE, DELETE), calls(DELETE), "done"])
    run(crew_of(llm, [delete], on_approval=approve, cache=True))
    assert (len(asked), len(ran)) == (3, 2)


def test_a_refused_call_is_no_use(run: Run) -> None:
    delete, ran = dangerous(max_usage_count=1)
    verdicts = iter([False, True])
    llm = ScriptedLLM([calls(DELETE), calls(DELETE), calls(DELETE), "done"])
    run(crew_of(llm, [delete], on_approval=lambda request: next(verdicts)))
    assert len(ran) == 1
    assert "may be used once" in told(llm)[2]


def test_a_model_that_only_writes_text_is_asked_about_too(run: Run) -> None:
    delete, ran = dangerous()
    text = 'Action: delete\nAction Input: {"path": "a.txt"}'
    llm = ScriptedLLM([text, "Final Answer: done"], supports_function_calling=False)
    run(crew_of(llm, [delete], on_approval=lambda request: "no"))
    assert not ran
    assert "the call was refused: no." in str(llm.requests[1].messages[-1]["content"])


def test_a_model_that_runs_tools_itself_is_asked_about_too(run: Run) -> None:
    delete, ran = dangerous()
    llm = FunctionLLM(lambda request: request.available_functions["delete"](path="a.txt"))
    assert run(crew_of(llm, [delete], on_approval=lambda request: False)).raw.startswith("Error: 'delete' was not run")
    assert not ran


def test_outside_of_an_agent_nobody_approves_it() -> None:
    delete, ran = dangerous()
    text = guarded_functions(tools_by_name([delete]))["delete"](path="a.txt")
    assert text == "Error: 'delete' was not run: it needs the approval of a human, and there is none to ask."
    assert not ran
    assert delete.run(path="a.txt") == "deleted a.txt"  # the program's own call, not a model's


def test_a_crew_inside_a_tool_does_not_inherit_the_approver(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    delete, ran = dangerous()
    inner = crew_of(ScriptedLLM([calls(DELETE), "done"]), [delete])

    @tool
    def nested() -> str:
        """Run a crew."""
        return inner.kickoff().raw

    with pytest.raises(ConfigurationError, match="the tool 'delete' is dangerous"):
        run(crew_of(ScriptedLLM([calls(("nested", {})), "done"]), [nested], on_approval=lambda request: True))
    assert not ran


@pytest.mark.parametrize("how", ["kickoff", "execute_task", "tools"])
def test_without_anybody_to_ask_no_model_is_asked(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    delete, ran = dangerous()
    llm = ScriptedLLM([calls(DELETE), "done"])
    agent = Agent(role="Clerk", goal="Know", llm=llm, tools=[] if how == "tools" else [delete])
    with pytest.raises(ConfigurationError, match="the tool 'delete' is dangerous, so each of its calls needs"):
        if how == "kickoff":
            Crew(agents=[agent], tasks=[Task(description="D", agent=agent)]).kickoff()
        else:
            agent.execute_task(Task(description="D"), tools=[delete] if how == "tools" else None)
    assert not llm.requests
    assert not ran


def test_an_approver_that_takes_too_long_is_given_up() -> None:
    delete, ran = dangerous()
    release = threading.Event()

    def approve(request: ApprovalRequest) -> bool:
        release.wait(60)
        return True

    llm = ScriptedLLM([calls(DELETE), "done"])
    crew = crew_of(llm, [delete], agent={"max_execution_time": 0.05, "on_approval": approve})
    for runs in (run_blocking, run_async):
        with pytest.raises(LLMTimeoutError, match="max_execution_time"):
            runs(crew)
        llm = ScriptedLLM([calls(DELETE), "done"])
        crew = crew_of(llm, [delete], agent={"max_execution_time": 0.05, "on_approval": approve})
    release.set()
    assert not ran


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "runs", "words"),
    [
        ("y\n", 1, "deleted"),
        (" YES \n", 1, "deleted"),
        ("\n", 0, "the call was refused."),
        ("n\n", 0, "the call was refused."),
        ("not today\n", 0, "the call was refused: not today."),
        ("", 0, "the call was refused: nobody answered."),
    ],
)
def test_the_terminal_is_asked(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    typed: str,
    runs: int,
    words: str,
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    delete, ran = dangerous()
    llm = ScriptedLLM([calls(("delete", {"path": "a\x1b[2J\u202e.txt"})), "done"])
    run(crew_of(llm, [delete]))
    assert len(ran) == runs
    assert words in told(llm)[0]
    shown = capfd.readouterr().err
    assert "Clerk wants to use delete with" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_the_terminal_says_what_it_does_not_show(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    delete, _ = dangerous()
    run_blocking(crew_of(ScriptedLLM([calls(("delete", {"path": "x" * 30_000})), "done"]), [delete]))
    assert "more characters are not shown]" in capfd.readouterr().err


@pytest.mark.parametrize("wrong", ["yes", 3, ApprovalRequest])
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="Agent 'R': on_approval must be a function"):
        Agent(role="R", goal="G", on_approval=wrong)
    with pytest.raises(ConfigurationError, match="Crew: on_approval must be a function"):
        crew_of(None, [], on_approval=wrong)


def test_verbose_shows_it(capfd: pytest.CaptureFixture[str]) -> None:
    delete, _ = dangerous()
    look_up, _ = counting(cache_function=True)
    verdicts: list[Any] = [True, {"path": "b"}, "No."]
    llm = ScriptedLLM([calls(DELETE), calls(DELETE), calls(DELETE), calls(ONCE), calls(ONCE), "done"])
    run_blocking(crew_of(llm, [delete, look_up], on_approval=lambda request: verdicts.pop(0), verbose=True))
    shown = capfd.readouterr().err
    assert "Clerk asks for approval of delete" in shown
    assert "delete was approved\n" in shown
    assert "delete was approved with changes" in shown
    assert "delete was refused: No" in shown
    assert 'look_up(name="Oslo") answered as before: Oslo is number 1' in shown
