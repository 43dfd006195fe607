"""What reaches an endpoint in a storm, counted on the wire."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
import trustme

from oarlock import BaseLLM, ChatLLM, ConnectionFailedError, LLMError, QuotaExceededError, RateLimitError
from oarlock.policies import CircuitBreaker, Retry
from oarlock.testing import Drop, LoopbackEndpoint, Raw, Status

# The waits are no part of what is counted here, but for the hints.
AT_ONCE: dict[str, Any] = {"base_delay": 0, "throttled_base_delay": 0}


def blocking(calls: Sequence[Callable[[], Any]], at_once: int) -> list[str]:
    def outcome(call: Callable[[], Any]) -> str:
        try:
            return str(call())
        except LLMError as error:
            return type(error).__name__

    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(outcome, calls))


def storm_blocking(llms: Sequence[BaseLLM], at_once: int) -> list[str]:
    return blocking([lambda llm=llm: llm.call("Hi") for llm in llms], at_once)  # type: ignore[misc]


def storm_async(llms: Sequence[BaseLLM], at_once: int) -> list[str]:
    async def whole() -> list[str]:
        places = asyncio.Semaphore(at_once)

        async def outcome(llm: BaseLLM) -> str:
            async with places:
                try:
                    return str(await llm.acall("Hi"))
                except LLMError as error:
                    return type(error).__name__

        return await asyncio.gather(*map(outcome, llms))

    return asyncio.run(whole())


Storm = Callable[[Sequence[BaseLLM], int], list[str]]


@pytest.fixture(params=[storm_blocking, storm_async])
def storm(request: pytest.FixtureRequest) -> Storm:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("at_once", [1, 10, 100])
@pytest.mark.parametrize(("status", "most"), [(500, 135), (429, 200), (529, 135)])
def test_an_outage_is_not_multiplied(storm: Storm, status: int, most: int, at_once: int) -> None:
    with LoopbackEndpoint(Status(status)) as endpoint:
        # A name of its own: the port may be one that another test's LLM "m", not yet collected, has drawn retries for.
        llm = ChatLLM(f"m-{uuid4()}", endpoint.url, policies=[Retry(**AT_ONCE)])
        assert len(set(storm([llm] * 100, at_once))) == 1
        assert len(endpoint.requests) == most


def test_nor_by_many_llm_objects(storm: Storm) -> None:
    with LoopbackEndpoint(Drop()) as endpoint:
        llms = [ChatLLM("m", endpoint.url, policies=[Retry(**AT_ONCE)]) for _ in range(100)]
        outcomes = storm(llms, 10)
        assert outcomes == ["ConnectionFailedError"] * 100
        assert len(endpoint.requests) == 135


@pytest.mark.parametrize("at_once", [1, 10])
def test_a_breaker_ends_it_sooner(storm: Storm, at_once: int) -> None:
    """At most those under way when it opens come on top. It stays open for as long as the test may take."""
    with LoopbackEndpoint(Status(500)) as endpoint:
        llm = ChatLLM("m", endpoint.url, policies=[Retry(**AT_ONCE), CircuitBreaker(window=600, open_for=600)])
        outcomes = storm([llm] * 100, at_once)
        assert 20 <= len(endpoint.requests) < 20 + at_once
        assert set(outcomes) == {"CircuitOpenError", "ServerError"}


def test_a_breaker_cannot_call_back_what_is_under_way(storm: Storm) -> None:
    """A hundred that begin together are sent before the first has failed; only their retries are kept back."""
    with LoopbackEndpoint(Status(500)) as endpoint:
        llm = ChatLLM("m", endpoint.url, policies=[Retry(), CircuitBreaker(window=600, open_for=600)])
        storm([llm] * 100, 100)
        assert 20 <= len(endpoint.requests) <= 119


def test_calls_that_succeed_keep_the_budget_full(storm: Storm) -> None:
    """Every third request fails; every call is healed, and none finds the budget used up."""
    counted = iter(range(10_000))
    with LoopbackEndpoint(lambda request: Status(500) if next(counted) % 3 == 0 else "ok") as endpoint:
        llm = ChatLLM("m", endpoint.url, policies=[Retry(**AT_ONCE)])
        assert storm([llm] * 100, 1) == ["ok"] * 100
        assert len(endpoint.requests) == 150


def test_clients_told_to_wait_come_back_neither_early_nor_together() -> None:
    """Twenty clients at once, told 1 s: the real clock. (The spread has its own test, on the virtual one.)"""
    told: dict[str, float] = {}
    back: dict[str, float] = {}

    def answer(request: Any) -> Any:
        name, now = request.prompt, time.monotonic()
        if name not in told:
            told[name] = now
            return Status(429, headers={"Retry-After": "1"})
        back[name] = now
        return "ok"

    with LoopbackEndpoint(answer) as endpoint:
        llms = [ChatLLM("m", endpoint.url, policies=[Retry(throttled_base_delay=0)]) for _ in range(20)]
        calls = [lambda llm=llm, n=n: llm.call(f"client {n}") for n, llm in enumerate(llms)]  # type: ignore[misc]
        assert blocking(calls, 20) == ["ok"] * 20
    assert min(back[name] - told[name] for name in told) >= 1.0
    assert len({round(back[name] - told[name], 4) for name in told}) > 10


# What is never sent twice.


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 413, 422])
def test_what_cannot_heal_is_sent_once(storm: Storm, status: int) -> None:
    with LoopbackEndpoint(Status(status, headers={"Retry-After": "0"})) as endpoint:
        storm([ChatLLM("m", endpoint.url)], 1)
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_heal_is_sent_three_times(storm: Storm, status: int) -> None:
    with LoopbackEndpoint(Status(status)) as endpoint:
        storm([ChatLLM("m", endpoint.url, policies=[Retry(**AT_ONCE)])], 1)
        assert len(endpoint.requests) == 3


def test_an_exhausted_quota_is_asked_once(storm: Storm) -> None:
    quota = Status(429, body={"error": {"message": "No credit.", "type": "insufficient_quota", "code": None}})
    with LoopbackEndpoint(quota) as endpoint:
        assert storm([ChatLLM("m", endpoint.url)], 1) == [QuotaExceededError.__name__]
        assert len(endpoint.requests) == 1


def test_the_server_may_forbid_a_retry(storm: Storm) -> None:
    with LoopbackEndpoint(Status(503, headers={"X-Should-Retry": "false"})) as endpoint:
        storm([ChatLLM("m", endpoint.url)], 1)
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize("hint", ["61", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_long_hint_fails_at_once(hint: str) -> None:
    with LoopbackEndpoint(Status(429, headers={"Retry-After": hint})) as endpoint:
        with pytest.raises(RateLimitError) as caught:
            ChatLLM("m", endpoint.url).call("Hi")
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 60
        assert len(endpoint.requests) == 1


def test_milliseconds_count_before_seconds() -> None:
    replies = [Status(429, headers={"Retry-After": "3600", "Retry-After-Ms": "1"}), "ok"]
    with LoopbackEndpoint(replies) as endpoint:
        assert ChatLLM("m", endpoint.url, policies=[Retry(**AT_ONCE)]).call("Hi") == "ok"


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
def test_a_bad_certificate_is_not_tried_again(transport: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    def serve_once(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        threads.submit(serve_once, listener)
        url = f"https://localhost:{listener.getsockname()[1]}/v1"
        llm = ChatLLM("m", url, transport=transport, policies=[Retry(**AT_ONCE)])
        with pytest.raises(ConnectionFailedError, match="certificate") as caught:
            llm.call("Hi")
    assert (caught.value.retryable, caught.value.attempts) == (False, 1)


def test_a_stream_that_ends_before_its_first_piece_is_asked_for_again() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    role = b'data: {"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant"}}]}\n\n'
    with LoopbackEndpoint([Raw(cut + role), "all of it"]) as endpoint:
        stream = ChatLLM("m", endpoint.url, policies=[Retry(**AT_ONCE)]).stream("Hi")
        assert "".join(map(str, stream)) == "all of it"
        assert len(endpoint.requests) == 2
