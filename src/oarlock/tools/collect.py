"""From what users hand over as tools to tools by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from typing import Any

from oarlock.contract.errors import ToolError, a_kind
from oarlock.tools.base import BaseTool
from oarlock.tools.foreign import foreign_tool
from oarlock.tools.function import tool

__all__ = ["as_tool", "tools_by_name"]


def as_tool(thing: Any) -> BaseTool:
    """Return a tool: an object of a `BaseTool` class as it is, a function as by `@tool`, one of LangChain's or CrewAI's adapted.

    Raises:
        ToolError: it is something else, such as a class instead of an object of it.

    Example:
        >>> def add(a: int, b: int) -> int:
        ...     '''Add two numbers.'''
        ...     return a + b
        >>> as_tool(add).run(a=1, b=2)
        3
    """
    if isinstance(thing, BaseTool):
        return thing
    if isinstance(thing, type):
        raise ToolError(f"{thing.__name__} is a class, not a tool: write {thing.__name__}().")
    if inspect.isroutine(thing) or isinstance(thing, functools.partial):
        made: BaseTool = tool(thing)
        return made
    foreign = foreign_tool(thing)
    if foreign is not None:
        return foreign
    raise ToolError(f"tools must be BaseTool objects or functions with a docstring, not {a_kind(thing)}.")


def tools_by_name(tools: Iterable[Any]) -> dict[str, BaseTool]:
    """Return tools by the names that models call, in order. The same tool twice counts once.

    Raises:
        ToolError: something is no tool, or two tools have the same function name.

    Example:
        >>> @tool("Web Search")
        ... def search(query: str) -> str:
        ...     '''Search the web.'''
        ...     return "nothing"
        >>> tools_by_name([search])
        {'web_search': FunctionTool(name='Web Search')}
    """
    named: dict[str, BaseTool] = {}
    for one in map(as_tool, tools):
        _check_limit(one)
        present = named.setdefault(one.function_name, one)
        if present is not one:
            raise ToolError(
                f"Two tools have the name {one.function_name!r}, {present!r} and {one!r}: give one of them another name."
            )
    return named


def _check_limit(one: BaseTool) -> None:
    most: object = one.max_usage_count
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise ToolError(f"max_usage_count of {one!r} must be a whole number of at least 1, not {most!r}.")
