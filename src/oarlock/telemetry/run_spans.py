"""A run's crew, agents and tools as spans, from the events that tell of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from oarlock.contract.events import (
    AnswerRejected,
    ApprovalDecided,
    ApprovalRequested,
    ContextShortened,
    Delegated,
    Event,
    GuardrailChecked,
    HumanAnswered,
    HumanAsked,
    RunFailed,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
    TaskStarted,
    ToolFinished,
    ToolStarted,
)
from oarlock.contract.reply import Usage
from oarlock.telemetry.about import error_type, error_words, short
from oarlock.telemetry.names import Attribute, Operation, SpanEvent
from oarlock.telemetry.spans import OpenSpan

if TYPE_CHECKING:
    from oarlock.telemetry.content import Content
    from oarlock.telemetry.opentelemetry import OpenTelemetry

__all__ = ["RunSpans"]

_UNKNOWN_ERROR: Final = "ToolError"  # of a tool whose answer is the text of an error


class _Piece:
    """A piece of work whose span is open."""

    __slots__ = ("event", "metric", "span")

    def __init__(self, event: Event, span: OpenSpan, metric: dict[str, Any]) -> None:
        self.event = event
        self.span = span
        self.metric = metric


class RunSpans:
    """Begins and ends spans as pieces of work begin and end.

    Each is kept by the id that its events share, so that pieces side by side, in threads and tasks, are not mixed up.
    """

    def __init__(self, telemetry: OpenTelemetry) -> None:
        self._telemetry = telemetry
        self._open: dict[str, _Piece] = {}

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        take = _TAKE.get(type(event))
        if take is not None:
            take(self, event)
            return
        described = _WITHIN.get(type(event))
        piece = self._open.get(event.span_id or "") if described is not None else None
        if piece is not None and described is not None:
            piece.span.add_event(*described(event, self._telemetry.content))

    # What begins.

    def _begin(self, event: Event, operation: str, name: str, about: tuple[str, str], facts: dict[str, Any]) -> None:
        """Begin a span.

        Args:
            event: what began.
            operation: its kind.
            name: of the crew, the agent, the tool.
            about: the attribute that has the name, and the name as a metric may have it.
            facts: what else is known.
        """
        attribute, label = about
        name = short(name)
        span = self._telemetry.spans.enter(
            f"{operation} {name}", {Attribute.OPERATION: operation, attribute: name, **facts}
        )
        left = self._open.pop(event.span_id or "", None)
        if left is not None:  # of a run that was cut off in this process, and is driven again
            left.span.end({Attribute.ABANDONED: True})
        self._open[event.span_id or ""] = _Piece(event, span, {Attribute.OPERATION: operation, attribute: label})

    def run_started(self, event: RunStarted) -> None:
        """A crew began."""
        name = event.crew or "crew"
        facts = {Attribute.RUN_ID: str(event.run_id), Attribute.TASKS: event.tasks}
        about = (Attribute.WORKFLOW, self._telemetry.label(name))
        self._begin(event, Operation.WORKFLOW, name, about, facts)

    def task_started(self, event: TaskStarted) -> None:
        """An agent began a task."""
        name = event.agent or "agent"
        facts: dict[str, Any] = {Attribute.TASK_NUMBER: event.number, Attribute.RUN_ID: str(event.run_id)}
        content = self._telemetry.content
        if content is not None:
            facts[Attribute.TASK] = content.text(event.task or "")
            facts[Attribute.INPUT_MESSAGES] = content.said("user", event.description)
        self._begin(event, Operation.AGENT, name, (Attribute.AGENT, self._telemetry.label(name)), facts)

    def tool_started(self, event: ToolStarted) -> None:
        """A tool is run."""
        facts: dict[str, Any] = {Attribute.TOOL_TYPE: "function"}
        if self._telemetry.content is not None:
            facts[Attribute.TOOL_ARGUMENTS] = self._telemetry.content.arguments(event.arguments)
        self._begin(event, Operation.TOOL, event.tool, (Attribute.TOOL, self._telemetry.label(event.tool)), facts)

    # What ends.

    def _end(self, event: Event, facts: dict[str, Any], error: BaseException | None = None) -> _Piece | None:
        """End a span; one that was begun before this process knew of the run is not there."""
        piece = self._open.pop(event.span_id or "", None)
        if piece is None:
            return None
        if error is None:
            piece.span.end(facts)
        elif isinstance(error, Exception):
            piece.metric[Attribute.ERROR_TYPE] = error_type(error)
            piece.span.end({**facts, **self._telemetry.error_facts(error)}, error_words(error))
        else:  # cancelled, or the reader of its stream has left
            piece.span.end({**facts, Attribute.ABANDONED: True})
        return piece

    def run_finished(self, event: RunFinished) -> None:
        """A crew has its answer."""
        piece = self._end(event, {**_spent(event.usage), **self._answer(event.answer)})
        if piece is not None:
            self._telemetry.workflow.record(event.seconds, piece.metric)

    def run_failed(self, event: RunFailed) -> None:
        """A crew failed; so has all that has not ended."""
        self._end_all(lambda one: one.run_id == event.run_id and one.span_id != event.span_id, event.error)
        piece = self._end(event, {}, event.error)
        if piece is not None:
            self._telemetry.workflow.record(event.seconds, piece.metric)

    def task_finished(self, event: TaskFinished) -> None:
        """An agent has its answer."""
        piece = self._end(event, {**_spent(event.usage), **self._answer(event.answer)})
        if piece is not None:
            self._telemetry.agent.record(event.seconds, piece.metric)

    def task_failed(self, event: TaskFailed) -> None:
        """An agent failed; so have its tools that have not ended."""
        self._end_all(lambda one: one.task_id == event.task_id and one.span_id != event.span_id, event.error)
        piece = self._end(event, {}, event.error)
        if piece is not None:
            self._telemetry.agent.record(event.seconds, piece.metric)

    def tool_finished(self, event: ToolFinished) -> None:
        """A tool has answered."""
        facts: dict[str, Any] = {Attribute.CACHED: True} if event.cached else {}
        if self._telemetry.content is not None:
            facts[Attribute.TOOL_RESULT] = self._telemetry.content.text(event.answer)
        piece = self._open.pop(event.span_id or "", None)
        if piece is None:
            return
        if event.failed:
            facts[Attribute.ERROR_TYPE] = piece.metric[Attribute.ERROR_TYPE] = _UNKNOWN_ERROR
        piece.span.end(facts, _UNKNOWN_ERROR if event.failed else None)
        self._telemetry.tool.record(event.seconds, piece.metric)

    def _end_all(self, belongs: Callable[[Event], bool], error: BaseException) -> None:
        """End what is open within a piece that failed, the newest first."""
        for piece in reversed(list(self._open.values())):
            if belongs(piece.event):
                self._end(piece.event, {}, error)

    def _answer(self, text: str) -> dict[str, Any]:
        content = self._telemetry.content
        return {} if content is None else {Attribute.OUTPUT_MESSAGES: content.said("assistant", text)}


def _spent(usage: Usage) -> dict[str, Any]:
    """Return what a run or a task used, under names of ours: viewers add up the conventions' over all spans."""
    return (
        {}
        if not usage.total_tokens
        else {Attribute.RUN_TOKENS: usage.total_tokens, Attribute.RUN_CALLS: usage.requests}
    )


Described = tuple[str, dict[str, Any]]


def _skipped(event: TaskSkipped, _: Content | None) -> Described:
    return SpanEvent.SKIPPED, {Attribute.TASK_NUMBER: event.number}


def _guardrail(event: GuardrailChecked, content: Content | None) -> Described:
    facts = {Attribute.PASSED: event.passed, **_reason(event.reason, content)}
    if content is not None:  # it may be a rule in words
        facts[Attribute.GUARDRAIL] = content.text(event.guardrail)
    return SpanEvent.GUARDRAIL, facts


def _rejected(event: AnswerRejected, content: Content | None) -> Described:
    return SpanEvent.REJECTED, {Attribute.REJECTED_BY: event.by, **_reason(event.reason, content)}


def _shortened(event: ContextShortened, _: Content | None) -> Described:
    counts = {Attribute.TOKENS_BEFORE: event.before, Attribute.TOKENS_AFTER: event.after}
    return SpanEvent.SHORTENED, {**counts, Attribute.WINDOW: event.window}


def _human_asked(_event: HumanAsked, _: Content | None) -> Described:
    return SpanEvent.HUMAN_ASKED, {}


def _human_answered(event: HumanAnswered, content: Content | None) -> Described:
    return SpanEvent.HUMAN_ANSWERED, {Attribute.SECONDS: event.seconds, **_reason(event.said, content)}


def _approval_requested(event: ApprovalRequested, _: Content | None) -> Described:
    return SpanEvent.APPROVAL_REQUESTED, {Attribute.TOOL: short(event.tool)}


def _approval_decided(event: ApprovalDecided, content: Content | None) -> Described:
    facts = {Attribute.APPROVED: event.approved, Attribute.SECONDS: event.seconds}
    return SpanEvent.APPROVAL_DECIDED, {**facts, **_reason(event.reason, content)}


def _delegated(event: Delegated, content: Content | None) -> Described:
    return SpanEvent.DELEGATED, {Attribute.COWORKER: short(event.coworker), **_reason(event.work, content)}


def _reason(text: str, content: Content | None) -> dict[str, Any]:
    return {} if content is None or not text else {Attribute.REASON: content.text(text)}


_TAKE: Final[Mapping[type[Event], Callable[[RunSpans, Any], None]]] = {
    RunStarted: RunSpans.run_started,
    RunFinished: RunSpans.run_finished,
    RunFailed: RunSpans.run_failed,
    TaskStarted: RunSpans.task_started,
    TaskFinished: RunSpans.task_finished,
    TaskFailed: RunSpans.task_failed,
    ToolStarted: RunSpans.tool_started,
    ToolFinished: RunSpans.tool_finished,
}
_WITHIN: Final[Mapping[type[Event], Callable[[Any, Any], Described]]] = {
    TaskSkipped: _skipped,
    GuardrailChecked: _guardrail,
    AnswerRejected: _rejected,
    ContextShortened: _shortened,
    HumanAsked: _human_asked,
    HumanAnswered: _human_answered,
    ApprovalRequested: _approval_requested,
    ApprovalDecided: _approval_decided,
    Delegated: _delegated,
}
