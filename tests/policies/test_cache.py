"""What one caller sees of a cache: hits, what is kept and what is not, streams, figures, files."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from policy_helpers import Watch
from pydantic import BaseModel

from oarlock import Agent, BaseLLM, tool
from oarlock.contract.context import scope
from oarlock.contract.errors import BudgetExceededError, ConfigurationError, ServerError
from oarlock.contract.events import CacheHit
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.policies import Budget, Cache, Fallback, Metrics, Retry
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

COSTLY = Reply(
    text="Hello",
    usage=Usage(prompt_tokens=8, completion_tokens=2, requests=1),
    model="m-1",
    id="a",
    finish_reason="stop",
    raw={"whole": "answer"},
)
CALLS = (ToolCall(id="1", name="find", arguments='{"q": "\\ud800"}'), ToolCall(id="2", name="go"))


@pytest.fixture(params=["memory", "file"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    return Cache() if request.param == "memory" else Cache(tmp_path / "answers.db")


def ask(llm: BaseLLM, runtime: Any = None, **facts: Any) -> Reply:
    facts.setdefault("messages", [{"role": "user", "content": "Hi"}])
    return (runtime or VirtualRuntime()).run(_whole(llm, runtime or VirtualRuntime(), Request(**facts)))


async def _whole(llm: BaseLLM, runtime: Runtime, request: Request) -> Reply:
    return await llm.handle_request(runtime, request)


def counting(answer: Any = None, **settings: Any) -> FunctionLLM:
    """Return a model that numbers its answers."""
    numbers = iter(range(1, 1000))
    return FunctionLLM(lambda messages: f"answer {next(numbers)}" if answer is None else answer, **settings)


def test_an_equal_question_has_the_answer_it_had_before(cache: Cache) -> None:
    inner = ScriptedLLM([COSTLY])
    llm = inner.with_policies(cache)
    first, second = ask(llm), ask(llm)
    assert first == COSTLY
    assert first.raw == {"whole": "answer"}
    assert second == Reply(text="Hello", model="m-1", id="a", finish_reason="stop", cached=True)
    assert second.raw is None
    assert len(inner.requests) == 1


async def test_it_works_for_coroutines(cache: Cache) -> None:
    llm = counting().with_policies(cache)
    assert [await llm.acall("Hi"), await llm.acall("Hi"), await llm.acall("Ho")] == ["answer 1", "answer 1", "answer 2"]


def test_tool_calls_are_kept(cache: Cache) -> None:
    reply = Reply(text="\ud83d lone", tool_calls=CALLS, finish_reason="tool_calls")
    llm = ScriptedLLM([reply]).with_policies(cache)
    ask(llm)
    again = ask(llm)
    assert (again.text, again.tool_calls) == ("\ud83d lone", CALLS)


def test_figures(cache: Cache) -> None:
    llm = ScriptedLLM([COSTLY, "Bye"]).with_policies(cache)
    for word in ("Hi", "Hi", "Hi", "Bye"):
        llm.call(word)
    assert cache.stats() == {"hits": 2, "misses": 2, "tokens_saved": 20, "entries": 2}


def test_what_is_saved_is_estimated_where_the_model_does_not_say(cache: Cache) -> None:
    llm = ScriptedLLM(["x" * 40]).with_policies(cache)
    llm.call("y" * 80)
    llm.call("y" * 80)
    assert cache.stats()["tokens_saved"] == 30


def test_a_hit_is_told(cache: Cache, watch: Watch) -> None:
    llm = ScriptedLLM([COSTLY], model="gpt-x").with_policies(watch, cache)
    ask(llm)
    assert watch.events == []
    ask(llm)
    (hit,) = watch.events
    assert isinstance(hit, CacheHit)
    assert (hit.model, hit.saved.total_tokens) == ("gpt-x", 10)


def test_a_hit_is_counted_by_metrics_and_free_in_budgets(cache: Cache) -> None:
    metrics, inside, around = Metrics(), Budget(requests=1), Budget(requests=2)
    llm = ScriptedLLM([COSTLY]).with_policies(metrics, cache, inside)
    with around:
        for _ in range(5):
            llm.call("Hi")
    assert metrics.get_metrics()["total_calls"] == 5
    assert metrics.get_metrics()["total_tokens"] == 10
    assert inside.spent.requests == around.spent.requests == 1
    with pytest.raises(BudgetExceededError):
        llm.call("something else")


def test_an_agents_usage_does_not_count_hits() -> None:
    agent = Agent(role="R", goal="G", llm=ScriptedLLM([COSTLY]).with_policies(Cache()))
    assert agent.kickoff("Go").usage == COSTLY.usage
    assert agent.kickoff("Go").usage == Usage()


def test_answers_grow_too_old(cache: Cache) -> None:
    cache = Cache(cache.path and cache.path.with_name("other.db"), ttl=60)
    llm = counting().with_policies(cache)
    with VirtualRuntime() as runtime:
        assert llm.call("Hi") == "answer 1"
        runtime.advance(59)
        assert llm.call("Hi") == "answer 1"
        runtime.advance(1)
        assert llm.call("Hi") == "answer 2"
        assert cache.stats()["entries"] == 1


def test_answers_of_the_future_do_not_count(cache: Cache) -> None:
    llm = counting().with_policies(cache)
    with VirtualRuntime(start=1000):
        llm.call("Hi")
    with VirtualRuntime(start=0):
        assert llm.call("Hi") == "answer 2"


def test_the_least_recently_used_goes_first() -> None:
    llm = counting().with_policies(Cache(size=2))
    for word in ("a", "b", "a", "c"):
        llm.call(word)
    assert (llm.call("a"), llm.call("c"), llm.call("b")) == ("answer 1", "answer 3", "answer 4")


def test_in_a_file_the_oldest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "answers.db", size=2)
    llm = counting().with_policies(cache)
    with VirtualRuntime() as runtime:
        for word in ("a", "b", "a", "c"):
            llm.call(word)
            runtime.advance(1)
        assert (llm.call("b"), llm.call("c"), llm.call("a")) == ("answer 2", "answer 3", "answer 4")
    assert cache.stats()["entries"] == 2


def test_clearing(cache: Cache) -> None:
    llm = counting().with_policies(cache)
    llm.call("Hi")
    cache.clear()
    assert cache.stats()["entries"] == 0
    assert llm.call("Hi") == "answer 2"


# What is not kept.


class Shape(BaseModel):
    side: int = 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="cut", finish_reason="length"),
        Reply(text="cut", finish_reason="MAX_TOKENS"),
        Reply(text="hidden", finish_reason="content_filter"),
        Reply(text="no", finish_reason="refusal"),
        Reply(text="odd", finish_reason=7),  # type: ignore[arg-type]
        Shape(),
    ],
)
def test_what_is_cut_refused_or_an_object_is_not_kept(cache: Cache, reply: Any) -> None:
    inner = counting(reply)
    llm = inner.with_policies(cache)
    llm.call("Hi")
    llm.call("Hi")
    assert len(inner.requests) == 2
    assert cache.stats()["entries"] == 0


@pytest.mark.parametrize("reason", [None, "stop", "STOP", "tool_calls", "end_turn", "eos"])
def test_whole_answers_are_kept(reason: str | None) -> None:
    inner = counting(Reply(text="whole", finish_reason=reason))
    llm = inner.with_policies(Cache())
    llm.call("Hi")
    llm.call("Hi")
    assert len(inner.requests) == 1


def test_failures_are_not_kept(cache: Cache) -> None:
    llm = ScriptedLLM([ServerError("down"), "up"]).with_policies(cache)
    with pytest.raises(ServerError):
        llm.call("Hi")
    assert [llm.call("Hi"), llm.call("Hi")] == ["up", "up"]


def test_a_retried_call_is_kept_once(cache: Cache, runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([ServerError("down"), "up"]).with_policies(cache, Retry())
    with runtime:
        assert [llm.call("Hi"), llm.call("Hi")] == ["up", "up"]
    assert cache.stats()["misses"] == 1


def test_the_answer_of_another_model_is_not_kept(cache: Cache) -> None:
    first = ScriptedLLM([ServerError("down"), "mine"])
    llm = first.with_policies(cache, Fallback(ScriptedLLM(["theirs"])))
    assert [llm.call("Hi"), llm.call("Hi"), llm.call("Hi")] == ["theirs", "mine", "mine"]


def test_a_model_that_runs_tools_itself_is_asked() -> None:
    class Own(BaseLLM):
        asked = 0

        def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> str:
            Own.asked += 1
            return str(available_functions["find"]()) if available_functions else "nothing to run"

        def supports_function_calling(self) -> bool:
            return True

    runs = []

    @tool
    def find() -> str:
        """Find it."""
        runs.append(1)
        return "found"

    agent = Agent(role="R", goal="G", llm=Own().with_policies(cache := Cache()), tools=[find])
    assert [agent.kickoff("Go").raw, agent.kickoff("Go").raw] == ["found", "found"]
    assert len(runs) == 2
    llm = Own().with_policies(cache)
    Own.asked = 0
    llm.call("Hi")
    llm.call("Hi")
    assert Own.asked == 1


# Streams.


def pieces(llm: BaseLLM, word: str) -> list[str]:
    return [str(delta) for delta in llm.stream(word)]


def test_a_stream_is_kept_and_given_again_in_one_piece(cache: Cache) -> None:
    llm = ScriptedLLM(["one two three"]).with_policies(cache)
    assert pieces(llm, "Hi") == ["one ", "two ", "three"]
    assert pieces(llm, "Hi") == ["one two three"]
    assert llm.call("Hi") == "one two three"


async def test_an_asynchronous_stream_is_kept_too(cache: Cache) -> None:
    llm = ScriptedLLM(["one two three"]).with_policies(cache)
    assert [str(delta) async for delta in llm.astream("Hi")] == ["one ", "two ", "three"]
    assert [str(delta) async for delta in llm.astream("Hi")] == ["one two three"]


def test_a_stream_that_was_left_is_not_kept(cache: Cache) -> None:
    llm = ScriptedLLM(["one two three", "four"]).with_policies(cache)
    with llm.stream("Hi") as stream:
        next(stream)
    assert pieces(llm, "Hi") == ["four"]


# The end user.


@pytest.mark.parametrize(("one", "other"), [("ann", "bob"), (1, 2), (1, "1"), (None, "None")])
def test_end_users_do_not_see_each_others_answers(one: Any, other: Any) -> None:
    llm = counting().with_policies(Cache())
    with scope(user=one):
        assert [llm.call("Hi"), llm.call("Hi")] == ["answer 1", "answer 1"]
    with scope(user=other):
        assert llm.call("Hi") == "answer 2"


def test_for_an_object_as_the_end_user_nothing_is_kept() -> None:
    llm = counting().with_policies(cache := Cache())
    with scope(user=object()):
        assert [llm.call("Hi"), llm.call("Hi")] == ["answer 1", "answer 2"]
    assert cache.stats() == {"hits": 0, "misses": 0, "tokens_saved": 0, "entries": 0}


# Files.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.db"


def test_answers_outlive_the_process(path: Path) -> None:
    counting().with_policies(Cache(path)).call("Hi")
    assert counting("new").with_policies(Cache(str(path))).call("Hi") == "answer 1"


def test_only_the_owner_may_read_the_file_and_what_stands_beside_it(path: Path) -> None:
    counting().with_policies(cache := Cache(path)).call("Hi")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}
    assert cache.stats()["entries"] == 1


def test_the_question_is_not_in_the_file(path: Path) -> None:
    counting(Reply(text="the answer", raw="the raw answer")).with_policies(cache := Cache(path)).call("the question")
    cache._store.__del__()  # type: ignore[attr-defined]
    content = path.read_bytes()
    assert b"the answer" in content
    assert b"the question" not in content
    assert b"the raw answer" not in content


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()


def _of_another_version(path: Path) -> None:
    Cache(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()


def _without_its_table(path: Path) -> None:
    Cache(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE answers")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_foreign, "is no cache of this version of Oarlock"),
        (_of_another_version, "is no cache of this version of Oarlock"),
        (_without_its_table, "cannot be used"),
        (lambda path: path.write_bytes(b"not a database, " * 100), "cannot be used"),
        (lambda path: path.mkdir(), "cannot be used"),
        (lambda path: path.symlink_to(path.parent / "no" / "folder"), "cannot be used"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_when_the_cache_is_built(
    path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigurationError, match=words):
        Cache(path)
    assert before is None or path.read_bytes() == before


def test_a_file_that_breaks_later_breaks_no_call(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    llm = counting().with_policies(cache := Cache(path))
    llm.call("Hi")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE answers")
    connection.close()
    with caplog.at_level(logging.WARNING, "oarlock.llm"):
        assert [llm.call("Hi"), llm.call("Hi")] == ["answer 2", "answer 3"]
        cache.clear()
    assert cache.stats()["entries"] == 0
    (record,) = caplog.records
    assert "does not work, calls go on without it: no such table" in record.getMessage()


@pytest.mark.parametrize(
    "damaged",
    [
        "{",
        "7",
        "[" * 100_000,
        '{"text": 1, "usage": [1, 1]}',
        '{"text": "a"}',
        '{"text": "a", "usage": [1, "1"]}',
        '{"text": "a", "usage": 7}',
        '{"text": "", "usage": [1, 1]}',
        '{"text": "a", "usage": [1, 1], "tool_calls": [[1, 2]]}',
        '{"text": "a", "usage": [1, 1], "tool_calls": [["1", "2", 3]]}',
        '{"text": "a", "usage": [1, 1], "model": []}',
        b"\xff",
        None,
    ],
)
def test_a_damaged_answer_is_asked_for_again(path: Path, damaged: Any, caplog: pytest.LogCaptureFixture) -> None:
    llm = counting().with_policies(Cache(path))
    llm.call("Hi")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE answers")
        connection.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, stored REAL, answer)")
        key = "x"
        connection.execute("INSERT INTO answers VALUES (?, 1, ?)", (key, damaged))
    connection.close()
    store = Cache(path)._store
    assert store.get("x", float("-inf"), 2) is None
    assert len(caplog.records) == (0 if damaged is None else 1)
    assert [llm.call("Hi"), llm.call("Hi")] == ["answer 2", "answer 2"]


def test_a_file_that_another_process_reads_is_used_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oarlock.policies.cache_sqlite._PATIENCE", 0.01)
    store: Any = Cache(path)._store
    store._close()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("PRAGMA journal_mode = DELETE")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM answers").fetchall()
    llm = counting().with_policies(Cache(path))  # may not change how the file is written now
    reader.execute("COMMIT")
    reader.close()
    assert [llm.call("Hi"), llm.call("Hi")] == ["answer 1", "answer 1"]


def test_a_file_that_is_locked_for_long_is_done_without(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("oarlock.policies.cache_sqlite._PATIENCE", 0.01)
    llm = counting().with_policies(Cache(path))
    llm.call("Hi")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert [llm.call("Ho"), llm.call("Hi")] == ["answer 2", "answer 1"]
    writer.execute("COMMIT")
    writer.close()
    assert [llm.call("Ho"), llm.call("Ho")] == ["answer 3", "answer 3"]
    assert "database is locked" in caplog.text


def test_a_file_that_is_deleted_is_not_made_anew_with_open_doors(path: Path) -> None:
    llm = counting().with_policies(cache := Cache(path))
    store: Any = cache._store
    store._close()
    path.unlink()
    assert [llm.call("Hi"), llm.call("Hi")] == ["answer 1", "answer 2"]
    assert not path.exists()


# Settings and copies.


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Cache(size=0), "size must be a whole number of at least 1"),
        (lambda: Cache(ttl=0), "ttl must be a finite number, above zero"),
        (lambda: Cache(namespace=3), "namespace must be a text"),  # type: ignore[arg-type]
        (lambda: Cache(key="k"), "key must be a function"),  # type: ignore[arg-type]
        (lambda: Cache(7), "path must be the path of a file"),  # type: ignore[arg-type]
        (lambda: Cache(""), "path must be the path of a file"),
        (lambda: Cache(":memory:"), r"Cache\(\) keeps answers in memory"),
    ],
)
def test_wrong_settings_are_named(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build()


def test_it_explains_itself(path: Path) -> None:
    assert "up to 1,000 answers in memory, and" in Cache().explain()
    assert f"any number of answers in {str(path)!r} for 60 s, and" in Cache(path, ttl=60).explain()
    assert repr(Cache(size=5, ttl=60.0)) == "Cache(size=5, ttl=60.0)"
    assert repr(Cache(path)) == f"Cache({str(path)!r})"


def test_a_copy_shares_the_answers_and_a_pickle_the_file(cache: Cache) -> None:
    llm = counting().with_policies(cache)
    llm.call("Hi")
    assert copy.deepcopy(llm).call("Hi") == "answer 1"
    assert copy.copy(cache) is cache
    twin = pickle.loads(pickle.dumps(cache))
    assert twin.stats()["entries"] == (0 if cache.path is None else 1)


def test_namespaces_are_apart() -> None:
    cache = Cache(namespace="a")
    twin = Cache(namespace="b")
    twin._store = cache._store
    inner = counting()
    assert [inner.with_policies(one).call("Hi") for one in (cache, twin, cache)] == ["answer 1", "answer 2", "answer 1"]


def test_a_key_of_ones_own_is_part_of_the_key() -> None:
    version = ["1"]
    llm = counting().with_policies(Cache(key=lambda request: version))
    assert [llm.call("Hi"), llm.call("Hi")] == ["answer 1", "answer 1"]
    version[0] = "2"
    assert llm.call("Hi") == "answer 2"


def test_a_key_that_fails_is_named() -> None:
    with pytest.raises(ConfigurationError, match="key failed for a request: ZeroDivisionError"):
        counting().with_policies(Cache(key=lambda request: 1 / 0)).call("Hi")


def test_it_works_around_a_bare_handler(runtime: VirtualRuntime) -> None:
    asked: list[Request] = []

    async def core(runtime: Runtime, request: Request) -> Reply:
        asked.append(request)
        return Reply(text="ok")

    handler: Handler = Cache()(core)

    async def twice() -> None:
        for _ in range(2):
            await handler(runtime, Request(messages=[]))

    runtime.run(twice())
    assert len(asked) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_file_may_be_used_on_both_sides_of_a_fork(path: Path) -> None:
    llm = counting().with_policies(cache := Cache(path))
    llm.call("before")
    child = os.fork()
    if child == 0:
        good = llm.call("before") == "answer 1" and llm.call("child") == "answer 2"
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert llm.call("before") == "answer 1"
    assert llm.call("child") == "answer 2"
    assert cache.stats()["entries"] == 2
