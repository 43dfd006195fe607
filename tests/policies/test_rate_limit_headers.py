"""What endpoints say about their limits in headers, and that it reaches the rate limit."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oarlock.contract.errors import RateLimitError, ServerError
from oarlock.contract.http import Headers
from oarlock.contract.reply import EndpointLimit, Reply
from oarlock.llms.chat import ChatLLM
from oarlock.policies import RateLimit
from oarlock.policies.rate_limit_headers import limits_seen, with_hint, with_limits
from oarlock.testing import LoopbackEndpoint, Raw, Status, VirtualRuntime

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def one(**headers: str) -> EndpointLimit:
    (seen,) = limits_seen(Headers({name.replace("_", "-"): value for name, value in headers.items()}), NOW)
    return seen


def test_openai() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert limits_seen(Headers(headers), NOW) == (
        EndpointLimit(unit="requests", limit=60, remaining=59, resets_in=1),
        EndpointLimit(unit="tokens", limit=150_000, remaining=149_984, resets_in=360),
    )


def test_anthropic() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:30Z",
        "anthropic-ratelimit-input-tokens-remaining": "1000",
        "anthropic-ratelimit-input-tokens-reset": "2027-01-15T07:00:00Z",
    }
    assert limits_seen(Headers(headers), NOW) == (
        EndpointLimit(unit="requests", limit=50, remaining=0, resets_in=30),
        EndpointLimit(unit="input_tokens", remaining=1000, resets_in=0),
    )


def test_the_drafts() -> None:
    assert one(ratelimit='"default";r=0;t=30') == EndpointLimit(unit="any", remaining=0, resets_in=30)
    assert one(ratelimit_policy='"default";q=100;w=30') == EndpointLimit(unit="requests", limit=200)
    two = limits_seen(Headers({"RateLimit": '"burst";r=0; t=2, "day";r=5;t=900'}), NOW)
    assert [(seen.remaining, seen.resets_in) for seen in two] == [(0, 2), (5, 900)]
    assert one(ratelimit_limit="10", ratelimit_remaining="0", ratelimit_reset="7") == EndpointLimit(
        unit="any", remaining=0, resets_in=7
    )


@pytest.mark.parametrize(
    "policy", ['"day";q=1000;w=86400', '"x";q=5;w=60;qu="content-bytes"', '"x";q=0;w=60', '"x";w=60', '"x"']
)
def test_policies_that_say_nothing_of_a_minute(policy: str) -> None:
    assert limits_seen(Headers({"RateLimit-Policy": policy}), NOW) == ()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[
            ("1s", 1),
            ("6m0s", 360),
            ("120ms", 0.12),
            ("1h2m3.5s", 3723.5),
            ("2d", 172_800),
            ("5us", 5e-6),
            ("5µs", 5e-6),
        ],
        *[("7ns", 7e-9), ("12", 12), ("0.5", 0.5), (" 3 ", 3), (str(NOW + 9), 9), (f"{(NOW + 9) * 1000:.0f}", 9)],
        *[("1000000000", 0), ("2027-01-15T08:00:05Z", 5), ("2027-01-15T09:00:05+01:00", 5), ("2027-01-15T08:00:05", 5)],
    ],
)
def test_times(text: str, seconds: float) -> None:
    seen = one(x_ratelimit_remaining="0", x_ratelimit_reset=text)
    assert seen.resets_in == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "1s-",
        "1x",
        "s",
        "nan",
        "inf",
        "1e5",
        "1_000",
        "soon",
        "1s 2",
        "²s",
        "9999-99-99T00:00:00Z",
        "1s" * 101,
    ],
)
def test_times_that_are_none(text: str) -> None:
    assert one(x_ratelimit_remaining="0", x_ratelimit_reset=text).resets_in is None


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e5", "0x1", "1_0", "٣", "9" * 400, "unlimited"])
def test_counts_that_are_none(text: str) -> None:
    assert limits_seen(Headers({"x-ratelimit-limit-requests": text, "x-ratelimit-remaining-requests": text}), NOW) == ()


def test_other_headers_say_nothing() -> None:
    assert limits_seen(Headers({"content-type": "application/json", "x-limit": "5"}), NOW) == ()


NAMES = [
    *[f"x-ratelimit-{what}{unit}" for what in ("limit", "remaining", "reset") for unit in ("", "-requests", "-tokens")],
    *[
        f"anthropic-ratelimit-{unit}-{what}"
        for what in ("limit", "remaining", "reset")
        for unit in ("requests", "tokens")
    ],
    *["ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
]
VALUES = st.one_of(
    st.text(max_size=120),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(lambda date: date.isoformat()),
    st.from_regex(r"[\d.]{0,9}[smhd][\d.]{0,9}(ms|us|s|m)?", fullmatch=True),
    st.from_regex(r'"\w*"(;[rtqw]=[\d.\-e"]{0,6}){0,4}(, ?"x";r=\d)?', fullmatch=True),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8), st.floats(0, 1e11))
@example({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "0001-01-01T00:00:00+23:59"}, 0.0)
@example({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9999-12-31T23:59:59-23:59"}, 0.0)
def test_whatever_comes_is_no_number_below_zero(headers: dict[str, str], wall_time: float) -> None:
    for seen in limits_seen(Headers(headers), wall_time):
        for number in (seen.limit, seen.remaining, seen.resets_in):
            assert number is None or (number >= 0 and math.isfinite(number))


# From the headers to the reply, the error and the limit.


def test_a_reply_without_such_headers_stays_what_it_is() -> None:
    reply = Reply(text="ok")
    assert with_limits(reply, Headers({"date": "today"}), NOW) is reply


def test_the_age_of_the_headers_counts() -> None:
    headers = Headers({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "10s"})
    dated = Headers({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW + 10)})
    assert with_limits(Reply(), headers, NOW).limits[0].resets_in == 10
    assert with_limits(Reply(), headers, NOW, age=4).limits[0].resets_in == 6
    assert with_limits(Reply(), dated, NOW, age=4).limits[0].resets_in == 10
    assert with_limits(Reply(), headers, NOW, age=40).limits[0].resets_in == 0
    assert with_limits(Reply(), Headers({"ratelimit-remaining": "1"}), NOW, age=4).limits[0].resets_in is None


def test_a_429_without_a_hint_takes_it_from_the_limit_that_is_spent() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "3s",
        "x-ratelimit-remaining-tokens": "5",
        "x-ratelimit-reset-tokens": "50s",
    }
    assert with_hint(RateLimitError("x", status=429), Headers(headers), NOW).retry_after == 3
    assert with_hint(RateLimitError("x", status=429, retry_after=1), Headers(headers), NOW).retry_after == 1
    assert with_hint(RateLimitError("x", status=429), Headers({}), NOW).retry_after is None
    assert with_hint(ServerError("x", status=500), Headers(headers), NOW).retry_after is None


def answering(**headers: str) -> Raw:
    body = json.dumps({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = [
        "HTTP/1.1 200 OK",
        "content-type: application/json",
        "connection: close",
        f"content-length: {len(body)}",
        *lines,
    ]
    return Raw("\r\n".join([*head, "", body]).encode())


@pytest.mark.parametrize("streaming", [False, True])
def test_chat_llm_heeds_what_comes_with_an_answer(runtime: VirtualRuntime, streaming: bool) -> None:
    spent = answering(x_ratelimit_remaining_tokens="0", x_ratelimit_reset_tokens="8s")
    with LoopbackEndpoint([spent, answering()]) as endpoint, runtime:
        llm = ChatLLM("m", endpoint.url, policies=[RateLimit(600)])
        for _ in range(2):
            assert ("".join(map(str, llm.stream("Hi"))) if streaming else llm.call("Hi")) == "ok"
    assert runtime.now() == pytest.approx(8)


async def test_chat_llm_heeds_what_comes_with_a_429() -> None:
    refusal: Any = Status(429, headers={"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"})
    with LoopbackEndpoint([refusal]) as endpoint:
        llm = ChatLLM("m", endpoint.url, policies=[RateLimit(600)])
        with pytest.raises(RateLimitError) as caught:
            await llm.acall("Hi")
        assert caught.value.retry_after == 90
        with pytest.raises(RateLimitError, match="asked not to be called"):
            await llm.acall("Hi")
        assert len(endpoint.requests) == 1
