"""The meter: no window holds more than the quota, whatever comes when, and however estimates are corrected."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from policy_helpers import most_in_a_window

from oarlock.policies.gcra import Gcra

PERIOD = 60.0


@st.composite
def quotas(draw: st.DrawFn, most: int = 60) -> tuple[int, int]:
    quota = draw(st.integers(1, most))
    return quota, draw(st.integers(1, quota))


gaps = st.one_of(st.just(0.0), st.floats(0, 5), st.floats(0, 150))


@settings(max_examples=300)
@given(quotas(), st.floats(0, 1e8), st.lists(st.tuples(gaps, st.integers(1, 60)), max_size=80))
def test_no_window_holds_more_than_the_quota(
    limits: tuple[int, int], now: float, arrivals: list[tuple[float, int]]
) -> None:
    quota, burst = limits
    meter = Gcra(quota=quota, burst=burst, period=PERIOD)
    grants = []
    for gap, weight in arrivals:
        units = min(weight, quota)
        now = max(now + gap, meter.earliest(units))
        meter.take(now, units)
        grants.append((now, units))
    assert most_in_a_window(grants) <= quota


@given(quotas(1000), st.integers(1, 3000))
def test_a_steady_stream_passes_at_nearly_the_quota(limits: tuple[int, int], count: int) -> None:
    quota, burst = limits
    meter = Gcra(quota=quota, burst=burst, period=PERIOD)
    now = 0.0
    for _ in range(count):
        now = max(now, meter.earliest(1))
        meter.take(now, 1)
    assert now <= max(0, count - burst) * PERIOD / (quota - burst + 1) * (1 + 1e-6)


Step = tuple[str, float, int, float]  # what to do, after how long, with what weight or which open ticket, used share

steps = st.lists(
    st.tuples(st.sampled_from(["take", "take", "settle"]), gaps, st.integers(0, 40), st.floats(0, 1)), max_size=100
)


def run(meter: Gcra, quota: int, steps: list[Step], share: float) -> list[tuple[float, int]]:
    """Take and settle; return the grants with what was used in the end, or taken where nothing was settled."""
    now, grants, tickets, open_ = 1000.0, [], [], []
    for what, gap, number, used in steps:
        now += gap
        if what == "take":
            weight = min(max(1, number), quota)
            now = max(now, meter.earliest(weight))
            tickets.append(meter.take(now, weight))
            open_.append(len(grants))
            grants.append((now, weight))
        elif open_:
            which = open_.pop(number % len(open_))
            when, taken = grants[which]
            real = round(taken * used * share)
            meter.settle(tickets[which], taken, real)
            grants[which] = (when, real)
    return grants


@settings(max_examples=500)
@example((4, 2), [("take", 0.0, 2, 0.0), ("take", 40.0, 2, 0.0), ("settle", 0.0, 0, 0.0), ("take", 0.0, 2, 0.0)])
@given(quotas(), steps)
def test_what_is_given_back_never_lets_more_pass_than_the_quota(limits: tuple[int, int], steps: list[Step]) -> None:
    quota, burst = limits
    grants = run(Gcra(quota=quota, burst=burst, period=PERIOD), quota, steps, share=1.0)
    assert most_in_a_window(grants) <= quota


@settings(max_examples=300)
@given(quotas(), st.lists(st.tuples(gaps, st.integers(1, 40), st.integers(1, 200)), min_size=1, max_size=60))
def test_what_is_used_beyond_the_estimate_is_taken_off_what_follows(
    limits: tuple[int, int], calls: list[tuple[float, int, int]]
) -> None:
    """Settled at once, only the newest call's excess is unknown: windows hold at most the quota and one such excess."""
    quota, burst = limits
    meter = Gcra(quota=quota, burst=burst, period=PERIOD)
    now, grants, excesses = 0.0, [], []
    for gap, weight, used in calls:
        taken = min(weight, quota)
        now = max(now + gap, meter.earliest(taken))
        meter.settle(meter.take(now, taken), taken, used)
        grants.append((now, used))
        excesses.append(max(0, used - taken))
    assert most_in_a_window(grants) <= quota + max(excesses)


def test_the_latest_gives_back_all_that_it_did_not_use() -> None:
    meter = Gcra(quota=100, burst=100, period=PERIOD)
    ticket = meter.take(0.0, 100)
    meter.settle(ticket, 100, 10)
    assert meter.earliest(90) <= 0.0 < meter.earliest(91)


def test_earlier_ones_give_back_what_the_meter_still_held() -> None:
    meter = Gcra(quota=100, burst=50, period=PERIOD)
    first = meter.take(0.0, 20)
    meter.take(0.0, 20)
    meter.settle(first, 20, 5)
    assert meter.earliest(25) <= 0.0 < meter.earliest(27)


def test_what_has_drained_away_before_a_later_call_is_not_given_back() -> None:
    meter = Gcra(quota=100, burst=50, period=PERIOD)
    first = meter.take(0.0, 50)
    meter.take(1000.0, 50)
    meter.settle(first, 50, 0)
    assert meter.earliest(1) > 1000.0


def test_what_the_meter_held_is_given_back_once_not_to_each() -> None:
    meter = Gcra(quota=109, burst=50, period=60.0)  # one unit a second
    earlier = [meter.take(0.0, 10) for _ in range(3)]
    meter.take(20.0, 10)  # the meter held 10 then
    for ticket in earlier:
        meter.settle(ticket, 10, 0)
    assert meter.earliest(38) <= 20.0 < meter.earliest(41)


@pytest.mark.parametrize(
    ("quota", "burst", "start", "count"),
    [
        (1_000_000, 1, 1e7, 1_000_001),
        (60_000, 60, 1e8 + 1 / 3, 130_000),
        (600, 30, 1e7, 50_000),
        (1, 1, 1e8 + 1 / 3, 10_000),
    ],
)
def test_rounding_never_adds_up(quota: int, burst: int, start: float, count: int) -> None:
    """Reservations at the earliest possible times, with the clock at months or years of uptime."""
    meter = Gcra(quota=quota, burst=burst, period=PERIOD)
    now, times = start, []
    for _ in range(count):
        now = max(now, meter.earliest(1))
        meter.take(now, 1)
        times.append(now)
    assert all(later - earlier >= PERIOD for earlier, later in zip(times, times[quota:], strict=False))


SHARES = {  # how a limit's burst follows from it: a share of it, or what the user gave
    "twentieth": lambda quota, given: max(1, quota // 20),
    "quarter": lambda quota, given: max(1, quota // 4),
    "given": min,
}


@pytest.mark.parametrize("share", SHARES)
@settings(max_examples=300)
@given(quotas(), st.lists(st.tuples(gaps, st.integers(1, 40), st.integers(1, 60)), max_size=60))
def test_slower_times_in_between_never_let_more_pass_than_the_quota(
    share: str, limits: tuple[int, int], calls: list[tuple[float, int, int]]
) -> None:
    quota, given_burst = limits
    burst = SHARES[share]
    meter = Gcra(quota=quota, burst=burst(quota, given_burst), period=PERIOD)
    now, grants = 1000.0, []
    for gap, weight, lowered in calls:
        now += gap
        lower = min(lowered, quota)
        meter.retune(now, quota=lower, burst=burst(lower, given_burst), period=PERIOD)
        units = min(weight, lower)
        now = max(now, meter.earliest(units))
        meter.take(now, units)
        grants.append((now, units))
    assert most_in_a_window(grants) <= quota


def test_a_lower_limit_keeps_what_is_in_the_meter() -> None:
    meter = Gcra(quota=100, burst=50, period=PERIOD)
    meter.take(0.0, 50)
    meter.retune(0.0, quota=10, burst=5, period=PERIOD)
    assert meter.earliest(1) == pytest.approx(46 * 10)  # 46 of the 50 must drain, one in ten seconds


def test_a_higher_limit_drains_the_rest_faster() -> None:
    meter = Gcra(quota=10, burst=5, period=PERIOD)
    meter.take(0.0, 5)
    meter.retune(25.0, quota=109, burst=50, period=PERIOD)
    assert meter.earliest(50) == pytest.approx(25.0 + 2.5)


def test_an_idle_meter_stays_idle_when_it_is_retuned() -> None:
    meter = Gcra(quota=100, burst=10, period=PERIOD)
    meter.retune(5.0, quota=50, burst=5, period=PERIOD)
    assert meter.earliest(40) <= 5.0
    meter.take(5.0, 1)
    meter.retune(1000.0, quota=100, burst=10, period=PERIOD)
    assert meter.earliest(10) <= 1000.0


def test_a_filled_meter_stands_as_after_a_burst() -> None:
    meter = Gcra(quota=109, burst=50, period=PERIOD)
    meter.fill(10.0)
    assert meter.earliest(1) == pytest.approx(11.0)
    meter.settle(meter.take(11.0, 1), 1, 0)
    assert meter.earliest(1) == pytest.approx(11.0)
