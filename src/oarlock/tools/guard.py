"""The functions that an LLM receives which runs tools itself (`available_functions`)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oarlock.contract.errors import StepsExhaustedError
from oarlock.runtime import current_blocking
from oarlock.tools.answers import ToolAnswer
from oarlock.tools.arguments import as_json
from oarlock.tools.base import BaseTool
from oarlock.tools.calls import answer, no_such_tool
from oarlock.tools.hooks import ToolHooks
from oarlock.tools.store import counted

__all__ = ["GuardedFunctions", "guarded_functions"]

Function = Callable[..., str]


class GuardedFunctions(dict[str, Function]):
    """Functions by name, for one model call; see `guarded_functions`."""

    __slots__ = ("_missed",)

    def __init__(self, tools: Mapping[str, BaseTool], limit: int, hooks: ToolHooks | None = None) -> None:
        called = _Limit(limit, "The model's own code ran tools {} times within one model call without an answer.")
        super().__init__({name: _function(tool, called, hooks) for name, tool in tools.items()})
        self._missed = _Limit(limit, "The model asked {} times within one model call for tools that do not exist.")

    def __contains__(self, name: object) -> bool:
        there = super().__contains__(name)
        if not there:
            self._missed()
        return there

    def __missing__(self, name: str) -> Function:
        self._missed()
        text = no_such_tool(self, str(name)).text
        return lambda *_args, **_kwargs: text

    def get(self, name: str, default: Any = None) -> Any:
        """Return the function of this name, or the default; counts as a look-up."""
        return self[name] if name in self else default  # noqa: SIM401  `get` is this one


class FunctionsOnDemand(Mapping[str, Function]):
    """What `guarded_functions` returns for these tools, made when first looked at: most LLMs never look.

    Example:
        >>> from oarlock.tools import tool, tools_by_name
        >>> @tool
        ... def add(a: int, b: int) -> int:
        ...     '''Add two numbers.'''
        ...     return a + b
        >>> FunctionsOnDemand(tools_by_name([add]))["add"](a=1, b=2)
        '3'
    """

    __slots__ = ("_hooks", "_made", "_tools")

    def __init__(self, tools: Mapping[str, BaseTool], hooks: ToolHooks | None = None) -> None:
        self._tools = tools
        self._hooks = hooks
        self._made: GuardedFunctions | None = None

    def as_dict(self) -> GuardedFunctions:
        """Return the functions, always the same ones."""
        if self._made is None:
            self._made = guarded_functions(self._tools, hooks=self._hooks)
        return self._made

    def __getitem__(self, name: str) -> Function:
        return self.as_dict()[name]

    def __contains__(self, name: object) -> bool:
        return name in self.as_dict()

    def get(self, name: str, default: Any = None) -> Any:
        """Return the function of this name, or the default; counts as a look-up."""
        return self.as_dict().get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)


def guarded_functions(
    tools: Mapping[str, BaseTool], *, limit: int = 25, hooks: ToolHooks | None = None
) -> GuardedFunctions:
    """Return tools as plain functions for an LLM that runs them itself, safe for what a model may ask for.

    Calling one checks its arguments against the tool's schema, runs the tool, emits the events and returns text. Wrong
    arguments and raising tools give a text that says so; a name that does not exist gives a function that says so. The
    calls block, also an `async` tool's (it runs on an event loop in another thread) and also in an `acall()`, whose event
    loop then stands still: return the tool calls from there and let the agent run them.

    Args:
        tools: by function name; see `tools_by_name`.
        limit: so many calls, and so many look-ups of names that do not exist, are allowed; make new functions for each
            model call.
        hooks: what comes before and after each call.

    Raises:
        StepsExhaustedError: when called or looked up, over the limit. Otherwise as `run_tool`.

    Example:
        >>> from oarlock.tools import tool, tools_by_name
        >>> @tool
        ... def add(a: int, b: int) -> int:
        ...     '''Add two numbers.'''
        ...     return a + b
        >>> functions = guarded_functions(tools_by_name([add]))
        >>> functions["add"](a=1, b=2)
        '3'
        >>> functions["add"](a="1", b=2)
        "Error: 'add' was not run: wrong arguments: 'a': Input should be a valid integer, not a string."
    """
    return GuardedFunctions(tools, limit, hooks)


def _function(tool: BaseTool, called: Callable[[], None], hooks: ToolHooks | None) -> Function:
    def function(*args: Any, **kwargs: Any) -> str:
        called()
        return _run(tool, hooks, args, kwargs).text

    function.__name__ = function.__qualname__ = tool.function_name
    function.__doc__ = tool.description
    return function


class _Limit:
    """Raises when it is called more often than that."""

    __slots__ = ("_limit", "_numbers", "_sentence")

    def __init__(self, limit: int, sentence: str) -> None:
        self._limit = limit
        self._sentence = sentence
        self._numbers = itertools.count(1)  # counts right in threads too

    def __call__(self) -> None:
        if next(self._numbers) > self._limit:
            raise StepsExhaustedError(self._sentence.format(self._limit))


def _run(tool: BaseTool, hooks: ToolHooks | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ToolAnswer:
    runtime = current_blocking()
    read = functools.partial(_as_sent, tool, args, kwargs)
    job = functools.partial(answer, runtime, tool, tool.function_name, read, hooks=hooks)
    if tool.max_usage_count is None:
        return runtime.run(job())
    return runtime.run(counted(tool, lambda allowed: job(allowed=allowed)))


def _as_sent(tool: BaseTool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], str]:
    arguments = tool.by_name(args, kwargs)
    return arguments, as_json(arguments)
