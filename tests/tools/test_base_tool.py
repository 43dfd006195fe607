"""`BaseTool`: tools as classes, as users know them from CrewAI."""

from __future__ import annotations

import abc
import copy
import pickle
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, PrivateAttr

from oarlock.contract.errors import ConfigurationError, ToolError
from oarlock.tools import BaseTool


class SearchArguments(BaseModel):
    """What to search."""

    query: str = Field(..., description="what to look for")


class SearchTool(BaseTool):
    name: str = "Web Search"
    description: str = "Searches the web."
    args_schema: type[BaseModel] | None = SearchArguments
    api_key: str = ""
    hits: list[str] = []  # noqa: RUF012  as users write it
    limits: dict[str, int] = Field(default_factory=lambda: {"day": 5})
    region: str = Field(default="eu", description="where")
    kinds: ClassVar[int] = 3
    _client: Any = PrivateAttr(default=None)

    def _run(self, query: str) -> str:
        return f"{query} {self.api_key} {self.limits['day']}{self._client}"


def test_a_tool_as_for_crewai() -> None:
    search = SearchTool(api_key="x", region="us")
    assert search.run(query="boats") == search.run("boats") == "boats x 5None"
    assert search.region == "us"
    assert SearchTool().region == "eu"
    assert search.function_name == "web_search"
    assert search.schema["function"] == {
        "name": "web_search",
        "description": "Searches the web.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "what to look for"}},
            "required": ["query"],
            "additionalProperties": False,
        },
    }
    assert search.arguments is SearchTool().arguments


def test_objects_share_no_defaults() -> None:
    one, other = SearchTool(), SearchTool()
    one.hits.append("x")
    one.limits["day"] = 9
    assert (other.hits, other.limits) == ([], {"day": 5})


def test_misspelt_and_missing_arguments() -> None:
    with pytest.raises(ConfigurationError, match=r"SearchTool has no argument 'api_kye'\. Did you mean 'api_key'"):
        SearchTool(api_kye="x")
    with pytest.raises(ConfigurationError, match="no argument 'kinds'"):
        SearchTool(kinds=3)

    class Needy(BaseTool):
        """Needs something."""

        key: str
        other: str = Field(description="no default")

        def _run(self) -> str:
            return self.key

    with pytest.raises(ConfigurationError, match="key, other"):
        Needy()
    assert Needy(key="k", other="o").run() == "k"

    class Given(Needy):
        key: str = "given"

    assert Given(other="o").run() == "given"


def test_an_init_of_ones_own_need_not_call_super() -> None:
    class Own(BaseTool):
        """Own."""

        seen: list[int] = []  # noqa: RUF012
        key: str

        def __init__(self, key: str) -> None:
            self.key = key

        def _run(self, x: int) -> int:
            self.seen.append(x)
            return x

    assert Own("k").run(x=1) == 1
    assert Own("k").seen == []


def test_name_and_description_have_defaults() -> None:
    class Weather(BaseTool):
        """Get the weather.

        Args:
            city: which one
        """

        def _run(self, city: str) -> str:
            return city

    class Nameless(BaseTool):
        def _run(self) -> str:
            """Say something."""
            return ""

    class Silent(BaseTool):
        def _run(self) -> str:
            return ""

    assert (Weather().name, Weather().description) == ("Weather", "Get the weather.")
    assert Weather().schema["function"]["parameters"]["properties"]["city"]["description"] == "which one"
    assert Weather(name="Rain?", description="Rain.").schema["function"]["name"] == "rain"
    assert Nameless().description == "Say something."
    with pytest.raises(ToolError, match="needs a description"):
        _ = Silent().schema
    with pytest.raises(ToolError, match="must be a text, not ''"):
        _ = Silent(name="").function_name
    with pytest.raises(AttributeError, match="no attribute 'current_usage_count': each run counts by itself, and anew"):
        _ = Silent().current_usage_count  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="'Silent' object has no attribute 'nmae'"):
        _ = Silent().nmae


async def test_both_colours() -> None:
    class Both(BaseTool):
        """Both."""

        def _run(self) -> str:
            return "blocking"

        async def _arun(self) -> str:
            return "async"

    class OnlyAsync(BaseTool):
        """Async."""

        async def _arun(self, x: int) -> int:
            return x

    class AsyncRun(BaseTool):
        """Async too."""

        async def _run(self, x: int) -> int:
            return x

    assert (Both().run(), await Both().arun()) == ("blocking", "async")
    assert (OnlyAsync().run(1), await OnlyAsync().arun(x=2)) == (1, 2)
    assert (AsyncRun().run(1), await AsyncRun().arun(x=2)) == (1, 2)


def test_a_class_that_runs_nothing_is_refused() -> None:
    with pytest.raises(ToolError, match="Idle has nothing to run: define _run"):

        class Idle(BaseTool):
            pass

    class Base(BaseTool, abstract=True):
        key: str = "k"

    class Abstract(BaseTool, abc.ABC):
        @abc.abstractmethod
        def url(self) -> str: ...

    class Concrete(Base):
        """Concrete."""

        def _run(self) -> str:
            return self.key

    assert Concrete(key="x").run() == "x"
    for base in (BaseTool, Base, Abstract):
        with pytest.raises(ToolError, match="is only a base class"):
            base()


def test_fields_named_like_methods_are_refused() -> None:
    with pytest.raises(ToolError, match="Odd has a field 'schema'"):

        class Odd(BaseTool):
            schema: str = ""

            def _run(self) -> None: ...


def test_run_checks_arguments_and_lets_errors_pass() -> None:
    class Divide(BaseTool):
        """Divide."""

        def _run(self, a: float, b: float) -> float:
            return a / b

    assert Divide().run(1, b=2) == 0.5
    for args, kwargs in [(("1", 2), {}), ((1, 2, 3), {}), ((1, 2), {"b": 3}), ((1,), {})]:
        with pytest.raises(ToolError):
            Divide().run(*args, **kwargs)
    with pytest.raises(ZeroDivisionError):
        Divide().run(1, 0)


def test_an_args_schema_of_one_object() -> None:
    class Echo(BaseTool):
        """Echo."""

        def _run(self, **given: Any) -> Any:
            return given

    assert Echo(args_schema=SearchArguments).run(query="x") == {"query": "x"}
    with pytest.raises(ToolError, match=r"takes \*\*given"):
        _ = Echo().schema


class Plain(BaseTool):
    """Plain."""

    key: str = ""

    def _run(self, x: int) -> int:
        return x


def test_copies_and_pickles() -> None:
    plain = Plain(key="k")
    assert plain.run(x=1) == 1
    assert copy.deepcopy(plain).key == pickle.loads(pickle.dumps(plain)).key == "k"
    assert repr(plain) == "Plain(name='Plain')"


def test_a_schema_follows_changes_of_the_tool() -> None:
    class Add(BaseTool):
        """Add two numbers."""

        def _run(self, a: int) -> int:
            return a

    add = Add()
    first = add.schema
    assert add.schema == first
    add.description = "Add up."
    assert add.schema["function"]["description"] == "Add up."
    add.name = "Sum"
    assert add.schema["function"]["name"] == "Sum"
    assert first["function"]["name"] == "Add"
