"""What `opentelemetry-instrument` finds: with it in front, a program is watched that says nothing of telemetry itself."""

from __future__ import annotations

from oarlock.telemetry.switch import instrument, uninstrument

__all__ = ["OarlockInstrumentor"]


class OarlockInstrumentor:
    """Oarlock's entry in the group `opentelemetry_instrumentor`, as OpenTelemetry's automatic instrumentation calls it."""

    def instrument(self, **_: object) -> None:
        """Watch the process with `OpenTelemetry()`."""
        instrument()

    def uninstrument(self, **_: object) -> None:
        """Watch nothing any more."""
        uninstrument()
