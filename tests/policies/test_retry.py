"""The retry loop: how often, on what, and what the error says in the end."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import requests
from policy_helpers import Watch

from oarlock.contract import errors
from oarlock.contract.context import current_call
from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    CallFailedError,
    CircuitOpenError,
    ConfigurationError,
    ConnectionFailedError,
    LLMError,
    LLMTimeoutError,
    RateLimitError,
    ServerError,
)
from oarlock.contract.events import Waited, Waiting
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Delta, Reply
from oarlock.contract.request import Request
from oarlock.policies import Deadline, Metrics, RateLimit, Retry
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

DOWN = ServerError("down", status=503)

HEALS = {"RateLimitError", "LLMTimeoutError", "ConnectionFailedError", "ServerError", "TruncatedStream"}
CLASSES = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, LLMError)]


def test_a_failure_that_heals_is_not_seen(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([DOWN, DOWN, "ok"])
    with runtime:
        assert llm.with_policies(Retry()).call("Hi") == "ok"
    assert len(llm.requests) == len(runtime.slept) + 1 == 3


@pytest.mark.parametrize("attempts", [1, 2, 7])
def test_it_is_sent_as_often_as_it_says(runtime: VirtualRuntime, attempts: int) -> None:
    llm = ScriptedLLM([lambda request: DOWN] * 20)
    with runtime, pytest.raises(ServerError) as caught:
        llm.with_policies(Retry(attempts)).call("Hi")
    assert [request.attempt for request in llm.requests] == list(range(1, attempts + 1))
    assert caught.value.attempts == attempts
    assert caught.value.elapsed == pytest.approx(sum(runtime.slept)) == runtime.now()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.__name__))
def test_only_what_may_heal_is_tried_again(runtime: VirtualRuntime, kind: type[LLMError]) -> None:
    llm = ScriptedLLM([kind("no"), "ok"])
    policed = llm.with_policies(Retry())
    with runtime:
        if kind.__name__ in HEALS:
            assert policed.call("Hi") == "ok"
        else:
            with pytest.raises(kind) as caught:
                policed.call("Hi")
            sent = 0 if kind is CircuitOpenError else 1
            assert (len(llm.requests), caught.value.attempts, runtime.slept) == (1, sent, [])


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.__name__))
@pytest.mark.parametrize("retryable", [True, False])
def test_an_errors_own_word_counts_more_than_its_class(
    runtime: VirtualRuntime, kind: type[LLMError], retryable: bool
) -> None:
    llm = ScriptedLLM([kind("no", retryable=retryable), "ok"])
    with runtime:
        if retryable:
            assert llm.with_policies(Retry()).call("Hi") == "ok"
        else:
            with pytest.raises(kind):
                llm.with_policies(Retry()).call("Hi")


STATUSES = {400: 1, 401: 1, 403: 1, 404: 1, 407: 1, 408: 3, 409: 3, 413: 1, 422: 1, 429: 3, 500: 3, 501: 1, 502: 3}


class StatusError(Exception):
    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


@pytest.mark.parametrize(("status", "sent"), [*STATUSES.items(), (503, 3), (504, 3), (529, 3)])
def test_statuses(runtime: VirtualRuntime, status: int, sent: int) -> None:
    llm = ScriptedLLM([lambda request: StatusError(status)] * 3)
    with runtime, pytest.raises(LLMError) as caught:
        llm.with_policies(Retry()).call("Hi")
    assert len(llm.requests) == caught.value.attempts == sent
    assert caught.value.status == status


# Foreign errors of a user's own call().


def of_requests(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} Error", response=response)


def of_httpx(status: int) -> Exception:
    asked = httpx.Request("POST", "http://llm.invalid")
    return httpx.HTTPStatusError(f"{status}", request=asked, response=httpx.Response(status, request=asked))


FOREIGN = [
    (requests.ConnectionError("refused"), ConnectionFailedError, 3),
    (requests.Timeout("slow"), LLMTimeoutError, 3),
    (of_requests(503), ServerError, 3),
    (of_requests(429), RateLimitError, 3),
    (of_requests(401), AuthenticationError, 1),
    (httpx.ConnectError("refused"), ConnectionFailedError, 3),
    (httpx.ReadTimeout("slow"), LLMTimeoutError, 3),
    (of_httpx(500), ServerError, 3),
    (of_httpx(400), BadRequestError, 1),
    (TimeoutError("slow"), LLMTimeoutError, 3),
    (ConnectionResetError("reset"), ConnectionFailedError, 3),
    (ValueError("Authentication failed - check your token"), AuthenticationError, 1),
    (RuntimeError("whatever"), CallFailedError, 1),
    (KeyError("choices"), CallFailedError, 1),
]


@pytest.mark.parametrize(("error", "kind", "sent"), FOREIGN, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_foreign_errors_of_a_users_own_call(
    runtime: VirtualRuntime, error: Exception, kind: type[LLMError], sent: int, colour: str
) -> None:
    calls = 0

    class Mine(BaseLLM):
        def call(self, messages: Any) -> str:
            nonlocal calls
            calls += 1
            raise error

    llm = Mine().with_policies(Retry())
    with runtime, pytest.raises(kind) as caught:
        llm.call("Hi") if colour == "call" else await llm.acall("Hi")
    assert calls == caught.value.attempts == sent
    assert caught.value.__cause__ is error


async def test_an_async_call_of_a_user_is_retried_on_the_loop() -> None:
    answers = iter([ConnectionResetError("reset"), "ok"])

    class Mine(BaseLLM):
        async def acall(self, messages: Any) -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    assert await Mine().with_policies(Retry(base_delay=0)).acall("Hi") == "ok"


def test_blocking() -> None:
    assert ScriptedLLM([DOWN, "ok"]).with_policies(Retry(base_delay=0)).call("Hi") == "ok"


# One call, one key.


def test_all_attempts_carry_one_idempotency_key(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([DOWN, DOWN, "ok", "ok"])
    policed = llm.with_policies(Retry())
    with runtime:
        policed.call("Hi")
        policed.call("Hi")
    keys = [request.idempotency_key for request in llm.requests]
    assert keys[0] is not None
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_users_own_call_sees_key_and_attempt(runtime: VirtualRuntime) -> None:
    seen = []

    class Mine(BaseLLM):
        def call(self, messages: Any) -> str:
            seen.append((current_call().idempotency_key, current_call().attempt))
            if len(seen) < 3:
                raise ConnectionResetError
            return "ok"

    with runtime:
        Mine().with_policies(Retry()).call("Hi")
    assert len({key for key, _ in seen}) == 1
    assert None not in seen[0]
    assert [attempt for _, attempt in seen] == [1, 2, 3]


def test_a_key_that_is_there_already_is_kept(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["ok"])
    with runtime:
        llm.with_policies(Retry()).complete(
            Request(messages=[{"role": "user", "content": "Hi"}], idempotency_key="mine")
        )
    assert llm.requests[0].idempotency_key == "mine"


# What others see of it.


def test_waits_are_told_with_their_error(runtime: VirtualRuntime, watch: Watch) -> None:
    llm = ScriptedLLM([DOWN, RateLimitError("busy"), "ok"]).with_policies(watch, Retry())
    with runtime:
        llm.call("Hi")
    assert [(wait.cause, type(wait.error), wait.attempt) for wait in watch.waits] == [
        ("retry", ServerError, 1),
        ("retry", RateLimitError, 2),
    ]
    assert [wait.seconds for wait in watch.waits] == runtime.slept


def test_the_last_failure_is_no_wait(runtime: VirtualRuntime, watch: Watch) -> None:
    llm = ScriptedLLM([DOWN]).with_policies(watch, Retry(1))
    with runtime, pytest.raises(ServerError):
        llm.call("Hi")
    assert watch.waits == []


def test_each_attempt_takes_a_place_in_the_rate_limit(runtime: VirtualRuntime, watch: Watch) -> None:
    llm = ScriptedLLM([DOWN, DOWN, "ok"]).with_policies(watch, Retry(), RateLimit(1), Metrics())
    with runtime:
        llm.call("Hi")
    assert runtime.now() == pytest.approx(120)
    assert [wait.cause for wait in watch.waits] == ["retry", "rate_limit"] * 2
    assert llm.get_metrics()["waits"] == {"retry": 2, "rate_limit": 2}


# Streams.


def test_a_stream_is_tried_again_before_its_first_piece(runtime: VirtualRuntime) -> None:
    with runtime:
        stream = ScriptedLLM([DOWN, "a b"]).with_policies(Retry()).stream("Hi")
        assert [str(delta) for delta in stream] == ["a ", "b"]


def test_a_stream_is_not_tried_again_after_its_first_piece(runtime: VirtualRuntime) -> None:
    attempts = 0

    class Cut(BaseLLM):
        async def _respond(self, runtime: Runtime, request: Request) -> Reply:
            nonlocal attempts
            attempts += 1
            assert request.deltas is not None
            await request.deltas.put(Delta("a "))
            raise ConnectionFailedError("cut")

    with runtime:
        stream = Cut().with_policies(Retry()).stream("Hi")
        assert str(next(stream)) == "a "
        with pytest.raises(ConnectionFailedError) as caught:
            next(stream)
    assert attempts == caught.value.attempts == 1


# retry_on.


def test_retry_on_decides(runtime: VirtualRuntime) -> None:
    asked: list[LLMError] = []

    def only_odd(error: LLMError) -> bool:
        asked.append(error)
        return error.code == "odd"

    llm = ScriptedLLM([BadRequestError("x", code="odd"), ServerError("x", code="even"), "ok"])
    with runtime, pytest.raises(ServerError) as caught:
        llm.with_policies(Retry(retry_on=only_odd)).call("Hi")
    assert [error.code for error in asked] == ["odd", "even"]
    assert caught.value.attempts == 2


@pytest.mark.parametrize("wait", [0, 0.0, 7, 7.5, 100])
def test_retry_on_may_answer_with_seconds(runtime: VirtualRuntime, wait: float) -> None:
    llm = ScriptedLLM([RateLimitError("x", retry_after=50), "ok"])
    with runtime:
        llm.with_policies(Retry(retry_on=lambda error: wait)).call("Hi")
    assert runtime.slept == [wait]


@pytest.mark.parametrize("answer", [-1, float("nan"), float("inf"), "soon", None])
def test_retry_on_must_answer_with_sense(runtime: VirtualRuntime, answer: Any) -> None:
    with runtime, pytest.raises(ConfigurationError, match=r"retry_on .* must be a finite number, zero or more"):
        ScriptedLLM([DOWN, "ok"]).with_policies(Retry(retry_on=lambda error: answer)).call("Hi")


def test_retry_on_is_not_asked_where_there_is_no_choice(runtime: VirtualRuntime) -> None:
    def never(error: LLMError) -> bool:
        raise AssertionError("was asked")

    with runtime, pytest.raises(ServerError):
        ScriptedLLM([DOWN]).with_policies(Retry(1, retry_on=never)).call("Hi")


# Leaving.


async def test_cancelling_ends_the_wait() -> None:
    llm = ScriptedLLM([DOWN, "ok"])
    waiting = asyncio.Event()

    def outer(handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            return await handler(runtime, request.replace(observers=(lambda event: waiting.set(),)))

        return handle

    task = asyncio.ensure_future(llm.with_policies(outer, Retry(retry_on=lambda error: 3600)).acall("Hi"))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(llm.requests) == 1


def test_an_interrupt_is_not_retried(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([KeyboardInterrupt(), "ok"])
    with runtime, pytest.raises(KeyboardInterrupt):
        llm.with_policies(Retry()).call("Hi")
    assert llm.remaining == 1


def test_the_error_keeps_its_cause_and_no_other_context(runtime: VirtualRuntime) -> None:
    llm = FunctionLLM(lambda messages: (_ for _ in ()).throw(ConnectionResetError("reset")))
    with runtime, pytest.raises(ConnectionFailedError) as caught:
        llm.with_policies(Retry()).call("Hi")
    assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_jobs_side_by_side_do_not_share_a_loop(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([DOWN] * 10 + ["ok"] * 10).with_policies(Retry(), Deadline(60))

    async def whole() -> list[str]:
        async def job() -> str:
            return str(await llm.acall("Hi"))

        return await runtime.gather(*[job] * 10)

    assert runtime.run(whole()) == ["ok"] * 10


def test_a_wait_is_told_at_its_beginning_and_at_its_end(watch: Watch, runtime: VirtualRuntime) -> None:
    with runtime:
        ScriptedLLM([DOWN, "ok"]).with_policies(watch, Retry()).call("Hi")
    waiting, waited = watch.events
    assert isinstance(waiting, Waiting)
    assert isinstance(waited, Waited)
    assert waiting.seconds == waited.seconds == runtime.now()
