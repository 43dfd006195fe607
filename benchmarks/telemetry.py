"""CPU that telemetry adds to a model call and to a crew's run of call, tool, call: off, on without an SDK, on with one.

The LLM answers at once, in process. The SDK's spans go through its batch processor to an exporter that drops them, its metrics to
a reader that is never read: what exporting costs depends on where to.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable

from _measure import medians, print_table
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import CollectorRegistry

from oarlock import Agent, BaseLLM, Crew, Reply, Request, Task, ToolCall, Usage, tool
from oarlock.contract.watching import Watcher
from oarlock.telemetry import OpenTelemetry, Prometheus, instrument, uninstrument

USAGE = Usage(prompt_tokens=100, completion_tokens=20, requests=1)


class Quick(BaseLLM):
    """Answers at once; in a run it asks for the tool first."""

    def supports_function_calling(self) -> bool:
        return True

    def complete(self, request: Request) -> Reply:
        if request.tools and request.messages[-1]["role"] != "tool":
            return Reply(tool_calls=(ToolCall(id="1", name="add", arguments='{"a": 1, "b": 2}'),), usage=USAGE)
        return Reply(text="Three", usage=USAGE, finish_reason="stop", model="quick-1", id="r-1")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Dropped(SpanExporter):
    """Drops spans."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def kinds() -> dict[str, Watcher | None]:
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(Dropped(), max_queue_size=100_000))
    meters = MeterProvider([InMemoryMetricReader()])
    no_tracers, no_meters = NoOpTracerProvider(), NoOpMeterProvider()
    return {
        "off": None,
        "Oarlock's part alone (API without an SDK)": OpenTelemetry(
            tracer_provider=no_tracers, meter_provider=no_meters
        ),
        "spans": OpenTelemetry(tracer_provider=tracers, meter_provider=no_meters),
        "metrics": OpenTelemetry(tracer_provider=no_tracers, meter_provider=meters),
        "spans and metrics": OpenTelemetry(tracer_provider=tracers, meter_provider=meters),
        "Prometheus": Prometheus(registry=CollectorRegistry()),
    }


def with_telemetry(watcher: Watcher | None, work: Callable[[], object], times: int) -> Callable[[], int]:
    def run() -> int:
        if watcher is not None:
            instrument(watcher)
        try:
            for _ in range(times):
                work()
        finally:
            uninstrument()
        return times

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="calls of each case in a round")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    llm = Quick(model="quick")
    agent = Agent(role="Cox", goal="Steer", backstory="", llm=llm, tools=[add])
    crew = Crew(agents=[agent], tasks=[Task(description="Add", expected_output="a number", agent=agent)])
    for title, work, times in (
        ("one model call", lambda: llm.call("Hi"), options.calls),
        ("a run: call, tool, call", crew.kickoff, max(1, options.calls // 5)),
    ):
        cases = {name: with_telemetry(watcher, work, times) for name, watcher in kinds().items()}
        costs = medians(cases, repeats=options.repeats)
        off = costs["off"]
        rows = [[name, f"{cost * 1e6:.1f}", f"{(cost - off) * 1e6:+.1f}"] for name, cost in costs.items()]
        print_table(f"{title} ({threading.active_count()} threads)", [["telemetry", "CPU µs", "added"], *rows])


if __name__ == "__main__":
    main()
