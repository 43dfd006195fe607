"""Sign-ins with `ChatLLM` against a real server on loopback."""

from __future__ import annotations

import asyncio
import logging
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oarlock import ChatLLM
from oarlock.auth import ApiKey, BearerToken, Headers
from oarlock.contract.context import scope
from oarlock.contract.errors import AuthenticationError, LLMError
from oarlock.contract.events import Event, SignedIn
from oarlock.policies import Log, Metrics, Retry
from oarlock.testing import JwtIssuer, LoopbackEndpoint, Status, require_bearer, require_header

CANARY = "sk-canary0123456789"


def chat(endpoint: LoopbackEndpoint, auth: Any, **settings: Any) -> ChatLLM:
    return ChatLLM("m", endpoint.url, auth=auth, timeout=30, **settings)


async def ask(llm: Any, colour: str) -> str:
    if colour == "stream":
        return "".join(str(delta) for delta in llm.stream("Hi"))
    return str(llm.call("Hi") if colour == "call" else await llm.acall("Hi"))


COLOURS = pytest.mark.parametrize("colour", ["call", "acall", "stream"])


@COLOURS
@pytest.mark.parametrize(
    ("auth", "check"),
    [
        (ApiKey("k"), require_bearer("k")),
        (ApiKey("k", header="x-api-key"), require_header("x-api-key", "k")),
        (BearerToken("k"), require_bearer("k")),
        (BearerToken(lambda: ("k", 60)), require_bearer("k")),
        (Headers({"x-token": "k"}), require_header("x-token", "k")),
    ],
    ids=["key", "key-header", "token", "token-function", "headers"],
)
async def test_each_is_let_in(auth: Any, check: Any, colour: str) -> None:
    with LoopbackEndpoint("Hello.", auth=check) as endpoint:
        assert await ask(chat(endpoint, auth), colour) == "Hello."
    assert len(endpoint.requests) == 1


def test_a_key_in_the_query() -> None:
    with LoopbackEndpoint("Hello.") as endpoint:
        chat(endpoint, ApiKey("k/&=", query="api-key")).call("Hi")
    assert endpoint.requests[0].path.endswith("/chat/completions?api-key=k%2F%26%3D")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@COLOURS
async def test_a_token_that_expired_at_the_endpoint_is_renewed(colour: str) -> None:
    """The server's clock runs ahead of ours: it refuses what we take for good."""
    clock = Clock()
    issuer = JwtIssuer(secret="s", lifetime=60, clock=clock)
    asked = 0

    def source() -> tuple[str, float]:
        nonlocal asked
        asked += 1
        return issuer.issue("ada"), 3600

    with LoopbackEndpoint("Hello.", auth=issuer.check) as endpoint:
        llm = chat(endpoint, BearerToken(source))
        for _ in range(3):
            assert await ask(llm, colour) == "Hello."
        assert asked == 1
        clock.now += 61
        assert await ask(llm, colour) == "Hello."
    assert asked == 2
    assert len(endpoint.requests) == 3 + 2


@COLOURS
async def test_a_fresh_token_that_is_refused_ends_the_call(colour: str) -> None:
    asked = 0

    def source() -> str:
        nonlocal asked
        asked += 1
        return "wrong"

    with (
        LoopbackEndpoint("Hello.", auth=require_bearer("right")) as endpoint,
        pytest.raises(AuthenticationError) as caught,
    ):
        await ask(chat(endpoint, BearerToken(source)), colour)
    assert (asked, len(endpoint.requests)) == (2, 2)
    assert (caught.value.status, caught.value.attempts) == (401, 1)


@COLOURS
async def test_a_wrong_key_costs_one_request(colour: str) -> None:
    with (
        LoopbackEndpoint("Hello.", auth=require_bearer("right")) as endpoint,
        pytest.raises(AuthenticationError, match="ApiKey"),
    ):
        await ask(chat(endpoint, ApiKey("wrong")), colour)
    assert len(endpoint.requests) == 1


def test_an_expired_token_is_named_as_the_reason() -> None:
    issuer = JwtIssuer(secret="s")
    words = r"The token expired at .* UTC: give BearerToken a new one"
    with (
        LoopbackEndpoint("Hello.", auth=issuer.check) as endpoint,
        pytest.raises(AuthenticationError, match=words),
    ):
        chat(endpoint, BearerToken(issuer.issue("ada", lifetime=-60))).call("Hi")


def test_a_token_service_that_is_down_for_a_moment_is_asked_again() -> None:
    answers: list[Any] = [ConnectionResetError("reset"), "k"]

    def source() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    with LoopbackEndpoint("Hello.", auth=require_bearer("k")) as endpoint:
        llm = chat(endpoint, BearerToken(source)).with_policies(Retry(base_delay=0))
        assert llm.call("Hi") == "Hello."
    assert len(endpoint.requests) == 1


async def test_one_token_for_fifty_threads_and_two_hundred_tasks() -> None:
    issuer = JwtIssuer(secret="s", lifetime=3600)
    asked = 0

    def source() -> str:
        nonlocal asked
        asked += 1
        return issuer.issue("ada")

    events: list[Event] = []
    with LoopbackEndpoint("Hello.", auth=issuer.check) as endpoint:
        llm = chat(endpoint, BearerToken(source)).with_policies(Metrics())
        with scope(listener=events.append), ThreadPoolExecutor(50) as pool:
            threads = [pool.submit(llm.call, "Hi") for _ in range(50)]
            answers = await asyncio.gather(*(llm.acall("Hi") for _ in range(200)))
            answers += [await asyncio.wrap_future(thread) for thread in threads]
    assert answers == ["Hello."] * 250
    assert asked == 1
    assert len(endpoint.requests) == 250
    assert len([event for event in events if isinstance(event, SignedIn)]) <= 1  # threads of a pool are in no run


@COLOURS
@pytest.mark.parametrize(
    "auth",
    [
        lambda: ApiKey(CANARY),
        lambda: ApiKey(CANARY, query="key"),
        lambda: BearerToken(CANARY),
        lambda: BearerToken(lambda: CANARY),
        lambda: Headers({"x-token": CANARY}),
    ],
)
async def test_no_secret_gets_out(auth: Any, colour: str, caplog: pytest.LogCaptureFixture) -> None:
    """Errors, their chains, logs, reprs: not even where the endpoint echoes the key."""
    caplog.set_level(logging.DEBUG)
    echo = {"error": {"message": f"Incorrect API key provided: {CANARY}", "code": "invalid_api_key"}}
    texts = []
    for status in (401, 403, 429, 500):
        with LoopbackEndpoint([Status(status, body=echo)]) as endpoint:
            llm = chat(endpoint, auth()).with_policies(
                Log(content=True), Retry(2, base_delay=0, throttled_base_delay=0)
            )
            with pytest.raises(LLMError) as caught:
                await ask(llm, colour)
            texts += [repr(llm), repr(caught.value), "".join(traceback.format_exception(caught.value)), repr(vars(llm))]
    assert CANARY not in "\n".join([*texts, caplog.text])
