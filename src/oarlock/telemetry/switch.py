"""Telemetry for all of a process, on and off."""

from __future__ import annotations

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.watching import Watcher, Watchers

__all__ = ["instrument", "uninstrument"]


def instrument(*telemetry: Watcher) -> None:
    """Watch every run and every model call of this process from now on, until `uninstrument()`.

    Args:
        telemetry: `OpenTelemetry(...)`, `Prometheus(...)` or both; default: `OpenTelemetry()`. Those of a class take the place of
            an earlier one of it.

    Raises:
        ConfigurationError: something is no telemetry, or an extra is missing.

    Example:
        >>> instrument()
        >>> uninstrument()
    """
    if not telemetry:
        from oarlock.telemetry.opentelemetry import OpenTelemetry

        telemetry = (OpenTelemetry(),)
    for one in telemetry:
        if not isinstance(one, Watcher):
            given = f"the class {one.__name__}: write {one.__name__}()" if isinstance(one, type) else repr(one)
            raise ConfigurationError(f"instrument() takes OpenTelemetry(...) or Prometheus(...), not {given}.")
    kinds = tuple(type(one) for one in telemetry)
    Watchers.all = (*(one for one in Watchers.all if not isinstance(one, kinds)), *telemetry)


def uninstrument() -> None:
    """Watch nothing any more. Runs and calls that are under way are watched to their end."""
    Watchers.all = ()
