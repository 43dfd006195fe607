"""Tools made for LangChain or CrewAI, as they are: recognised by what they have, so that neither is imported."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from oarlock.contract.errors import ToolError
from oarlock.tools.base import BaseTool, Forms
from oarlock.tools.json_schema import JsonArguments
from oarlock.tools.results import error_as_text

__all__ = ["ForeignTool", "foreign_tool"]

_OF_THEIRS: Final = ("langchain_core.", "langchain.", "crewai.")  # where their own base classes stand
_ONE_TEXT: Final = "tool_input"  # what LangChain's `Tool` takes, which is made of a function of one text
_PREAMBLE: Final = "Tool Description: "  # CrewAI puts name and arguments in front, which models get apart


class ForeignTool(BaseTool):
    """A tool of another library. `as_tool`, and so `Agent(tools=[...])`, makes these.

    Arguments are checked by the tool's own schema, first by us, as far as types and names go, then by the tool.

    Attributes:
        tool: the tool itself.
    """

    tool: Any

    def __init__(self, tool: Any) -> None:
        self.tool = tool
        self.name = str(tool.name)
        self.description = str(tool.description or "").rpartition(_PREAMBLE)[2].strip()
        self.result_as_answer = bool(getattr(tool, "result_as_answer", False) or getattr(tool, "return_direct", False))
        most = getattr(tool, "max_usage_count", None)
        self.max_usage_count = most if isinstance(most, int) else None
        self._takes = JsonArguments(_schema_of(tool))
        self._both = _langchain_forms(tool) if callable(getattr(tool, "invoke", None)) else _crewai_forms(tool)

    def _read_arguments(self) -> JsonArguments:
        return self._takes

    @property
    def arguments(self) -> JsonArguments:
        """What it takes."""
        return self._takes

    def _forms(self) -> Forms:
        return self._both

    def format_output_for_agent(self, result: Any) -> str:
        """Return what a model is told of a result: in the tool's own words, where it has some."""
        own = getattr(self.tool, "format_output_for_agent", None)
        return str(own(result)) if callable(own) else super().format_output_for_agent(result)


def foreign_tool(thing: Any) -> BaseTool | None:
    """Return a tool of LangChain's or CrewAI's as one of ours; anything else is `None`.

    Raises:
        ToolError: it is such a tool, but a model cannot be told about it.
    """
    if not isinstance(getattr(thing, "name", None), str) or not hasattr(thing, "description"):
        return None
    if not hasattr(thing, "args_schema") or not any(callable(getattr(thing, name, None)) for name in ("invoke", "run")):
        return None
    return ForeignTool(thing)


def _langchain_forms(tool: Any) -> Forms:
    """Return how to call a LangChain tool: by coroutine where it has one of its own, not only a thread around the other."""

    def blocking(**arguments: Any) -> Any:
        return tool.invoke(arguments)

    async def awaitable(**arguments: Any) -> Any:
        return await tool.ainvoke(arguments)

    has_coroutine = getattr(tool, "coroutine", None) is not None or _is_own(tool, "_arun")
    has_function = getattr(tool, "func", tool) is not None
    return (blocking if has_function else None), (awaitable if has_coroutine or not has_function else None)


def _crewai_forms(tool: Any) -> Forms:
    run: Callable[..., Any] = tool.run
    return functools.partial(run), (functools.partial(tool.arun) if _is_own(tool, "_arun") else None)


def _is_own(tool: Any, name: str) -> bool:
    """Return whether somebody has written this method who is not the library itself."""
    written = getattr(type(tool), name, None)
    return inspect.iscoroutinefunction(written) and not str(written.__module__).startswith(_OF_THEIRS)


def _schema_of(tool: Any) -> Mapping[str, Any]:
    """Return the JSON schema of what a model may give.

    Raises:
        ToolError: there is none.
    """
    try:
        if tool.args_schema is None and _ONE_TEXT in (properties := getattr(tool, "args", None) or {}):
            return {"type": "object", "properties": dict(properties), "required": [_ONE_TEXT]}
        given = getattr(tool, "tool_call_schema", None) or tool.args_schema
        for method in ("model_json_schema", "schema"):  # of pydantic, and of what was before it
            if callable(getattr(given, method, None)):
                given = getattr(given, method)()
                break
    except Exception as error:  # the boundary to a foreign tool's own code
        raise ToolError(f"the tool {tool.name!r} cannot say what it takes: {error_as_text(error)}") from error
    if given is None:
        raise ToolError(f"the tool {tool.name!r} does not say what it takes: it has no args_schema.")
    schema: Mapping[str, Any] = given
    return {name: value for name, value in schema.items() if name != "description"} if schema else schema
