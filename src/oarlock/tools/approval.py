"""Asking whether a dangerous tool may do what a model wants of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from oarlock.contract.context import current_call, emit
from oarlock.contract.errors import ConfigurationError, ToolError, a_kind
from oarlock.contract.events import ApprovalDecided, ApprovalRequested
from oarlock.contract.records import dataclass
from oarlock.contract.secret import scrub
from oarlock.runtime import Runtime, ThreadPool
from oarlock.tools.arguments import as_json
from oarlock.tools.base import BaseTool

__all__ = ["ApprovalRequest", "Approver", "approved"]

_MOST_REASON = 2000  # characters of a reason for the model
_THREADS: Final = ThreadPool(None, "oarlock-approval")  # people are slow: nobody shall wait behind another's question


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """What a model wants to do with a dangerous tool.

    Attributes:
        tool: the tool's function name.
        arguments: what the model gave, checked against the tool's schema: plain JSON values.
        description: what the tool says of itself.
        agent: the role of the agent.
        task: the name of its task.

    Example:
        >>> def approve(request):
        ...     return request.arguments["path"].startswith("/tmp/") or "Only files in /tmp."
        >>> approve(ApprovalRequest(tool="delete", arguments={"path": "/etc"}, description="", agent="Janitor", task=None))
        'Only files in /tmp.'
    """

    tool: str
    arguments: Mapping[str, Any]
    description: str = ""
    agent: str | None = None
    task: str | None = None


Approver = Callable[[ApprovalRequest], Any]
"""A function, blocking or `async`, that is asked before a dangerous tool runs. It returns `True` to allow the call, `False` or
a reason in words to refuse it, or a mapping: the arguments to run it with instead."""


async def approved(
    runtime: Runtime, tool: BaseTool, given: Mapping[str, Any], approver: Approver | None, deadline: float | None
) -> Mapping[str, Any] | None:
    """Return the arguments to run the tool with in place of the model's, or `None` if those are approved.

    Raises:
        ToolError: the call is refused; the text is for the model.
        ConfigurationError: the approver returned something else than an answer.
        TimeoutError: it had not answered by the deadline.
    """
    name = tool.function_name
    if approver is None:
        raise ToolError("it needs the approval of a human, and there is none to ask.")
    here = current_call()
    request = ApprovalRequest(
        tool=name, arguments=given, description=tool.description, agent=here.agent, task=here.task
    )
    emit(ApprovalRequested(tool=name, arguments=dict(given)))
    began = runtime.now()
    verdict = await _ask(runtime, approver, request, deadline)
    reason, changed = _read(verdict, tool)
    emit(
        ApprovalDecided(
            tool=name,
            approved=reason is None,
            reason=reason or "",
            arguments=None if changed is None else dict(changed),
            seconds=runtime.now() - began,
        )
    )
    if reason is not None:
        raise ToolError(f"the call was refused{f': {reason}' if reason else ''}. Do not try it again as it is.")
    return changed


async def _ask(runtime: Runtime, approver: Approver, request: ApprovalRequest, deadline: float | None) -> Any:
    if inspect.iscoroutinefunction(approver) or inspect.iscoroutinefunction(type(approver).__call__):
        return await runtime.invoke(None, approver, request, deadline=deadline)
    return await runtime.invoke(approver, None, request, deadline=deadline, pool=_THREADS)


def _read(verdict: object, tool: BaseTool) -> tuple[str | None, Mapping[str, Any] | None]:
    """Return why the call is refused, if it is, and the arguments that take the place of the model's, if any do."""
    if verdict is True:
        return None, None
    if verdict is False:
        return "", None
    if isinstance(verdict, str):
        return scrub(verdict.strip(), _MOST_REASON).rstrip("."), None
    if isinstance(verdict, Mapping):
        return None, _checked(verdict, tool)
    raise ConfigurationError(
        "on_approval must return True to allow the call, False or a reason in words to refuse it, or a mapping with the "
        f"arguments to use instead, not {a_kind(verdict)}."
    )


def _checked(arguments: Mapping[str, Any], tool: BaseTool) -> Mapping[str, Any]:
    try:
        as_json(arguments)
        tool.arguments.check(arguments)
    except ToolError as error:
        raise ConfigurationError(
            f"on_approval returned arguments that {tool.function_name!r} does not take: {scrub(str(error))}"
        ) from None
    return arguments
