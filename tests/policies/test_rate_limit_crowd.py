"""Many callers of one rate limit: order, exactness, cancelling, threads, loops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_helpers import fixed_estimate, most_in_a_window, tokens

from oarlock.contract.errors import LLMTimeoutError, RateLimitError
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies import Deadline, RateLimit
from oarlock.runtime import Runtime, drive
from oarlock.runtime.aio import AsyncRuntime
from oarlock.runtime.blocking import BlockingRuntime
from oarlock.testing import FunctionLLM, VirtualRuntime


def request(name: Any = "Hi", **facts: Any) -> Request:
    return Request(messages=[{"role": "user", "content": str(name)}], **facts)


def crowd(runtime: VirtualRuntime, jobs: list[Callable[[], Awaitable[Any]]]) -> None:
    async def whole() -> None:
        await runtime.gather(*jobs)

    runtime.run(whole())


class Model:
    """A handler that notes when it was asked and takes a while; what it costs stands in the message."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self.runtime = runtime
        self.grants: list[tuple[float, int]] = []
        self.names: list[str] = []

    async def __call__(self, runtime: Runtime, asked: Request) -> Reply:
        name, cost, seconds = str(asked.messages[-1]["content"]).split()
        self.grants.append((runtime.now(), int(cost)))
        self.names.append(name)
        if float(seconds):
            await runtime.sleep(float(seconds))
        return tokens(int(cost))


arrivals = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(0, 200)),  # when it comes
        st.integers(1, 60),  # what it costs
        st.floats(1, 2.5),  # the estimate is so many times that
        st.sampled_from([0.0, 0.5, 70.0]),  # how long the answer takes
        st.sampled_from([None, None, None, 5.0]),  # gives up after so long
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(60, 200), st.data(), arrivals)
def test_no_window_holds_more_than_either_limit(
    requests: int, most_tokens: int, data: st.DataObject, arrivals: list[tuple[float, int, float, float, float | None]]
) -> None:
    runtime = VirtualRuntime()
    limit = RateLimit(requests, most_tokens, burst=data.draw(st.integers(1, requests)))
    estimates = {str(n): min(most_tokens, round(cost * more)) for n, (_, cost, more, _, _) in enumerate(arrivals)}
    fixed_estimate(limit, lambda asked: estimates[str(asked.messages[-1]["content"]).split()[0]])
    model = Model(runtime)
    handler = limit(model)

    def job(number: int, when: float, cost: int, seconds: float, patience: float | None) -> Callable[[], Any]:
        async def run() -> None:
            await runtime.sleep(when)
            deadline = None if patience is None else runtime.now() + patience
            try:
                await handler(runtime, request(f"{number} {cost} {seconds}", deadline=deadline))
            except RateLimitError:
                assert patience is not None
                assert runtime.now() <= when + patience

        return run

    crowd(runtime, [job(n, when, cost, takes, p) for n, (when, cost, _, takes, p) in enumerate(arrivals)])
    assert most_in_a_window(model.grants) <= most_tokens
    assert most_in_a_window([(when, 1) for when, _ in model.grants]) <= requests
    assert len(limit._gate.line) == limit._gate.line.weight == 0


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50), st.integers(1, 300)), min_size=1, max_size=20))
def test_windows_exceed_the_tokens_by_no_more_than_was_not_yet_known(calls: list[tuple[float, int, int]]) -> None:
    """The estimate may be too low: what is beyond it counts from when it is known."""
    runtime = VirtualRuntime()
    limit = RateLimit(tokens_per_minute=100)
    taken = {str(n): estimate for n, (_, estimate, _) in enumerate(calls)}
    fixed_estimate(limit, lambda asked: taken[str(asked.messages[-1]["content"]).split()[0]])
    model = Model(runtime)
    handler = limit(model)

    def job(number: int, when: float, cost: int) -> Callable[[], Any]:
        async def run() -> None:
            await runtime.sleep(when)
            await handler(runtime, request(f"{number} {cost} 0"))

        return run

    crowd(runtime, [job(n, when, cost) for n, (when, _, cost) in enumerate(calls)])
    excess = max(max(0, cost - estimate) for _, estimate, cost in calls)
    assert most_in_a_window(model.grants) <= 100 + excess
    assert len(model.grants) == len(calls)


def test_first_come_first_served(runtime: VirtualRuntime) -> None:
    limit = RateLimit(60, burst=1)
    model = Model(runtime)
    handler = limit(model)
    crowd(runtime, [lambda n=n: handler(runtime, request(f"{n} 1 0")) for n in range(50)])  # type: ignore[misc]
    assert model.names == [str(n) for n in range(50)]


def test_small_requests_do_not_overtake_a_large_one(runtime: VirtualRuntime) -> None:
    costs = {"a": 20, "large": 90, "b": 1, "c": 1}  # of a burst of 25
    limit = fixed_estimate(
        RateLimit(tokens_per_minute=100), lambda asked: costs[str(asked.messages[-1]["content"]).split()[0]]
    )
    model = Model(runtime)
    handler = limit(model)
    jobs = [lambda name=name, cost=cost: handler(runtime, request(f"{name} {cost} 0")) for name, cost in costs.items()]
    crowd(runtime, jobs)  # type: ignore[arg-type]
    assert model.names == ["a", "large", "b", "c"]


def test_a_hint_reaches_those_who_wait_already(runtime: VirtualRuntime) -> None:
    asked: list[float] = []

    async def model(runtime: Runtime, request: Request) -> Reply:
        asked.append(runtime.now())
        if len(asked) == 1:
            raise RateLimitError("slow down", status=429, retry_after=30)
        return tokens(1)

    handler = RateLimit(60, burst=1)(model)

    async def job() -> None:
        with contextlib.suppress(RateLimitError):
            await handler(runtime, request())

    crowd(runtime, [job] * 100)
    assert [when for when in asked if 0 < when < 30] == []
    assert most_in_a_window([(when, 1) for when in asked]) <= 60
    assert asked[1] == pytest.approx(30)
    assert asked[2] == pytest.approx(31, abs=0.1)  # no rush when the time is over


def test_a_hint_may_leave_no_time_to_those_who_wait_already(runtime: VirtualRuntime) -> None:
    asked: list[str] = []

    async def model(runtime: Runtime, request: Request) -> Reply:
        asked.append(str(request.messages[-1]["content"]))
        if len(asked) == 1:
            await runtime.sleep(0.5)
            raise RateLimitError("slow down", status=429, retry_after=30)
        return tokens(1)

    handler = RateLimit(60, burst=1)(model)
    ended: dict[str, tuple[float, float | None]] = {}

    def job(name: str, deadline: float | None) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            hint: float | None = None
            try:
                await handler(runtime, request(name, deadline=deadline))
            except RateLimitError as error:
                hint = error.retry_after
            ended[name] = runtime.now(), hint

        return run

    crowd(runtime, [job("a", None), job("b", None), job("c", 10), job("d", None)])
    assert ended["c"] == (pytest.approx(10), pytest.approx(20.5))
    assert asked == ["a", "b", "d"]


def test_a_hint_of_more_than_a_minute_sends_those_away_who_wait(runtime: VirtualRuntime) -> None:
    async def model(runtime: Runtime, request: Request) -> Reply:
        raise RateLimitError("slow down", status=429, retry_after=600)

    handler = RateLimit(60, burst=1)(model)
    hints: list[float | None] = []

    async def job() -> None:
        try:
            await handler(runtime, request())
        except RateLimitError as error:
            hints.append(error.retry_after)

    crowd(runtime, [job] * 5)
    assert len(hints) == 5
    assert runtime.now() < 5


def test_what_was_learned_reaches_those_who_wait_already(runtime: VirtualRuntime) -> None:
    """A crowd that comes at once is not held to the first guess of how long answers are."""

    def run(answer: int) -> float:
        runtime = VirtualRuntime()

        async def model(runtime: Runtime, request: Request) -> Reply:
            from oarlock.contract.reply import Usage

            return Reply(text="ok", usage=Usage(prompt_tokens=100, completion_tokens=answer))

        handler = RateLimit(tokens_per_minute=10_000)(model)
        crowd(runtime, [lambda: handler(runtime, request("x" * 400))] * 300)
        return runtime.now() / 60

    assert run(answer=20) <= 300 * 120 / 10_000 * 1.25
    assert run(answer=900) >= 300 * 1000 / 10_000 * 0.9


def test_one_who_runs_out_of_time_gives_the_place_back(runtime: VirtualRuntime) -> None:
    limit = RateLimit(60, burst=1)
    model = Model(runtime)
    handler = limit(model)
    times: list[float] = []

    async def slow() -> None:
        await handler(runtime, request("slow 1 0"))
        times.append(runtime.now())

    async def hurried() -> None:
        with pytest.raises(RateLimitError):
            await handler(runtime, request("hurried 1 0", deadline=1.5))

    crowd(runtime, [slow, slow, slow, hurried, hurried, slow])
    assert times == pytest.approx([0, 60 / 60, 120 / 60, 180 / 60], abs=0.1)


async def test_a_cancelled_waiter_gives_its_place_back() -> None:
    limit = RateLimit(1)
    llm = FunctionLLM(lambda messages: "ok").with_policies(limit)
    await llm.acall("Hi")
    tasks = [asyncio.ensure_future(llm.acall("Hi")) for _ in range(20)]
    await settled(limit, 20)
    for task in tasks[:7] + tasks[10:]:
        task.cancel()
    await asyncio.wait(tasks[:7] + tasks[10:])
    assert len(limit._gate.line) == 3
    assert limit._gate.line.waiters[0].first  # the turn was handed on
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert len(limit._gate.line) == limit._gate.line.weight == 0
    assert all(task.cancelled() for task in tasks)
    limit._gate._requests = RateLimit(1)._gate._requests  # a minute later
    assert await llm.acall("Hi") == "ok"


async def settled(limit: RateLimit, waiting: int) -> None:
    while len(limit._gate.line) < waiting:
        await asyncio.sleep(0)


def test_a_closed_stream_gives_its_place_back() -> None:
    limit = RateLimit(1)
    handler = limit(Model(VirtualRuntime()))

    class Suspended(AsyncRuntime):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    runtime = Suspended()
    with pytest.raises(ValueError):
        handler(runtime, request("not a model's message")).send(None)  # type: ignore[attr-defined]
    waiting = handler(runtime, request("x 1 0"))
    waiting.send(None)  # type: ignore[attr-defined]
    assert len(limit._gate.line) == 1
    waiting.close()  # type: ignore[attr-defined]
    assert len(limit._gate.line) == 0


def test_one_who_never_comes_back_is_passed_over() -> None:
    """As after a fork, or when an event loop was dropped with tasks in it."""
    runtime = VirtualRuntime()
    limit = RateLimit(60, burst=1)
    model = Model(runtime)
    handler = limit(model)

    class Gone(VirtualRuntime):
        def now(self) -> float:
            return runtime.now()

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    runtime.run(handler(runtime, request("a 1 0")))  # type: ignore[arg-type]
    lost = handler(Gone(), request("lost 1 0"))
    lost.send(None)  # type: ignore[attr-defined]
    limit._gate.line.waiters[0].thread = -1
    crowd(runtime, [lambda n=n: handler(runtime, request(f"{n} 1 0")) for n in range(3)])  # type: ignore[misc]
    assert model.names == ["a", "0", "1", "2"]
    assert runtime.now() < 20
    lost.close()  # type: ignore[attr-defined]
    assert len(limit._gate.line) == 0


async def test_a_blocking_call_on_a_loop_whose_tasks_wait_does_not_wait_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: Any) -> None:
        raise AssertionError("would stand behind tasks that cannot move")

    monkeypatch.setattr(BlockingRuntime, "wait", never)
    limit = RateLimit(600, burst=1)
    order: list[str] = []
    llm = FunctionLLM(lambda messages: order.append(str(messages[-1]["content"])) or "ok").with_policies(limit)
    await llm.acall("first")
    tasks = [asyncio.ensure_future(llm.acall("task")) for _ in range(3)]
    await settled(limit, 3)
    llm.call("blocking")
    assert order == ["first", "blocking"]
    await asyncio.gather(*tasks)
    assert order == ["first", "blocking", "task", "task", "task"]


def test_threads_share_a_limit_exactly() -> None:
    """No time passes for these threads, so exactly the burst may pass, however they meet."""
    limit = RateLimit(10_000, burst=700, max_wait=0)
    passed = [0] * 32
    barrier = threading.Barrier(32)

    class Still(BlockingRuntime):
        def now(self) -> float:
            return 5.0

    runtime = Still()

    async def model(runtime: Runtime, request: Request) -> Reply:
        return tokens(1)

    handler = limit(model)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(50):
            try:
                runtime.run(handler(runtime, request()))  # type: ignore[arg-type]
            except RateLimitError:
                continue
            passed[number] += 1

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(32)))
    assert sum(passed) == 700


async def test_threads_and_tasks_wait_in_one_line() -> None:
    limit = RateLimit(30_000, burst=1)  # 2 ms between two of them
    llm = FunctionLLM(lambda messages: "ok").with_policies(limit)
    inner: list[Any] = llm.requests
    with ThreadPoolExecutor(8) as pool:
        loop = asyncio.get_running_loop()
        threads = [loop.run_in_executor(pool, llm.call, "Hi") for _ in range(40)]
        answers = await asyncio.gather(*threads, *(llm.acall("Hi") for _ in range(40)))
    assert answers == ["ok"] * 80
    assert len(inner) == 80
    assert len(limit._gate.line) == 0


def test_nested_blocking_jobs_under_a_deadline() -> None:
    with VirtualRuntime() as runtime:
        llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(60, burst=1), Deadline(2.5))

        async def whole(runtime: Runtime) -> list[str]:
            async def job() -> str:
                try:
                    return str(llm.call("Hi"))
                except (RateLimitError, LLMTimeoutError) as error:
                    return type(error).__name__

            return await runtime.gather(*[job] * 5)

        assert drive(whole) == ["ok", "ok", "ok", "RateLimitError", "RateLimitError"]
        assert runtime.now() <= 2.5
