"""Checks of settings, made when an object is built: what is wrong, what was given, what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from oarlock.contract.errors import ConfigurationError

__all__ = ["LONGEST_CALL", "check_llm_settings", "flag", "positive", "seconds", "stop_words", "whole"]

LONGEST_CALL = (
    6 * 3600
)  # seconds for one call. No model takes so long, but 30,000 and more is what milliseconds look like.


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


def seconds(owner: str, name: str, value: Any) -> float:
    """Return a time limit for one call.

    Raises:
        ConfigurationError: it is not above zero, or so long that it must be meant in milliseconds.
    """
    number = positive(owner, name, value)
    if number > LONGEST_CALL:
        raise ConfigurationError(
            f"{owner}: {name} is in seconds and must be at most {LONGEST_CALL} (six hours), not {value!r}. If that was meant in "
            f"milliseconds, write {number / 1000:g}."
        )
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


def flag(owner: str, name: str, value: Any) -> bool:
    """Return `True` or `False`.

    Raises:
        ConfigurationError: it is anything else.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{owner}: {name} must be True or False, not {value!r}.")
    return value


def stop_words(owner: str, words: Any) -> list[str]:
    """Return stop words as a list.

    Raises:
        ConfigurationError: they are no text and no list of texts, or one is empty and would cut every answer to nothing.
    """
    if words is None:
        return []
    found: list[Any] = [words]
    if isinstance(words, list | tuple | set):
        found = list(words)
    if not all(isinstance(word, str) and word for word in found):
        raise ConfigurationError(f"{owner}: stop must be a text or a list of texts, none of them empty, not {words!r}.")
    return found


def check_llm_settings(owner: str, given: Mapping[str, Any]) -> None:
    """Check the arguments of `BaseLLM.__init__`, `None` standing for one that was not given.

    Raises:
        ConfigurationError: one cannot work.
    """
    model = given.get("model")
    if model is not None and not (isinstance(model, str) and model.strip()):
        raise ConfigurationError(f"{owner}: model must be the model's name, a text, not {model!r}.")
    if given.get("temperature") is not None:
        positive(owner, "temperature", given["temperature"], zero=True)
    for name in ("max_tokens", "max_threads"):
        if given.get(name) is not None:
            whole(owner, name, given[name])
