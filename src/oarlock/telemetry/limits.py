"""How circuits and limits stand, looked at when Prometheus asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from oarlock.policies import CircuitBreaker, Concurrency, RateLimit
from oarlock.telemetry.about import about

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["Limits"]

_STATES: Final = ("closed", "half_open", "open")


class Limits(Collector):
    """Shows the circuits and limits of the LLMs that it was told of, as long as these exist.

    Args:
        registry: where it is registered.

    Attributes:
        circuits: the state of each endpoint's, by its label.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.circuits: dict[str, str] = {}
        self._rates: WeakKeyDictionary[RateLimit, str] = WeakKeyDictionary()
        self._places: WeakKeyDictionary[Concurrency, str] = WeakKeyDictionary()
        self._lock = threading.Lock()
        registry.register(self)

    def add(self, llm: BaseLLM, label: Callable[[Any], str]) -> None:
        """Show the circuit and limits of an LLM, if it has any, under the name of its endpoint."""
        for policy in llm.policies:
            kept: Any = {RateLimit: self._rates, Concurrency: self._places}.get(type(policy))
            if kept is not None:
                if policy not in kept:
                    with self._lock:
                        kept[policy] = label(llm.endpoint_name() or about(llm).model)
            elif type(policy) is CircuitBreaker:
                self.circuits.setdefault(label(llm.endpoint_name() or "unnamed"), "closed")

    def describe(self) -> Iterable[Metric]:
        """Return the metrics' names, so that a registry can refuse a second collector of them."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Return how everything stands now."""
        circuits, fill, line, places = families = self._families()
        for endpoint, state in list(self.circuits.items()):
            for one in _STATES:
                circuits.add_metric([endpoint, one], float(one == state))
        with self._lock:
            rates, limits = list(self._rates.items()), list(self._places.items())
        now = time.monotonic()
        for rate, endpoint in rates:
            for unit, level in rate.levels(now).items():
                fill.add_metric([endpoint, unit], level)
            line.add_metric([endpoint, "rate_limit"], rate.waiting)
        for limit, endpoint in limits:
            line.add_metric([endpoint, "concurrency"], limit.waiting)
            places.add_metric([endpoint, "taken"], limit.taken)
            places.add_metric([endpoint, "limit"], limit.limit)
        return families

    def _families(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily("oarlock_circuit_state", "1 for the state that it is in.", labels=["endpoint", "state"]),
            GaugeMetricFamily(
                "oarlock_rate_limit_fill_ratio",
                "How full a rate limit is: at 1 the next request waits.",
                labels=["endpoint", "unit"],
            ),
            GaugeMetricFamily("oarlock_calls_waiting", "Calls in line before a limit.", labels=["endpoint", "cause"]),
            GaugeMetricFamily("oarlock_concurrency_places", "Places for calls at once.", labels=["endpoint", "which"]),
        )
