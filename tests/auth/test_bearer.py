"""A bearer token: when its function is asked, and what it may answer."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from auth_helpers import Endpoint, authorize_by, header, jwt, sign
from hypothesis import given
from hypothesis import strategies as st

from oarlock.auth import BearerToken
from oarlock.auth.bearer import jwt_expiry
from oarlock.contract.context import scope
from oarlock.contract.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    LLMTimeoutError,
    PermissionDeniedError,
    ServerError,
)
from oarlock.contract.events import Event, SignedIn
from oarlock.contract.secret import Secret
from oarlock.runtime import drive, drive_async
from oarlock.testing import VirtualRuntime
from oarlock.testing.virtual import EPOCH

CANARY = "sk-canary0123456789"


class Source:
    """A token function that counts how often it is asked; `make` gives the answer for each number, from 1."""

    def __init__(self, make: Callable[[int], Any] = lambda number: f"t{number}") -> None:
        self.asked = 0
        self._make = make

    def __call__(self) -> Any:
        self.asked += 1
        answer = self._make(self.asked)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def runtime() -> VirtualRuntime:
    return VirtualRuntime()


def shown(auth: BearerToken, runtime: VirtualRuntime, *statuses: int) -> list[str]:
    """Send one request; return the tokens that the endpoint was shown."""
    return sign(auth, runtime=runtime, statuses=statuses).tokens


# A fixed token.


def test_a_fixed_token() -> None:
    assert header(sign(BearerToken("t")).sent[0]) == "Bearer t"
    assert header(sign(BearerToken(Secret(" t\n"))).sent[0]) == "Bearer t"


def test_a_fixed_token_that_is_refused_is_not_sent_again(runtime: VirtualRuntime) -> None:
    assert shown(BearerToken("t"), runtime, 401) == ["t"]


def test_an_expired_fixed_token_is_sent_all_the_same(runtime: VirtualRuntime) -> None:
    """The endpoint judges it: the clocks may differ."""
    token = jwt(exp=EPOCH - 5)
    assert shown(BearerToken(token), runtime) == [token]


@pytest.mark.parametrize("token", ["", " ", None, 5, b"t", ["t"]])
def test_no_token(token: Any) -> None:
    with pytest.raises(ConfigurationError, match="BearerToken: the credential is"):
        BearerToken(token)


@pytest.mark.parametrize("margin", [-1, float("nan"), float("inf"), "60", True, None])
def test_margins(margin: Any) -> None:
    with pytest.raises(
        ConfigurationError, match="BearerToken: margin must be a finite number of seconds, zero or more"
    ):
        BearerToken("t", margin=margin)


# When the function is asked.


def test_it_is_asked_at_first_use_and_not_before(runtime: VirtualRuntime) -> None:
    source = Source()
    auth = BearerToken(source)
    assert source.asked == 0
    for _ in range(5):
        assert shown(auth, runtime) == ["t1"]
    assert source.asked == 1


def test_a_token_without_expiry_is_kept(runtime: VirtualRuntime) -> None:
    source = Source()
    auth = BearerToken(source)
    for _ in range(3):
        shown(auth, runtime)
        runtime.advance(10 * 365 * 86_400)
    assert source.asked == 1


LASTING_AN_HOUR: list[Callable[[int, float], Any]] = [
    lambda number, now: (f"t{number}", 3600),
    lambda number, now: (Secret(f"t{number}"), 3600.0),
    lambda number, now: {"access_token": f"t{number}", "expires_in": 3600, "token_type": "Bearer"},
    lambda number, now: {"access_token": f"t{number}", "expires_in": "3600"},
    lambda number, now: jwt(exp=now + 3600, number=number),
    lambda number, now: {"access_token": jwt(exp=now + 3600, number=number)},
    lambda number, now: (jwt(exp=now + 5, number=number), 3600),  # what is said beside it counts
]


@pytest.mark.parametrize("answer", LASTING_AN_HOUR)
def test_it_is_asked_again_a_minute_ahead_of_expiry(
    runtime: VirtualRuntime, answer: Callable[[int, float], Any]
) -> None:
    source = Source(lambda number: answer(number, runtime.time()))
    auth = BearerToken(source)
    first = shown(auth, runtime)
    runtime.advance(3539)
    assert shown(auth, runtime) == first
    runtime.advance(13.01)  # the minute is shortened by up to a fifth, so that a fleet does not renew at once
    assert shown(auth, runtime) != first
    assert source.asked == 2


@pytest.mark.parametrize(
    ("margin", "lasts", "kept"), [(300, 3600, 3300), (0, 3600, 3600), (60, 10, 8), (9999, 100, 80)]
)
def test_the_margin_is_at_most_a_fifth_of_its_life(
    runtime: VirtualRuntime, margin: float, lasts: float, kept: float
) -> None:
    source = Source(lambda number: (f"t{number}", lasts))
    auth = BearerToken(source, margin=margin)
    shown(auth, runtime)
    runtime.advance(kept - 0.01)
    shown(auth, runtime)
    assert source.asked == 1
    runtime.advance(0.02 + (lasts - kept) / 5)
    shown(auth, runtime)
    assert source.asked == 2


@pytest.mark.parametrize("lasts", [0, -5, float("-inf")])
def test_a_token_that_is_born_expired_is_used_once(runtime: VirtualRuntime, lasts: float) -> None:
    source = Source(lambda number: (f"t{number}", lasts))
    auth = BearerToken(source)
    assert [shown(auth, runtime) for _ in range(3)] == [["t1"], ["t2"], ["t3"]]


def test_a_401_fetches_a_new_one_once(runtime: VirtualRuntime) -> None:
    source = Source()
    auth = BearerToken(source)
    assert shown(auth, runtime, 401) == ["t1", "t2"]
    assert shown(auth, runtime) == ["t2"]
    runtime.advance(11)
    assert shown(auth, runtime, 401, 401, 401) == ["t2", "t3"]
    assert source.asked == 3


def test_an_endpoint_that_refuses_every_token_does_not_have_them_fetched_for_ever(runtime: VirtualRuntime) -> None:
    source = Source()
    auth = BearerToken(source)
    for _ in range(100):
        shown(auth, runtime, 401, 401)
        runtime.advance(0.1)
    assert source.asked <= 3


def test_a_function_that_goes_on_failing_is_left_alone_for_a_while(runtime: VirtualRuntime) -> None:
    source = Source(lambda number: ServerError("down") if number < 6 else "good")
    auth = BearerToken(source)
    for _ in range(100):
        with contextlib.suppress(ServerError):
            shown(auth, runtime)
        runtime.advance(0.1)
    assert source.asked == 5  # at 0, 0.1, 1.1, 3.1 and 7.1 s
    runtime.advance(10)
    assert shown(auth, runtime) == ["good"]


def test_a_pause_after_failures_is_told(runtime: VirtualRuntime) -> None:
    auth = BearerToken(Source(lambda number: ServerError("down") if number == 1 else RuntimeError("gone")))
    with pytest.raises(ServerError):
        shown(auth, runtime)
    with pytest.raises(AuthenticationError, match="gone"):
        shown(auth, runtime)
    with pytest.raises(AuthenticationError, match=r"tried again in 1 s") as caught:
        shown(auth, runtime)
    assert caught.value.__cause__ is None


def test_a_token_that_is_still_good_is_used_when_its_renewal_fails(runtime: VirtualRuntime) -> None:
    source = Source(lambda number: ("t1", 3600) if number == 1 else RuntimeError("gone"))
    auth = BearerToken(source)
    shown(auth, runtime)
    runtime.advance(3590)
    assert [shown(auth, runtime) for _ in range(5)] == [["t1"]] * 5
    assert source.asked == 3
    runtime.advance(10)
    with pytest.raises(AuthenticationError):
        shown(auth, runtime)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 429, 500, 503])
def test_no_other_status_does(runtime: VirtualRuntime, status: int) -> None:
    assert shown(BearerToken(Source()), runtime, status) == ["t1"]


def test_a_request_refused_with_an_old_token_takes_the_new_one_that_is_there(runtime: VirtualRuntime) -> None:
    """Two requests were under way with a token that was withdrawn: one fetch does for both."""
    source = Source()
    auth = BearerToken(source)

    async def both() -> list[str]:
        endpoint = Endpoint(lambda request: 401 if header(request) == "Bearer t1" else 200)

        async def slow(request: Any) -> Any:
            response = await endpoint(request)
            await runtime.sleep(1)
            return response

        async def job() -> None:
            await authorize_by(runtime, auth, slow)  # type: ignore[arg-type]

        await runtime.gather(job, job)
        return endpoint.tokens

    assert sorted(runtime.run(both())) == ["t1", "t1", "t2", "t2"]
    assert source.asked == 2


# The colours.


async def async_source() -> tuple[str, int]:
    return "t", 3600


class AsyncCallable:
    async def __call__(self) -> str:
        return "t"


ASYNC = [
    async_source,
    AsyncCallable(),
    functools.partial(async_source),
    lambda: async_source(),  # noqa: PLW0108  not seen to be a coroutine function
]
BLOCKING: list[Any] = [lambda: "t", Source(lambda number: "t"), functools.partial(str, "t")]


@pytest.mark.parametrize("source", [*ASYNC, *BLOCKING])
@pytest.mark.parametrize("timeout", [None, 30.0])
async def test_any_source_in_any_colour(source: Any, timeout: float | None) -> None:
    for core in (drive, drive_async):
        endpoint, auth = Endpoint(), BearerToken(source)
        request = sign(BearerToken("x")).sent[0]
        request = type(request)(method="POST", url=request.url, timeout=timeout)
        done = core(lambda runtime: authorize_by(runtime, auth, endpoint, request))  # type: ignore[operator]
        if core is drive_async:
            await done
        assert endpoint.tokens == ["t"]


# What goes wrong.


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "of the type NoneType"),
        ("", "empty"),
        (5, "of the type int"),
        ({}, "of the type NoneType"),
        ({"token": "t"}, "of the type NoneType"),
        (("t", 3600, "more"), "of the type tuple"),
        (("t", "soon"), "lifetime must be a number of seconds"),
        (("t", float("nan")), "lifetime must be a number of seconds"),
        (("t", True), "lifetime must be a number of seconds"),
        ({"access_token": "t", "expires_in": []}, "lifetime must be a number of seconds"),
        ((None, 3600), "of the type NoneType"),
        (f"{CANARY}\r\nx-evil: 1", "HTTP headers cannot carry"),
        (f"{CANARY}ü", "HTTP headers cannot carry"),
    ],
)
def test_answers_that_are_no_token(runtime: VirtualRuntime, answer: Any, words: str) -> None:
    source = Source(lambda number: answer if number == 1 else "good")
    auth = BearerToken(source)
    with pytest.raises(AuthenticationError, match=f"No token could be had: .*{words}") as caught:
        shown(auth, runtime)
    assert CANARY not in str(caught.value)
    assert not caught.value.retryable
    assert shown(auth, runtime) == ["good"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("reset"), ConnectionFailedError),
        (TimeoutError("slow"), LLMTimeoutError),
        (ServerError("down"), ServerError),
        (RuntimeError("bug"), AuthenticationError),
        (PermissionDeniedError("no"), AuthenticationError),
    ],
)
def test_a_function_that_fails(runtime: VirtualRuntime, error: Exception, kind: type[Exception]) -> None:
    """What may heal stays what it is, so that a retry helps; all else is a failed sign-in."""
    auth = BearerToken(Source(lambda number: error if number == 1 else "good"))
    with pytest.raises(kind):
        shown(auth, runtime)
    assert shown(auth, runtime) == ["good"]


def test_a_function_that_fails_after_a_401(runtime: VirtualRuntime) -> None:
    auth = BearerToken(Source(lambda number: "t1" if number == 1 else RuntimeError("gone")))
    with pytest.raises(AuthenticationError, match="No token could be had: The token function failed: gone"):
        shown(auth, runtime, 401)


def test_the_text_of_a_failure_is_scrubbed(runtime: VirtualRuntime) -> None:
    auth = BearerToken(Source(lambda number: RuntimeError(f"refused {CANARY}\x1b[31m")))
    with pytest.raises(AuthenticationError) as caught:
        shown(auth, runtime)
    assert CANARY not in str(caught.value)
    assert str(caught.value).isprintable()


# What can be seen.


def test_signing_in_is_told(runtime: VirtualRuntime) -> None:
    events: list[Event] = []
    auth = BearerToken(Source(lambda number: (f"t{number}", 3600) if number < 3 else f"t{number}"))
    with scope(listener=events.append):
        shown(auth, runtime)
        shown(auth, runtime)
        runtime.advance(3600)
        shown(auth, runtime, 401)
    assert [(event.method, event.why, event.expires_in) for event in events if isinstance(event, SignedIn)] == [
        ("BearerToken", "first use", pytest.approx(3600)),
        ("BearerToken", "expired", pytest.approx(3600)),
        ("BearerToken", "refused", None),
    ]


def test_why_a_token_may_have_been_refused(runtime: VirtualRuntime) -> None:
    old = jwt(exp=EPOCH - 60)
    when = r"2025-12-31 23:59:00 UTC"
    words = BearerToken(old).explain_refusal(EPOCH)
    assert words == f"The token expired at {when}: give BearerToken a new one, or a function that fetches one."
    auth = BearerToken(lambda: old)
    assert auth.explain_refusal(EPOCH) is None
    shown(auth, runtime, 401)
    assert auth.explain_refusal(EPOCH) == f"The token function gave a token that had expired at {when}."
    assert BearerToken(jwt(exp=EPOCH + 1)).explain_refusal(EPOCH) is None
    assert BearerToken("opaque").explain_refusal(EPOCH) is None


@pytest.mark.parametrize("exp", [0, -1, -1e300, -(2**70), 1e-9])
def test_odd_times_are_explained_too(exp: float) -> None:
    words = BearerToken(jwt(exp=exp)).explain_refusal(EPOCH)
    assert words is not None
    assert "1970-01-01" in words


def test_no_secret_shows(runtime: VirtualRuntime) -> None:
    fixed, fetched = BearerToken(CANARY), BearerToken(lambda: CANARY)
    shown(fetched, runtime)
    for auth in (fixed, fetched):
        assert CANARY not in f"{auth!r} {auth} {vars(auth)}"
    assert (repr(fixed), repr(fetched)) == ("BearerToken('…')", "BearerToken(<function>)")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(fixed)


def a_token() -> str:
    return CANARY


def test_a_pickle_leaves_the_fetched_token_behind(runtime: VirtualRuntime) -> None:
    auth = BearerToken(a_token, margin=5)
    shown(auth, runtime)
    pickled = pickle.dumps(auth)
    assert CANARY.encode() not in pickled
    assert shown(pickle.loads(pickled), runtime) == [CANARY]


def test_copies_work(runtime: VirtualRuntime) -> None:
    assert shown(copy.deepcopy(BearerToken("t")), runtime) == ["t"]
    auth = BearerToken(a_token)
    shown(auth, runtime)
    assert shown(copy.deepcopy(auth), runtime) == [CANARY]


# JSON Web Tokens.


@given(st.text() | st.from_regex(r"[\w-]{0,9}\.[\w=+/-]{0,40}\.[\w-]{0,9}", fullmatch=True))
def test_reading_a_jwt_never_fails(token: str) -> None:
    assert jwt_expiry(token) is None


anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(anything)
def test_whatever_exp_is_reading_it_never_fails(exp: Any) -> None:
    expiry = jwt_expiry(jwt(exp=exp))
    if isinstance(exp, int | float) and not isinstance(exp, bool) and abs(exp) < 1e300:
        assert expiry == exp
    assert expiry is None or abs(expiry) != float("inf")


@pytest.mark.parametrize("payload", ["[" * 100_000, "1" * 10_000, '{"exp": 1e999}', '{"exp": NaN}', "null", '"exp"'])
def test_hostile_payloads(payload: str) -> None:
    import base64

    assert jwt_expiry(f"e30.{base64.urlsafe_b64encode(payload.encode()).decode()}.c2ln") is None
