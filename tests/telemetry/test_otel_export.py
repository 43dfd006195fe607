"""Over the wire: OTLP/HTTP to a receiver that decodes OpenTelemetry's own protocol buffers. And the names, and a cold start."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv._incubating.attributes import (
    error_attributes,
    gen_ai_attributes,
    http_attributes,
    server_attributes,
)
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from telemetry_helpers import ADD, crew_of

from oarlock.contract.watching import Watchers
from oarlock.telemetry import OpenTelemetry, instrument, uninstrument
from oarlock.telemetry.names import PROVIDERS, Attribute, Histograms


class Receiver:
    """Takes traces and metrics over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: dict[str, Any] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                receiver.take(self.path, body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    assert scope.scope.name == "oarlock"
                    self.spans += scope.spans
        else:
            for one in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for kept in one.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in kept.metrics}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    taken = Receiver()
    serving = threading.Thread(target=taken.server.serve_forever)
    serving.start()
    yield taken
    taken.server.shutdown()
    serving.join()
    taken.server.server_close()


def test_a_run_arrives_over_otlp(receiver):
    tracers, meters = (
        TracerProvider(),
        MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{receiver.url}/v1/metrics"))]),
    )
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{receiver.url}/v1/traces")))
    instrument(OpenTelemetry(tracer_provider=tracers, meter_provider=meters))
    try:
        crew_of(ADD, "three").kickoff()
    finally:
        uninstrument()
        tracers.shutdown()
        meters.shutdown()
    names = {span.span_id: span.name for span in receiver.spans}
    assert sorted(names.values()) == [
        "chat m",
        "chat m",
        "execute_tool add",
        "invoke_agent Cox",
        "invoke_workflow boat",
    ]
    parents = {span.name: names.get(span.parent_span_id) for span in receiver.spans}
    assert parents == {
        "invoke_workflow boat": None,
        "invoke_agent Cox": "invoke_workflow boat",
        "chat m": "invoke_agent Cox",
        "execute_tool add": "invoke_agent Cox",
    }
    kinds = {span.name: span.kind for span in receiver.spans}
    assert (kinds["chat m"], kinds["invoke_agent Cox"]) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL)
    duration = receiver.metrics["gen_ai.client.operation.duration"]
    assert duration.unit == "s"
    assert list(duration.histogram.data_points[0].explicit_bounds) == list(Histograms.CALL[3])


def test_the_names_are_those_of_the_conventions_as_installed():
    """Newer ones of the conventions' own are named here, until the package has them."""
    known = {
        value
        for module in (gen_ai_attributes, error_attributes, http_attributes, server_attributes, gen_ai_metrics)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    newer = {"gen_ai.invoke_agent.duration", "gen_ai.execute_tool.duration", "gen_ai.invoke_workflow.duration"}
    attributes = [value for name, value in vars(Attribute).items() if name.isupper()]
    metrics = [value[0] for name, value in vars(Histograms).items() if name.isupper()]
    unknown = {name for name in (*attributes, *metrics) if not name.startswith("oarlock.")} - known - newer
    assert not unknown
    assert len(set(attributes)) == len(attributes)
    assert not [one for one in attributes for other in attributes if other.startswith(f"{one}.") and one != other]
    providers = {one.value for one in gen_ai_attributes.GenAiProviderNameValues}
    assert set(PROVIDERS.values()) <= providers


def test_automatic_instrumentation_finds_it():
    (found,) = entry_points(group="opentelemetry_instrumentor", name="oarlock")
    instrumentor = found.load()()
    instrumentor.instrument(skip_dep_check=True)
    assert [type(one).__name__ for one in Watchers.all] == ["OpenTelemetry"]
    instrumentor.uninstrument()
    assert Watchers.all == ()


def test_whoever_does_not_use_it_does_not_import_it():
    program = (
        "import sys, oarlock, oarlock.telemetry; from oarlock.testing import ScriptedLLM;"
        "ScriptedLLM(['a']).call('b');"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus_client'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [("opentelemetry", "OpenTelemetry", "otel"), ("prometheus_client", "Prometheus", "prometheus")],
)
def test_a_missing_extra_is_named(package, name, extra):
    program = f"import sys; sys.modules[{package!r}] = None; from oarlock.telemetry import {name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"pip install 'oarlock[{extra}]'" in done.stderr
