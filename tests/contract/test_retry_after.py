"""How long a server asks to wait."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.http import Headers
from oarlock.contract.retry_after import retry_after

NOW = dt.datetime(2026, 11, 1, 12, 0, 0, tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "2.5"}, 2.5),
        ({"Retry-After": " 2 "}, 2.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5),
        ({"Retry-After-Ms": "soon", "Retry-After": "9"}, 9.0),
        ({"Retry-After-Ms": "-1", "Retry-After": "9"}, 9.0),
        ({"Retry-After": ".5"}, 0.5),
        ({"Retry-After": "5."}, 5.0),
        ({"Retry-After": "1e1"}, None),
        ({"Retry-After": "1_0"}, None),
        ({"Retry-After": "+5"}, None),
        ({"Retry-After": "\u0665"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After-Ms": "1e1", "Retry-After": "9"}, 9.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Sun, 01 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sun, 01 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"Retry-After": "Sun, 01 Nov 2026 13:00:30 +0100"}, 30.0),
        ({"Retry-After": "Sunday, 01-Nov-26 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sun, 01 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"Retry-After": "Sun, 99 Nov 2026 11:00:00 GMT"}, None),
        ({"Retry-After": "Sun, 01 Nov 99999999 11:00:00 GMT"}, None),
    ],
)
def test_table(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(Headers(headers), NOW) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,9} \d\d:\d\d:\d\d ([-+]\d{4}|\w{0,5})"), st.text())
def test_garbage_never_raises_and_never_goes_back_in_time(hint: str, milliseconds: str) -> None:
    for headers in ({"retry-after": hint}, {"retry-after": hint, "retry-after-ms": milliseconds}):
        seconds = retry_after(headers, NOW)
        assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(0, 10**6))
def test_dates_and_seconds_agree(seconds: int) -> None:
    date = format_datetime(dt.datetime.fromtimestamp(NOW + seconds, dt.UTC), usegmt=True)
    assert retry_after({"retry-after": date}, NOW) == retry_after({"retry-after": str(seconds)}, NOW) == seconds
