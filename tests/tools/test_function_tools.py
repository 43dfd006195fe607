"""`@tool`: what models are told of a function, and what is refused when it is defined."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import functools
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, BeforeValidator, Field

from oarlock.contract.errors import ToolError
from oarlock.tools import BaseTool, as_tool, tool, tools_by_name


class Place(BaseModel):
    """Where."""

    name: str
    title: str = ""


@dataclasses.dataclass
class Span:
    start: dt.date
    days: int = 1


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


@tool
def forecast(place: Place, span: Span, unit: Unit = Unit.CELSIUS, tags: list[str] | None = None) -> str:
    """Forecast the weather.

    Args:
        place: where
    """
    return f"{place!r} {span!r} {unit!r} {tags!r}"


@tool
def module_level(x: int) -> int:
    """Say x."""
    return x


def parameters(made: BaseTool) -> dict[str, Any]:
    return made.schema["function"]["parameters"]


def test_the_schema_has_openais_shape() -> None:
    @tool
    def search(query: str, limit: int = 5, mode: Literal["fast", "deep"] = "fast") -> str:
        """Search the web.

        Args:
            query: what to look for
        """
        return query

    assert search.schema == {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Search the web.",
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "what to look for"},
                    "limit": {"type": "integer", "default": 5},
                    "mode": {"type": "string", "enum": ["fast", "deep"], "default": "fast"},
                },
                "required": ["query"],
                "additionalProperties": False,
            },
        },
    }
    assert parameters(search) is parameters(search)


def test_models_dataclasses_enums_and_lists() -> None:
    shown = parameters(forecast)
    assert set(shown["$defs"]) == {"Place", "Span", "Unit"}
    assert shown["$defs"]["Place"]["properties"] == {
        "name": {"type": "string"},
        "title": {"type": "string", "default": ""},
    }
    assert shown["properties"]["place"]["description"] == "where"
    sent = {"place": {"name": "Oslo"}, "span": {"start": "2026-01-31"}, "unit": "F", "tags": ["a"]}
    assert forecast.validate(sent) == {
        "place": Place(name="Oslo"),
        "span": Span(dt.date(2026, 1, 31)),
        "unit": Unit.FAHRENHEIT,
        "tags": ["a"],
    }
    assert "FAHRENHEIT" in forecast.run(**sent)


def test_python_objects_are_taken_by_run() -> None:
    made = {"place": Place(name="Oslo"), "span": Span(dt.date(2026, 1, 31))}
    assert forecast.validate(made) == {**made, "unit": Unit.CELSIUS, "tags": None}
    with pytest.raises(ToolError, match="place"):
        forecast.run(place=object(), span=made["span"])


def test_descriptions_from_annotations_win() -> None:
    @tool
    def show(
        a: Annotated[int, Field(description="from Field", ge=0)],
        b: Annotated[str, "from text"],
        c: str = Field("x", description="c!"),
    ) -> str:
        """Show.

        Args:
            a: from the docstring
        """
        return c

    shown = parameters(show)["properties"]
    assert shown["a"] == {"type": "integer", "description": "from Field", "minimum": 0}
    assert shown["b"]["description"] == "from text"
    assert shown["c"] == {"type": "string", "description": "c!", "default": "x"}
    assert show.run(a=1, b="") == "x"


def test_none_as_default_allows_null() -> None:
    @tool
    def show(a: int = None, b: Optional[int] = None, c: Any = None, d=7) -> tuple[Any, ...]:  # noqa: RUF013, UP045
        """Show."""
        return a, b, c, d

    assert show.run(a=None, b=3, c={"x": [1]}) == (None, 3, {"x": [1]}, 7)


def test_a_default_that_json_does_not_have() -> None:
    nothing = object()

    @tool
    def show(a: Any = nothing) -> bool:
        """Show."""
        return a is nothing

    assert parameters(show)["properties"] == {"a": {}}
    assert show.run()


def test_names_that_pydantic_refuses() -> None:
    @tool
    def show(_x: int, schema: str, json: str, model_name: str, copy: int = 1) -> tuple[Any, ...]:
        """Show."""
        return _x, schema, json, model_name, copy

    assert list(parameters(show)["properties"]) == ["_x", "schema", "json", "model_name", "copy"]
    assert show.run(_x=1, schema="s", json="j", model_name="m") == (1, "s", "j", "m", 1)
    with pytest.raises(ToolError, match=r"'_x': Input should be a valid integer, not a string"):
        show.run(_x="1", schema="s", json="j", model_name="m")
    with pytest.raises(ToolError, match=r"there is no argument 'p__x'"):
        show.run(p__x=1, _x=1, schema="s", json="j", model_name="m")


def test_names_and_settings() -> None:
    @tool("Web Search", result_as_answer=True)
    def search(query: str) -> str:
        """Search."""
        return query

    @tool(name="add-up", description="Adds.", in_place=True)
    def add(a: int) -> int:
        return a

    assert (search.name, search.function_name, search.result_as_answer) == ("Web Search", "web_search", True)
    assert (add.name, add.function_name, add.description, add.in_place) == ("add-up", "add-up", "Adds.", True)
    assert repr(search) == "FunctionTool(name='Web Search')"


@pytest.mark.parametrize(
    ("name", "function_name"),
    [
        ("get-weather_2", "get-weather_2"),
        ("Ünï çode!", "uni_code"),
        ("a" * 70 + " b", "a" * 64),
        ("x\n", "x"),
        ("搜索", "tool_43934f6d"),
        ("!!", "tool_812f1742"),
    ],
)
def test_function_names_are_what_models_may_call(name: str, function_name: str) -> None:
    assert tool(name, description="d")(lambda: 1).function_name == function_name


def test_it_still_is_the_function() -> None:
    assert module_level(3) == 3
    assert module_level("3") == "3"  # type: ignore[arg-type]  # called directly nothing is checked
    assert module_level.func(4) == 4
    assert (module_level.__name__, module_level.__doc__) == ("module_level", "Say x.")


async def test_async_functions() -> None:
    @tool
    async def double(x: int) -> int:
        """Double."""
        return 2 * x

    assert await double(2) == 4
    assert await double.arun(2) == 4
    assert double.run(x=2) == 4  # inside a running loop too
    assert await module_level.arun(x=5) == 5


def test_copies_and_pickles_are_references() -> None:
    assert copy.deepcopy(module_level) is module_level
    assert pickle.loads(pickle.dumps(module_level)) is module_level


def test_methods_partials_and_types_of_a_function_around() -> None:
    class Local(BaseModel):
        x: int

    class Shop:
        def sell(self, what: Local) -> int:
            """Sell."""
            return what.x

    assert as_tool(Shop().sell).run(what={"x": 2}) == 2

    def scale(x: int, factor: int) -> int:
        """Scale."""
        return x * factor

    assert as_tool(functools.partial(scale, factor=3)).run(x=2) == 6


def test_leniency_is_opt_in() -> None:
    @tool
    def show(x: Annotated[int, BeforeValidator(int)]) -> int:
        """Show."""
        return x

    assert show.run(x="3") == 3


def test_an_args_schema() -> None:
    class Search(BaseModel):
        query: str = Field(description="what")
        limit: int = 5

    @tool("Search", args_schema=Search)
    def search(**given: Any) -> dict[str, Any]:
        """Search."""
        return given

    assert parameters(search)["properties"]["query"] == {"type": "string", "description": "what"}
    assert parameters(search)["additionalProperties"] is False
    assert search.run(query="a") == {"query": "a", "limit": 5}
    with pytest.raises(ToolError, match="did you mean 'query'"):
        search.run(quary="a")

    @tool(args_schema=Search)
    def other(query: str) -> None:
        """Search."""

    with pytest.raises(ToolError, match="do not agree on: limit"):
        _ = other.schema

    @tool(args_schema=dict)  # type: ignore[arg-type]
    def odd() -> None:
        """Odd."""

    with pytest.raises(ToolError, match="must be a class derived from"):
        _ = odd.schema


def test_an_args_schema_with_aliases_and_extras() -> None:
    class Loose(BaseModel, extra="allow"):
        from_: str = Field(alias="from")

    @tool(args_schema=Loose)
    def send(from_: str, **more: Any) -> Any:
        """Send."""
        return from_, more

    assert list(parameters(send)["properties"]) == ["from"]
    assert send.run(**{"from": "me", "to": "you"}) == ("me", {"to": "you"})


def test_a_model_gives_nothing_for_stars() -> None:
    @tool
    def browse(cmd: str, *args: Any, **kwargs: Any) -> Any:
        """Browse."""
        return cmd, args, kwargs

    assert list(parameters(browse)["properties"]) == ["cmd"]
    assert browse.run("go") == ("go", (), {})
    with pytest.raises(ToolError, match="there is no argument 'speed'"):
        browse.run("go", speed=3)


def bad_star(*args: int) -> None:
    """Bad."""


def bad_stars(**kwargs: int) -> None:
    """Bad."""


def bad_positional(x: int, /) -> None:
    """Bad."""


def bad_self(self, x: int) -> None:
    """Bad."""


def bad_generator(x: int) -> Iterator[int]:
    """Bad."""
    yield x


def bad_description(x: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (bad_star, r"bad_star\(\) takes \*args"),
        (bad_stars, r"takes \*\*kwargs"),
        (bad_positional, "positional-only parameter 'x'"),
        (bad_self, "a method without its object"),
        (bad_generator, "yields its result"),
        (bad_description, "a model needs a description"),
        (Place, "makes tools of functions"),
        (3, "makes tools of functions"),
        (dict.fromkeys, "positional-only|no readable signature"),
    ],
)
def test_refused_at_definition(function: Any, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        tool(function)


def test_refused_when_the_schema_is_made() -> None:
    @tool
    def odd(x: threading_lock) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Odd."""

    class NotData: ...

    @tool
    def foreign(x: NotData) -> None:
        """Odd."""

    with pytest.raises(ToolError, match="threading_lock"):
        _ = odd.schema
    with pytest.raises(ToolError, match="of a type that a model cannot send"):
        _ = foreign.schema


def test_collecting() -> None:
    def search(query: str) -> str:
        """Search."""
        return query

    class Odd(BaseTool):
        """Odd."""

        def _run(self) -> None: ...

    named = tools_by_name([search, module_level, module_level])
    assert list(named) == ["search", "module_level"]
    with pytest.raises(ToolError, match=r"Two tools have the name 'search', .*'Search.'.* and .*'search'"):
        tools_by_name([tool("Search.", description="d")(search), search])
    with pytest.raises(ToolError, match=r"Odd is a class, not a tool: write Odd\(\)"):
        as_tool(Odd)
    with pytest.raises(ToolError, match="tools must be BaseTool objects or functions with a docstring, not a str"):
        as_tool("search")


def test_importing_and_marking_tools_does_not_import_pydantic() -> None:
    code = (
        "import sys\nfrom oarlock.tools import tool, tools_by_name\n"
        "@tool\ndef add(a: int) -> int:\n    '''Add.'''\n    return a\n"
        "tools_by_name([add])\nassert 'pydantic' not in sys.modules and 'asyncio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
