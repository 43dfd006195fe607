"""`current_call()` and the events of a run: seen where they belong, nowhere else."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from oarlock.contract.context import CurrentCall, current_call, emit, scope
from oarlock.contract.events import Event, RunStarted
from oarlock.runtime import ThreadPool


def test_outside_a_run_everything_is_empty() -> None:
    assert current_call() == CurrentCall()
    assert current_call().attempt == 1


def test_scopes_nest() -> None:
    with scope(run_id="1", agent="a") as outer:
        assert current_call() is outer
        with scope(agent="b", attempt=2):
            assert (current_call().run_id, current_call().agent, current_call().attempt) == ("1", "b", 2)
        assert current_call() is outer
    assert current_call() == CurrentCall()


def test_a_scope_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError), scope(agent="a"):
        raise KeyError
    assert current_call().agent is None


def test_a_misspelt_fact_fails() -> None:
    with pytest.raises(TypeError), scope(agnet="a"):
        pass


def test_secrets_stay_out_of_the_repr() -> None:
    with scope(user="canary", idempotency_key="canary") as call:
        assert "canary" not in repr(call)


def test_other_threads_see_nothing_but_our_pools_do() -> None:
    pool = ThreadPool(1)
    with scope(agent="a"), ThreadPoolExecutor(1) as foreign:
        assert foreign.submit(lambda: current_call().agent).result() is None
        assert pool.submit(lambda: current_call().agent).result() == "a"
    assert pool.submit(lambda: current_call().agent).result() is None


async def test_tasks_are_apart() -> None:
    entered = asyncio.Barrier(2)

    async def task(name: str) -> str | None:
        with scope(agent=name):
            await entered.wait()
            await asyncio.sleep(0)
            return current_call().agent

    assert await asyncio.gather(task("a"), task("b")) == ["a", "b"]
    assert current_call().agent is None


def test_events_go_to_the_listener_of_the_run() -> None:
    first: list[Event] = []
    second: list[Event] = []
    event = RunStarted(run_id="1", tasks=2)
    emit(event)  # nobody listens
    with scope(listener=first.append):
        emit(event)
        with scope(listener=second.append):
            emit(event)
        with scope(agent="a"):
            emit(event)
    assert (len(first), len(second)) == (2, 1)


def test_threads_have_their_own_scopes() -> None:
    barrier = threading.Barrier(4)
    seen: dict[int, str | None] = {}

    def run(number: int) -> None:
        with scope(run_id=str(number)):
            barrier.wait(10)
            seen[number] = current_call().run_id
            barrier.wait(10)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {number: str(number) for number in range(4)}
