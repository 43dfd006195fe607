"""The metrics for Prometheus in one table: names, labels, and the bounds of histograms."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Families"]

# Seconds. A model's answer takes from a tenth of a second to minutes; a run up to an hour. As Prometheus counts each bucket of each
# label by itself, there are few.
_CALL: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)
_FIRST: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16)
_RUN: Final = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_TOOL: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)


class Families:
    """Every metric that is counted as things happen.

    Args:
        registry: where they are registered.

    Raises:
        ValueError: it has them already.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, registry=registry, buckets=bounds)

        self.calls = counter(
            "oarlock_calls", "Model calls that ended: answered, failed or abandoned.", "model", "outcome"
        )
        self.errors = counter("oarlock_call_errors", "Model calls that failed, by class of error.", "model", "error")
        self.in_progress = Gauge("oarlock_calls_in_progress", "Model calls under way.", ["model"], registry=registry)
        self.duration = histogram(
            "oarlock_call_duration_seconds", "Model calls, with their waits and attempts.", _CALL, "model"
        )
        self.first = histogram(
            "oarlock_time_to_first_chunk_seconds",
            "From asking to the first piece of a streamed answer.",
            _FIRST,
            "model",
        )
        self.tokens = counter("oarlock_tokens", "Tokens read (input) and written (output).", "model", "type")
        self.waits = counter("oarlock_waits", "Waits of model calls that began, by cause.", "model", "cause")
        self.waited = counter("oarlock_wait_seconds", "Time that model calls have waited, by cause.", "model", "cause")
        self.fallbacks = counter("oarlock_fallbacks", "Calls in which another LLM was asked instead.", "model", "to")
        self.cache_hits = counter("oarlock_cache_hits", "Calls that were answered from a cache.", "model")
        self.sign_ins = counter("oarlock_sign_ins", "Credentials that sign-ins got, and why.", "method", "why")
        self.circuit_changes = counter("oarlock_circuit_changes", "Changes of circuit breakers.", "endpoint", "state")
        self.runs = counter("oarlock_runs", "Runs of crews that ended.", "crew", "outcome")
        self.run_duration = histogram("oarlock_run_duration_seconds", "Runs of crews.", _RUN, "crew")
        self.tasks = counter("oarlock_tasks", "Tasks that ended.", "agent", "outcome")
        self.task_duration = histogram("oarlock_task_duration_seconds", "Work of agents at tasks.", _RUN, "agent")
        self.tools = counter("oarlock_tool_runs", "Tools that ran.", "tool", "outcome")
        self.tool_duration = histogram("oarlock_tool_duration_seconds", "Runs of tools.", _TOOL, "tool")
