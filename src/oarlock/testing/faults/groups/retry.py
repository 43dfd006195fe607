"""Faults that heal, and hints that help or mislead: when a good client tries again, and when it must not."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

from oarlock.testing.faults import answers
from oarlock.testing.faults.catalog import fault as _fault
from oarlock.testing.faults.connection import Connection

fault = partial(_fault, group="retry")

THROTTLED = "RateLimitError"
BROKEN = "ServerError"


def _once(connection: Connection, *, status: int = 503, **hints: str) -> None:
    """Fail the first time, with these hints, and answer from then on."""
    if connection.turn:
        connection.answer()
        return
    headers = [(name.replace("_", "-"), value) for name, value in hints.items()]
    connection.answer(answers.error("Not now."), status=status, headers=headers)


@fault("Answers 503 once, then well.", requests=2)
def fail_once(connection: Connection) -> None:
    _once(connection)


@fault("Answers 503, then 500, then well.", requests=3)
def fail_twice(connection: Connection) -> None:
    if connection.turn < 2:
        connection.answer(answers.error("Not yet."), status=(503, 500)[connection.turn])
    else:
        connection.answer()


@fault("Answers 409 once, then well.", requests=2)
def conflict_once(connection: Connection) -> None:
    _once(connection, status=409)


@fault("Answers 429 once, then well.", requests=2)
def throttle_once(connection: Connection) -> None:
    _once(connection, status=429)


@fault("Resets the connection once, then answers.", requests=2)
def reset_then_answer(connection: Connection) -> None:
    if connection.turn:
        connection.answer()
    else:
        connection.reset()


@fault("Cuts the body once, then answers.", requests=2)
def cut_then_answer(connection: Connection) -> None:
    if connection.turn:
        connection.answer()
    else:
        connection.head(headers=[("Content-Type", "application/json"), ("Content-Length", "1000")])
        connection.send(b'{"choices"')


@fault("Says nothing to the first request, then answers.", requests=2)
def hang_then_answer(connection: Connection) -> None:
    if connection.turn:
        connection.answer()
    else:
        connection.hang()


@fault("Sends the first body byte by byte for ever, then answers.", requests=2)
def drip_then_answer(connection: Connection) -> None:
    if connection.turn:
        connection.answer()
    else:
        connection.begin()
        connection.repeat(b"1\r\n \r\n", pause=0.05)


@fault("Answers 401 once, as to an expired token, then well: for sign-ins that can renew theirs.", requests=2)
def unauthorized_once(connection: Connection) -> None:
    _once(connection, status=401, www_authenticate='Bearer error="invalid_token"')


@fault("Asks to wait a second (`Retry-After: 1`), then answers.", requests=2, takes=1.5)
def retry_after_seconds(connection: Connection) -> None:
    _once(connection, status=429, retry_after="1")


@fault("Asks to wait 100 ms (`retry-after-ms`), then answers.", requests=2)
def retry_after_ms(connection: Connection) -> None:
    _once(connection, status=429, retry_after_ms="100", retry_after="30")


@fault("Asks to wait until a date two seconds from now, then answers.", requests=2, takes=3.0)
def retry_after_date(connection: Connection) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    _once(connection, retry_after=date)


_ODD_HINTS = {
    "retry_after_zero": ("of no time at all", "0"),
    "retry_after_negative": ("of a negative time", "-5"),
    "retry_after_garbage": ("that is garbage", "in a while"),
    "retry_after_nan": ("that is not a number", "nan"),
    "retry_after_infinite": ("that is infinite", "inf"),
    "retry_after_past": ("of a date long ago", "Wed, 21 Oct 2015 07:28:00 GMT"),
    "retry_after_bad_date": ("of a date that does not exist", "Wed, 99 Foo 2026 77:99:99 GMT"),
}


def _hints(hint: str) -> Callable[[Connection], None]:
    return lambda connection: _once(connection, retry_after=hint)


for _name, (_words, _hint) in _ODD_HINTS.items():
    fault(f"Gives a hint to wait {_words}, once, then answers.", name=_name, requests=2)(_hints(_hint))


@fault("Asks to wait an hour.", expect=THROTTLED, requests=1)
def retry_after_huge(connection: Connection) -> None:
    connection.answer(answers.error("Come back later."), status=429, headers=[("Retry-After", "3600")])


@fault("Asks to wait for a number of seconds with 300 digits.", expect=BROKEN, requests=1)
def retry_after_digits(connection: Connection) -> None:
    connection.answer(answers.error("Come back later."), status=503, headers=[("Retry-After", "9" * 300)])


@fault("Asks to wait 30 s, longer than the deadline.", expect=BROKEN, requests=1)
def retry_after_past_deadline(connection: Connection) -> None:
    connection.answer(answers.error("Come back later."), status=503, headers=[("Retry-After", "30")])


@fault("Answers 429: the account has nothing left.", expect="QuotaExceededError", requests=1)
def quota_exhausted(connection: Connection) -> None:
    said = "You exceeded your current quota, please check your plan and billing details."
    connection.answer(answers.error(said, code="insufficient_quota", kind="insufficient_quota"), status=429)


@fault(
    "Answers 429: the account has nothing left, said in the error's type alone.",
    expect="QuotaExceededError",
    requests=1,
)
def quota_exhausted_by_type(connection: Connection) -> None:
    said = "You exceeded your current quota, please check your plan and billing details."
    connection.answer(answers.error(said, kind="insufficient_quota"), status=429)


@fault("Answers 500 with `x-should-retry: false`.", expect=BROKEN, requests=1)
def should_retry_false(connection: Connection) -> None:
    connection.answer(answers.error("Do not try again."), status=500, headers=[("x-should-retry", "false")])


@fault("Answers 429 with `x-should-retry: False`, in capitals.", expect=THROTTLED, requests=1)
def should_retry_false_in_capitals(connection: Connection) -> None:
    connection.answer(answers.error("Do not try again."), status=429, headers=[("X-Should-Retry", "False")])


@fault("Answers 429 with limits in its headers that are garbage.", expect=THROTTLED)
def limit_headers_garbage(connection: Connection) -> None:
    fields = (
        "limit-requests",
        "remaining-requests",
        "reset-requests",
        "limit-tokens",
        "remaining-tokens",
        "reset-tokens",
    )
    values = ("-1", "many", "soon", "1e999", "", "-6m0s")
    headers = [(f"x-ratelimit-{name}", value) for name, value in zip(fields, values, strict=True)]
    connection.answer(answers.error("Slow down."), status=429, headers=headers)


@fault("Answers well, with limits in its headers that are garbage.")
def limit_headers_garbage_in_answer(connection: Connection) -> None:
    connection.answer(headers=[("x-ratelimit-remaining-requests", "NaN"), ("x-ratelimit-reset-requests", "never")])
