"""Settings that cannot work are refused when they are given, in words that say what is allowed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from oarlock.contract.errors import ConfigurationError
from oarlock.policies import Concurrency, Deadline, Log, RateLimit, Retry

NAN, INF = float("nan"), float("inf")
NO_NUMBERS: list[Any] = [NAN, INF, -INF, True, False, "5", "x", [], {}, 1j, 10**400]
NEGATIVE: list[Any] = [-1, -0.001, -(10**400)]

Make = Callable[[Any], object]

ABOVE_ZERO: dict[tuple[str, str], Make] = {("Deadline", "seconds"): Deadline}
ZERO_OR_MORE: dict[tuple[str, str], Make] = {
    ("Retry", "base_delay"): lambda it: Retry(base_delay=it),
    ("Retry", "max_delay"): lambda it: Retry(max_delay=it),
    ("Retry", "throttled_base_delay"): lambda it: Retry(throttled_base_delay=it),
    ("Retry", "throttled_max_delay"): lambda it: Retry(throttled_max_delay=it),
    ("Retry", "max_retry_after"): lambda it: Retry(max_retry_after=it),
    ("RateLimit", "max_wait"): lambda it: RateLimit(60, max_wait=it),
    ("Concurrency", "max_wait"): lambda it: Concurrency(5, max_wait=it),
}
WHOLE: dict[tuple[str, str], Make] = {
    ("Retry", "attempts"): Retry,
    ("RateLimit", "requests_per_minute"): RateLimit,
    ("RateLimit", "tokens_per_minute"): lambda it: RateLimit(tokens_per_minute=it),
    ("RateLimit", "burst"): lambda it: RateLimit(60, burst=it),
    ("Concurrency", "limit"): Concurrency,
}


def cases(settings: dict[tuple[str, str], Make], values: list[Any]) -> list[Any]:
    pairs = itertools.product(settings.items(), values)
    return [pytest.param(*key, make, value, id=f"{'-'.join(key)}-{value!r:.9}") for (key, make), value in pairs]


@pytest.mark.parametrize(("owner", "name", "make", "value"), cases(ABOVE_ZERO, [*NO_NUMBERS, *NEGATIVE, 0, 0.0, None]))
def test_numbers_above_zero(owner: str, name: str, make: Make, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(value)
    assert str(caught.value) == f"{owner}: {name} must be a finite number, above zero, not {value!r}."


@pytest.mark.parametrize(("owner", "name", "make", "value"), cases(ZERO_OR_MORE, [*NO_NUMBERS, *NEGATIVE]))
def test_numbers_of_zero_or_more(owner: str, name: str, make: Make, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(value)
    assert str(caught.value) == f"{owner}: {name} must be a finite number, zero or more, not {value!r}."


@pytest.mark.parametrize(
    ("owner", "name", "make", "value"), cases(WHOLE, [*NO_NUMBERS[:-1], -1, 0, 0.0, 1.0, 1.5, -(10**400)])
)
def test_whole_numbers(owner: str, name: str, make: Make, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(value)
    assert str(caught.value) == f"{owner}: {name} must be a whole number of at least 1, not {value!r}."


@pytest.mark.parametrize(
    "fine",
    [
        lambda: Deadline(1),
        lambda: Deadline(0.001),
        lambda: Deadline(6 * 3600),
        lambda: Concurrency(1, max_wait=0),
        lambda: Retry(1, base_delay=0, max_delay=0, throttled_base_delay=0, throttled_max_delay=0, max_retry_after=0),
        lambda: RateLimit(1, 1, burst=1, max_wait=0),
        lambda: RateLimit(60, burst=60),
        lambda: RateLimit(tokens_per_minute=1),
        lambda: Log(content=True),
    ],
)
def test_the_edges_of_what_is_allowed(fine: Callable[[], object]) -> None:
    fine()


def test_a_limit_must_limit_something() -> None:
    with pytest.raises(ConfigurationError, match="give requests_per_minute, tokens_per_minute, or both"):
        RateLimit()


def test_a_burst_must_fit_into_its_limit() -> None:
    with pytest.raises(ConfigurationError, match=r"burst must not be above requests_per_minute \(60\), and is 61"):
        RateLimit(60, burst=61)


def test_a_burst_needs_a_limit_on_requests() -> None:
    with pytest.raises(ConfigurationError, match=r"burst \(5\) needs requests_per_minute"):
        RateLimit(tokens_per_minute=100, burst=5)


@pytest.mark.parametrize("value", [5, "x", True, NAN, []])
def test_retry_on(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="Retry: retry_on must be a function of an error, not"):
        Retry(retry_on=value)


@pytest.mark.parametrize("value", ["yes", 1, 0, -1, NAN, INF, None, "logger"])
def test_log(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="Log: content must be True or False, not"):
        Log(content=value)
    if value is not None:
        with pytest.raises(ConfigurationError, match=r"Log: logger must be a logging\.Logger, not"):
            Log(logger=value)


def test_it_is_a_value_error_too() -> None:
    with pytest.raises(ValueError):
        Retry(0)


def test_reprs_show_the_settings() -> None:
    assert repr(Retry(5, max_delay=30)) == "Retry(attempts=5)"
    assert repr(RateLimit(60, 9)) == "RateLimit(requests_per_minute=60, tokens_per_minute=9)"
