"""Typed events: one stream of them feeds the console view, callbacks, metrics and whoever listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from oarlock.contract.context import current_call
from oarlock.contract.errors import OarlockError
from oarlock.contract.reply import Reply, Usage

__all__ = [
    "ApprovalDecided",
    "ApprovalRequested",
    "CacheHit",
    "CallFailed",
    "CallFinished",
    "CallStarted",
    "CircuitChanged",
    "Delegated",
    "Event",
    "FellBack",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "SignedIn",
    "TaskFinished",
    "TaskSkipped",
    "TaskStarted",
    "ToolFinished",
    "ToolStarted",
    "Waiting",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run. `agent` (its role) and `task` (its name) say where, if it was inside one."""

    agent: str | None = field(default_factory=lambda: current_call().agent)
    task: str | None = field(default_factory=lambda: current_call().task)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A crew began."""

    run_id: str
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A crew ended with an answer."""

    run_id: str
    seconds: float
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(Event):
    """A crew ended with an error."""

    run_id: str
    seconds: float
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """An agent began a task."""

    number: int = 1
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """An agent ended a task."""

    seconds: float
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSkipped(Event):
    """The condition of a task was not met."""

    number: int = 1
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated(Event):
    """An agent handed work over to a coworker, or asked one a question; what is done for it comes under that agent.

    Attributes:
        coworker: the role of whoever is to do it.
        work: the work or the question, in the model's words.
        question: it is a question.
    """

    coworker: str
    work: str = field(repr=False)
    question: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    """A model is being asked."""

    model: str
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(Event):
    """A model answered."""

    model: str
    seconds: float
    reply: Reply = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed(Event):
    """A model call failed for good."""

    model: str
    seconds: float
    error: OarlockError


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Event):
    """A call is waiting, and why.

    Attributes:
        cause: `"retry"`, `"rate_limit"`, `"concurrency"`, ...
        seconds: how long it will wait. For `"concurrency"`, where that depends on others, it is how long it has waited.
        error: what made it wait, where it was an error.
        attempt: the attempt that failed, for a retry.
    """

    cause: str
    seconds: float
    error: OarlockError | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit(Event):
    """A call was answered from a cache. `saved` is what the answer cost when a model gave it."""

    model: str
    saved: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack(Event):
    """A model failed for good, and another one is asked instead."""

    from_model: str
    to_model: str
    error: OarlockError


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged(Event):
    """A circuit breaker opened, is trying the endpoint again, or closed.

    Attributes:
        endpoint: whose circuit it is; `None` for an LLM that names none.
        state: `"open"`, `"half_open"` or `"closed"`.
        why: in words, for `"open"`: how many calls of how many failed.
        seconds: for how long it is open; 0 for the others.
    """

    endpoint: str | None
    state: str
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn(Event):
    """A sign-in got a credential. `why` is `"first use"`, `"expired"` or `"refused"`; `expires_in` is in seconds."""

    method: str
    why: str
    expires_in: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Event):
    """A tool is being run."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(Event):
    """A tool ended; `failed` when its answer is the text of an error, `cached` when it is that of an equal call before."""

    tool: str
    seconds: float
    answer: str = field(repr=False)
    failed: bool = False
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested(Event):
    """Somebody is asked whether a dangerous tool may run."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDecided(Event):
    """They have answered.

    Attributes:
        approved: the tool may run.
        reason: why not, in their words, if they gave any.
        arguments: what it is run with in place of the model's arguments, if they changed them.
        seconds: how long it took them.
    """

    tool: str
    approved: bool
    reason: str = field(default="", repr=False)
    arguments: dict[str, Any] | None = field(default=None, repr=False)
    seconds: float = 0.0
