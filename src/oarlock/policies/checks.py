"""Checks of settings, made when a policy is built."""

from __future__ import annotations

import math
from typing import Any

from oarlock.contract.errors import ConfigurationError


def positive(owner: str, name: str, value: Any, *, zero: bool = False) -> float:
    """Return a finite number above zero (or zero, if that is allowed).

    Raises:
        ConfigurationError: it is anything else.
    """
    number = _finite(value)
    if number is None or number < 0 or (number == 0 and not zero):
        allowed = "zero or more" if zero else "above zero"
        raise ConfigurationError(f"{owner}: {name} must be a finite number, {allowed}, not {value!r}.")
    return number


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond all floats
        return None


def whole(owner: str, name: str, value: Any, *, least: int = 1) -> int:
    """Return a whole number of at least `least`.

    Raises:
        ConfigurationError: it is anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{owner}: {name} must be a whole number of at least {least}, not {value!r}.")
    return value
