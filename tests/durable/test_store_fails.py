"""The database is away, full, of another version, or somebody else has the run: each says so, and nothing is lost."""

from __future__ import annotations

import json
import resource
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from durable_helpers import CountingLLM, Crash, in_line, new_sqlite
from postgres_helpers import needs_postgres
from spawning import Forked

from oarlock.contract.errors import RunError, RunStoreError
from oarlock.durable.here import HERE
from oarlock.durable.stores import open_store


@needs_postgres
@pytest.mark.timeout(180)
def test_a_database_that_goes_away_comes_back(postgres, run_id):
    """The run waits where it is, and goes on; the sign of life is given anew."""
    HERE.close()
    database = postgres.database()

    def answer(request: Any, before: int) -> str:
        if before == 1:
            postgres.stop()
            threading.Timer(1.5, postgres.start).start()
        return f"answer {before}"

    llm = CountingLLM(answer)
    result = in_line(llm, 3).kickoff(durable=database, run_id=run_id)
    assert [output.raw for output in result.tasks_output] == ["answer 0", "answer 1", "answer 2"]
    engine = HERE.engine(database)
    ours = engine.executor
    locks = "select count(*) from pg_locks where locktype = 'advisory' and classid = 2625 and granted"
    for _ in range(200):
        if postgres.query(database, locks)[0][0] == 1:
            break
        threading.Event().wait(0.05)
    assert engine.is_alive(ours)
    assert postgres.query(database, locks) == [(1,)]
    HERE.close()


@needs_postgres
def test_two_that_begin_at_once_make_the_tables_once(postgres):
    """As when workers are started together: an index that is made while others work waits for their statements."""
    database = postgres.database()
    with ThreadPoolExecutor() as pool:
        for store in pool.map(lambda _: open_store(database, make=True), range(2)):
            assert store.runs() == []
            store.close()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_a_database_without_runs_says_so(request, kind, tmp_path):
    if kind == "sqlite":
        (tmp_path / "runs.db").touch()
        database = f"sqlite:///{tmp_path}/runs.db"
    else:
        database = request.getfixturevalue("postgres").database()
    store = open_store(database)
    with pytest.raises(RunStoreError, match="has no runs yet, or they are of another version"):
        store.runs()
    store.close()


@needs_postgres
def test_a_server_that_is_not_there(postgres):
    HERE.close()
    crew = in_line(CountingLLM(lambda request, before: "x"), 1)
    with pytest.raises(RunStoreError, match=r"postgresql://127\.0\.0\.1:1/runs, cannot be reached") as failure:
        crew.kickoff(durable="postgresql://me:hunter2@127.0.0.1:1/runs")
    assert "hunter2" not in str(failure.value)
    with pytest.raises(RunStoreError, match=r"failed: .*does not exist"):
        open_store(postgres.url("nothing_there"))


def answer_of_some_size(_request: Any, before: int) -> str:
    return f"answer {before} " + "x" * 50_000


def run_on_a_full_disk(database: str) -> None:
    """Run a crew with room for two answers, and say what came of it, and what was asked."""

    def answer(request: Any, before: int) -> str:
        if before == 2:
            size = Path(database.removeprefix("sqlite:///")).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return answer_of_some_size(request, before)

    llm = CountingLLM(answer)
    with pytest.raises(RunStoreError) as failure:
        in_line(llm, 6).kickoff(durable=database, run_id="r")
    print(json.dumps([str(failure.value), llm.keys]))


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(tmp_path):
    HERE.close()
    database = new_sqlite(tmp_path)
    problem, first = json.loads(Forked(run_on_a_full_disk, database).rest().splitlines()[-1])
    assert problem.startswith(f"The database of runs, {database}, failed: ")
    llm = CountingLLM(answer_of_some_size)
    assert len(in_line(llm, 6).kickoff(durable=database, run_id="r").tasks_output) == 6
    kept = [key for key in first if key not in llm.keys]
    assert len(kept) >= 2
    assert len(first) - len(kept) <= 1  # the answer that found no room
    assert sorted({*kept, *llm.keys}) == [f"r:{number}:1" for number in range(1, 7)]
    HERE.close()


def test_a_run_of_another_version_is_left_alone(database, run_id):
    died: list[bool] = []

    def answer(request: Any, before: int) -> str:
        if before == 1 and not died:
            died.append(True)
            raise Crash
        return "hello"

    llm = CountingLLM(answer)
    with pytest.raises(Crash):
        in_line(llm, 2).kickoff(durable=database, run_id=run_id)
    connection = sqlite3.connect(database.removeprefix("sqlite:///"))
    with connection:
        connection.execute(
            "update workflow_status set application_version = 'oarlock-0' where workflow_uuid = ?", (run_id,)
        )
    connection.close()
    with pytest.raises(RunError, match=r"begun by another version of Oarlock, whose records \(oarlock-0\)"):
        in_line(llm, 2).kickoff(durable=database, run_id=run_id)
    assert len(llm.keys) == 2


def test_whoever_loses_a_run_lets_go_of_it(kickoff, database, run_id):
    """Two have the same run, as when one was believed dead: the other one's records count, and both get its result."""
    asked, go_on = threading.Event(), threading.Event()

    def answer(request: Any, before: int) -> str:
        if before == 1:
            asked.set()
            assert go_on.wait(60)
        return f"answer {before}"

    llm = CountingLLM(answer)
    crew = in_line(llm, 3)
    ends: list[str] = []
    thread = threading.Thread(target=lambda: ends.append(str(kickoff(crew, run_id))))
    thread.start()
    assert asked.wait(60)
    engine = HERE.engine(database)
    known = engine.store.look(run_id)
    assert known is not None
    wait = engine.take_over(known)
    result = wait()
    go_on.set()
    thread.join(60)
    assert result["raw"] == "answer 3"
    assert ends == ["answer 3"]
    steps = [entry.name for entry in engine.store.entries(run_id)]
    assert steps == ["model:1:1", "model:2:1", "model:3:1"]
    assert str(crew.kickoff(durable=database, run_id=run_id)) == "answer 3"
