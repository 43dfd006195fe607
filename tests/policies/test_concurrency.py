"""How many calls there are at once: never more than allowed, in order, and no place is ever lost."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from policy_helpers import Watch

from oarlock.contract.errors import LLMTimeoutError, RateLimitError, ServerError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies import Concurrency, Deadline, Fallback, Retry
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

QUESTION: Any = Request(messages=[{"role": "user", "content": "Hi"}])


class Gate:
    """A handler that counts who is inside, and in which order they came in."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.order: list[Any] = []
        self._lock = threading.Lock()

    def around(self, stay: Callable[[Runtime, Request], Awaitable[None]]) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            with self._lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
                self.order.append(request.extras.get("name"))
            try:
                await stay(runtime, request)
            finally:
                with self._lock:
                    self.inside -= 1
            return Reply(text="ok")

        return handle


def is_idle(policy: Concurrency) -> bool:
    return not (policy._taken or policy._line or policy._holders or policy._waiting)


CALLS = st.lists(
    st.tuples(
        st.integers(0, 20),  # comes at
        st.integers(0, 5),  # stays
        st.sampled_from([None, 0, 1, 3, 8]),  # deadline, from when it comes
        st.booleans(),  # fails
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@example(3, [(10, 5, None, False)] * 3 + [(14, 0, 1, False), (10, 0, None, False)])
@given(st.integers(1, 4), CALLS)
def test_never_more_than_the_limit_and_first_come_first_served(limit: int, calls: list[Any]) -> None:
    runtime, policy, gate = VirtualRuntime(), Concurrency(limit), Gate()

    begun: dict[int, float] = {}

    async def stay(runtime: Runtime, request: Request) -> None:
        begun[request.extras["name"]] = runtime.now()
        await runtime.sleep(request.extras["stays"])
        if request.extras["fails"]:
            raise ServerError("down")

    handler = policy(gate.around(stay))
    arrived: list[int] = []
    refused: list[int] = []

    def job(number: int, comes: int, stays: int, left: int | None, fails: bool) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            await runtime.sleep(comes)
            arrived.append(number)
            extras = {"name": number, "stays": stays, "fails": fails}
            deadline = None if left is None else runtime.now() + left
            try:
                await handler(runtime, QUESTION.replace(extras=extras, deadline=deadline))
            except RateLimitError:
                assert deadline is not None
                assert runtime.now() == deadline
                refused.append(number)
            except ServerError:
                assert fails

        return work

    async def everything() -> None:
        await runtime.gather(*(job(number, *call) for number, call in enumerate(calls)))

    runtime.run(everything())
    assert gate.most <= limit
    served = [begun[number] for number in arrived if number not in refused]
    assert served == sorted(served)  # of those who begin in the same moment, any may be the first
    assert is_idle(policy)


STEPS = st.lists(st.tuples(st.sampled_from(["come", "end", "cancel", "turn"]), st.integers(0, 30)), max_size=60)


async def turns(count: int = 6) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), STEPS)
def test_no_place_is_lost_when_tasks_are_cancelled(limit: int, steps: list[tuple[str, int]]) -> None:
    """Cancelled in line, inside, or between being handed a place and taking it: whoever waits gets it."""
    policy, gate = Concurrency(limit), Gate()
    leave: dict[int, asyncio.Event] = {}

    async def stay(runtime: Runtime, request: Request) -> None:
        await leave[request.extras["name"]].wait()

    handler = policy(gate.around(stay))
    tasks: list[asyncio.Task[Reply]] = []

    async def whole() -> None:
        from oarlock.runtime.aio import ASYNC

        for what, number in steps:
            if what == "come":
                leave[len(tasks)] = asyncio.Event()
                tasks.append(asyncio.ensure_future(handler(ASYNC, QUESTION.replace(extras={"name": len(tasks)}))))
            elif what == "turn" or not tasks:
                await turns()
            elif what == "end":
                leave[number % len(tasks)].set()
            else:
                tasks[number % len(tasks)].cancel()
            await asyncio.sleep(0)
            assert gate.inside <= limit
        await turns()
        waiting = sum(not task.done() for task in tasks) - gate.inside
        assert gate.inside == limit or waiting == 0
        for event in leave.values():
            event.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(whole())
    assert gate.most <= limit
    assert is_idle(policy)


def test_threads_and_event_loops_together() -> None:
    policy, gate = Concurrency(3), Gate()

    async def stay(runtime: Runtime, request: Request) -> None:
        await runtime.sleep(0)

    llm = Gated(gate.around(stay)).with_policies(policy)

    def blocking() -> None:
        for _ in range(50):
            assert llm.call("Hi") == "ok"

    async def many() -> None:
        assert await asyncio.gather(*(llm.acall("Hi") for _ in range(100))) == ["ok"] * 100

    threads = [threading.Thread(target=blocking) for _ in range(6)]
    threads += [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(gate.order) == 500
    assert gate.most <= 3
    assert is_idle(policy)


class Gated(BaseLLM):
    """Answers through a handler."""

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._answer = handler

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        return await self._answer(runtime, request)


def test_an_event_loop_that_ends_gives_its_places_back() -> None:
    policy = Concurrency(2)

    async def stay(runtime: Runtime, request: Request) -> None:
        await asyncio.Event().wait()

    llm = Gated(Gate().around(stay)).with_policies(policy)

    async def leaves_early() -> None:
        tasks = [asyncio.ensure_future(llm.acall("Hi")) for _ in range(5)]
        await turns()
        assert policy._taken == 2
        assert not any(task.done() for task in tasks)

    asyncio.run(leaves_early())
    assert is_idle(policy)


async def test_ten_thousand_wait() -> None:
    llm = Gated(Gate().around(lambda runtime, request: runtime.sleep(0))).with_policies(Concurrency(20))
    answers = await asyncio.gather(*(llm.acall("Hi") for _ in range(10_000)))
    assert answers == ["ok"] * 10_000


def side_by_side(llm: BaseLLM, runtime: VirtualRuntime, count: int) -> list[Any]:
    async def job() -> Any:
        try:
            return await llm.acall("Hi")
        except (RateLimitError, LLMTimeoutError) as error:
            return error

    async def everything() -> list[Any]:
        return await runtime.gather(*[job] * count)

    return runtime.run(everything())


def slow(runtime: VirtualRuntime, seconds: float = 10) -> FunctionLLM:
    return FunctionLLM(lambda messages: runtime.advance(seconds) or "ok")


def test_waits_are_told_with_their_length(runtime: VirtualRuntime, watch: Watch) -> None:
    llm = slow(runtime).with_policies(watch, Concurrency(2))
    assert side_by_side(llm, runtime, 5) == ["ok"] * 5
    assert [(wait.cause, wait.seconds) for wait in watch.waits] == [("concurrency", None)] * 3
    assert [(wait.cause, wait.seconds) for wait in watch.waited] == [("concurrency", 10)] * 2 + [("concurrency", 20)]


@pytest.mark.parametrize("policies", [(Concurrency(2, max_wait=5),), (Concurrency(2), Deadline(5))])
def test_a_wait_ends(runtime: VirtualRuntime, watch: Watch, policies: Any) -> None:
    answers = side_by_side(slow(runtime).with_policies(watch, *policies), runtime, 4)
    refused = [answer for answer in answers if isinstance(answer, RateLimitError)]
    assert len(refused) == 2
    assert (
        str(refused[0]) == "All 2 places for simultaneous calls were taken for the 5.0 s that there was time to wait."
    )
    assert not refused[0].retryable
    assert [wait.seconds for wait in watch.waited] == [5, 5]


def test_without_any_time_to_wait_it_fails_at_once(runtime: VirtualRuntime) -> None:
    answers = side_by_side(slow(runtime).with_policies(Concurrency(2, max_wait=0)), runtime, 3)
    assert [str(answer)[:3] for answer in answers] == ["ok", "ok", "All"]
    assert runtime.now() == 10


def test_who_waits_in_vain_may_be_helped_by_another(runtime: VirtualRuntime) -> None:
    other = FunctionLLM(lambda messages: "other")
    llm = slow(runtime).with_policies(Concurrency(1, max_wait=0), Fallback(other))
    assert side_by_side(llm, runtime, 3) == ["ok", "other", "other"]


def test_attempts_give_their_places_back_in_between(runtime: VirtualRuntime) -> None:
    policy = Concurrency(1)
    llm = ScriptedLLM([ServerError("down"), "b", "a"]).with_policies(policy, Retry(retry_on=lambda error: 5))

    async def everything() -> list[Any]:
        async def late() -> Any:
            await runtime.sleep(1)
            return (await llm.acall("Hi"), runtime.now())

        return await runtime.gather(lambda: llm.acall("Hi"), late)

    assert runtime.run(everything()) == ["a", ("b", 1)]


def test_a_stream_has_its_place_until_it_is_read_or_left() -> None:
    policy = Concurrency(1, max_wait=0)
    llm = ScriptedLLM(["a b", "c d", "ok"]).with_policies(policy)
    stream = llm.stream("Hi")
    next(stream)
    with pytest.raises(RateLimitError):
        llm.call("Hi")
    stream.close()
    assert "".join(map(str, llm.stream("Hi"))) == "c d"
    assert llm.call("Hi") == "ok"
    assert is_idle(policy)


async def test_an_async_stream_that_is_left() -> None:
    policy = Concurrency(1)
    llm = ScriptedLLM(["a b", "ok"]).with_policies(policy)
    async with llm.astream("Hi") as stream:
        await anext(stream)
        assert policy._taken == 1
    assert await llm.acall("Hi") == "ok"
    assert is_idle(policy)


async def test_a_blocking_call_that_could_never_get_a_place_says_so() -> None:
    """On an event loop's thread it keeps the loop's own tasks from ending; with an open stream it is the same."""
    llm = ScriptedLLM(["a b", "unused"]).with_policies(Concurrency(1))
    async with llm.astream("Hi") as stream:
        await anext(stream)
        with pytest.raises(RateLimitError, match="of this very thread, which this blocking call would keep from ever"):
            llm.call("Hi")


async def test_a_blocking_call_goes_before_the_tasks_that_it_keeps_from_moving() -> None:
    inside, leave = threading.Event(), threading.Event()

    def answer(messages: Any) -> str:
        if messages[-1]["content"] == "elsewhere":
            inside.set()
            leave.wait(60)
        return str(messages[-1]["content"])

    llm = FunctionLLM(answer).with_policies(Concurrency(1))
    thread = threading.Thread(target=lambda: llm.call("elsewhere"))
    thread.start()
    assert inside.wait(60)
    task = asyncio.ensure_future(llm.acall("task"))
    await turns()
    threading.Timer(0.05, leave.set).start()
    assert llm.call("blocking") == "blocking"
    assert await task == "task"
    thread.join(60)


@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_nested_calls_go_along_with_the_place_of_the_outer(colour: str) -> None:
    policy = Concurrency(1)
    inner = ScriptedLLM(["inner"]).with_policies(policy)

    class Asks(BaseLLM):
        def call(self, messages: Any) -> Any:
            return inner.call(messages)

    class Between(BaseLLM):
        def call(self, messages: Any) -> Any:
            return asks.call(messages)

    asks = Asks().with_policies(Concurrency(5))
    outer = Between().with_policies(policy)
    assert (outer.call("Hi") if colour == "call" else await outer.acall("Hi")) == "inner"
    assert is_idle(policy)


async def test_an_observer_that_fails_costs_no_place() -> None:
    policy = Concurrency(1)

    def broken(event: object) -> None:
        raise ZeroDivisionError

    release = asyncio.Event()

    async def stay(runtime: Runtime, request: Request) -> None:
        await release.wait()

    from oarlock.runtime.aio import ASYNC

    handler = policy(Gate().around(stay))
    first = asyncio.ensure_future(handler(ASYNC, QUESTION))
    await turns()
    second = asyncio.ensure_future(handler(ASYNC, QUESTION.replace(observers=(broken,))))
    third = asyncio.ensure_future(handler(ASYNC, QUESTION))
    await turns()
    release.set()
    await first
    with pytest.raises(ZeroDivisionError):
        await second
    assert (await third).text == "ok"
    assert is_idle(policy)


def test_shared_by_llms_and_copies_but_not_by_pickles(runtime: VirtualRuntime) -> None:
    policy = Concurrency(1, max_wait=2)
    assert copy.copy(policy) is copy.deepcopy(policy) is policy
    twin = pickle.loads(pickle.dumps(policy))
    assert repr(twin) == repr(policy) == "Concurrency(1, max_wait=2)"
    with ScriptedLLM(["a b"]).with_policies(policy).stream("Hi") as stream:
        next(stream)
        with runtime, pytest.raises(RateLimitError):
            ScriptedLLM(["x"]).with_policies(policy).call("Hi")
        assert ScriptedLLM(["y"]).with_policies(twin).call("Hi") == "y"
        assert is_idle(twin)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_all_places() -> None:
    policy = Concurrency(1, max_wait=0)
    llm = ScriptedLLM(["a b", "ok"]).with_policies(policy)
    with llm.stream("Hi") as stream:
        next(stream)
        child = os.fork()
        if child == 0:
            answered = llm.call("Hi") == "ok"
            os._exit(0 if answered and is_idle(policy) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert is_idle(policy)


def test_a_place_of_the_parent_is_not_given_back_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Concurrency(1)
    stream = ScriptedLLM(["a b"]).with_policies(policy).stream("Hi")
    next(stream)
    monkeypatch.setattr(policy, "_pid", -1)  # as it is after a fork
    stream.close()
    assert policy._taken == 1
    assert ScriptedLLM(["ok"]).with_policies(policy).call("Hi") == "ok"  # a child begins with all places
    assert is_idle(policy)


def test_a_place_that_becomes_free_just_before_joining_the_line_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Concurrency(1)
    monkeypatch.setattr(policy, "_enter", lambda thread: False)  # as it was a moment ago
    assert ScriptedLLM(["ok"]).with_policies(policy).call("Hi") == "ok"
    assert is_idle(policy)


def test_in_words() -> None:
    assert Concurrency(1).explain() == (
        "Lets 1 call through at the same time; the others wait in the order in which they came, as long as the deadline "
        "allows."
    )
    assert Concurrency(8, max_wait=2.5).explain().endswith("as long as the deadline allows, but no longer than 2.5 s.")
    assert repr(Concurrency(8)) == "Concurrency(8)"
