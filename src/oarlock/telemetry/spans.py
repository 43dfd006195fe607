"""Spans over OpenTelemetry's API: the one module, with `opentelemetry.py`, that imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

__all__ = ["OpenSpan", "Spans"]

_OPEN = contexts.create_key("oarlock-span")  # the `OpenSpan` that a context is of


class OpenSpan:
    """A span that is current from its beginning to its end.

    The context of before is put back without tokens, and only where this span is the current one: a piece of work may end in
    another context than it began in, as a stream does that nobody reads any more, and has nothing to put back there. Where two
    watch one run, the outer span may end before the inner one, which then puts back what was before both.
    """

    __slots__ = ("_before", "_ended", "_inside", "_span", "is_recording")

    def __init__(self, span: Span, before: Context) -> None:
        self._span = span
        self._before = before
        self._inside = contexts.set_value(_OPEN, self, trace.set_span_in_context(span, before))
        self._ended = False
        self.is_recording = span.is_recording()
        contexts.attach(self._inside)

    def leave(self) -> None:
        """Let what was current before be so for a while."""
        if contexts.get_current() is self._inside:
            contexts.attach(self._outside())

    def _outside(self) -> Context:
        """Return the context of before, that of no span that has ended meanwhile."""
        context = self._before
        while isinstance(outer := contexts.get_value(_OPEN, context), OpenSpan) and outer._ended:  # noqa: SLF001
            context = outer._before  # noqa: SLF001  its own class
        return context

    def come_back(self) -> None:
        """Be the current one again."""
        if contexts.get_current() is self._outside():
            contexts.attach(self._inside)

    def add_event(self, name: str, facts: Mapping[str, Any]) -> None:
        """Add an event that happens now."""
        self._span.add_event(name, facts)

    def end(self, facts: Mapping[str, Any], problem: str | None = None) -> None:
        """End it.

        Args:
            facts: its last attributes.
            problem: why it failed, if it did.
        """
        self.leave()
        self._ended = True
        if facts:
            self._span.set_attributes(facts)
        if problem is not None:
            self._span.set_status(StatusCode.ERROR, problem)
        self._span.end()


class Spans:
    """Begins spans with a tracer."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def enter(self, name: str, facts: Mapping[str, Any], *, is_client: bool = False) -> OpenSpan:
        """Begin a span below the current one, and let it be current."""
        before = contexts.get_current()
        kind = SpanKind.CLIENT if is_client else SpanKind.INTERNAL
        return OpenSpan(self._tracer.start_span(name, before, kind, facts), before)
