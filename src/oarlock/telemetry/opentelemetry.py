"""`OpenTelemetry`: spans and metrics of runs and model calls, through whatever provider the program has set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from oarlock.contract.checks import flag
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.events import Event, SignedIn
from oarlock.contract.policy import Handler, Policy
from oarlock.contract.watching import Watcher
from oarlock.telemetry.about import About, Bounded, about
from oarlock.telemetry.call_span import CallSpan, error_facts
from oarlock.telemetry.calls import current_watched, quietly, watched
from oarlock.telemetry.content import Content
from oarlock.telemetry.names import Attribute, Histograms

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, propagate, trace

    from oarlock.telemetry.run_spans import RunSpans
    from oarlock.telemetry.spans import Spans
except ImportError as error:
    raise ConfigurationError("OpenTelemetry needs an extra: pip install 'oarlock[otel]'.") from error

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import TracerProvider

    from oarlock.contract.llm import BaseLLM

__all__ = ["OpenTelemetry"]

_NAME = "oarlock"
_NOT_SENT = frozenset({"baggage"})  # what a program keeps there is its own, and no business of a model's endpoint


class OpenTelemetry(Watcher):
    """Shows runs and model calls as OpenTelemetry's spans and metrics, with the names of its conventions for generative AI.

    `oarlock.telemetry.instrument(OpenTelemetry(...))` watches all of a process. One object can also watch one LLM, as a policy
    (`llm.with_policies(telemetry)`), or one run, as a listener (`crew.kickoff(on_event=telemetry.on_event)`).

    It sets up no provider, processor or exporter: those are the program's. What users, models and tools wrote is left out
    unless asked for; names of crews, agents, tools and models, and the classes of errors, are in.

    Args:
        content: also messages, answers, tools' arguments and results, and the messages of errors. They may be private.
            What looks like a credential is masked, and each text is cut at 10,000 characters.
        redact: with `content`, a function that takes each such text and returns what may be seen of it.
        provider: the `gen_ai.provider.name` to give, where the host does not tell.
        propagate: send the trace's context along with requests of LLMs that speak HTTP (W3C `traceparent`, or whatever the
            program has set); never its baggage.
        tracer_provider: default: the program's.
        meter_provider: likewise.

    Raises:
        ConfigurationError: a setting that cannot work, or the extra is missing.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> ScriptedLLM(["Hello"]).with_policies(OpenTelemetry()).call("Hi")
        'Hello'
    """

    rank: ClassVar[int] = 5

    def __init__(
        self,
        *,
        content: bool = False,
        redact: Callable[[str], str] | None = None,
        provider: str | None = None,
        propagate: bool = True,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        if redact is not None and not callable(redact):
            raise ConfigurationError(f"OpenTelemetry: redact must be a function of a text, not {redact!r}.")
        if redact is not None and not content:
            raise ConfigurationError("OpenTelemetry: redact is for content, which is left out without content=True.")
        if provider is not None and (not isinstance(provider, str) or not provider):
            raise ConfigurationError(f"OpenTelemetry: provider must be a name, not {provider!r}.")
        self.content = Content(redact) if flag("OpenTelemetry", "content", content) else None
        self._provider = provider
        self._propagate = flag("OpenTelemetry", "propagate", propagate)
        self.spans = Spans(trace.get_tracer(_NAME, tracer_provider=tracer_provider))
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)

        def histogram(described: tuple[str, str, str, tuple[float, ...]]) -> Histogram:
            name, unit, description, bounds = described
            return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

        self.duration = histogram(Histograms.CALL)
        self.tokens = histogram(Histograms.TOKENS)
        self.first_chunk = histogram(Histograms.FIRST_CHUNK)
        self.next_chunk = histogram(Histograms.NEXT_CHUNK)
        self.workflow = histogram(Histograms.WORKFLOW)
        self.agent = histogram(Histograms.AGENT)
        self.tool = histogram(Histograms.TOOL)
        self.label = Bounded()
        self._runs = RunSpans(self)

    # As a policy.

    def bind(self, llm: BaseLLM) -> Policy:
        """Return the policy that watches the calls of this LLM."""
        known = self._known(llm)
        return lambda handler: watched(lambda: CallSpan(self, llm, known), self, llm, handler)

    def __call__(self, handler: Handler, /) -> Handler:
        known = self._known(None)
        return watched(lambda: CallSpan(self, None, known), self, None, handler)

    def _known(self, llm: BaseLLM | None) -> About:
        known = about(llm)
        if self._provider is None or known.provider != "custom":
            return known
        return About(model=known.model, provider=self._provider, address=known.address, port=known.port)

    def explain(self) -> str:
        """Say in words what it does."""
        what = "with messages and answers" if self.content is not None else "without messages and answers"
        return f"Shows each call as a span and in metrics of OpenTelemetry's, {what}."

    # As a listener.

    def on_event(self, event: Event) -> None:
        """Take note of an event of a run, or of a sign-in anywhere."""
        if type(event) is not SignedIn:
            quietly(self._runs, event)
        elif (call := current_watched(self)) is not None:
            call.quietly_observe(event)

    # For what goes on elsewhere.

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the header fields that carry the current span to whoever is asked next."""
        return tuple(self._context().items()) if self._propagate else ()

    def carried(self) -> Mapping[str, str]:
        """Return what carries the current span to whoever takes up a run that is put aside here."""
        return self._context()

    def _context(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return {name: value for name, value in carrier.items() if name not in _NOT_SENT}

    def resuming(self, carried: Mapping[str, str]) -> AbstractContextManager[None]:
        """Return a block whose spans stand below the one in which the run was put aside."""
        return _below(carried)

    def error_facts(self, error: BaseException) -> dict[str, Any]:
        """Return an error in attributes; what it says is content."""
        facts = error_facts(error)
        if self.content is not None:
            facts[Attribute.ERROR_MESSAGE] = self.content.text(error)
        return facts

    def __repr__(self) -> str:
        return "OpenTelemetry(content=True)" if self.content is not None else "OpenTelemetry()"


@contextmanager
def _below(carried: Mapping[str, str]) -> Iterator[None]:
    before = contexts.get_current()
    inside = propagate.extract(carried, before)
    contexts.attach(inside)
    try:
        yield
    finally:
        if contexts.get_current() is inside:
            contexts.attach(before)
