"""CrewAI's global hooks: decorators and functions that register hooks for every crew of the process.

In programs of your own prefer the arguments of `Crew` and `Agent` (`before_llm_call=...`): they hold where they stand.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final

from oarlock.agents.hooks import Hook, Hooks, LLMCallHookContext, ToolCallHookContext
from oarlock.contract.errors import CallVetoedError, ConfigurationError, ToolError
from oarlock.project.marks import hook_method
from oarlock.tools.names import function_name

__all__ = [
    "HookAborted",
    "InterceptionPoint",
    "LLMCallHookContext",
    "ToolCallHookContext",
    "after_llm_call",
    "after_tool_call",
    "before_llm_call",
    "before_tool_call",
    "clear_after_llm_call_hooks",
    "clear_after_tool_call_hooks",
    "clear_all_global_hooks",
    "clear_all_hooks",
    "clear_all_llm_call_hooks",
    "clear_all_tool_call_hooks",
    "clear_before_llm_call_hooks",
    "clear_before_tool_call_hooks",
    "clear_hooks",
    "get_after_llm_call_hooks",
    "get_after_tool_call_hooks",
    "get_before_llm_call_hooks",
    "get_before_tool_call_hooks",
    "get_hooks",
    "on",
    "register_after_llm_call_hook",
    "register_after_tool_call_hook",
    "register_before_llm_call_hook",
    "register_before_tool_call_hook",
    "register_hook",
    "unregister_after_llm_call_hook",
    "unregister_after_tool_call_hook",
    "unregister_before_llm_call_hook",
    "unregister_before_tool_call_hook",
    "unregister_hook",
]


class HookAborted(CallVetoedError):  # noqa: N818  CrewAI's name
    """Raised by a hook: a model call ends the run with it, a tool call is not done, and the model is told the reason."""

    def __init__(self, reason: str = "", source: Any = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.source = source


class InterceptionPoint(StrEnum):
    """Where hooks may stand in CrewAI; in Oarlock at the first four of these points, for the others there is something else."""

    PRE_MODEL_CALL = "before_llm_call"
    POST_MODEL_CALL = "after_llm_call"
    PRE_TOOL_CALL = "before_tool_call"
    POST_TOOL_CALL = "after_tool_call"
    EXECUTION_START = "execution_start"
    INPUT = "input"
    PRE_STEP = "pre_step"
    POST_STEP = "post_step"
    OUTPUT = "output"
    EXECUTION_END = "execution_end"


_INPUTS: Final = (
    "use Crew(before_kickoff_callbacks=[...]), whose functions get the inputs and may return others, or raise"
)
_OUTPUT: Final = "use Crew(after_kickoff_callbacks=[...]), whose functions get the result and may return another"
_ELSEWHERE: Final = {
    InterceptionPoint.EXECUTION_START: _INPUTS,
    InterceptionPoint.INPUT: _INPUTS,
    InterceptionPoint.PRE_STEP: "use Task(context=[...]) for what a task sees, and kickoff(on_event=...) to watch tasks begin",
    InterceptionPoint.POST_STEP: "use Task(guardrail=...), which may return another answer, or Task(callback=...)",
    InterceptionPoint.OUTPUT: _OUTPUT,
    InterceptionPoint.EXECUTION_END: f"{_OUTPUT}; kickoff(on_event=...) tells of failures too",
}


def _kind_of(point: InterceptionPoint) -> str:
    point = InterceptionPoint(point)
    if point in _ELSEWHERE:
        raise ConfigurationError(
            f"crewai.hooks: InterceptionPoint.{point.name} is not in Oarlock: {_ELSEWHERE[point]}."
        )
    return point.value


class _Registry:
    """The hooks of the whole process, in the order in which they came; `Hooks.everywhere` is what they are now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hooks: dict[str, list[tuple[Hook, Hook]]] = {
            point.value: [] for point in InterceptionPoint if point not in _ELSEWHERE
        }

    def add(self, kind: str, hook: Hook, called: Hook) -> None:
        """Add a hook, and what is called for it."""
        with self._lock:
            self._hooks[kind].append((hook, called))
            self._publish()

    def remove(self, kind: str, hook: Hook) -> bool:
        """Remove a hook; return whether it was there."""
        with self._lock:
            there = [one for one in self._hooks[kind] if one[0] == hook]
            if there:
                self._hooks[kind].remove(there[0])
                self._publish()
            return bool(there)

    def of(self, kind: str) -> list[Hook]:
        """Return the hooks of a kind."""
        with self._lock:
            return [hook for hook, _ in self._hooks[kind]]

    def clear(self, kind: str) -> int:
        """Remove all hooks of a kind; return how many there were."""
        with self._lock:
            count = len(self._hooks[kind])
            self._hooks[kind].clear()
            self._publish()
            return count

    def _publish(self) -> None:
        called = {kind: tuple(one for _, one in hooks) for kind, hooks in self._hooks.items()}
        Hooks.everywhere = Hooks(**called) if any(called.values()) else None


_registry: Final = _Registry()


def _as_ours(kind: str, hook: Hook, tools: Iterable[str], agents: Iterable[str]) -> Hook:
    """Return a hook of CrewAI's kind as one of ours: of what it returns only `False`, or a text afterwards, counts."""
    names, roles = {function_name(one) for one in tools}, set(agents)
    after, of_tool = kind.startswith("after"), kind.endswith("tool_call")

    def concerned(context: Any) -> bool:
        return (not (names and of_tool) or context.tool_name in names) and (not roles or context.agent.role in roles)

    def called(context: Any) -> Any:
        if not concerned(context):
            return None
        try:
            said = hook(context)
        except HookAborted as aborted:
            if not of_tool:
                raise
            raise ToolError(f"it was blocked by a hook: {aborted.reason or 'no reason given'}.") from None
        if after:
            return said if isinstance(said, str) and said else None
        return False if said is False else None

    return called


def _decorator(kind: str, function: Any, tools: Iterable[str], agents: Iterable[str]) -> Any:
    def decorate(hook: Any) -> Any:
        if "self" in list(inspect.signature(hook).parameters)[:1]:  # a method of a @CrewBase class: its crew's own

            def method(self: Any, context: Any) -> Any:
                return _as_ours(kind, functools.partial(hook, self), tools, agents)(context)

            return hook_method(functools.update_wrapper(method, hook), kind)
        _registry.add(kind, hook, _as_ours(kind, hook, tools, agents))
        return hook

    return decorate if function is None else decorate(function)


def before_llm_call(function: Any = None, *, agents: Iterable[str] = ()) -> Any:
    """Register a function for before each model call, `agents` the roles that it concerns. `False` forbids the call."""
    return _decorator("before_llm_call", function, (), agents or ())


def after_llm_call(function: Any = None, *, agents: Iterable[str] = ()) -> Any:
    """Register a function for after each model call; a text that it returns takes the answer's place."""
    return _decorator("after_llm_call", function, (), agents or ())


def before_tool_call(function: Any = None, *, tools: Iterable[str] = (), agents: Iterable[str] = ()) -> Any:
    """Register a function for before each tool call, `tools` the names that it concerns. `False` forbids the call."""
    return _decorator("before_tool_call", function, tools or (), agents or ())


def after_tool_call(function: Any = None, *, tools: Iterable[str] = (), agents: Iterable[str] = ()) -> Any:
    """Register a function for after each tool call; a text that it returns takes the result's place."""
    return _decorator("after_tool_call", function, tools or (), agents or ())


def on(
    point: InterceptionPoint, *, tools: Iterable[str] | None = None, agents: Iterable[str] | None = None
) -> Callable[[Any], Any]:
    """Register a function for a point."""
    decorated: Callable[[Any], Any] = _decorator(_kind_of(point), None, tools or (), agents or ())
    return decorated


def register_hook(point: InterceptionPoint, hook: Hook) -> None:
    """Register a hook for a point."""
    kind = _kind_of(point)
    _registry.add(kind, hook, _as_ours(kind, hook, (), ()))


def unregister_hook(point: InterceptionPoint, hook: Hook) -> bool:
    """Remove a hook; return whether it was there."""
    return _registry.remove(_kind_of(point), hook)


def get_hooks(point: InterceptionPoint) -> list[Hook]:
    """Return the hooks of a point."""
    return [] if point in _ELSEWHERE else _registry.of(_kind_of(point))


def clear_hooks(point: InterceptionPoint) -> int:
    """Remove all hooks of a point; return how many there were."""
    return 0 if point in _ELSEWHERE else _registry.clear(_kind_of(point))


def clear_all_hooks() -> None:
    """Remove all hooks."""
    for point in InterceptionPoint:
        clear_hooks(point)


_PRE_MODEL, _POST_MODEL = InterceptionPoint.PRE_MODEL_CALL, InterceptionPoint.POST_MODEL_CALL
_PRE_TOOL, _POST_TOOL = InterceptionPoint.PRE_TOOL_CALL, InterceptionPoint.POST_TOOL_CALL

register_before_llm_call_hook = functools.partial(register_hook, _PRE_MODEL)
register_after_llm_call_hook = functools.partial(register_hook, _POST_MODEL)
register_before_tool_call_hook = functools.partial(register_hook, _PRE_TOOL)
register_after_tool_call_hook = functools.partial(register_hook, _POST_TOOL)
unregister_before_llm_call_hook = functools.partial(unregister_hook, _PRE_MODEL)
unregister_after_llm_call_hook = functools.partial(unregister_hook, _POST_MODEL)
unregister_before_tool_call_hook = functools.partial(unregister_hook, _PRE_TOOL)
unregister_after_tool_call_hook = functools.partial(unregister_hook, _POST_TOOL)
get_before_llm_call_hooks = functools.partial(get_hooks, _PRE_MODEL)
get_after_llm_call_hooks = functools.partial(get_hooks, _POST_MODEL)
get_before_tool_call_hooks = functools.partial(get_hooks, _PRE_TOOL)
get_after_tool_call_hooks = functools.partial(get_hooks, _POST_TOOL)
clear_before_llm_call_hooks = functools.partial(clear_hooks, _PRE_MODEL)
clear_after_llm_call_hooks = functools.partial(clear_hooks, _POST_MODEL)
clear_before_tool_call_hooks = functools.partial(clear_hooks, _PRE_TOOL)
clear_after_tool_call_hooks = functools.partial(clear_hooks, _POST_TOOL)


def clear_all_llm_call_hooks() -> tuple[int, int]:
    """Remove all hooks of model calls; return how many there were before and after."""
    return clear_hooks(_PRE_MODEL), clear_hooks(_POST_MODEL)


def clear_all_tool_call_hooks() -> tuple[int, int]:
    """Remove all hooks of tool calls; return how many there were before and after."""
    return clear_hooks(_PRE_TOOL), clear_hooks(_POST_TOOL)


def clear_all_global_hooks() -> dict[str, tuple[int, int]]:
    """Remove all hooks; return how many there were."""
    llm, of_tools = clear_all_llm_call_hooks(), clear_all_tool_call_hooks()
    return {"llm_hooks": llm, "tool_hooks": of_tools, "total": (llm[0] + of_tools[0], llm[1] + of_tools[1])}
