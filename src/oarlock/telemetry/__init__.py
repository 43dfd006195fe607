"""Runs and model calls for those who watch over them: OpenTelemetry (`oarlock[otel]`) and Prometheus (`oarlock[prometheus]`).

Nothing is imported, kept or sent unless a program says `instrument()`, or gives an LLM or a run one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.telemetry.opentelemetry import OpenTelemetry
    from oarlock.telemetry.prometheus import Prometheus
    from oarlock.telemetry.switch import instrument, uninstrument

__all__ = ["OpenTelemetry", "Prometheus", "instrument", "uninstrument"]

__getattr__ = lazy_names(
    __name__,
    {
        "OpenTelemetry": "opentelemetry",
        "Prometheus": "prometheus",
        "instrument": "switch",
        "uninstrument": "switch",
    },
)


def __dir__() -> list[str]:
    return __all__
