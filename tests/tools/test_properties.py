"""Whatever a model sends: nothing is raised, and nothing runs with wrong types."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.reply import ToolCall
from oarlock.runtime.blocking import BLOCKING
from oarlock.tools import BaseTool, ToolAnswer, guarded_functions, run_tool, tool, tools_by_name

ran: list[tuple[Any, ...]] = []


@tool
def typed(
    i: int, s: str, f: float = 0.0, b: bool = False, items: list[int] | None = None, m: Literal["x", "y"] = "x"
) -> str:
    """Take typed arguments."""
    ran.append((i, s, f, b, items, m))
    return "ran"


@tool
def loose(anything: Any = None) -> str:
    """Take anything."""
    return repr(anything)


TOOLS: dict[str, BaseTool] = tools_by_name([typed, loose])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(["i", "s", "f", "b", "items", "m"])
plausible = st.dictionaries(
    names | st.text(max_size=3),
    json_values
    | st.integers()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=3)
    | st.sampled_from(["x", "y"]),
)
good = st.fixed_dictionaries(
    {"i": st.integers(-(10**30), 10**30), "s": st.text(st.characters(codec="utf-8"))},
    optional={
        "f": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
        "b": st.booleans(),
        "items": st.none() | st.lists(st.integers()),
        "m": st.sampled_from(["x", "y"]),
    },
)


def ask(name: str, arguments: str) -> ToolAnswer:
    ran.clear()
    return BLOCKING.run(run_tool(BLOCKING, TOOLS, ToolCall(id="1", name=name, arguments=arguments)))


def right(i: Any, s: Any, f: Any, b: Any, items: Any, m: Any) -> bool:
    listed = items is None or (type(items) is list and all(type(item) is int for item in items))
    return (type(i), type(s), type(f), type(b)) == (int, str, float, bool) and listed and m in ("x", "y")


@given(st.text() | json_values.map(json.dumps) | plausible.map(json.dumps))
def test_any_arguments(arguments: str) -> None:
    answer = ask("typed", arguments)
    assert answer.failed == (not ran)
    assert answer.text.startswith("Error: ") == answer.failed
    assert len(answer.text) < 5000
    assert all(right(*given) for given in ran)
    assert not ask("loose", "{}").failed
    ask("loose", arguments)


@given(good)
def test_right_arguments_always_run(arguments: dict[str, Any]) -> None:
    assert not ask("typed", json.dumps(arguments)).failed
    assert ran[0][:2] == (arguments["i"], arguments["s"])
    assert guarded_functions(TOOLS)["typed"](**arguments) == "ran"


@given(plausible)
def test_any_keywords_of_a_guarded_function(arguments: dict[str, Any]) -> None:
    ran.clear()
    text = guarded_functions(TOOLS)["typed"](**arguments)
    assert text.startswith("Error: ") != bool(ran)
    assert all(right(*given) for given in ran)


@given(st.text())
def test_any_name_asked_for(name: str) -> None:
    answer = ask(name, '{"i": 1, "s": ""}')
    assert answer.failed == (name not in TOOLS)
    assert bool(ran) == (name == "typed")
    answer.text.encode()


@given(st.text(min_size=1).filter(lambda name: name.strip()))
def test_any_name_given_makes_one_that_models_may_call(name: str) -> None:
    made = tool(name, description="d")(lambda: 1)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", made.function_name)
    assert made.function_name == tool(made.function_name, description="d")(lambda: 1).function_name
