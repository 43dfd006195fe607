"""The functions given to an LLM that runs tools itself."""

from __future__ import annotations

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oarlock.contract.context import scope
from oarlock.contract.errors import BudgetExceededError, StepsExhaustedError
from oarlock.contract.events import Event, ToolFinished, ToolStarted
from oarlock.tools import FunctionsOnDemand, guarded_functions, tool, tools_by_name

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    ran.append((a, b))
    return a + b


@tool("Say it")
async def say(text: str) -> dict[str, str]:
    """Say."""
    ran.append(text)
    return {"said": text}


TOOLS = tools_by_name([add, say])


def test_functions_return_text() -> None:
    functions = guarded_functions(TOOLS)
    assert list(functions) == ["add", "say_it"]
    assert functions["add"](a=1, b=2) == functions["add"](1, 2) == "3"
    assert functions["say_it"](text="x") == '{"said": "x"}'
    assert functions["add"].__name__ == "add"
    assert functions["add"].__doc__ == "Add two numbers."


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {"a": "1"}, "'a': Input should be a valid integer, not a string"),
        ((), {}, "'a' is missing"),
        ((), {"a": 1, "c": 2}, "there is no argument 'c'"),
        ((), {"a": float("nan")}, "plain JSON values"),
        ((), {"a": 1, "b": object()}, "plain JSON values"),
        (({"a": 1},), {}, "not an object"),
        ((1, 2, 3), {}, "at most 2 arguments"),
        ((1,), {"a": 1}, "got 'a' twice"),
        ((), {"a": "x" * 4_000_000}, "at most 1,000,000"),
    ],
)
def test_wrong_arguments_give_text_and_run_nothing(args: Any, kwargs: Any, words: str) -> None:
    text = guarded_functions(TOOLS)["add"](*args, **kwargs)
    assert text.startswith("Error: 'add' was not run: ")
    assert words in text
    assert ran == []


def test_raising_tools_give_text_except_for_our_own_errors() -> None:
    @tool
    def fail(hard: bool) -> None:
        """Fail."""
        raise BudgetExceededError("spent") if hard else OSError("disk")

    functions = guarded_functions(tools_by_name([fail]))
    assert functions["fail"](hard=False) == "Error: 'fail' failed: OSError: disk"
    with pytest.raises(BudgetExceededError):
        functions["fail"](hard=True)


def test_unknown_names() -> None:
    functions = guarded_functions(TOOLS)
    assert "add" in functions
    assert "ad" not in functions
    assert functions.get("ad") is None
    assert functions.get("ad", 3) == 3
    assert functions.get("add") is functions["add"]
    assert functions["ad"](a=1) == "Error: there is no tool 'ad'. Did you mean 'add'? The tools are: add, say_it."
    assert ran == []


def test_too_many_calls() -> None:
    functions = guarded_functions(TOOLS, limit=3)
    for _ in range(3):
        functions["add"](a="wrong ones count too")
    for name in ("add", "say_it"):
        with pytest.raises(StepsExhaustedError, match="ran tools 3 times within one model call"):
            functions[name](a=1)
    assert ran == []
    assert guarded_functions(TOOLS, limit=3)["add"](a=1) == "2"


@pytest.mark.parametrize("look", [lambda f: "x" in f, lambda f: f["x"], lambda f: f.get("x")])
def test_too_many_unknown_names(look: Any) -> None:
    functions = guarded_functions(TOOLS, limit=3)
    for _ in range(3):
        look(functions)
    with pytest.raises(StepsExhaustedError, match="3 times within one model call for tools that do not exist"):
        look(functions)
    assert functions["add"](a=1) == "2"


def test_counts_are_right_in_threads() -> None:
    functions = guarded_functions(TOOLS, limit=50)

    def call(n: int) -> bool:
        try:
            return functions["add"](a=n) == str(n + 1)
        except StepsExhaustedError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(call, range(200))) == 50
    assert len(ran) == 50


def test_events() -> None:
    seen: list[Event] = []
    with scope(listener=seen.append, agent="Cox"):
        functions = guarded_functions(TOOLS)
        functions["add"](a=1)
        functions["add"](a="1")
    assert [type(event) for event in seen] == [ToolStarted, ToolFinished] * 2
    assert {event.agent for event in seen} == {"Cox"}


async def test_inside_a_running_loop() -> None:
    functions = guarded_functions(TOOLS)
    assert functions["add"](a=1) == "2"
    assert functions["say_it"](text="x") == '{"said": "x"}'
    assert await asyncio.to_thread(functions["say_it"], text="y") == '{"said": "y"}'


# Made when needed.


def test_functions_on_demand_are_those_of_guarded_functions() -> None:
    functions = FunctionsOnDemand(TOOLS)
    assert list(functions) == list(TOOLS)
    assert len(functions) == len(TOOLS)
    assert "add" in functions
    assert functions.get("add") is functions["add"] is functions.as_dict()["add"]
    assert functions.get("no such") is None
    assert functions["add"](a=1) == guarded_functions(TOOLS)["add"](a=1)
    assert not FunctionsOnDemand({})


def test_functions_on_demand_count_together_however_they_are_looked_up() -> None:
    functions = FunctionsOnDemand(TOOLS)
    for _ in range(12):
        functions["add"](a=1)
        functions.as_dict()["add"](a=1)
    functions["add"](a=1)
    with pytest.raises(StepsExhaustedError):
        functions["add"](a=1)


def test_functions_refer_to_nothing_that_refers_to_them() -> None:
    """A circle would be left to the garbage collector, for each model call of ten thousand runs."""
    functions = guarded_functions(TOOLS)
    functions["add"](a=1)
    gone = weakref.ref(functions["add"])
    del functions
    assert gone() is None
