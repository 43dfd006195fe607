"""Equal questions at once: asked once, over threads, tasks and loops; and what holds when things break."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oarlock import BaseLLM
from oarlock.contract.errors import ConfigurationError, LLMTimeoutError, ServerError
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies import Cache
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

HI = Request(messages=[{"role": "user", "content": "Hi"}])


def crowd(runtime: VirtualRuntime, jobs: list[Callable[[], Any]]) -> list[Any]:
    async def whole() -> list[Any]:
        return await runtime.gather(*jobs)

    return runtime.run(whole())


class Slow(ScriptedLLM):
    def __init__(self, replies: Any, seconds: float = 2.0) -> None:
        super().__init__(replies, latency=seconds)


def test_equal_questions_at_once_are_asked_once(runtime: VirtualRuntime) -> None:
    inner = Slow(["one", "two"])
    llm = inner.with_policies(cache := Cache())
    other = HI.replace(messages=[{"role": "user", "content": "Ho"}])
    replies = crowd(
        runtime, [lambda: llm.handle_request(runtime, HI)] * 20 + [lambda: llm.handle_request(runtime, other)]
    )
    assert [reply.text for reply in replies] == ["one"] * 20 + ["two"]
    assert [reply.cached for reply in replies] == [False] + [True] * 19 + [False]
    assert len(inner.requests) == 2
    assert cache.stats()["hits"] == 19
    assert runtime.now() == 2


def test_if_the_first_fails_one_of_the_others_asks_next(runtime: VirtualRuntime) -> None:
    inner = Slow([ServerError("down"), ServerError("down"), "up"])
    llm = inner.with_policies(Cache())
    times: list[tuple[str, float]] = []

    async def one() -> None:
        try:
            times.append(((await llm.handle_request(runtime, HI)).text, runtime.now()))
        except ServerError:
            times.append(("failed", runtime.now()))

    crowd(runtime, [one] * 5)
    assert sorted(times, key=lambda pair: pair[1]) == [("failed", 2), ("failed", 4), ("up", 6), ("up", 6), ("up", 6)]
    assert len(inner.requests) == 3


def test_those_who_wait_for_what_cannot_be_shared_ask_at_once(runtime: VirtualRuntime) -> None:
    inner = Slow([Reply(text="cut", finish_reason="length")] * 5)
    llm = inner.with_policies(Cache())
    crowd(runtime, [lambda: llm.handle_request(runtime, HI)] * 5)
    assert len(inner.requests) == 5
    assert runtime.now() == 4


def test_nobody_waits_past_a_deadline_of_their_own(runtime: VirtualRuntime) -> None:
    llm = Slow(["one"], 30).with_policies(Cache())

    async def impatient() -> None:
        with pytest.raises(LLMTimeoutError, match="asking the same question"):
            await llm.handle_request(runtime, HI.replace(deadline=5.0))
        assert runtime.now() == 5

    crowd(runtime, [lambda: llm.handle_request(runtime, HI), impatient, lambda: llm.handle_request(runtime, HI)])
    assert runtime.now() == 30


def test_nobody_waits_for_ever_for_one_who_is_stuck(runtime: VirtualRuntime) -> None:
    inner = Slow(["one", "two"], 1000)
    llm = inner.with_policies(Cache())
    crowd(runtime, [lambda: llm.handle_request(runtime, HI)] * 2)
    assert len(inner.requests) == 2
    assert runtime.now() == 1060


async def test_if_the_first_is_cancelled_another_asks() -> None:
    gate, asked = asyncio.Event(), []

    async def answer(messages: Any) -> str:
        asked.append(1)
        await gate.wait()
        return "ok"

    llm = FunctionLLM(answer).with_policies(Cache())
    tasks = [asyncio.create_task(llm.acall("Hi")) for _ in range(4)]
    while not asked:
        await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[3].cancel()
    gate.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in done] == [asyncio.CancelledError, str, str, asyncio.CancelledError]
    assert len(asked) == 2


@pytest.mark.parametrize("in_file", [False, True])
def test_over_threads_and_event_loops(in_file: bool, tmp_path: Path) -> None:
    gate, begun = threading.Event(), threading.Event()

    def answer(messages: Any) -> str:
        begun.set()
        gate.wait(10)
        return "ok"

    inner = FunctionLLM(answer)
    llm = inner.with_policies(cache := Cache(tmp_path / "answers.db" if in_file else None))

    async def three() -> list[Any]:
        return await asyncio.gather(*(llm.acall("Hi") for _ in range(3)))

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(llm.call, "Hi")]
        begun.wait(10)
        futures += [pool.submit(llm.call, "Hi") for _ in range(3)]
        loops = [pool.submit(asyncio.run, three()) for _ in range(2)]
        gate.set()
        assert [future.result(10) for future in futures] == ["ok"] * 4
        assert [future.result(10) for future in loops] == [["ok"] * 3] * 2
    assert len(inner.requests) == 1
    assert cache.stats() == {"hits": 9, "misses": 1, "tokens_saved": 0, "entries": 1}


async def test_a_blocking_call_on_the_event_loops_own_thread_asks_for_itself() -> None:
    gate = asyncio.Event()

    async def answer(messages: Any) -> str:
        await gate.wait()
        return "slow"

    cache = Cache()
    task = asyncio.create_task(FunctionLLM(answer).with_policies(cache).acall("Hi"))
    await asyncio.sleep(0)
    assert FunctionLLM(lambda messages: "quick").with_policies(cache).call("Hi") == "quick"
    gate.set()
    assert await task == "slow"


def test_nobody_waits_for_the_reader_of_a_stream() -> None:
    llm = ScriptedLLM(["one two", "three"]).with_policies(Cache())
    with llm.stream("Hi") as stream, ThreadPoolExecutor(1) as pool:
        assert str(next(stream)) == "one "
        assert pool.submit(llm.call, "Hi").result(10) == "three"


@pytest.mark.parametrize("colour", ["blocking", "async"])
async def test_a_question_inside_itself_does_not_wait_for_itself(colour: str) -> None:
    class Again(BaseLLM):
        depth = 0
        whole: BaseLLM

        def call(self, messages: Any) -> str:
            Again.depth += 1
            return "done" if Again.depth == 2 else str(self.whole.call(messages))

    llm = Again()
    llm.whole = llm.with_policies(Cache())
    assert (llm.whole.call("Hi") if colour == "blocking" else await llm.whole.acall("Hi")) == "done"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_nobody_waits_for_the_parent() -> None:
    gate, begun = threading.Event(), threading.Event()

    def answer(messages: Any) -> str:
        if not begun.is_set():
            begun.set()
            gate.wait(10)
        return "ok"

    llm = FunctionLLM(answer).with_policies(Cache())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(llm.call, "Hi")
        begun.wait(10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork while threads run is what this is about
            child = os.fork()
        if child == 0:
            os._exit(0 if llm.call("Hi") == "ok" else 1)
        assert os.waitpid(child, 0)[1] == 0
        gate.set()
        assert first.result(10) == "ok"


PROGRAM = """
import sys
from oarlock.policies import Cache
from oarlock.testing import FunctionLLM
cache = Cache(sys.argv[1])
llm = FunctionLLM(lambda messages: messages[-1]["content"]).with_policies(cache)
for number in range(60):
    assert llm.call(f"question {number}") == f"question {number}"
assert not cache._store._warned
"""


def test_several_processes_may_use_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "answers.db")
    workers = [subprocess.Popen([sys.executable, "-W", "error", "-c", PROGRAM, path]) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert Cache(path).stats()["entries"] == 60


def test_a_file_in_many_threads(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "answers.db", size=20)
    llm = FunctionLLM(lambda messages: messages[-1]["content"]).with_policies(cache)

    def work(start: int) -> bool:
        return all(llm.call(f"{(start + number) % 30}") == f"{(start + number) % 30}" for number in range(60))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert cache.stats()["entries"] == 20
    assert not cache._store._warned  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "answers.db"
    cache = Cache(path)
    llm = FunctionLLM(lambda messages: "right").with_policies(cache)
    for number in range(5):
        llm.call(f"Hi {number}")
    store: Any = cache._store
    store._close()
    return path.read_bytes()


damage = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2**16), st.binary(min_size=1, max_size=8)), min_size=1, max_size=5
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage, st.integers(0, 2**16))
def test_a_damaged_file_is_refused_or_does_no_harm(
    good_file: bytes, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int, bytes]], cut: int
) -> None:
    content = bytearray(good_file[: max(cut, 1)] if cut % 3 == 0 else good_file)
    for early, where, piece in damage:
        at = where % (100 if early else len(content))
        content[at : at + len(piece)] = piece
    path = tmp_path_factory.mktemp("damaged", numbered=True) / "answers.db"
    path.write_bytes(content)
    try:
        cache = Cache(path)
    except ConfigurationError:
        return
    llm = FunctionLLM(lambda messages: "right").with_policies(cache)
    for number in range(7):
        assert isinstance(llm.call(f"Hi {number}"), str)
    assert cache.stats()["entries"] >= 0
    cache.clear()
    store: Any = cache._store
    store._close()
