"""What endpoints say about their limits in the headers of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from oarlock.contract.errors import LLMError, RateLimitError
from oarlock.contract.reply import EndpointLimit, Reply, reply_with

__all__ = ["limits_seen", "with_hint", "with_limits"]

# The forms in use, with the part that is "limit", "remaining" or "reset" left open: OpenAI's, which most gateways copy,
# Anthropic's, and those of the IETF's drafts up to 07 and of what came before them.
_FORMS = (
    ("requests", "x-ratelimit-{}-requests"),
    ("tokens", "x-ratelimit-{}-tokens"),
    ("requests", "anthropic-ratelimit-requests-{}"),
    ("tokens", "anthropic-ratelimit-tokens-{}"),
    ("input_tokens", "anthropic-ratelimit-input-tokens-{}"),
    ("output_tokens", "anthropic-ratelimit-output-tokens-{}"),
    ("any", "ratelimit-{}"),
    ("any", "x-ratelimit-{}"),
)
_LONGEST = 200  # characters of a value that is worth reading
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_DURATION = re.compile(rf"(?:({_NUMBER.pattern})(ms|us|µs|ns|d|h|m|s))", re.ASCII)  # as Go writes them: "6m0s"
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PARAMETER = re.compile(r';\s*([a-z]+)\s*=\s*("[^"]*"|[^;,\s]*)')
_FIRST_EPOCH = 1e9  # seconds; a greater number is a date, not a time to wait
_FIRST_EPOCH_MS = 1e11


def limits_seen(headers: Mapping[str, str], wall_time: float) -> tuple[EndpointLimit, ...]:
    """Return what the headers say, one item for each limit. What makes no sense is left out.

    Args:
        headers: of an answer, names in lower case.
        wall_time: seconds since the epoch, for those who say when and not how long.

    Example:
        >>> headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}
        >>> (seen,) = limits_seen({**headers, "x-ratelimit-reset-requests": "1m2.5s"}, wall_time=0)
        >>> seen.unit, seen.limit, seen.remaining, seen.resets_in
        ('requests', 60.0, 0.0, 62.5)
    """
    if "ratelimit" not in " ".join(headers):  # most answers: one look will do
        return ()
    found = ((name, headers[name]) for name in headers if "ratelimit" in name)
    said = {name: value for name, value in found if len(value) <= _LONGEST}
    seen = [*_in_fields(said, wall_time), *_in_drafts(said)]
    return tuple(one for one in seen if one.limit or one.remaining is not None)


def with_limits(reply: Reply, headers: Mapping[str, str], wall_time: float, *, age: float = 0.0) -> Reply:
    """Return a reply with what its headers say about limits; they came `age` seconds ago."""
    limits = limits_seen(headers, wall_time - age)
    if not limits:
        return reply
    if age:
        limits = tuple(replace(one, resets_in=one.resets_in and max(0.0, one.resets_in - age)) for one in limits)
    return reply_with(reply, limits=limits)


def with_hint(error: LLMError, headers: Mapping[str, str], wall_time: float) -> LLMError:
    """Return a 429's error; where it has no hint how long to wait, the headers that say when a limit resets give it."""
    if isinstance(error, RateLimitError) and error.retry_after is None:
        spent = [one.resets_in for one in limits_seen(headers, wall_time) if one.remaining == 0]
        error.retry_after = max((seconds for seconds in spent if seconds), default=None)
    return error


def _in_fields(said: Mapping[str, str], wall_time: float) -> Iterator[EndpointLimit]:
    for unit, form in _FORMS:
        limit, remaining = _number(said.get(form.format("limit"))), _number(said.get(form.format("remaining")))
        if limit is None and remaining is None:
            continue
        yield EndpointLimit(
            unit=unit,
            limit=None if unit == "any" else limit,  # over nobody knows what time
            remaining=remaining,
            resets_in=_seconds(said.get(form.format("reset")), wall_time),
        )


def _in_drafts(said: Mapping[str, str]) -> Iterator[EndpointLimit]:
    """Read `RateLimit: "name";r=0;t=30` and `RateLimit-Policy: "name";q=100;w=60` (draft 08 and later)."""
    for item in said.get("ratelimit", "").split(","):
        facts = dict(_PARAMETER.findall(item))
        yield EndpointLimit(unit="any", remaining=_number(facts.get("r")), resets_in=_number(facts.get("t")))
    for item in said.get("ratelimit-policy", "").split(","):
        facts = dict(_PARAMETER.findall(item))
        quota, window = _number(facts.get("q")), _number(facts.get("w"))
        if facts.get("qu", '"requests"') == '"requests"' and quota and window and window <= 60:
            yield EndpointLimit(unit="requests", limit=quota * 60 / window)  # of an hour's quota a minute may use all


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and _NUMBER.fullmatch(text.strip()) else None


def _seconds(text: str | None, wall_time: float) -> float | None:
    """Return how long it is until then, for a number, a duration or a date."""
    text = (text or "").strip()
    number = _number(text)
    if number is not None:
        if number >= _FIRST_EPOCH:
            number = max(0.0, number / (1000 if number >= _FIRST_EPOCH_MS else 1) - wall_time)
        return number
    parts = _DURATION.findall(text)
    if parts and "".join(map("".join, parts)) == text:
        return sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    try:
        date = datetime.fromisoformat(text)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - wall_time)
    except (ValueError, OverflowError):
        return None
