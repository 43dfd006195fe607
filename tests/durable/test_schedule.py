"""Crews that workers run at certain times: once for each time, however many workers look at the clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from durable_helpers import CountingLLM, in_line, until
from hypothesis import given
from hypothesis import strategies as st

from oarlock import ConfigurationError, Crew
from oarlock.durable import Registry, Schedule, State, schedule
from oarlock.durable.stores import open_store

DAY = 86_400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """What the clock shows; tests set it."""
    shown = [at("2026-11-28T06:00:30+00:00")]
    monkeypatch.setattr(schedule.time, "time", lambda: shown[0])
    return shown


def crew(name: str) -> Crew:
    made = in_line(CountingLLM(lambda request, before: "done"), 1)
    made.name = name
    return made


def registry(name: str, cron: str, **more: object) -> Registry:
    return Registry(crew(name), schedules=[Schedule(crew=name, cron=cron, inputs={"x": 1}, **more)])  # type: ignore[arg-type]


def test_a_time_has_one_run_though_several_workers_look(database, run_id, clock):
    store = open_store(database)
    workers = [registry(run_id, "0 7 * * mon-sat", timezone="Europe/Berlin").timetable for _ in range(3)]
    wanted = f"{run_id}@2026-11-28T06:00:00Z"
    assert [worker.look(store) for worker in workers] == [[wanted]] * 3
    assert [worker.look(store) for worker in workers] == [[]] * 3
    assert [(info.run_id, info.state) for info in store.runs() if info.run_id.startswith(run_id)] == [
        (wanted, State.queued)
    ]
    clock[0] += 3600
    assert workers[0].look(store) == []
    store.close()


def test_a_worker_that_was_away_makes_up_for_the_last_time_only(database, run_id, clock):
    store = open_store(database)
    table = registry(run_id, "*/2 * * * *").timetable
    assert [one.partition("T")[2] for one in table.look(store)] == ["06:00:00Z"]
    clock[0] += 3600
    assert [one.partition("T")[2] for one in table.look(store)] == ["07:00:00Z"]
    clock[0] += 60
    assert table.look(store) == []
    store.close()


def test_a_run_that_has_ended_is_not_begun_again(database, run_id, clock):
    from oarlock.durable.here import HERE

    store = open_store(database)
    table = registry(run_id, "0 6 * * *").timetable
    (due,) = table.look(store)
    HERE.close()
    from oarlock.durable import Worker

    worker = Worker(registry(run_id, "0 6 * * *"), database, poll=0.05)
    until(lambda: store.look(due).state is State.finished)
    worker.drain(0)
    assert registry(run_id, "0 6 * * *").timetable.look(store) == [due]
    assert json.loads(json.dumps(store.look(due).spec))["inputs"] == {"x": 1}
    assert store.look(due).state is State.finished
    store.close()


@given(begin=st.integers(0, 10**9), lengths=st.lists(st.integers(0, 4000), max_size=10))
def test_no_time_is_lost_or_doubled_between_two_looks(engine_off, begin, lengths):
    every = Schedule(crew="c", cron="*/7 * * * *")
    end = begin + sum(lengths)
    found, moment = [], float(begin)
    for length in lengths:
        found += every.times(moment, moment + length)
        moment += length
    assert found == list(every.times(begin, end))
    assert all(one.tzinfo is UTC and begin < one.timestamp() <= end and one.minute % 7 == 0 for one in found)


def test_summer_time_has_each_day_once():
    daily = Schedule(crew="c", cron="30 9 * * *", timezone="Europe/Berlin")
    hours = [one.hour for one in daily.times(at("2026-10-23T00:00:00+00:00"), at("2026-10-27T00:00:00+00:00"))]
    assert hours == [7, 7, 8, 8]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"cron": "every day"}, "cron must be five fields"),
        ({"cron": "61 * * * *"}, "cron must be five fields"),
        ({"cron": "* * * * * *"}, "cron must be five fields"),
        ({"cron": "* * * * *", "timezone": "Mars/Base"}, "there is no timezone 'Mars/Base'"),
        ({"cron": "* * * * *", "crew": ""}, "crew"),
    ],
)
def test_a_schedule_that_cannot_be(settings, problem):
    with pytest.raises(ConfigurationError, match=problem):
        Schedule(**{"crew": "c", **settings})


def test_schedules_are_for_crews_of_the_registry():
    with pytest.raises(ConfigurationError, match="schedule 'other' is for a crew 'other'; there are: one"):
        Registry(crew("one"), schedules=[Schedule(crew="other", cron="* * * * *")])
    twice = Schedule(crew="one", cron="* * * * *")
    with pytest.raises(ConfigurationError, match="two schedules are named 'one'"):
        Registry(crew("one"), schedules=[twice, twice])
    assert Schedule(crew="one", cron="* * * * *", name="my nightly").run_id(datetime(2026, 1, 1, tzinfo=UTC)) == (
        "my-nightly@2026-01-01T00:00:00Z"
    )
