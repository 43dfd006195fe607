"""Records read back: what is whole in them, and words for what is not."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_helpers import line_of, recorded_run

from oarlock import BadRequestError, ConfigurationError
from oarlock.policies import Price
from oarlock.report import Recording, as_page, read_record

HEADER = line_of(oarlock_record=1, run_id="r", crew="rowers", time=10.0)
STARTED = line_of(event="RunStarted", run_id="r", span_id="r", time=10.0, tasks=1, crew="rowers")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def test_a_run_comes_back(path: Path) -> None:
    record = read_record(recorded_run(path))
    assert record.notices == ()
    (run,) = record.runs
    assert run.ended
    assert run.root is not None
    totals = run.root.totals
    assert (totals.tasks, totals.calls, totals.requests, totals.tools) == (2, 4, 5, 1)
    assert list(totals.waits) == ["retry"]
    assert [task.name for task in run.root.children] == ["find", "write"]


def test_a_crash_cuts_the_last_line(path: Path) -> None:
    data = recorded_run(path).read_bytes()
    path.write_bytes(data[: data.rindex(b'{"event":"TaskFinished"') + 30])
    number = path.read_bytes().count(b"\n") + 1
    record = read_record(path)
    cut = f"The last line of the record, line {number}, is cut off, as by a crash. What was whole is shown."
    assert record.notices == (cut,)
    assert not record.runs[0].ended
    assert str(record.runs[0].root.state) == "stopped"


def test_lines_that_are_no_events_are_named_and_left_out(path: Path) -> None:
    path.write_text(
        HEADER + STARTED + '{"event": \n[1]\n"x"\n' + line_of(event="New") + "\n" + "nonsense\n" * 20, "utf-8"
    )
    (notice,) = read_record(path).notices
    assert notice.startswith(
        "Not all of the record can be read, and what cannot is left out: line 3 (Expecting value), line 4 (no ev"
    )
    assert "line 6 (no event of a run), line 8" in notice
    assert notice.endswith(", and 19 more.")


def test_missed_events_are_told(path: Path) -> None:
    path.write_text(HEADER + STARTED + line_of(event="EventsMissed", run_id="r", count=3, time=11))
    assert read_record(path).notices == (
        "3 events could not be recorded, as when a disk is full, and are missing here.",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("print('hello')\n", r"run.jsonl, line 1: this is no record of runs"),
        ('{"level": "INFO"}\n', r"run.jsonl, line 1: this is no record of runs"),
        (
            HEADER + line_of(oarlock_record=2, run_id="s", version="9.0"),
            "line 2: the record is of version 2, .* Oarlock 9.0",
        ),
        (line_of(oarlock_record="x" * 99, run_id="s"), "line 1: the record is of version"),
    ],
)
def test_what_is_no_record_is_refused(path: Path, text: str, why: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=why):
        read_record(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_record(tmp_path / "nowhere.jsonl")
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_record(tmp_path)


def test_many_runs_and_one_that_went_on(path: Path) -> None:
    lines = recorded_run(path).read_text().split("\n")
    other = recorded_run(path.with_name("other.jsonl"), error=BadRequestError("refused", status=400))
    begins_again = "\n".join(lines[:2]).replace('"time":', '"time":1')
    run_id = json.loads(lines[0])["run_id"]
    path.write_text("\n".join(lines) + other.read_text().replace(run_id, "other") + begins_again + "\n")
    one, two = read_record(path).runs
    assert len(one.began) == 2
    assert not one.ended, "it went on, and there is no end"
    assert two.ended
    assert str(two.root.state) == "failed"
    page = as_page(read_record(path))
    assert '"again":[' in page


def test_costs_go_by_prices_of_the_record_and_of_the_reader(path: Path) -> None:
    prices = {"gpt-x": Price(input=Decimal("2.5"), output=10)}
    recorded_run(path, record=Recording(path, prices=prices))
    root = read_record(path).runs[0].root
    assert root.totals.cost > 0
    assert root.totals.unpriced == 0
    dearer = read_record(path, prices={"gpt-x": Price(input=5, output=20)}).runs[0].root
    assert dearer.totals.cost == 2 * root.totals.cost
    path.write_text(path.read_text().replace('"2.5"', '"much"'))
    assert read_record(path).runs[0].root.totals.unpriced == 4


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "span_id",
    "parent_id",
    "task_id",
    "time",
    "seconds",
    "agent",
    "task",
    "model",
    "tool",
    "cause",
    "error",
    "request",
    "reply",
]
KINDS = [
    "RunStarted",
    "TaskStarted",
    "CallStarted",
    "CallFinished",
    "CallFailed",
    "ToolStarted",
    "ToolFinished",
    "Waiting",
    "Waited",
]
EVENTS = st.fixed_dictionaries(
    {
        "event": st.sampled_from([*KINDS, "SignedIn", "GuardrailChecked", "TaskSkipped", "RunFinished", "Else"]),
        "run_id": st.just("r"),
    },
    optional={
        name: VALUES | st.sampled_from(["r", "s", "t"])
        for name in [*NAMES, "usage", "arguments", "answer", "state", "passed"]
    },
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(EVENTS, max_size=12))
def test_whatever_stands_in_a_record_a_page_comes_of_it(tmp_path: Path, events: list[dict[str, object]]) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text(HEADER + "".join(json.dumps(event) + "\n" for event in events))
    page = as_page(read_record(path))
    for block in page.split('<script type="application/json"')[1:]:
        json.loads(block.split(">", 1)[1].split("</script>")[0], parse_constant=pytest.fail)
