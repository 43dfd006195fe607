"""What goes to a model: one question, with everything that may change its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from oarlock.contract.context import emit
from oarlock.contract.events import Event, Waited, Waiting
from oarlock.contract.messages import Message, ToolSchema
from oarlock.contract.records import dataclass, field
from oarlock.contract.replacing import copier
from oarlock.contract.reply import Delta, Reply
from oarlock.runtime import Runtime
from oarlock.runtime.streams import hand_over

__all__ = ["DeltaSink", "Request", "waiting"]


class DeltaSink:
    """Where the pieces of a streaming answer go; knows how many went."""

    __slots__ = ("delivered",)

    def __init__(self) -> None:
        self.delivered = 0

    @property
    def may_begin_anew(self) -> bool:
        """Whether another attempt may be made: not once pieces are out, for a consumer who takes all for one answer."""
        return not self.delivered

    def begin_anew(self) -> None:
        """Take note that the pieces from now on are those of another attempt."""

    def put(self, delta: Delta) -> Awaitable[None]:
        """Hand a piece to the consumer, and return once the next one is wanted."""
        self.delivered += 1
        return hand_over(delta)

    async def put_whole(self, reply: Reply) -> None:
        """Hand an answer over that did not come in pieces: its text, and each of its tool calls."""
        if reply.text or not reply.tool_calls:
            await self.put(Delta(reply.text))
        for call in reply.tool_calls:
            await self.put(Delta(tool_call=call))


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
        headers: further header fields for an LLM that speaks HTTP, such as `(("traceparent", "00-..."),)`. They hold no secret.
        options: further fields of the body for an LLM that speaks OpenAI's chat format, such as `{"tool_choice": "required"}`;
            they win over its own `options`. A `call()` gets those that it has parameters for; see `BaseLLM.supports_option`.
        deadline: a `Runtime.now()` at which the whole call, with its waits and attempts, is given up.
        timeout: seconds for this attempt, where shorter than the LLM's own.
        attempt: counts from 1.
        idempotency_key: the same for every attempt of one call.
        retried: a retry loop is around this request already, so that no other may be.
        deltas: where to put the answer's pieces as they come; `None` when nobody watches.
        observers: policies that want to know what those inside of them do, such as wait.
        places: limits on simultaneous calls in which this request has its place already.
        charges: what budgets have charged already for this request, so that none counts it twice.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> request = Request(messages=[{"role": "user", "content": "Hi"}], max_tokens=10)
        >>> ScriptedLLM(["Hello."]).complete(request).text
        'Hello.'
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
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    options: Mapping[str, Any] | None = field(default=None, repr=False)
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
        return _copy(self, changes)

    def again(self) -> Request:
        """Return the request of the next attempt."""
        if self.deltas is not None:
            self.deltas.begin_anew()
        return self.replace(attempt=self.attempt + 1)

    def emit(self, event: Event) -> None:
        """Tell the policies around, and whoever watches the run, what happens to this request."""
        for observer in self.observers:
            observer(event)
        emit(event)


def _fill(copy: Any, one: Request) -> None:
    copy.messages = one.messages
    copy.tools = one.tools
    copy.stop = one.stop
    copy.temperature = one.temperature
    copy.max_tokens = one.max_tokens
    copy.json_schema = one.json_schema
    copy.available_functions = one.available_functions
    copy.callbacks = one.callbacks
    copy.extras = one.extras
    copy.headers = one.headers
    copy.options = one.options
    copy.deadline = one.deadline
    copy.timeout = one.timeout
    copy.attempt = one.attempt
    copy.idempotency_key = one.idempotency_key
    copy.retried = one.retried
    copy.deltas = one.deltas
    copy.observers = one.observers
    copy.places = one.places
    copy.charges = one.charges


_copy = copier(Request, _fill)


class waiting:  # noqa: N801  used like a function
    """Tell whoever watches that a request waits, and why; at the end of the block, for how long it has.

    Args:
        runtime: whose time it is.
        request: who waits.
        cause, seconds, facts: see `oarlock.contract.events.Waiting`.
    """

    __slots__ = ("_began", "_request", "_runtime", "_start")

    def __init__(
        self, runtime: Runtime, request: Request, cause: str, *, seconds: float | None = None, **facts: Any
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._start = Waiting(cause=cause, seconds=seconds, **facts)

    def __enter__(self) -> None:
        self._began = self._runtime.now()
        self._request.emit(self._start)

    def __exit__(self, *error: object) -> None:
        self._request.emit(Waited(cause=self._start.cause, seconds=self._runtime.now() - self._began))
