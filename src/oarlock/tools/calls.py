"""Running the tools that a model asks for. Whatever the model or a tool does wrong becomes text for the model.

What is raised instead, because no model can mend it and the run must end or be told:

- our own errors out of a tool (a nested run's budget, a refused key of a model that the tool asks, a misspelt setting), all
  but `ToolError`, which is a tool's way to say something to the model;
- `ToolTimeoutError`, when the time of the run itself is up;
- `KeyboardInterrupt`, `SystemExit` and cancellation.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from oarlock.contract.context import current_call, scope, tell
from oarlock.contract.errors import OarlockError, ToolError, times
from oarlock.contract.events import ToolFinished, ToolStarted
from oarlock.contract.reply import ToolCall
from oarlock.contract.secret import scrub
from oarlock.runtime import Job, Runtime
from oarlock.tools.answers import ToolAnswer
from oarlock.tools.approval import approved
from oarlock.tools.arguments import as_json, parse_arguments
from oarlock.tools.base import BaseTool
from oarlock.tools.hooks import ToolHooks
from oarlock.tools.names import nearest, shown
from oarlock.tools.results import error_as_text, result_as_text
from oarlock.tools.store import counted, is_remembered, remembered, rules_here

__all__ = ["ToolAnswer", "ToolTimeoutError", "answer", "no_such_tool", "run_tool"]

_SLACK = 0.001  # seconds by which a timer may fire early
_MOST_MESSAGE = 2000  # characters of a message about wrong arguments
_Read = Callable[[], tuple[dict[str, Any], str]]


class ToolTimeoutError(ToolError, TimeoutError):
    """A tool was still running when the time of the run was up."""


async def run_tool(
    runtime: Runtime,
    tools: Mapping[str, BaseTool],
    call: ToolCall,
    *,
    deadline: float | None = None,
    idempotency_key: str | None = None,
    hooks: ToolHooks | None = None,
) -> ToolAnswer:
    """Run the tool that a model asked for, as one step of the run, and return what to tell the model.

    Args:
        runtime: drives it.
        tools: those on offer, by function name; see `tools_by_name`.
        call: the model's wish; anything may be wrong with it.
        deadline: a `runtime.now()` at which the run's time is up; default: that of `current_call()`.
        idempotency_key: the same whenever this very call is repeated; default: a new id of the runtime's.
        hooks: what comes before and after it, within the step.

    Raises:
        ToolTimeoutError: the deadline passed.
        OarlockError: see the module's text.

    Example:
        >>> from oarlock.runtime import drive
        >>> from oarlock.tools import tool, tools_by_name
        >>> @tool
        ... def add(a: int, b: int) -> int:
        ...     '''Add two numbers.'''
        ...     return a + b
        >>> call = ToolCall(id="1", name="add", arguments='{"a": 1, "b": 2}')
        >>> drive(lambda runtime: run_tool(runtime, tools_by_name([add]), call)).text
        '3'
    """
    tool = tools.get(call.name)
    if tool is None:
        key = idempotency_key or ""
        return await runtime.step("tool", "unknown", functools.partial(_refuse, runtime, tools, call.name, key))
    if idempotency_key is None and tool.arguments.wants_key:
        idempotency_key = runtime.new_id()  # outside of the step: a durable engine gives the same one again
    read = functools.partial(_as_written, call.arguments)
    name = tool.function_name
    job = functools.partial(
        answer, runtime, tool, name, read, deadline=deadline, idempotency_key=idempotency_key, hooks=hooks
    )
    if tool.is_part_of_run:  # what it does is made of steps
        step: Callable[[Job[ToolAnswer]], Awaitable[ToolAnswer]] = _as_it_is
    else:
        step = functools.partial(_step, runtime, name, idempotency_key or "", tool.resume_policy)
    if tool.max_usage_count is None:
        return await step(job)
    return await counted(tool, lambda allowed: step(functools.partial(job, allowed=allowed)))


def _as_it_is(job: Job[ToolAnswer]) -> Awaitable[ToolAnswer]:
    return job()


def _step(runtime: Runtime, name: str, key: str, on_resume: str, job: Job[ToolAnswer]) -> Awaitable[ToolAnswer]:
    return runtime.step("tool", name, job, key, on_resume)


async def answer(
    runtime: Runtime,
    tool: BaseTool,
    name: str,
    read: _Read,
    *,
    deadline: float | None = None,
    idempotency_key: str | None = None,
    hooks: ToolHooks | None = None,
    allowed: bool = True,
) -> ToolAnswer:
    """Read and check arguments, run the tool, and return what to tell the model; events say so to who watches.

    `read` returns the arguments as objects and as JSON text, or raises `ToolError`. Without `allowed` the tool has been used
    as often as it may.
    """
    here = current_call()
    deadline = here.deadline if deadline is None else deadline
    work = functools.partial(_answer, runtime, tool, name, read, deadline, idempotency_key, hooks, allowed=allowed)
    if here.listener is None:
        return await work()
    with scope(span_id=idempotency_key or runtime.new_id(), parent_id=here.span_id):
        return await work()


async def _answer(  # noqa: PLR0917  each of them once
    runtime: Runtime,
    tool: BaseTool,
    name: str,
    read: _Read,
    deadline: float | None,
    key: str | None,
    hooks: ToolHooks | None,
    *,
    allowed: bool,
) -> ToolAnswer:
    began = runtime.now()
    given: dict[str, Any] | None = None
    told: ToolAnswer | None = None
    checked: dict[str, Any] = {}
    try:
        given, text = read()
        if hooks is not None:
            told = await hooks.before_tool(runtime, tool, given, key or "")
            text = as_json(given)
        if told is None:
            checked = tool.arguments.check(given, text)
            _refuse_used_up(tool, allowed)
    except ToolError as error:
        told = _not_run(name, error)
    tell(ToolStarted, tool=name, arguments=given or {})
    if told is None:
        run = functools.partial(_run, runtime, tool, name, deadline=deadline, key=key)
        if tool.dangerous:
            told = await _run_approved(runtime, tool, given or {}, checked, deadline, run=run)
        elif is_remembered(tool):
            told = await _run_once(runtime, tool, checked, deadline, run)
        else:
            told = await run(checked)
    if hooks is not None and given is not None:
        told = await hooks.after_tool(runtime, tool, given, told, key or "")
    seconds = runtime.now() - began
    tell(ToolFinished, tool=name, seconds=seconds, answer=told.text, failed=told.failed, cached=told.cached)
    return told


_Run = Callable[[dict[str, Any]], Awaitable[ToolAnswer]]


async def _run_approved(
    runtime: Runtime,
    tool: BaseTool,
    given: Mapping[str, Any],
    checked: dict[str, Any],
    deadline: float | None,
    *,
    run: _Run,
) -> ToolAnswer:
    """Ask before running it."""
    name = tool.function_name
    try:
        changed = await approved(runtime, tool, given, rules_here().approver, deadline)
    except ToolError as error:
        return _not_run(name, error)
    except TimeoutError as error:
        if deadline is None or runtime.now() < deadline - _SLACK:
            raise
        raise ToolTimeoutError(
            f"Nobody had decided about a call of {name!r} when the time of the run was up."
        ) from error
    if changed is None:
        return await run(checked)
    told = await run(tool.arguments.check(changed))
    note = f"(Whoever approved the call changed the arguments to {as_json(changed)}.)"
    return dataclasses.replace(told, text=f"{note}\n{told.text}")


async def _run_once(
    runtime: Runtime, tool: BaseTool, checked: dict[str, Any], deadline: float | None, run: _Run
) -> ToolAnswer:
    """Run it, unless an equal call has an answer, or will."""
    try:
        return await remembered(runtime, tool, checked, functools.partial(run, checked))
    except TimeoutError as error:
        if isinstance(error, ToolTimeoutError) or deadline is None or runtime.now() < deadline - _SLACK:
            raise
        raise _too_late(tool.function_name) from error


def _not_run(name: str, error: ToolError) -> ToolAnswer:
    return ToolAnswer(text=f"Error: {name!r} was not run: {scrub(str(error), _MOST_MESSAGE)}", failed=True, tool=name)


def _refuse_used_up(tool: BaseTool, allowed: bool) -> None:
    if not allowed:
        most = tool.max_usage_count
        raise ToolError(f"it may be used {times(most or 0)} in a run, and was. Go on without it.")


def _too_late(name: str) -> ToolTimeoutError:
    return ToolTimeoutError(f"The tool {name!r} was still running when the time of the run was up.")


def _as_written(text: str) -> tuple[dict[str, Any], str]:
    return parse_arguments(text), text


async def _run(
    runtime: Runtime,
    tool: BaseTool,
    name: str,
    arguments: dict[str, Any],
    *,
    deadline: float | None,
    key: str | None,
) -> ToolAnswer:
    try:
        value = await tool.handle(runtime, arguments, deadline=deadline, idempotency_key=key)
        text = result_as_text(tool.format_output_for_agent(value))
    except Exception as error:  # the boundary to the user's own code: the model is told, see above
        if isinstance(error, TimeoutError) and deadline is not None and runtime.now() >= deadline - _SLACK:
            raise _too_late(name) from error
        if isinstance(error, ToolError):
            return ToolAnswer(text=f"Error: {scrub(str(error), _MOST_MESSAGE)}", failed=True, tool=name, ran=True)
        if isinstance(error, OarlockError):
            raise
        return ToolAnswer(text=f"Error: {name!r} failed: {error_as_text(error)}", failed=True, tool=name, ran=True)
    return ToolAnswer(text=text, tool=name, value=value, result_as_answer=tool.result_as_answer, ran=True)


async def _refuse(runtime: Runtime, tools: Mapping[str, BaseTool], name: str, key: str) -> ToolAnswer:
    told = no_such_tool(tools, name)
    here = current_call()
    if here.listener is not None:
        with scope(span_id=key or runtime.new_id(), parent_id=here.span_id):
            tell(ToolStarted, tool=told.tool)
            tell(ToolFinished, tool=told.tool, seconds=0.0, answer=told.text, failed=True)
    return told


def no_such_tool(tools: Mapping[str, Any], name: str) -> ToolAnswer:
    """Return what to tell a model that asked for a tool which is not on offer."""
    name = scrub(name, 64)
    near = nearest(name, tools)
    hint = f" Did you mean {near!r}?" if near else ""
    text = f"Error: there is no tool {name!r}.{hint} The tools are: {shown(tools)}."
    return ToolAnswer(text=text, failed=True, tool=name)
