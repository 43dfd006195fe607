"""Async-only code behind blocking doors: the portals must never wait for themselves."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from oarlock.contract.llm import BaseLLM
from oarlock.runtime import Promise
from oarlock.runtime.blocking import BLOCKING, BlockingRuntime

LIMIT = 10  # seconds after which a deadlock counts as found; never reached otherwise


def within_limit(work: Callable[[], Any]) -> Any:
    """Return `work()`, run in a daemon thread, so that a deadlock fails the test instead of hanging it."""
    result: Promise[Any] = Promise()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result.result(LIMIT)


@pytest.fixture
def runtime() -> BlockingRuntime:
    return BlockingRuntime()


async def core(runtime: BlockingRuntime) -> str:
    async def form() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    return str(await runtime.invoke(None, form))


def test_calls_that_follow_one_another_share_a_loop(runtime: BlockingRuntime) -> None:
    assert {runtime.run(core(runtime)) for _ in range(5)} == {"oarlock-loop-0"}


def test_a_blocking_call_on_a_portal_takes_another(runtime: BlockingRuntime) -> None:
    async def outer() -> str:
        return runtime.run(core(runtime))

    assert within_limit(lambda: runtime.run(runtime.invoke(None, outer))) == "oarlock-loop-1"
    assert runtime.run(core(runtime)) == "oarlock-loop-0"  # free again


def test_jobs_side_by_side_on_a_portal(runtime: BlockingRuntime) -> None:
    async def outer() -> list[str]:
        return runtime.run(runtime.gather(lambda: core(runtime), lambda: core(runtime)))

    answer = within_limit(lambda: runtime.run(runtime.invoke(None, outer)))
    assert answer == ["oarlock-loop-1"] * 2


def test_a_call_with_a_deadline_on_a_portal(runtime: BlockingRuntime) -> None:
    def blocking() -> str:
        return runtime.run(core(runtime))

    async def outer() -> str:
        return str(runtime.run(runtime.invoke(blocking, None, deadline=runtime.now() + 60, pool=runtime._threads)))

    assert within_limit(lambda: runtime.run(runtime.invoke(None, outer))) == "oarlock-loop-1"


def test_waiting_on_a_portal_for_another_thread(runtime: BlockingRuntime) -> None:
    promise = Promise[str]()

    async def outer() -> str:
        return runtime.run(inner())

    async def inner() -> str:
        threading.Thread(target=lambda: promise.set_result(runtime.run(core(runtime)))).start()
        return await runtime.wait(promise)

    assert within_limit(lambda: runtime.run(runtime.invoke(None, outer))) == "oarlock-loop-1"


def test_still_blocked_after_a_nested_call_has_ended(runtime: BlockingRuntime) -> None:
    async def two_jobs_after_one_call() -> list[str]:
        first = await core(runtime)
        return [first, *await runtime.gather(lambda: core(runtime), lambda: core(runtime))]

    async def outer() -> list[str]:
        return runtime.run(two_jobs_after_one_call())

    assert within_limit(lambda: runtime.run(runtime.invoke(None, outer))) == ["oarlock-loop-1"] * 3


def test_an_async_only_llm_that_runs_others_side_by_side() -> None:
    class Leaf(BaseLLM):
        async def acall(self, messages: Any) -> str:
            await asyncio.sleep(0)
            return "leaf"

    async def ask() -> str:
        return str(Leaf().call("Hi"))

    class Crew(BaseLLM):
        async def acall(self, messages: Any) -> str:
            return " ".join(BLOCKING.run(BLOCKING.gather(ask, ask, ask)))

    assert within_limit(lambda: Crew().call("Hi")) == "leaf leaf leaf"


def test_deadline_cancels_the_coroutine(runtime: BlockingRuntime) -> None:
    cancelled = threading.Event()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        runtime.run(runtime.invoke(None, hangs, deadline=runtime.now() + 0.05))
    assert cancelled.wait(LIMIT)


def test_errors_come_through(runtime: BlockingRuntime) -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        runtime.run(runtime.invoke(None, fails))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own(runtime: BlockingRuntime) -> None:
    runtime.run(core(runtime))
    child = os.fork()
    if child == 0:
        os._exit(7 if runtime.run(core(runtime)) == "oarlock-loop-0" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
