"""The meter of a quota that may pass at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oarlock.policies import RateLimit
from oarlock.policies.sliding_window import SlidingWindow
from oarlock.testing import ScriptedLLM, VirtualRuntime

PERIOD = 60.0


@given(quota=st.integers(1, 6), gaps=st.lists(st.floats(0, 40), max_size=40))
def test_no_window_holds_more_and_nobody_waits_without_need(quota: int, gaps: list[float]) -> None:
    meter, now, starts = SlidingWindow(quota=quota, period=PERIOD), 0.0, list[float]()
    for gap in gaps:
        now += gap
        start = max(now, meter.earliest(1))
        assert start == now or start - starts[-quota] < PERIOD + 1e-6
        meter.take(start, 1)
        starts.append(start)
        now = start
    for begin in starts:
        assert sum(begin <= start < begin + PERIOD for start in starts) <= quota


@given(quota=st.integers(1, 5), passed=st.integers(0, 5), ahead=st.integers(1, 15))
def test_what_a_place_in_line_is_told_is_never_too_late(quota: int, passed: int, ahead: int) -> None:
    meter = SlidingWindow(quota=quota, period=PERIOD)
    for number in range(min(passed, quota)):
        meter.take(float(number), 1)
    now, told = 10.0, meter.earliest(ahead)
    for _ in range(ahead):
        now = max(now, meter.earliest(1))
        meter.take(now, 1)
    assert told <= now + 1e-6


def test_another_quota_counts_what_has_passed() -> None:
    meter = SlidingWindow(quota=3, period=PERIOD)
    for start in (0.0, 10.0, 20.0):
        meter.take(start, 1)
    assert meter.level(30.0) == 1
    meter.retune(30.0, quota=2, burst=2, period=PERIOD)
    assert round(meter.earliest(1)) == 70
    meter.retune(30.0, quota=4, burst=4, period=PERIOD)
    assert meter.earliest(2) < 30
    assert meter.level(75.0) == 0.25
    meter.fill(75.0)
    assert round(meter.earliest(1)) == 135


def test_a_burst_as_large_as_the_limit_passes_at_once_each_minute() -> None:
    with VirtualRuntime() as runtime:
        llm = ScriptedLLM([str(number) for number in range(10)]).with_policies(
            RateLimit(requests_per_minute=4, burst=4)
        )
        times = []
        for _ in range(10):
            llm.call("Hi")
            times.append(round(runtime.now()))
    assert times == [0] * 4 + [60] * 4 + [120] * 2
