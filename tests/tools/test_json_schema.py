"""Arguments by a JSON schema that others wrote."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.errors import ToolError
from oarlock.tools.json_schema import JsonArguments

SCHEMA: dict[str, Any] = {
    "title": "args",
    "type": "object",
    "properties": {
        "n": {"title": "N", "type": "integer"},
        "x": {"type": "number"},
        "text": {"type": ["string", "null"]},
        "maybe": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "kind": {"enum": ["a", "b"]},
        "fixed": {"const": 1},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        "free": {},
        "odd": {"anyOf": [{"pattern": "(a+)+$"}, {"type": "string"}]},
    },
    "required": ["n"],
    "additionalProperties": False,
    "$defs": {"Item": {"type": "object", "properties": {"m": {"type": "integer"}}, "required": ["m"]}},
}
TAKES = JsonArguments(SCHEMA)


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 1},
        {"n": 1.0, "x": 2, "text": None, "maybe": True},
        {"n": 1, "text": "t", "maybe": None, "kind": "b", "fixed": 1, "free": [{"a": 1}]},
        {"n": 1, "items": [{"m": 1}, {"m": 2, "more": 3}]},
        {"n": 1, "odd": 3},
    ],
)
def test_what_fits(arguments: dict[str, Any]) -> None:
    assert TAKES.check(arguments) == arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "'n' is missing"),
        ({"n": "1"}, "'n' must be an integer, not a string"),
        ({"n": True}, "'n' must be an integer, not a boolean"),
        ({"n": 1.5}, "'n' must be an integer, not a number"),
        ({"n": None}, "'n' must be an integer, not null"),
        ({"n": 1, "x": "y"}, "'x' must be a number, not a string"),
        ({"n": 1, "text": 3}, "'text' must be a string or null, not an integer"),
        ({"n": 1, "maybe": 0}, "'maybe' must be a boolean or null, not an integer"),
        ({"n": 1, "kind": "c"}, "'kind' must be one of"),
        ({"n": 1, "fixed": 2}, "'fixed' must be 1"),
        ({"n": 1, "items": {}}, "'items' must be an array, not an object"),
        ({"n": 1, "items": [{"m": 1}, {"m": "x"}, {}]}, "'items[1].m' must be an integer, not a string"),
        ({"n": 1, "items": [{}]}, "'items[0].m' is missing"),
        ({"n": 1, "txt": ""}, "there is no argument 'txt' (did you mean 'text'?)"),
        ({"n": 1, "__class__": ""}, "there is no argument '__class__' (they are: fixed, free"),
        ({"n": object()}, "plain JSON values"),
    ],
)
def test_what_does_not(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolError) as caught:
        TAKES.check(arguments)
    assert words in str(caught.value)


def test_at_most_ten_problems_are_told() -> None:
    with pytest.raises(ToolError, match=r"and 5 more\.$"):
        TAKES.check({"n": 1, **{f"zz{n}": 1 for n in range(15)}})


def test_the_schema_is_shown_without_titles_and_closed_ones_stay_closed() -> None:
    assert TAKES.parameters["properties"]["n"] == {"type": "integer"}
    assert "title" not in TAKES.parameters
    assert TAKES.order[:2] == ("n", "x")
    assert JsonArguments({}).parameters == {"type": "object", "properties": {}}
    assert JsonArguments({"properties": None}).check({"anything": 1}) == {"anything": 1}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array"}, "no JSON schema|not described"),
        ("object", "not described"),
        (None, "not described"),
        ({"properties": [1]}, "no object"),
        ({"properties": {"x": object()}}, "not plain JSON"),
        ({"properties": {"x": float("nan")}}, "not plain JSON"),
        ({"description": "x" * 100_000}, "at most 100,000"),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        JsonArguments(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://169.254.169.254/latest"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/loop"},
        {"$ref": "#/nowhere"},
        {"$ref": 5},
        {"properties": 3, "required": 5, "items": 7},
        {"type": "anything"},
        {"type": [1]},
        {"anyOf": [{"type": "string"}] * 1000},
        {"pattern": "(a+)+$"},
        True,
    ],
)
def test_a_hostile_schema_costs_nothing(schema: Any) -> None:
    whole = {
        "properties": {"x": schema},
        "additionalProperties": False,
        "$defs": {"loop": {"$ref": "#/$defs/loop"}},
    }
    takes = JsonArguments(whole)
    for value in ("a" * 50_000 + "!", {"x": {}}, [1], None):
        takes.check({"x": value})
    deep: Any = {}
    for _ in range(200):
        deep = {"x": deep}
    takes.check({"x": deep})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, VALUES, st.dictionaries(st.text(), VALUES, max_size=4))
def test_any_schema_and_any_arguments_end_in_arguments_or_our_error(part: Any, more: Any, arguments: Any) -> None:
    schema = {"type": "object", "properties": {"x": part, "y": {"anyOf": more}}, "required": more, "items": part}
    try:
        takes = JsonArguments(schema)
    except ToolError:
        return
    with contextlib.suppress(ToolError):
        assert takes.check({**arguments, "x": more, "y": part}) == {**arguments, "x": more, "y": part}
    json.dumps(takes.parameters)
