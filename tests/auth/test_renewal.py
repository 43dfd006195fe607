"""The machinery of every credential that expires: when it is renewed, by whom, and what a failure costs."""

from __future__ import annotations

import asyncio
import copy
import gc
import math
import pickle
import threading
import traceback
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from auth_helpers import REQUEST, Endpoint, authorize_by, jwt
from hypothesis import example, given
from hypothesis import strategies as st

from oarlock.auth import BearerToken, Token, TokenAuth
from oarlock.auth.renewal import Renewal
from oarlock.contract.auth import authorize
from oarlock.contract.context import scope
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError, LLMTimeoutError, ServerError
from oarlock.contract.events import SignedIn
from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.runtime.aio import AsyncRuntime
from oarlock.runtime.blocking import BlockingRuntime
from oarlock.testing import VirtualRuntime
from oarlock.testing.virtual import EPOCH


class Fetcher(TokenAuth):
    """A sign-in that counts; `make` gives the seconds that each token lasts, or raises."""

    def __init__(self, make: Callable[[int], float] = lambda number: 3600.0, takes: float = 0, **settings: Any) -> None:
        super().__init__(**settings)
        self.fetched = 0
        self.deadlines: list[float | None] = []
        self._make, self._takes = make, takes

    async def fetch(self, runtime: Any, send: Any, deadline: float | None, old: Token | None) -> Token:
        self.fetched += 1
        number = self.fetched
        self.deadlines.append(deadline)
        await runtime.sleep(self._takes)
        return Token(secret=Secret(f"t{number}"), expires_at=runtime.time() + self._make(number))


def use(runtime: VirtualRuntime, auth: TokenAuth, endpoint: Endpoint, **facts: Any) -> None:
    request = HttpRequest(method="POST", url="https://llm.invalid/v1", **facts)
    runtime.run(authorize_by(runtime, auth, endpoint, request))


# When.

CLOCK = 4 * math.ulp(EPOCH)  # seconds: to which wall times, and what is computed from them, are exact


@example(1.177655164967291, 0.0, [1.840532588190399] * 3 + [1.177655164967291, 0.0], 0)
@given(st.floats(0, 1e7), st.floats(0, 1e5), st.lists(st.floats(0, 1e6), max_size=20), st.integers(0, 1000))
def test_nobody_is_given_an_expired_token_nor_a_new_one_too_early(
    lasts: float, margin: float, waits: list[float], seed: int
) -> None:
    runtime, endpoint = VirtualRuntime(seed), Endpoint()
    auth = Fetcher(lambda number: lasts, margin=margin)
    fetched_at, count = 0.0, 0
    for wait in waits:
        use(runtime, auth, endpoint)
        if auth.fetched != count:
            assert count == 0 or runtime.now() - fetched_at >= lasts - max(min(margin, lasts / 5), 1e-3)
            fetched_at, count = runtime.now(), auth.fetched
        else:
            assert runtime.now() - fetched_at < lasts + CLOCK
        runtime.advance(wait)


def test_it_is_not_all_renewed_at_the_same_moment() -> None:
    moments = set()
    for seed in range(20):
        runtime, auth = VirtualRuntime(seed), Fetcher()
        use(runtime, auth, Endpoint())
        assert auth._renewal._held is not None
        moments.add(round(auth._renewal._held.renew_at - EPOCH, 3))
    assert len(moments) == 20
    assert all(3540 <= moment <= 3552 for moment in moments)


# By whom.


def test_a_virtual_crowd_over_many_expiries() -> None:
    runtime, endpoint, auth = VirtualRuntime(), Endpoint(), Fetcher(lambda number: 100.0, takes=1)

    async def one() -> None:
        for _ in range(20):
            await authorize_by(runtime, auth, endpoint)
            await runtime.sleep(50)

    async def whole() -> None:
        await runtime.gather(*[one] * 40)

    runtime.run(whole())
    assert auth.fetched <= 11
    assert len(endpoint.tokens) == 800


async def test_threads_and_tasks_meet_an_expired_token() -> None:
    """50 threads, 200 tasks, five expiries: one renewal for each."""

    class Slow(Fetcher):
        async def fetch(self, runtime: Any, send: Any, deadline: float | None, old: Token | None) -> Token:
            await runtime.sleep(0.02)
            return await super().fetch(runtime, send, deadline, old)

    auth, endpoint = Slow(), Endpoint()
    blocking, tasks = BlockingRuntime(), AsyncRuntime()
    for number in range(1, 6):
        threads = [
            threading.Thread(target=lambda: blocking.run(authorize_by(blocking, auth, endpoint, REQUEST)))
            for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(authorize_by(tasks, auth, endpoint) for _ in range(200)))
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert auth.fetched == number
        held = auth._renewal._held
        assert held is not None
        auth._renewal._held = type(held)(
            token=Token(secret=held.token.secret, expires_at=0.0), renew_at=0.0, since=held.since, why=held.why
        )
    assert len(endpoint.tokens) == 1250


def test_while_one_renews_the_others_go_on_with_the_old_one() -> None:
    runtime, endpoint, auth = VirtualRuntime(), Endpoint(), Fetcher(takes=5)
    use(runtime, auth, endpoint)
    runtime.advance(3590)

    async def whole() -> None:
        await runtime.gather(*[lambda: authorize_by(runtime, auth, endpoint)] * 10)

    runtime.run(whole())
    assert sorted(endpoint.tokens) == ["t1"] * 10 + ["t2"]
    assert auth.fetched == 2


# What a failure costs.


def failing(*, after: int, error: Callable[[], Exception]) -> Callable[[int], float]:
    def make(number: int) -> float:
        if number > after:
            raise error()
        return 100.0

    return make


def test_a_renewal_ahead_of_time_that_fails_disturbs_nobody() -> None:
    runtime, endpoint = VirtualRuntime(), Endpoint()
    auth = Fetcher(failing(after=1, error=lambda: ServerError("down")))
    use(runtime, auth, endpoint)
    runtime.advance(90)
    for _ in range(9):
        use(runtime, auth, endpoint)
        runtime.advance(1)
    assert endpoint.tokens == ["t1"] * 10
    runtime.advance(1)
    with pytest.raises(ServerError):
        use(runtime, auth, endpoint)


def test_it_takes_half_of_the_calls_time_at_most() -> None:
    runtime, endpoint, auth = VirtualRuntime(), Endpoint(), Fetcher()
    use(runtime, auth, endpoint, timeout=60)
    runtime.advance(3590)
    use(runtime, auth, endpoint, timeout=60)
    runtime.advance(3600)
    use(runtime, auth, endpoint, timeout=60)
    assert auth.deadlines == [60, 3590 + 30, 7190 + 60]


@pytest.mark.parametrize("error", [ServerError("down"), AuthenticationError("no"), KeyError("x"), TimeoutError("late")])
def test_a_failure_does_not_storm(error: Exception) -> None:
    """A thousand calls in a second: two tries; from then on one for each pause, 1 s to 30 s."""
    runtime, endpoint = VirtualRuntime(), Endpoint()
    auth = Fetcher(failing(after=0, error=lambda: error))
    for _ in range(1000):
        with pytest.raises(LLMError):
            use(runtime, auth, endpoint)
        runtime.advance(0.0009)
    assert auth.fetched == 2
    for _ in range(600):
        with pytest.raises(LLMError) as caught:
            use(runtime, auth, endpoint)
        runtime.advance(1)
    assert auth.fetched <= 2 + 5 + 600 / 30 + 1
    assert caught.value.__traceback__ is not None
    assert len(list(traceback.walk_tb(caught.value.__traceback__))) < 20  # it does not grow from call to call
    assert endpoint.sent == []


def test_a_pause_is_a_hint_for_whoever_retries() -> None:
    runtime, auth = VirtualRuntime(), Fetcher(failing(after=0, error=lambda: ServerError("down")))
    hints = []
    for _ in range(3):
        with pytest.raises(ServerError) as caught:
            use(runtime, auth, Endpoint())
        hints.append(caught.value.retry_after)
        runtime.advance(0.25)
    assert hints == [None, 1.0, 0.75]


def test_after_a_failure_it_heals() -> None:
    runtime, endpoint, down = VirtualRuntime(), Endpoint(), [True]

    def make(number: int) -> float:
        if down[0]:
            raise ServerError("down")
        return 100.0

    auth = Fetcher(make)
    for _ in range(5):
        with pytest.raises(ServerError):
            use(runtime, auth, endpoint)
        runtime.advance(40)
    down[0] = False
    use(runtime, auth, endpoint)
    assert endpoint.tokens == ["t6"]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (KeyError("access"), AuthenticationError, r"No token could be had: Fetcher\.fetch\(\) failed"),
        (TimeoutError("late"), LLMTimeoutError, r"Fetcher\.fetch\(\) took too long"),
        (ConnectionResetError("reset"), LLMError, "could not be reached"),
        (ConfigurationError("a setting"), ConfigurationError, "a setting"),
    ],
)
def test_what_a_sign_in_of_ones_own_raises(error: Exception, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        use(VirtualRuntime(), Fetcher(failing(after=0, error=lambda: error)), Endpoint())
    assert caught.value is error or caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("response", "renewed"),
    [
        (HttpResponse(status=401), True),
        (HttpResponse(status=403), False),
        (HttpResponse(status=403, body=b'{"error": "token_expired"}'), True),
        (HttpResponse(status=400, body=b'{"error": {"code": "invalid_token"}}'), True),
        (HttpResponse(status=400, body=b'{"__type": "com.amazon#ExpiredTokenException"}'), True),
        (HttpResponse(status=400, body=b'{"error": {"code": 5, "type": null}}'), False),
        (HttpResponse(status=400, body=b'["token_expired"]'), False),
        (HttpResponse(status=400, body=b"token_expired"), False),
        (HttpResponse(status=403, headers=Headers([("WWW-Authenticate", 'Bearer error="invalid_token"')])), True),
        (HttpResponse(status=500, body=b'{"error": "token_expired"}'), False),
    ],
)
def test_what_says_that_a_token_is_no_longer_good(response: HttpResponse, renewed: bool) -> None:
    runtime, auth = VirtualRuntime(), Fetcher()

    async def send(request: HttpRequest) -> HttpResponse:
        return response

    runtime.run(authorize(runtime, auth, REQUEST, send))
    assert auth.fetched == 1 + renewed
    runtime.run(authorize(runtime, auth, REQUEST, send))
    assert auth.fetched == 1 + renewed  # not again and again


def test_an_error_that_is_its_own_cause_ends_all_the_same() -> None:
    error = ServerError("down")
    error.__cause__ = error
    with pytest.raises(ServerError):
        use(VirtualRuntime(), Fetcher(failing(after=0, error=lambda: error)), Endpoint())


# Clocks.


@given(st.floats(-86_400, 86_400), st.floats(10, 86_400))
def test_an_issuer_whose_clock_differs(skew: float, lasts: float) -> None:
    """A fresh token is used for as long as it was made for, whatever our clock thinks of it."""
    runtime, endpoint, asked = VirtualRuntime(), Endpoint(), []

    def source() -> str:
        asked.append(runtime.now())
        issued = runtime.time() + skew
        return jwt(iat=issued, exp=issued + lasts)

    auth = BearerToken(source)
    for _ in range(3):
        use(runtime, auth, endpoint)
        runtime.advance(1)
    assert len(asked) == 1 or -lasts < skew < 0  # within its life we cannot know: it is renewed early at worst


def test_without_iat_an_expired_token_is_believed() -> None:
    runtime, endpoint, asked = VirtualRuntime(), Endpoint(), []
    auth = BearerToken(lambda: asked.append(1) or jwt(exp=EPOCH - 1))  # type: ignore[func-returns-value]
    for _ in range(3):
        use(runtime, auth, endpoint)
    assert len(asked) == 3


# Leaks.


def test_a_thousand_expiries_leak_nothing() -> None:
    runtime, endpoint, auth = VirtualRuntime(), Endpoint(), Fetcher(lambda number: 10.0)

    def expiries(count: int) -> None:
        for _ in range(count):
            use(runtime, auth, endpoint)
            runtime.advance(10)
        endpoint.sent.clear()
        runtime.slept.clear()
        gc.collect()

    expiries(100)
    gc.collect()  # once more: what the tests before left may take several rounds
    objects, threads = len(gc.get_objects()), threading.active_count()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    expiries(1000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert auth.fetched == 1100
    assert len(gc.get_objects()) - objects < 100
    assert grown < 20_000
    assert threading.active_count() <= threads


async def test_a_thousand_expiries_leave_no_task_behind() -> None:
    runtime, endpoint, auth = AsyncRuntime(), Endpoint(), Fetcher(lambda number: 0.0)
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    for _ in range(100):
        await asyncio.gather(*(authorize_by(runtime, auth, endpoint) for _ in range(10)))
    assert len(asyncio.all_tasks()) == tasks
    assert threading.active_count() == threads
    assert auth._renewal._flight._pending is None


# Who gives up.


async def test_a_cancelled_renewal_is_taken_over_and_leaves_nothing() -> None:
    started, never = asyncio.Event(), asyncio.Event()

    class Hanging(Fetcher):
        async def fetch(self, runtime: Any, send: Any, deadline: float | None, old: Token | None) -> Token:
            if not started.is_set():
                started.set()
                await never.wait()
            return await super().fetch(runtime, send, deadline, old)

    auth, endpoint, runtime = Hanging(), Endpoint(), AsyncRuntime()
    leader = asyncio.ensure_future(authorize_by(runtime, auth, endpoint))
    await started.wait()
    others = [asyncio.ensure_future(authorize_by(runtime, auth, endpoint)) for _ in range(5)]
    await asyncio.sleep(0)
    leader.cancel()
    await asyncio.gather(*others)
    assert leader.cancelled()
    assert auth.fetched == 1
    assert auth._renewal._failures == 0


# Around it.


def test_the_token_alone() -> None:
    runtime, auth, endpoint = VirtualRuntime(), Fetcher(takes=2), Endpoint()
    events: list[Any] = []
    with scope(listener=events.append):
        token = runtime.run(auth.token(runtime, endpoint, runtime.now() + 10))
    assert token.secret == Secret("t1")
    assert runtime.run(auth.token(runtime, endpoint)) is token
    assert auth.deadlines == [10]
    assert [event.why for event in events if isinstance(event, SignedIn)] == ["first use"]
    use(runtime, auth, endpoint)
    assert endpoint.tokens == ["t1"]


async def test_the_present_token_costs_no_renewal() -> None:
    renewal, runtime = Renewal("X"), VirtualRuntime()

    async def fetch(old: Token | None, deadline: float | None) -> Token:
        return Token(secret=Secret("t"), expires_at=EPOCH + 100)

    assert runtime.run(renewal.at_hand(runtime)) is None
    token = runtime.run(renewal.valid(runtime, fetch, None))
    assert runtime.run(renewal.at_hand(runtime)) is token
    runtime.advance(99)
    assert runtime.run(renewal.at_hand(runtime)) is None


def test_a_copy_shares_the_token_and_a_pickle_has_none() -> None:
    runtime, auth, endpoint = VirtualRuntime(), Fetcher(), Endpoint()
    use(runtime, auth, endpoint)
    use(runtime, copy.deepcopy(auth), endpoint)
    renewal = pickle.loads(pickle.dumps(auth._renewal))
    assert endpoint.tokens == ["t1", "t1"]
    assert renewal.token is None
    assert repr(auth) == "Fetcher()"


def test_no_secret_is_shown() -> None:
    token = Token(secret=Secret("canary"), extras={"refresh_token": Secret("canary"), "other": "canary"})
    assert "canary" not in f"{token} {token!r}"
