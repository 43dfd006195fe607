"""Running what a model asks for: never run wrong, always told."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from oarlock.contract.context import current_call, scope
from oarlock.contract.errors import AuthenticationError, BudgetExceededError, LLMTimeoutError, ToolError
from oarlock.contract.events import Event, ToolFinished, ToolStarted
from oarlock.contract.reply import ToolCall
from oarlock.runtime import Runtime
from oarlock.runtime.aio import ASYNC
from oarlock.runtime.blocking import BLOCKING
from oarlock.tools import BaseTool, ToolAnswer, ToolTimeoutError, run_tool, tool, tools_by_name

Ask = Callable[..., ToolAnswer]

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    ran.append((a, b))
    return a + b


@tool(result_as_answer=True)
async def report(text: str) -> str:
    """Report."""
    ran.append(text)
    return text


def test_a_good_call(ask: Ask) -> None:
    assert ask([add], "add", {"a": 1, "b": 2}) == ToolAnswer(text="3", tool="add", value=3)
    assert ask([add], "add", '{"a": 1}').text == "2"
    assert ask([report], "report", {"text": "done"}).result_as_answer
    assert ran == [(1, 2), (1, 1), "done"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("ad", "{}", "there is no tool 'ad'. Did you mean 'add'? The tools are: add, report."),
        ("__class__", "{}", "there is no tool '__class__'."),
        ("__init__", "{}", "there is no tool"),
        ("func", "{}", "there is no tool"),
        ("", "{}", "there is no tool ''"),
        ("x" * 5000, "{}", "there is no tool 'xxxx"),
        ("add", '{"a": 1', "not valid JSON"),
        ("add", "a=1", "not valid JSON"),
        ("add", "[1, 2]", "must be a JSON object, not a list"),
        ("add", '"1"', "not a text"),
        ("add", "null", "not null"),
        ("add", "7", "not a number"),
        ("add", "true", "not true or false"),
        ("add", "", "'a' is missing"),
        ("add", "{}", "'a' is missing"),
        ("add", '{"a": "1"}', "'a': Input should be a valid integer, not a string"),
        ("add", '{"a": 1.5}', "'a': Input should be a valid integer"),
        ("add", '{"a": true}', "'a': Input should be a valid integer, not a boolean"),
        ("add", '{"a": null}', "not null"),
        ("add", '{"a": [1]}', "not an array"),
        ("add", '{"a": 1, "c": 2}', "there is no argument 'c' (they are: a, b)"),
        ("add", '{"a": 1, "A": 2}', "there is no argument 'A'"),
        ("add", '{"a": 1, "__class__": 2}', "there is no argument '__class__'"),
        ("add", '{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ("add", '{"a": NaN}', "NaN is not valid JSON"),
        ("add", '{"a": -Infinity}', "-Infinity is not valid JSON"),
        ("add", '{"a": 1e999}', "1e999 is too large"),
        ("add", '{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ("add", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ("add", '{"a": 1, "b": ' + "[" * 400 + "]" * 400 + "}", "wrong arguments"),
        ("add", '{"a": 1, "b": "' + "x" * 4_000_000 + '"}', "at most 1,000,000"),
        ("report", '{"text": "\\ud800"}', "wrong arguments"),
        ("report", '\ufeff{"text": ""}', "not valid JSON"),
    ],
)
def test_a_wrong_call_is_told_and_not_run(ask: Ask, name: str, arguments: str, words: str) -> None:
    answer = ask([add, report], name, arguments)
    assert answer.failed
    assert answer.text.startswith("Error: ")
    assert words in answer.text
    assert len(answer.text) < 3000
    assert (answer.value, answer.result_as_answer, ran) == (None, False, [])


def test_many_problems_are_told_at_once(ask: Ask) -> None:
    assert ask([add], "add", {"b": "x", "query": 1}).text == (
        "Error: 'add' was not run: wrong arguments: there is no argument 'query' (they are: a, b); 'a' is missing; "
        "'b': Input should be a valid integer, not a string."
    )

    class Item(BaseModel, extra="forbid"):
        n: int

    @tool
    def take(items: list[Item]) -> int:
        """Take."""
        return len(items)

    text = ask([take], "take", {"items": [{"n": 1}, {"n": "2", "m": 3}, *[{}] * 20]}).text
    assert "'items[1].n': Input should be a valid integer, not a string" in text
    assert "'items[1].m': Extra inputs are not permitted" in text
    assert "and 12 more" in text


class Point(BaseModel):
    x: int


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Unprintable:
    @staticmethod
    def make() -> Unprintable:
        return Unprintable()

    def __str__(self) -> str:
        raise KeyError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        (None, "(no output)"),
        ("", "(no output)"),
        (" \n", "(no output)"),
        (3.5, "3.5"),
        (True, "True"),
        (b"caf\xc3\xa9\xff", "café�"),
        (Point(x=1), '{"x":1}'),
        ([Point(x=1), {2}, Pair("é", Unprintable)], None),
        ({"a": Point(x=1), "b": {2}, "c": None}, '{"a": {"x": 1}, "b": [2], "c": null}'),
        (Pair(1, Pair(2, "é")), '{"left": 1, "right": {"left": 2, "right": "é"}}'),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ("a\ud800b", "a?b"),
    ],
)
def test_results_become_text(ask: Ask, value: Any, text: str | None) -> None:
    give = tool("give", description="Give.")(lambda: value)
    answer = ask([give], "give")
    assert not answer.failed
    assert answer.value is value
    assert text is None or answer.text == text


def test_circles_and_huge_results(ask: Ask) -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert ask([tool("f", description="d")(lambda: circle)], "f").text == "[[...]]"
    text = ask([tool("f", description="d")(lambda: "x" * 250_000)], "f").text
    assert text == "x" * 100_000 + "\n[cut: 150,000 more characters are not shown]"


class Stock(BaseModel):
    sku: str
    quantity: int = 0


def test_results_of_a_schema(ask: Ask) -> None:
    look = tool("look", description="d", result_schema=Stock)
    assert ask([look(lambda: {"sku": "a", "quantity": 3, "note": "x"})], "look").text == '{"sku":"a","quantity":3}'
    assert ask([look(lambda: Stock(sku="a"))], "look").value == Stock(sku="a")
    assert look(lambda: {"sku": "b"}).run() == {"sku": "b"}  # in Python it is what the function returned
    told = ask([look(lambda: {"quantity": 3})], "look")
    assert told.failed
    assert told.text.startswith("Error: the tool's result does not fit its result_schema Stock: 1 validation error")


def test_a_tool_says_its_result_in_its_own_words(ask: Ask) -> None:
    class Look(BaseTool):
        """Look."""

        name: str = "look"

        def _run(self) -> Stock:
            return Stock(sku="a", quantity=3)

        def format_output_for_agent(self, result: Stock) -> str:
            return f"{result.quantity} of {result.sku}" + "!" * 100_000

    text = ask([Look()], "look").text
    assert text.startswith("3 of a!!!")
    assert text.endswith("[cut: 6 more characters are not shown]")


def test_what_a_tool_raises_is_told(ask: Ask) -> None:
    def failing(error: BaseException) -> BaseTool:
        def fail() -> None:
            """Fail."""
            raise error

        return tool(fail)

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    told = {
        ValueError("bad\x00 key=sk-abcdefghijklmnop1234"): "Error: 'fail' failed: ValueError: bad key=…",
        KeyError("x"): "Error: 'fail' failed: KeyError: 'x'",
        ToolError("Ask for a city."): "Error: Ask for a city.",
        StopIteration(): "Error: 'fail' failed: RuntimeError: StopIteration: an iterator was empty",
        TimeoutError("own"): "Error: 'fail' failed: TimeoutError: own",
        RecursionError(): "Error: 'fail' failed: RecursionError",
        Mute(): "Error: 'fail' failed: Mute",
        ExceptionGroup("two", [ValueError()]): "Error: 'fail' failed: ExceptionGroup: two (1 sub-exception)",
    }
    for error, text in told.items():
        answer = ask([failing(error)], "fail")
        assert (answer.text, answer.failed) == (text, True)
    assert ask([tool("f", description="d")(Unprintable.make)], "f").text == "Error: 'f' failed: KeyError: 'no'"


@pytest.mark.parametrize(
    "error",
    [BudgetExceededError("b"), AuthenticationError("a"), LLMTimeoutError("t"), KeyboardInterrupt(), SystemExit()],
)
def test_what_no_model_can_mend_is_raised(ask: Ask, error: BaseException) -> None:
    @tool
    def fail() -> None:
        """Fail."""
        raise error

    with pytest.raises(type(error)) as caught:
        ask([fail], "fail")
    assert caught.value is error or not isinstance(error, Exception)


def test_a_validator_of_the_users_may_raise_anything(ask: Ask) -> None:
    from pydantic import field_validator

    class Odd(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def check(cls, value: int) -> int:
            if value:
                raise ValueError("x must be 0")
            raise KeyError("oops")

    @tool(args_schema=Odd)
    def odd(x: int) -> None:
        """Odd."""
        ran.append(x)

    assert "x must be 0" in ask([odd], "odd", {"x": 1}).text
    assert ask([odd], "odd", {"x": 0}).text == "Error: 'odd' was not run: wrong arguments: KeyError: 'oops'."
    assert ran == []


def test_a_tool_that_hangs_past_the_deadline(ask: Ask) -> None:
    let_go = threading.Event()

    @tool
    def hang() -> None:
        """Hang."""
        let_go.wait(30)

    try:
        with pytest.raises(ToolTimeoutError, match="'hang' was still running when the time of the run was up"):
            ask([hang], "hang", deadline=time.monotonic() + 0.05)
        with scope(deadline=time.monotonic() + 0.05), pytest.raises(TimeoutError):
            ask([hang], "hang")
    finally:
        let_go.set()


def test_an_async_tool_past_the_deadline(ask: Ask) -> None:
    @tool
    async def hang() -> None:
        """Hang."""
        await asyncio.sleep(30)

    with pytest.raises(ToolTimeoutError):
        ask([hang], "hang", deadline=time.monotonic() + 0.05)


def test_what_a_tool_may_know(ask: Ask) -> None:
    @tool
    def look() -> None:
        """Look."""
        ran.append(current_call())

    soon = time.monotonic() + 100
    with scope(run_id="r", agent="Cox", stop=("\nObservation:",), idempotency_key="of the model call"):
        ask([look], "look", deadline=soon, idempotency_key="key")
        ask([look], "look")
    first, second = ran
    assert (first.run_id, first.agent, first.stop) == ("r", "Cox", ())
    assert (first.deadline, first.idempotency_key) == (soon, "key")
    assert (second.deadline, second.idempotency_key, second.stop) == (None, None, ())


def test_an_idempotency_key_is_filled_and_not_shown(ask: Ask) -> None:
    @tool
    def pay(amount: int, idempotency_key: str) -> str:
        """Pay."""
        return f"{amount} {idempotency_key}"

    assert list(pay.schema["function"]["parameters"]["properties"]) == ["amount"]
    assert ask([pay], "pay", {"amount": 1}, idempotency_key="k").text == "1 k"
    assert len(ask([pay], "pay", {"amount": 1}).text) == len("1 ") + 32
    assert ask([pay], "pay", {"amount": 1, "idempotency_key": "mine"}).failed
    assert len(pay.run(amount=1)) == len("1 ") + 32


def test_events(ask: Ask) -> None:
    seen: list[Event] = []
    with scope(listener=seen.append, agent="Cox", task="Row"):
        ask([add], "add", {"a": 1})
        ask([add], "add", {"a": "1"})
        ask([add], "ad", "{")
    assert [(type(event), event.agent, event.task) for event in seen] == [
        (ToolStarted, "Cox", "Row"),
        (ToolFinished, "Cox", "Row"),
    ] * 3
    started, finished = seen[0], seen[1]
    assert isinstance(started, ToolStarted)
    assert isinstance(finished, ToolFinished)
    assert (started.tool, started.arguments) == ("add", {"a": 1})
    assert (finished.answer, finished.failed, finished.seconds >= 0) == ("2", False, True)
    assert [event.failed for event in seen if isinstance(event, ToolFinished)] == [False, True, True]


def test_each_call_is_one_step() -> None:
    steps = []

    class Recording(type(BLOCKING)):  # type: ignore[misc]
        async def step(self, kind: str, name: str, job: Any, key: str = "", on_resume: str = "retry") -> Any:
            steps.append((kind, name, key, on_resume))
            return await job()

    runtime = Recording()
    for name in ("add", "__class__"):
        call = ToolCall(id="1", name=name, arguments='{"a": 1}')
        runtime.run(run_tool(runtime, tools_by_name([add]), call, idempotency_key="r:1:1:0"))
    assert steps == [("tool", "add", "r:1:1:0", "fail"), ("tool", "unknown", "", "retry")]


async def _many(runtime: Runtime) -> list[ToolAnswer]:
    tools = tools_by_name([add])
    calls = [ToolCall(id="same", name="add", arguments=json.dumps({"a": n})) for n in range(300)]
    return await runtime.gather(*[lambda call=call: run_tool(runtime, tools, call) for call in calls])


def test_300_calls_at_once_with_one_id() -> None:
    for answers in (BLOCKING.run(_many(BLOCKING)), asyncio.run(_many(ASYNC))):
        assert [answer.value for answer in answers] == list(range(1, 301))
    assert len(ran) == 600


async def test_a_blocking_tool_leaves_the_event_loop_free() -> None:
    here = threading.current_thread()
    free = threading.Event()

    @tool
    def wait() -> bool:
        """Wait until the loop has done something else."""
        return threading.current_thread() is not here and free.wait(30)

    @tool(in_place=True)
    def quick() -> bool:
        """Be quick."""
        return threading.current_thread() is here

    async def run(made: BaseTool) -> Any:
        return (await run_tool(ASYNC, tools_by_name([made]), ToolCall(id="1", name=made.function_name))).value

    waiting = asyncio.create_task(run(wait))
    await asyncio.sleep(0)
    free.set()
    assert await waiting
    assert await run(quick)


async def test_tools_that_run_tools_cannot_wait_for_each_other() -> None:
    @tool
    def outer(n: int) -> int:
        """Run an async run of its own, holding a thread."""
        tools = tools_by_name([add])
        return asyncio.run(run_tool(ASYNC, tools, ToolCall(id="1", name="add", arguments=json.dumps({"a": n})))).value

    tools = tools_by_name([outer])
    calls = [ToolCall(id="1", name="outer", arguments=json.dumps({"n": n})) for n in range(100)]
    jobs = [lambda call=call: run_tool(ASYNC, tools, call) for call in calls]
    async with asyncio.timeout(60):
        answers = await ASYNC.gather(*jobs)
    assert [answer.value for answer in answers] == list(range(1, 101))


async def test_cancelling_passes() -> None:
    begun = asyncio.Event()

    @tool
    async def hang() -> None:
        """Hang."""
        begun.set()
        await asyncio.sleep(30)

    task = asyncio.create_task(run_tool(ASYNC, tools_by_name([hang]), ToolCall(id="1", name="hang")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_blocking_function_that_returns_a_coroutine(ask: Ask) -> None:
    async def later() -> str:
        return "late"

    given = tool("f", description="d")(lambda: later())  # noqa: PLW0108  no coroutine function itself
    assert ask([given], "f").text == "late"


def test_a_long_list_of_tools_is_cut() -> None:
    tools = tools_by_name([tool(f"tool-{n}", description="d")(lambda: n) for n in range(80)])
    text = BLOCKING.run(run_tool(BLOCKING, tools, ToolCall(id="1", name="zzz"))).text
    assert text.endswith("tool-49 and 30 more.")
    assert BLOCKING.run(run_tool(BLOCKING, {}, ToolCall(id="1", name="zzz"))).text.endswith("The tools are: none.")
