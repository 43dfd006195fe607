"""`Prometheus`: counters, histograms and gauges of runs and model calls, in a registry of the program's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.events import (
    CacheHit,
    CircuitChanged,
    Event,
    FellBack,
    RunFailed,
    RunFinished,
    RunStarted,
    SignedIn,
    TaskFailed,
    TaskFinished,
    ToolFinished,
    Waited,
    Waiting,
)
from oarlock.contract.policy import Handler, Policy
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.contract.watching import Watcher
from oarlock.telemetry.about import Bounded, about, error_type
from oarlock.telemetry.calls import WatchedCall, quietly, watched

try:
    from prometheus_client import REGISTRY
    from prometheus_client.exposition import choose_encoder

    from oarlock.telemetry.families import Families
    from oarlock.telemetry.limits import Limits
except ImportError as error:
    raise ConfigurationError("Prometheus needs an extra: pip install 'oarlock[prometheus]'.") from error

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from oarlock.contract.llm import BaseLLM

__all__ = ["Prometheus"]


class Prometheus(Watcher):
    """Counts calls, errors, tokens, waits and runs for Prometheus, and shows how circuits and limits stand.

    `oarlock.telemetry.instrument(Prometheus())` counts all of a process; `llm.with_policies(prometheus)` the calls of one LLM. It
    opens no port: what serves the registry is the program's, such as `prometheus_client.start_http_server(9100)`.

    Labels are names of models, crews, agents and tools, classes of errors, causes of waits; of each at most 100, then
    `"other"`. No label holds what a user or a model wrote, or a credential.

    Args:
        registry: where the metrics are; default: the program's own, `prometheus_client.REGISTRY`. It has them once.

    Raises:
        ConfigurationError: the registry has them already, it is none, or the extra is missing.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> from oarlock.testing import ScriptedLLM
        >>> registry = CollectorRegistry()
        >>> ScriptedLLM(["Hello"], model="m").with_policies(Prometheus(registry)).call("Hi")
        'Hello'
        >>> registry.get_sample_value("oarlock_calls_total", {"model": "m", "outcome": "answered"})
        1.0
    """

    rank: ClassVar[int] = 6

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = self._registry = REGISTRY if registry is None else registry
        if not hasattr(registry, "register"):
            raise ConfigurationError(
                f"Prometheus: registry must be a prometheus_client.CollectorRegistry, not {registry!r}."
            )
        try:
            self.families = Families(registry)
            self._limits = Limits(registry)
        except ValueError:
            raise ConfigurationError(
                "Prometheus: the registry has Oarlock's metrics already: use the one object, or another registry."
            ) from None
        self.model, self.cause, self._endpoint, self._crew, self._agent, self._tool = (Bounded() for _ in range(6))
        self._crews: dict[str, str] = {}  # of the runs that go on

    # As a policy.

    def bind(self, llm: BaseLLM) -> Policy:
        """Return the policy that counts the calls of this LLM."""
        self._limits.add(llm, self._endpoint)
        model = self.model(about(llm).model)
        return lambda handler: watched(lambda: _CountedCall(self, llm, model), self, llm, handler)

    def __call__(self, handler: Handler, /) -> Handler:
        return watched(lambda: _CountedCall(self, None, "custom"), self, None, handler)

    def explain(self) -> str:
        """Say in words what it does."""
        return "Counts each call for Prometheus: outcome, duration, tokens, waits."

    # As a listener.

    def on_event(self, event: Event) -> None:
        """Count an event of a run, or a sign-in anywhere."""
        count = _COUNT.get(type(event))
        if count is not None:
            quietly(count, self, event)

    def circuit_changed(self, event: CircuitChanged) -> None:
        """Note how a circuit stands now."""
        endpoint = self._endpoint(event.endpoint or "unnamed")
        self._limits.circuits[endpoint] = event.state
        self.families.circuit_changes.labels(endpoint, event.state).inc()

    def run_started(self, event: RunStarted) -> None:
        """Keep the crew's name until its run ends."""
        self._crews[event.run_id or ""] = self._crew(event.crew or "crew")

    def run_ended(self, event: RunFinished | RunFailed) -> None:
        """Count a run."""
        crew = self._crews.pop(event.run_id or "", None)
        if crew is not None:
            self.families.runs.labels(crew, _outcome(event)).inc()
            self.families.run_duration.labels(crew).observe(event.seconds)

    def task_ended(self, event: TaskFinished | TaskFailed) -> None:
        """Count a task."""
        agent = self._agent(event.agent or "agent")
        self.families.tasks.labels(agent, _outcome(event)).inc()
        self.families.task_duration.labels(agent).observe(event.seconds)

    def tool_ended(self, event: ToolFinished) -> None:
        """Count a tool's run."""
        tool = self._tool(event.tool)
        self.families.tools.labels(tool, "failed" if event.failed else "cached" if event.cached else "answered").inc()
        self.families.tool_duration.labels(tool).observe(event.seconds)

    def signed_in(self, event: SignedIn) -> None:
        """Count a credential."""
        self.families.sign_ins.labels(event.method, event.why).inc()

    def scraped(self, accept: str = "") -> tuple[bytes, str]:
        """Return all that the registry has, and its media type.

        Args:
            accept: what the scraper takes, as its `Accept` header says.
        """
        write, media = choose_encoder(accept)
        return write(self._registry), media

    def __repr__(self) -> str:
        return "Prometheus()"


def _outcome(event: Event) -> str:
    error = getattr(event, "error", None)
    if error is None:
        return "answered"
    return "failed" if isinstance(error, Exception) else "abandoned"


class _CountedCall(WatchedCall):
    """One model call."""

    def __init__(self, owner: Prometheus, llm: BaseLLM | None, model: str) -> None:
        super().__init__(owner, llm)
        self._prometheus = owner
        self._families = owner.families
        self._model = model

    def begin(self, request: Request) -> None:
        self._families.in_progress.labels(self._model).inc()

    def observe(self, event: Event) -> None:
        families, model = self._families, self._model
        if isinstance(event, Waiting):
            families.waits.labels(model, self._prometheus.cause(event.cause)).inc()
        elif isinstance(event, Waited):
            families.waited.labels(model, self._prometheus.cause(event.cause)).inc(max(0.0, event.seconds))
        elif isinstance(event, FellBack):
            families.fallbacks.labels(model, self._prometheus.model(event.to_model)).inc()
        elif isinstance(event, CacheHit):
            families.cache_hits.labels(model).inc()
        elif isinstance(event, CircuitChanged):
            self._prometheus.circuit_changed(event)

    def first_chunk(self, seconds: float) -> None:
        self._families.first.labels(self._model).observe(seconds)

    def answered(self, reply: Reply, seconds: float) -> None:
        families, model, usage = self._families, self._model, self.spent(reply)
        self._ended("answered", seconds)
        if usage is not None and not reply.cached:
            families.tokens.labels(model, "input").inc(max(0, usage.prompt_tokens))
            families.tokens.labels(model, "output").inc(max(0, usage.completion_tokens))

    def failed(self, error: BaseException, seconds: float) -> None:
        if isinstance(error, Exception):
            self._families.errors.labels(self._model, error_type(error)).inc()
            self._ended("failed", seconds)
        else:
            self._ended("abandoned", seconds)

    def _ended(self, outcome: str, seconds: float) -> None:
        families, model = self._families, self._model
        families.in_progress.labels(model).dec()
        families.calls.labels(model, outcome).inc()
        families.duration.labels(model).observe(seconds)


_COUNT: Final[Mapping[type[Event], Callable[[Prometheus, Any], None]]] = {
    RunStarted: Prometheus.run_started,
    RunFinished: Prometheus.run_ended,
    RunFailed: Prometheus.run_ended,
    TaskFinished: Prometheus.task_ended,
    TaskFailed: Prometheus.task_ended,
    ToolFinished: Prometheus.tool_ended,
    SignedIn: Prometheus.signed_in,
}
