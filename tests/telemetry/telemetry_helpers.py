"""Real SDKs of OpenTelemetry whose exporters keep what they are given."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from oarlock import Agent, Crew, Reply, Task, ToolCall, Usage, tool
from oarlock.telemetry import OpenTelemetry, instrument
from oarlock.testing import ScriptedLLM


class Seen:
    """What a program's providers were given."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def telemetry(self, **settings: Any) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **settings)

    def instrument(self, **settings: Any) -> None:
        instrument(self.telemetry(**settings))

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def span(self, name: str) -> ReadableSpan:
        """The one span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> list[str]:
        """Each span below its parent, indented, in the order in which they began."""
        children: dict[int | None, list[ReadableSpan]] = {}
        for span in self.spans:
            children.setdefault(span.parent and span.parent.span_id, []).append(span)

        def lines(parent: int | None, depth: int) -> list[str]:
            return [
                line
                for span in children.get(parent, ())
                for line in ("  " * depth + span.name, *lines(span.context.span_id, depth + 1))
            ]

        return lines(None, 0)

    def points(self, metric: str) -> dict[tuple[Any, ...], Any]:
        """The points of a metric by the values of their attributes, in the order of their names."""
        data = self._reader.get_metrics_data()
        return {
            tuple(value for _, value in sorted(point.attributes.items())): point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for one in scope.metrics
            if one.name == metric
            for point in one.data.data_points
        }

    def everything(self) -> str:
        """All that would leave the process, as one text."""
        data = self._reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + ("" if data is None else data.to_json())


def events_of(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.attributes or {})) for event in span.events]


ANSWER = Reply(
    text="Hello",
    usage=Usage(prompt_tokens=12, completion_tokens=3, cached_prompt_tokens=8, requests=1),
    finish_reason="stop",
    model="m-2026",
    id="answer-1",
)

ADD = ToolCall(id="1", name="add", arguments='{"a": 1, "b": 2}')


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def crew_of(*replies: Any, tools: Any = (add,), **settings: Any) -> Crew:
    llm = ScriptedLLM(list(replies), model="m", supports_function_calling=True)
    agent = Agent(role="Cox", goal="Steer", backstory="", llm=llm, tools=list(tools))
    task = Task(description="Add one and two", expected_output="a number", agent=agent, **settings)
    return Crew(agents=[agent], tasks=[task], name="boat")
