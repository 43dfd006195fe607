"""One token for many: however threads and tasks meet, it is fetched once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from auth_helpers import REQUEST, Endpoint, authorize_by, header

from oarlock.auth import BearerToken
from oarlock.contract.errors import AuthenticationError, LLMError, LLMTimeoutError, ServerError
from oarlock.contract.http import HttpRequest
from oarlock.runtime import Promise
from oarlock.runtime.aio import AsyncRuntime
from oarlock.runtime.blocking import BlockingRuntime
from oarlock.testing import VirtualRuntime

T = TypeVar("T")
LONG = 30.0  # seconds: how long a test waits for something that is sure to come


class Arrivals:
    """Counts those who have begun to wait for somebody else's fetch."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)

    def __call__(self) -> None:
        self._arrived.release()

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self._arrived.acquire(timeout=LONG)


class CountingBlocking(BlockingRuntime):
    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__()
        self._arrivals = arrivals

    async def wait(self, promise: Promise[T], deadline: float | None = None) -> T:
        self._arrivals()
        return await super().wait(promise, deadline)


class CountingAsync(AsyncRuntime):
    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    async def wait(self, promise: Promise[T], deadline: float | None = None) -> T:
        self._arrivals()
        return await super().wait(promise, deadline)


class Gate:
    """A token function that gives its first answer only once so many others wait for it."""

    def __init__(self, arrivals: Arrivals, others: int, answer: Callable[[int], Any] = lambda number: f"t{number}"):
        self.asked = 0
        self._arrivals, self._others, self._answer = arrivals, others, answer
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        with self._lock:
            self.asked += 1
            number = self.asked
        if number == 1:
            self._arrivals.wait_for(self._others)
        answer = self._answer(number)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Crowd:
    """Threads and tasks that all send one request through the same sign-in."""

    def __init__(self, arrivals: Arrivals, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._blocking, self._async = CountingBlocking(arrivals), CountingAsync(arrivals)

    def blocking(self, auth: BearerToken, request: HttpRequest = REQUEST) -> None:
        self._blocking.run(authorize_by(self._blocking, auth, self.endpoint, request))

    async def run(self, auth: BearerToken, *, threads: int, tasks: int) -> list[BaseException | None]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max(1, threads)) as pool:
            jobs: list[Any] = [loop.run_in_executor(pool, self.blocking, auth) for _ in range(threads)]
            jobs += [authorize_by(self._async, auth, self.endpoint) for _ in range(tasks)]
            return await asyncio.gather(*jobs, return_exceptions=True)


@pytest.fixture
def arrivals() -> Arrivals:
    return Arrivals()


CROWDS = [(50, 0), (0, 200), (50, 200), (1, 1)]


@pytest.mark.parametrize(("threads", "tasks"), CROWDS)
async def test_first_use_is_one_fetch(arrivals: Arrivals, threads: int, tasks: int) -> None:
    source = Gate(arrivals, threads + tasks - 1)
    crowd = Crowd(arrivals, Endpoint())
    assert await crowd.run(BearerToken(source), threads=threads, tasks=tasks) == [None] * (threads + tasks)
    assert source.asked == 1
    assert crowd.endpoint.tokens == ["t1"] * (threads + tasks)


@pytest.mark.parametrize(("threads", "tasks"), CROWDS)
async def test_an_async_source_is_asked_once_too(arrivals: Arrivals, threads: int, tasks: int) -> None:
    gate = Gate(arrivals, threads + tasks - 1)

    async def source() -> Any:
        return await asyncio.to_thread(gate)

    crowd = Crowd(arrivals, Endpoint())
    assert await crowd.run(BearerToken(source), threads=threads, tasks=tasks) == [None] * (threads + tasks)
    assert gate.asked == 1


@pytest.mark.parametrize(("threads", "tasks"), CROWDS)
async def test_a_401_for_all_is_one_fetch(arrivals: Arrivals, threads: int, tasks: int) -> None:
    """Each is refused, each may come before or after the one fetch: nobody fetches again."""
    source = Gate(arrivals, 0)
    auth = BearerToken(source)
    crowd = Crowd(arrivals, Endpoint(lambda request: 401 if header(request) == "Bearer t1" else 200))
    crowd.blocking(auth, REQUEST)
    source.asked = 1  # t1 was withdrawn after all of them had it
    auth._renewal._held = None
    source._answer = lambda number: "t1" if number == 2 else "t2"
    assert await crowd.run(auth, threads=threads, tasks=tasks) == [None] * (threads + tasks)
    assert source.asked == 3


@pytest.mark.parametrize(("threads", "tasks"), CROWDS)
async def test_a_failure_reaches_all_who_wait_and_the_next_call_tries_again(
    arrivals: Arrivals, threads: int, tasks: int
) -> None:
    source = Gate(arrivals, threads + tasks - 1, lambda number: RuntimeError("gone") if number == 1 else "good")
    auth = BearerToken(source)
    crowd = Crowd(arrivals, Endpoint())
    errors = await crowd.run(auth, threads=threads, tasks=tasks)
    assert {type(error) for error in errors} == {AuthenticationError}
    assert {str(error) for error in errors} == {"No token could be had: The token function failed: gone (RuntimeError)"}
    assert len({id(error) for error in errors}) == len(errors)  # each notes its own attempts
    assert source.asked == 1
    assert crowd.endpoint.sent == []
    crowd.blocking(auth)
    assert crowd.endpoint.tokens == ["good"]


async def test_facts_of_a_failure_reach_all(arrivals: Arrivals) -> None:
    error = ServerError("down", status=503, retry_after=2, request_id="r1")
    source = Gate(arrivals, 9, lambda number: error)
    errors = await Crowd(arrivals, Endpoint()).run(BearerToken(source), threads=5, tasks=5)
    for one in errors:
        assert isinstance(one, LLMError)
        assert (type(one), one.status, one.retry_after, one.request_id) == (ServerError, 503, 2, "r1")
        assert one.retryable


# Who was fetching is gone.


async def test_a_cancelled_task_is_taken_over_by_one_of_those_who_wait(arrivals: Arrivals) -> None:
    started, asked = asyncio.Event(), 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            started.set()
            await asyncio.Event().wait()
        return f"t{asked}"

    auth, endpoint, runtime = BearerToken(source), Endpoint(), CountingAsync(arrivals)
    leader = asyncio.ensure_future(authorize_by(runtime, auth, endpoint))
    await started.wait()
    others = [asyncio.ensure_future(authorize_by(runtime, auth, endpoint)) for _ in range(20)]
    await asyncio.to_thread(arrivals.wait_for, 20)
    leader.cancel()
    await asyncio.gather(*others)
    assert leader.cancelled()
    assert asked == 2
    assert endpoint.tokens == ["t2"] * 20


def test_an_interrupted_thread_is_taken_over(arrivals: Arrivals) -> None:
    source = Gate(arrivals, 9, lambda number: KeyboardInterrupt() if number == 1 else f"t{number}")
    auth, crowd = BearerToken(source), Crowd(arrivals, Endpoint())
    with ThreadPoolExecutor(10) as pool:
        jobs: list[Future[None]] = [pool.submit(crowd.blocking, auth) for _ in range(10)]
        outcomes = [job.exception(LONG) for job in jobs]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["KeyboardInterrupt", *["NoneType"] * 9]
    assert crowd.endpoint.tokens == ["t2"] * 9
    assert source.asked == 2


async def test_a_cancelled_waiter_leaves_the_others_alone(arrivals: Arrivals) -> None:
    release = asyncio.Event()
    asked = 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        await release.wait()
        return "t"

    auth, endpoint, runtime = BearerToken(source), Endpoint(), CountingAsync(arrivals)
    tasks = [asyncio.ensure_future(authorize_by(runtime, auth, endpoint)) for _ in range(10)]
    await asyncio.to_thread(arrivals.wait_for, 9)
    for task in tasks[5:]:
        task.cancel()
    await asyncio.wait(tasks[5:])
    release.set()
    await asyncio.gather(*tasks[:5])
    assert endpoint.tokens == ["t"] * 5
    assert asked == 1


async def test_a_blocking_call_on_the_loop_that_is_fetching_does_not_wait_for_it() -> None:
    """It would wait for ever: nothing on that loop can move before it returns."""
    started, release, asked = asyncio.Event(), asyncio.Event(), 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            started.set()
            await release.wait()
        return f"t{asked}"

    auth, endpoint = BearerToken(source), Endpoint()
    task = asyncio.ensure_future(authorize_by(AsyncRuntime(), auth, endpoint))
    await started.wait()
    blocking = BlockingRuntime()
    hurried = HttpRequest(method="POST", url="https://llm.invalid", timeout=LONG)
    blocking.run(authorize_by(blocking, auth, endpoint, hurried))
    assert endpoint.tokens == ["t2"]
    release.set()
    await task
    assert len(endpoint.tokens) == 2


# The time of a request.


@pytest.mark.parametrize("colour", ["blocking", "async"])
async def test_a_function_that_hangs_is_given_up(colour: str) -> None:
    never = threading.Event()
    auth, endpoint = BearerToken(lambda: str(never.wait())), Endpoint()
    request = HttpRequest(method="POST", url="https://llm.invalid", timeout=0.02)
    try:
        with pytest.raises(LLMTimeoutError, match="The token function took too long"):
            if colour == "async":
                await authorize_by(AsyncRuntime(), auth, endpoint, request)
            else:
                runtime = BlockingRuntime()
                runtime.run(authorize_by(runtime, auth, endpoint, request))
    finally:
        never.set()


@pytest.mark.parametrize("colour", ["blocking", "async"])
async def test_those_who_wait_for_it_have_their_own_time(arrivals: Arrivals, colour: str) -> None:
    begun, release = threading.Event(), threading.Event()

    def source() -> str:
        begun.set()
        assert release.wait(LONG)
        return "t"

    auth, crowd = BearerToken(source), Crowd(arrivals, Endpoint())
    hurried = HttpRequest(method="POST", url="https://llm.invalid", timeout=0.02)
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(crowd.blocking, auth)
        assert begun.wait(LONG)
        with pytest.raises(LLMTimeoutError, match="that another call is fetching did not come in time"):
            if colour == "async":
                await authorize_by(crowd._async, auth, crowd.endpoint, hurried)
            else:
                crowd.blocking(auth, hurried)
        release.set()
        leader.result(LONG)
    assert crowd.endpoint.tokens == ["t"]


def test_on_a_virtual_clock() -> None:
    runtime = VirtualRuntime()
    asked = 0

    def source() -> tuple[str, float]:
        nonlocal asked
        asked += 1
        runtime.advance(5)
        return f"t{asked}", 100

    auth, endpoint = BearerToken(source), Endpoint()

    async def whole() -> None:
        async def job() -> None:
            for _ in range(3):
                await authorize_by(runtime, auth, endpoint)
                await runtime.sleep(60)

        await runtime.gather(*[job] * 30)

    runtime.run(whole())
    assert asked == 2
    assert endpoint.tokens == ["t1"] * 60 + ["t2"] * 30
