"""`current_call()`: what the code inside an LLM, a tool or a sign-in flow may know about the run it serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from oarlock.contract.records import dataclass, field
from oarlock.contract.replacing import copier
from oarlock.contract.watching import Watchers

if TYPE_CHECKING:
    from oarlock.contract.events import Event
    from oarlock.contract.policy import Policy

__all__ = [
    "CurrentCall",
    "current_call",
    "emit",
    "enter",
    "enter_budget",
    "entered",
    "leave",
    "leave_budget",
    "scope",
    "tell",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentCall:
    """The run, task, agent and attempt in whose service some code is called; outside a run each field is empty.

    Attributes:
        run_id: of the whole run of a crew.
        task: the name or description of the task.
        agent: the role of the agent.
        attempt: of this model call, from 1.
        deadline: a monotonic time (`time.monotonic()`) after which nobody waits for the answer.
        idempotency_key: the same for all attempts of one call.
        retried: a retry loop is around this call already, so that no other may be.
        stop: stop words of the running step, in addition to the LLM's own.
        user: the end user on whose behalf the run happens, for credentials of their own.
        listener: receives the run's events.
        clock: gives events their time, in seconds since the epoch.
        task_id: of this doing of the task; for events.
        span_id: of the piece of work around: a run, a task, a model call, a tool's run; for events.
        parent_id: of the piece of work around that one; for events.
        budgets: the budgets (`with budget:`) that every model call made here counts against, the outermost first.
        places: limits on simultaneous calls in which the call being served has its place already.
        charges: what budgets have charged already for the call being served, so that none counts it twice.
        apart: this code is a tool, whose model calls are work of their own and no part of the call around it.
        tool_store: what the run keeps of its tools: how often each was used, what it answered.
        tool_rules: how the agent's tools may be used.
    """

    run_id: str | None = None
    task: str | None = None
    agent: str | None = None
    attempt: int = 1
    deadline: float | None = None
    idempotency_key: str | None = field(default=None, repr=False)
    retried: bool = False
    stop: tuple[str, ...] = ()
    user: Any = field(default=None, repr=False)
    listener: Callable[[Event], None] | None = field(default=None, repr=False)
    clock: Callable[[], float] = field(default=time.time, repr=False)
    task_id: str | None = field(default=None, repr=False)
    span_id: str | None = field(default=None, repr=False)
    parent_id: str | None = field(default=None, repr=False)
    budgets: tuple[Policy, ...] = field(default=(), repr=False)
    places: tuple[Any, ...] = field(default=(), repr=False)
    charges: tuple[Any, ...] = field(default=(), repr=False)
    apart: bool = field(default=False, repr=False)
    tool_store: Any = field(default=None, repr=False)
    tool_rules: Any = field(default=None, repr=False)


def _fill(copy: Any, one: CurrentCall) -> None:
    copy.run_id = one.run_id
    copy.task = one.task
    copy.agent = one.agent
    copy.attempt = one.attempt
    copy.deadline = one.deadline
    copy.idempotency_key = one.idempotency_key
    copy.retried = one.retried
    copy.stop = one.stop
    copy.user = one.user
    copy.listener = one.listener
    copy.clock = one.clock
    copy.task_id = one.task_id
    copy.span_id = one.span_id
    copy.parent_id = one.parent_id
    copy.budgets = one.budgets
    copy.places = one.places
    copy.charges = one.charges
    copy.apart = one.apart
    copy.tool_store = one.tool_store
    copy.tool_rules = one.tool_rules


_with = copier(CurrentCall, _fill)
_OUTSIDE = CurrentCall()
_current: ContextVar[CurrentCall] = ContextVar("oarlock_call", default=_OUTSIDE)


def current_call() -> CurrentCall:
    """Return what is known about the call being served.

    Example:
        >>> current_call().run_id is None  # outside any run
        True
    """
    return _current.get()


class scope:  # noqa: N801  used like a function
    """Run a block with these facts changed: `with scope(task="research"):`. Do not hand items of a stream over inside."""

    __slots__ = ("_facts", "_token")

    def __init__(self, **facts: Any) -> None:
        self._facts = facts

    def __enter__(self) -> CurrentCall:
        facts = self._facts
        call = _with(_current.get(), facts)
        del self._facts  # they are in the call now; thousands of runs may wait in their scopes
        self._token = _current.set(call)
        return call

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)


def enter(**facts: Any) -> Token[CurrentCall]:
    """Change these facts from here on, until `leave`: a `scope` for where thousands of calls wait, each with two objects less.

    Example:
        >>> token = enter(task="research")
        >>> try:
        ...     print(current_call().task)
        ... finally:
        ...     leave(token)
        research
    """
    return _current.set(_with(_current.get(), facts))


def leave(token: Token[CurrentCall]) -> None:
    """Undo an `enter` of this context."""
    _current.reset(token)


class entered:  # noqa: N801  used like a function
    """Run a block in the context of another call, as for work that goes on in another thread."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: CurrentCall) -> None:
        self._call = call

    def __enter__(self) -> CurrentCall:
        self._token = _current.set(self._call)
        return self._call

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)


def enter_budget(budget: Policy) -> None:
    """Let every model call from here on, in this context and those that begin in it, count against a budget."""
    call = _current.get()
    _current.set(_with(call, {"budgets": (*call.budgets, budget)}))


def leave_budget(budget: Policy) -> None:
    """Undo the last `enter_budget` of this budget in this context."""
    call = _current.get()
    budgets = list(call.budgets)
    budgets.reverse()
    budgets.remove(budget)
    _current.set(_with(call, {"budgets": tuple(reversed(budgets))}))


def tell(kind: Callable[..., Event], **facts: Any) -> None:
    """Give an event of this kind to whoever watches the current run; where nobody does, none is made.

    Example:
        >>> from oarlock.contract.events import TaskStarted
        >>> with scope(listener=lambda event: print(event.number)):
        ...     tell(TaskStarted, number=2)
        2
    """
    listener = _current.get().listener
    if listener is not None:
        listener(kind(**facts))


def emit(event: Event) -> None:
    """Give an event to whoever watches the current run, outside of one to those who watch the process."""
    listener = _current.get().listener
    if listener is not None:
        listener(event)
        return
    for watcher in Watchers.all:
        watcher.on_event(event)
