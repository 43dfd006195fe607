"""What goes to a model: one question, with everything that may change its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oarlock.contract.context import emit
from oarlock.contract.events import Event
from oarlock.contract.messages import Message, ToolSchema
from oarlock.contract.replacing import replacer
from oarlock.contract.reply import Delta
from oarlock.runtime.streams import hand_over

__all__ = ["DeltaSink", "Request"]


class DeltaSink:
    """Where the pieces of a streaming answer go; knows how many went."""

    __slots__ = ("delivered",)

    def __init__(self) -> None:
        self.delivered = 0

    async def put(self, delta: Delta) -> None:
        """Hand a piece to the consumer, and return once the next one is wanted."""
        self.delivered += 1
        await hand_over(delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a model.

    Attributes:
        messages: the conversation so far, in OpenAI's shape.
        tools: schemas of the tools on offer.
        stop: words at which the answer ends; they are not part of it.
        temperature: `None` leaves it to the endpoint.
        max_tokens: most tokens of the answer; `None` leaves it to the endpoint.
        json_schema: the answer must be JSON of this schema, where the LLM can promise that.
        available_functions: the tools' functions by name, guarded, for an LLM that runs tools itself.
        callbacks: handed through to a `call()` that takes them.
        extras: further arguments for a `call()` that names them, such as `from_task`, `from_agent`.
        deadline: a `Runtime.now()` at which the whole call, with its waits and attempts, is given up.
        timeout: seconds for this attempt, where shorter than the LLM's own.
        attempt: counts from 1.
        idempotency_key: the same for every attempt of one call.
        retried: a retry loop is around this request already, so that no other may be.
        deltas: where to put the answer's pieces as they come; `None` when nobody watches.
        observers: policies that want to know what those inside of them do, such as wait.
        places: limits on simultaneous calls in which this request has its place already.
        charges: what budgets have charged already for this request, so that none counts it twice.
    """

    messages: Sequence[Message]
    tools: Sequence[ToolSchema] = ()
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    json_schema: Mapping[str, Any] | None = None
    available_functions: Mapping[str, Callable[..., Any]] | None = field(default=None, repr=False)
    callbacks: Sequence[Any] | None = field(default=None, repr=False)
    extras: Mapping[str, Any] = field(default_factory=dict, repr=False)
    deadline: float | None = None
    timeout: float | None = None
    attempt: int = 1
    idempotency_key: str | None = None
    retried: bool = False
    deltas: DeltaSink | None = field(default=None, repr=False, compare=False)
    observers: tuple[Callable[[Event], None], ...] = field(default=(), repr=False, compare=False)
    places: tuple[Any, ...] = field(default=(), repr=False, compare=False)
    charges: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    def replace(self, **changes: Any) -> Request:
        """Return a copy with these fields changed."""
        return _replaced(self, changes)

    def emit(self, event: Event) -> None:
        """Tell the policies around, and whoever watches the run, what happens to this request."""
        for observer in self.observers:
            observer(event)
        emit(event)


_replaced = replacer(Request)
