"""The meters inside Redis, with a clock that the test sets: no window over the quota, whatever is corrected when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_helpers import most_in_a_window
from redis_helpers import RedisServer, needs_redis

from oarlock.contract.secret import Secret
from oarlock.policies import redis_store
from oarlock.policies.quota import Quota
from oarlock.policies.redis_store import RedisStore, SharedPass, StoreAnswer
from oarlock.runtime import drive

pytestmark = needs_redis
PERIOD = 60_000_000  # microseconds
START = 1_800_000_000_000_000
_CLOCK = "{redis.call('GET', 'clock'):sub(1, -7), redis.call('GET', 'clock'):sub(-6)}"


class Meters:
    """A store whose clock stands still until it is moved; all times are whole microseconds."""

    def __init__(self, server: RedisServer) -> None:
        scripts = (redis_store.TAKE, redis_store.SETTLE, redis_store.HOLD)
        redis_store.TAKE, redis_store.SETTLE, redis_store.HOLD = (
            text.replace("redis.call('TIME')", _CLOCK, 1) for text in scripts
        )
        try:
            self._store = RedisStore(Secret(server.url), "test", timeout=10)
        finally:
            redis_store.TAKE, redis_store.SETTLE, redis_store.HOLD = scripts
        self.client: redis.Redis = server.client()
        self.now = START
        self.quota = Quota(requests=None, tokens=None)

    def reset(self, quota: Quota) -> None:
        self.client.flushdb()
        self.now, self.quota = START, quota

    def take(self, tokens: int = 0, *, most: float = -1.0, hold: float = 0.0) -> StoreAnswer:
        self.client.set("clock", self.now)
        return self._drive(
            lambda runtime: self._store.take(runtime, self.quota, tokens, most=most, hold=hold, deadline=None)
        )

    def take_as_soon_as_possible(self, tokens: int = 0) -> SharedPass:
        answer = self.take(tokens)
        while answer.passed is None:
            self.now += round(answer.wait * 1e6)
            answer = self.take(tokens)
        return answer.passed

    def settle(self, granted: SharedPass, used: int) -> None:
        self.client.set("clock", self.now)
        self._drive(lambda runtime: self._store.settle(runtime, self.quota, granted, used, hold=0))

    def hold(self, seconds: float) -> None:
        self.client.set("clock", self.now)
        self._drive(lambda runtime: self._store.hold(runtime, seconds))

    def _drive(self, core: Any) -> Any:
        return drive(core)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def meters(server: RedisServer) -> Meters:
    return Meters(server)


gaps = st.one_of(st.just(0), st.integers(0, 5_000_000), st.integers(0, 150_000_000))
steps = st.lists(
    st.tuples(st.sampled_from(["take", "take", "settle"]), gaps, st.integers(0, 40), st.floats(0, 1)), max_size=40
)


@settings(max_examples=80)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), steps)
def test_no_window_holds_more_than_the_quota_whatever_is_given_back(
    meters: Meters, requests: int, burst: int, tokens: int, steps: list[tuple[str, int, int, float]]
) -> None:
    meters.reset(Quota(requests=requests, tokens=tokens, given_burst=burst))
    grants: list[tuple[float, int]] = []
    open_: list[tuple[int, SharedPass]] = []
    for what, gap, number, share in steps:
        meters.now += gap
        if what == "take":
            granted = meters.take_as_soon_as_possible(min(max(1, number), tokens))
            open_.append((len(grants), granted))
            grants.append((meters.now, granted.taken))
        elif open_:
            which, granted = open_.pop(number % len(open_))
            used = round(granted.taken * share)
            meters.settle(granted, used)
            grants[which] = (grants[which][0], used)
    assert most_in_a_window(grants, PERIOD) <= tokens
    assert most_in_a_window([(when, 1) for when, _ in grants], PERIOD) <= requests


@settings(max_examples=40)
@given(st.integers(1, 60), st.lists(st.tuples(gaps, st.integers(1, 40), st.integers(1, 200)), min_size=1, max_size=25))
def test_what_is_used_beyond_the_estimate_is_taken_off_what_follows(
    meters: Meters, tokens: int, calls: list[tuple[int, int, int]]
) -> None:
    meters.reset(Quota(requests=None, tokens=tokens))
    grants: list[tuple[float, int]] = []
    excesses = []
    for gap, weight, used in calls:
        meters.now += gap
        granted = meters.take_as_soon_as_possible(min(weight, tokens))
        meters.settle(granted, used)
        grants.append((meters.now, used))
        excesses.append(max(0, used - granted.taken))
    assert most_in_a_window(grants, PERIOD) <= tokens + max(excesses)


def test_a_burst_passes_at_once_and_the_rest_evenly(meters: Meters) -> None:
    meters.reset(Quota(requests=60, tokens=None, given_burst=11))
    when = []
    for _ in range(14):
        meters.take_as_soon_as_possible()
        when.append((meters.now - START) / 1e6)
    assert when == pytest.approx([0] * 11 + [1.21, 2.42, 3.63], abs=0.001)  # a minute and half a second, in 50


def test_a_pause_gives_the_burst_back_and_no_more(meters: Meters) -> None:
    meters.reset(Quota(requests=60, tokens=None, given_burst=11))
    for _ in range(20):
        meters.take_as_soon_as_possible()
    meters.now += 3_600_000_000
    assert [meters.take().passed is not None for _ in range(12)] == [True] * 11 + [False]


def test_an_unused_reservation_is_given_back_whole(meters: Meters) -> None:
    meters.reset(Quota(requests=None, tokens=100))
    granted = meters.take(25).passed
    assert granted is not None
    assert meters.take(1).passed is None
    meters.settle(granted, 10)
    meters.now += 10  # what is rounded up
    assert meters.take(15).passed is not None
    assert meters.take(1).passed is None


def test_what_has_drained_meanwhile_is_not_given_back(meters: Meters) -> None:
    meters.reset(Quota(requests=None, tokens=100))
    granted = meters.take_as_soon_as_possible(25)
    meters.now += 100_000_000
    meters.take_as_soon_as_possible(25)
    meters.settle(granted, 0)
    assert meters.take(1).passed is None


def test_nothing_is_given_back_after_redis_forgot(meters: Meters) -> None:
    meters.reset(Quota(requests=None, tokens=100))
    first, second = meters.take(12).passed, meters.take(12).passed
    assert first is not None
    assert second is not None
    meters.settle(first, 0)
    granted = meters.take(12).passed
    assert granted is not None
    meters.client.delete("oarlock:limit:test")
    meters.take_as_soon_as_possible(25)
    meters.settle(granted, 0)
    assert meters.take(1).passed is None


def test_what_was_used_counts_even_after_redis_forgot(meters: Meters) -> None:
    meters.reset(Quota(requests=None, tokens=100))
    granted = meters.take(20).passed
    assert granted is not None
    meters.client.delete("oarlock:limit:test")
    meters.settle(granted, 25)
    assert meters.take(1).passed is None


def test_a_refused_request_takes_nothing(meters: Meters) -> None:
    meters.reset(Quota(requests=60, tokens=100, given_burst=1))
    assert meters.take(25).passed is not None
    before = meters.client.hgetall("oarlock:limit:test")
    for _ in range(5):
        answer = meters.take(25)
        assert answer.passed is None
        assert answer.wait == max(answer.requests, answer.tokens)
    assert meters.client.hgetall("oarlock:limit:test") == before


def test_a_hold_is_the_longest_that_was_told(meters: Meters) -> None:
    meters.reset(Quota(requests=600, tokens=None))
    meters.hold(20)
    meters.hold(3)
    answer = meters.take(hold=5)
    assert (answer.passed, answer.wait, answer.held) == (None, 20, 20)
    meters.now += 20_000_000
    assert meters.take().passed is not None


def test_a_hold_reaches_redis_with_any_question(meters: Meters) -> None:
    meters.reset(Quota(requests=600, tokens=None))
    assert meters.take(hold=7).wait == 7
    assert meters.take(most=100).wait == 7


def test_those_who_wait_get_turns_one_after_the_other(meters: Meters) -> None:
    meters.reset(Quota(requests=60, tokens=None, given_burst=1))
    each = meters.take(most=100).wait or meters.take().wait
    assert [meters.take(most=100).wait / each for _ in range(4)] == pytest.approx([1, 2, 3, 4], rel=1e-3)
    assert meters.take(most=-1).wait == pytest.approx(each)  # who has a turn asks only when it would pass


def test_a_turn_that_is_too_late_is_not_given(meters: Meters) -> None:
    meters.reset(Quota(requests=60, tokens=None, given_burst=1))
    meters.take()
    assert meters.take(most=100).wait == pytest.approx(1.0083, abs=0.001)
    for _ in range(3):
        assert meters.take(most=1.5).wait == pytest.approx(2.0166, abs=0.001)


def test_turns_are_apart_by_what_the_scarce_meter_needs(meters: Meters) -> None:
    meters.reset(Quota(requests=60, tokens=100_000, given_burst=1))
    meters.take(100)
    first, second = meters.take(20_000, most=100).wait, meters.take(20_000, most=100).wait
    assert second - first == pytest.approx(1.0083, abs=0.001)  # the requests are scarce


def test_keys_expire_by_themselves(meters: Meters) -> None:
    meters.reset(Quota(requests=60, tokens=None, given_burst=1))
    meters.take()
    left = meters.client.pttl("oarlock:limit:test")
    assert 60_500 < left <= 60_500 + 1_010
    meters.hold(1000)
    assert meters.client.pttl("oarlock:limit:test") > 1_000_000


def test_a_clock_that_is_set_back_keeps_nobody_waiting_longer(meters: Meters) -> None:
    meters.reset(Quota(requests=60, tokens=100, given_burst=1))
    meters.take(25)
    meters.hold(5)
    before = meters.take(25)
    meters.now -= 3_600_000_000
    for _ in range(2):
        assert meters.take(25) == before
    meters.now += round(before.wait * 1e6)
    assert meters.take(25).passed is not None


def test_state_is_one_small_hash(meters: Meters) -> None:
    meters.reset(Quota(requests=6000, tokens=1_000_000))
    for _ in range(200):
        meters.settle(meters.take_as_soon_as_possible(1000), 900)
    assert set(meters.client.keys("*")) == {b"clock", b"oarlock:limit:test"}
    names = {b"requests", b"tokens", b"hold", b"turn", b"seen", b"spared"}
    assert set(meters.client.hgetall("oarlock:limit:test")) == names


def test_times_stay_whole_microseconds(meters: Meters) -> None:
    meters.reset(Quota(requests=7919, tokens=999_983))
    for _ in range(20):
        meters.now += 333_333
        meters.settle(meters.take_as_soon_as_possible(12_345), 6_789)
    assert all(value.isdigit() for value in meters.client.hgetall("oarlock:limit:test").values())
