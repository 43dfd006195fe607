"""One model call as a span: from before its first attempt until after its last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from oarlock.contract.context import current_call
from oarlock.contract.errors import LLMError
from oarlock.contract.events import CacheHit, CircuitChanged, Event, FellBack, SignedIn, Waited, Waiting
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.telemetry.about import About, error_type, error_words, short, shown_id
from oarlock.telemetry.calls import WatchedCall
from oarlock.telemetry.names import Attribute, Operation, SpanEvent

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM
    from oarlock.telemetry.opentelemetry import OpenTelemetry

__all__ = ["CallSpan"]


class CallSpan(WatchedCall):
    """A call as a span and as metrics.

    Args:
        telemetry: whose.
        llm: who is asked.
        known: what is known of it.
    """

    def __init__(self, telemetry: OpenTelemetry, llm: BaseLLM | None, known: About) -> None:
        super().__init__(telemetry, llm)
        self._telemetry = telemetry
        self._known = known
        self._first_chunk: float | None = None
        self._facts: dict[str, Any] = {}

    def begin(self, request: Request) -> None:
        telemetry, known = self._telemetry, self._known
        self._metric = {
            Attribute.OPERATION: Operation.CHAT,
            Attribute.PROVIDER: known.provider,
            Attribute.REQUEST_MODEL: known.model,
        }
        self._span = span = telemetry.spans.enter(
            f"{Operation.CHAT} {known.model}", self._asked(request), is_client=True
        )
        try:
            if telemetry.content is not None and span.is_recording:
                self._facts[Attribute.INPUT_MESSAGES] = telemetry.content.asked(request)
                if request.tools:
                    self._facts[Attribute.TOOL_DEFINITIONS] = telemetry.content.tools(request)
            if known.address is not None:
                self.headers = telemetry.headers()
        except Exception:  # a propagator of the program's, say: the call goes on unwatched
            span.end({})
            raise

    def _asked(self, request: Request) -> dict[str, Any]:
        known = self._known
        facts: dict[str, Any] = dict(self._metric)
        if known.address is not None:
            facts[Attribute.SERVER_ADDRESS] = known.address
            if known.port is not None:
                facts[Attribute.SERVER_PORT] = known.port
        agent = current_call().agent
        if agent is not None:
            facts[Attribute.AGENT] = short(agent)
        if request.temperature is not None:
            facts[Attribute.TEMPERATURE] = request.temperature
        if request.max_tokens is not None:
            facts[Attribute.MAX_TOKENS] = request.max_tokens
        if request.deltas is not None:
            facts[Attribute.STREAM] = True
        if request.json_schema is not None:
            facts[Attribute.OUTPUT_TYPE] = "json"
        return facts

    def observe(self, event: Event) -> None:
        super().observe(event)
        described = _EVENTS.get(type(event))
        if described is not None:
            self._span.add_event(*described(event))

    def first_chunk(self, seconds: float) -> None:
        self._first_chunk = seconds
        self._telemetry.first_chunk.record(seconds, self._metric)

    def next_chunk(self, seconds: float) -> None:
        self._telemetry.next_chunk.record(seconds, self._metric)

    def step_out(self) -> None:
        self._span.leave()

    def step_in(self) -> None:
        self._span.come_back()

    def answered(self, reply: Reply, seconds: float) -> None:
        telemetry, facts, usage = self._telemetry, self._facts, self.spent(reply)
        if self._span.is_recording:
            self._add_answer(reply, usage)
        telemetry.duration.record(seconds, self._metric)
        if usage is not None and not reply.cached:
            for kind, tokens in (("input", usage.prompt_tokens), ("output", usage.completion_tokens)):
                if tokens:
                    telemetry.tokens.record(tokens, {**self._metric, Attribute.TOKEN_TYPE: kind})
        self._end(facts)

    def _add_answer(self, reply: Reply, usage: Usage | None) -> None:
        facts = self._facts
        if reply.model:
            facts[Attribute.RESPONSE_MODEL] = short(str(reply.model))
        if reply.id:
            facts[Attribute.RESPONSE_ID] = shown_id(str(reply.id))
        if reply.finish_reason:
            facts[Attribute.FINISH_REASONS] = (short(str(reply.finish_reason)),)
        if reply.cached:
            facts[Attribute.CACHED] = True
        elif usage is not None and usage.total_tokens:
            facts[Attribute.INPUT_TOKENS] = usage.prompt_tokens
            facts[Attribute.OUTPUT_TOKENS] = usage.completion_tokens
            if usage.cached_prompt_tokens:
                facts[Attribute.CACHED_TOKENS] = usage.cached_prompt_tokens
            if usage.estimated:
                facts[Attribute.ESTIMATED] = True
        if self._telemetry.content is not None:
            facts[Attribute.OUTPUT_MESSAGES] = self._telemetry.content.answer(reply)

    def failed(self, error: BaseException, seconds: float) -> None:
        facts = self._facts
        if not isinstance(error, Exception):
            facts[Attribute.ABANDONED] = True
            self._telemetry.duration.record(seconds, self._metric)
            self._end(facts)
            return
        metric = {**self._metric, Attribute.ERROR_TYPE: error_type(error)}
        self._telemetry.duration.record(seconds, metric)
        facts.update(self._telemetry.error_facts(error))
        self._end(facts, error_words(error))

    def _end(self, facts: dict[str, Any], problem: str | None = None) -> None:
        if self.attempts > 1:
            facts[Attribute.ATTEMPTS] = self.attempts
        if self.waits:
            facts[Attribute.WAITED] = sum(self.waits.values())
            facts.update({f"{Attribute.WAITED_FOR}{short(cause)}": seconds for cause, seconds in self.waits.items()})
        if self._first_chunk is not None:
            facts[Attribute.FIRST_CHUNK] = self._first_chunk
        self._span.end(facts, problem)


def error_facts(error: BaseException) -> dict[str, Any]:
    """Return what an error is, in attributes; nothing of what it says."""
    facts: dict[str, Any] = {Attribute.ERROR_TYPE: error_type(error)}
    if isinstance(error, LLMError):
        if error.status is not None:
            facts[Attribute.STATUS_CODE] = error.status
        if error.code:
            facts[Attribute.ERROR_CODE] = short(str(error.code))
        if error.request_id:
            facts[Attribute.REQUEST_ID] = shown_id(str(error.request_id))
    return facts


Described = tuple[str, dict[str, Any]]


def _waiting(event: Waiting) -> Described:
    facts: dict[str, Any] = {Attribute.CAUSE: event.cause}
    if event.seconds is not None:
        facts[Attribute.EXPECTED] = event.seconds
    if event.attempt is not None:
        facts[Attribute.ATTEMPT] = event.attempt
    if event.error is not None:
        facts.update(error_facts(event.error))
    return SpanEvent.RETRY if event.cause == "retry" else SpanEvent.WAITING, facts


def _waited(event: Waited) -> Described:
    return SpanEvent.WAITED, {Attribute.CAUSE: event.cause, Attribute.SECONDS: event.seconds}


def _fell_back(event: FellBack) -> Described:
    names = {Attribute.FROM_MODEL: short(event.from_model), Attribute.TO_MODEL: short(event.to_model)}
    return SpanEvent.FALLBACK, {**names, **error_facts(event.error)}


def _circuit(event: CircuitChanged) -> Described:
    facts: dict[str, Any] = {Attribute.STATE: event.state}
    if event.endpoint:
        facts[Attribute.ENDPOINT] = short(event.endpoint)
    if event.why:
        facts |= {Attribute.WHY: short(event.why), Attribute.SECONDS: event.seconds}
    return SpanEvent.CIRCUIT, facts


def _signed_in(event: SignedIn) -> Described:
    facts: dict[str, Any] = {Attribute.METHOD: event.method, Attribute.WHY: event.why}
    if event.expires_in is not None:
        facts[Attribute.EXPIRES_IN] = event.expires_in
    return SpanEvent.SIGNED_IN, facts


def _from_cache(event: CacheHit) -> Described:
    return SpanEvent.CACHE_HIT, {Attribute.SAVED_TOKENS: event.saved.total_tokens}


_EVENTS: Final[Mapping[type[Event], Callable[[Any], Described]]] = {
    Waiting: _waiting,
    Waited: _waited,
    FellBack: _fell_back,
    CircuitChanged: _circuit,
    SignedIn: _signed_in,
    CacheHit: _from_cache,
}
