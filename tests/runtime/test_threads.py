"""The thread pool: bounded, reused, carrying the context, surviving forks, copies and pickles."""

from __future__ import annotations

import contextvars
import copy
import os
import pickle
import queue
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

from oarlock.runtime import ThreadPool, threads

LIMIT = 10
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_result_and_error() -> None:
    pool = ThreadPool(1)
    assert pool.submit(lambda a, b: a + b, 1, 2).result(LIMIT) == 3
    with pytest.raises(KeyError):
        pool.submit({}.__getitem__, "x").result(LIMIT)
    assert pool.submit(lambda: "goes on").result(LIMIT) == "goes on"


def test_as_many_as_its_size_run_at_once_and_no_more() -> None:
    pool = ThreadPool(3)
    all_here = threading.Barrier(4)
    waiting = [pool.submit(all_here.wait, LIMIT) for _ in range(3)]
    queued = pool.submit(threading.get_ident)
    assert not queued.done()  # three are busy until the barrier has its fourth
    all_here.wait(LIMIT)
    for future in [*waiting, queued]:
        future.result(LIMIT)


def test_without_a_size_there_is_always_a_thread() -> None:
    pool = ThreadPool()
    all_here = threading.Barrier(50)
    for future in [pool.submit(all_here.wait, LIMIT) for _ in range(50)]:
        future.result(LIMIT)


def test_work_that_comes_in_bursts_never_waits_behind_other_work() -> None:
    """A thread that has taken work but not yet begun it must not count as idle."""
    for _ in range(200):
        pool = ThreadPool()
        first, second = threading.Event(), threading.Event()

        def meet(mine: threading.Event, other: threading.Event) -> bool:
            mine.set()
            return other.wait(LIMIT)

        both = [pool.submit(meet, first, second), pool.submit(meet, second, first)]
        assert [future.result(LIMIT) for future in both] == [True, True]


def test_where_the_system_gives_no_more_threads_those_there_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    pool = ThreadPool()
    go = threading.Event()
    busy = pool.submit(go.wait, LIMIT)
    with monkeypatch.context() as patch:
        patch.setattr(threads.threading, "Thread", Refused)
        queued = [pool.submit(lambda n=n: n) for n in range(5)]
        empty = ThreadPool()
        with pytest.raises(RuntimeError, match="can't start"):
            empty.submit(int)
    assert empty.submit(lambda: "works again").result(LIMIT) == "works again"
    go.set()
    assert busy.result(LIMIT)
    assert [future.result(LIMIT) for future in queued] == list(range(5))
    assert pool.submit(lambda: "after").result(LIMIT) == "after"


def test_never_more_threads_than_its_size() -> None:
    pool = ThreadPool(4)
    futures = [pool.submit(threading.get_ident) for _ in range(500)]
    assert len({future.result(LIMIT) for future in futures}) <= 4


def test_many_callers_at_once() -> None:
    pool = ThreadPool(3)
    results: queue.SimpleQueue[int] = queue.SimpleQueue()

    def caller(number: int) -> None:
        for _ in range(50):
            results.put(pool.submit(lambda: number).result(LIMIT))

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert sorted(results.get() for _ in range(400)) == sorted(number for number in range(8) for _ in range(50))


def wait_for_idle(pool: ThreadPool) -> None:
    while pool._idle == 0:
        threading.Event().wait(0.001)


def test_an_idle_thread_is_used_again() -> None:
    pool = ThreadPool()
    first = pool.submit(threading.get_ident).result(LIMIT)
    wait_for_idle(pool)
    assert pool.submit(threading.get_ident).result(LIMIT) == first


def test_idle_threads_end_and_new_ones_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.001)
    pool = ThreadPool(2)
    for _ in range(3):
        thread = pool.submit(threading.current_thread).result(LIMIT)
        thread.join(LIMIT)
        assert not thread.is_alive()
        assert pool._threads == pool._idle == 0


def test_threads_that_end_while_work_comes_lose_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.0)
    pool = ThreadPool(2)
    for number in range(2000):
        assert pool.submit(lambda n=number: n).result(LIMIT) == number


def test_threads_are_daemons_with_a_name() -> None:
    thread = ThreadPool(1, "oarlock-mine").submit(threading.current_thread).result(LIMIT)
    assert thread.daemon
    assert thread.name == "oarlock-mine-1"


def test_the_callers_context_is_seen_and_not_changed() -> None:
    pool = ThreadPool(1)
    variable.set("mine")

    def look() -> str:
        seen = variable.get()
        variable.set("theirs")
        return seen

    assert [pool.submit(look).result(LIMIT) for _ in range(2)] == ["mine", "mine"]
    assert variable.get() == "mine"


def test_a_cancelled_call_does_not_run() -> None:
    pool = ThreadPool(1)
    go, ran = threading.Event(), []
    busy = pool.submit(go.wait, LIMIT)
    waiting = pool.submit(ran.append, 1)
    assert waiting.cancel()
    go.set()
    busy.result(LIMIT)
    assert pool.submit(lambda: "after").result(LIMIT) == "after"
    assert ran == []


def test_a_finished_call_is_not_kept_alive() -> None:
    class Big:
        pass

    pool = ThreadPool(1)
    big = Big()
    gone = threading.Event()
    weakref.finalize(big, gone.set)
    pool.submit(lambda big: None, big).result(LIMIT)
    del big
    assert gone.wait(LIMIT)


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda pool: pickle.loads(pickle.dumps(pool))])
def test_a_copy_is_a_new_pool(clone: Any) -> None:
    pool = ThreadPool(3, "mine")
    pool.submit(int).result(LIMIT)
    other = clone(pool)
    assert (other.size, other.name) == (3, "mine")
    assert other.submit(lambda: 1).result(LIMIT) == 1
    assert other._queue is not pool._queue


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_afresh() -> None:
    pool = ThreadPool(1)
    go = threading.Event()
    busy = pool.submit(go.wait, LIMIT)
    child = os.fork()
    if child == 0:
        os._exit(pool.submit(lambda: 7).result(LIMIT))
    go.set()
    busy.result(LIMIT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_call_that_hangs_does_not_keep_the_program() -> None:
    code = "import threading; from oarlock.runtime import ThreadPool; ThreadPool().submit(threading.Event().wait); print('end')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "end\n"
