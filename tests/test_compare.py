"""`benchmarks/compare.py`: its tables, its picture, and that it takes no answer for a right one that is not."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
FIGURE = {"median": 0.001, "low": 0.0009, "high": 0.0013, "rounds": [0.0009, 0.001, 0.0013]}
RESULTS = {
    "machine": {"cores": 2, "processor": "Test", "system": "Linux 6", "python": "3.11.0"},
    "runs": [
        {
            "began": "2026-11-28 09:10 UTC",
            "minutes": 20.0,
            "lowest_load": 1.0,
            "highest_load": 2.0,
            "parts": "turns,flights",
        }
    ],
    "exclude_newer": "2026-11-14T00:00:00Z",
    "titles": {"oarlock": "Oarlock", "other": "A & B", "third": "Third"},
    "versions": {"oarlock": {"oarlock": "0.1.0"}, "other": {"a-b": "2"}, "third": {}},
    "measures": {
        "call": {"oarlock": FIGURE, "other": {**FIGURE, "median": 0.0125}},
        "flight_1000": {"oarlock": {**FIGURE, "median": 1.2}, "third": {"note": "> 60 s (3 right)"}},
    },
    "problems": {},
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Import a module of the benchmarks, and forget it and its siblings afterwards."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "peer_side")
    known = set(sys.modules)

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield imported
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_table_has_medians_spreads_and_ratios(load):
    report = load("_compare_report")
    rows = report.table_of(RESULTS, ["call", "run", "flight_1000"])
    assert rows == [
        ["", "a call, CPU ms", "1,000 runs, s"],
        ["Oarlock", "1.000 ±0.200 (1.00x)", "1.20 ±0.00 (1.00x)"],
        ["A & B", "12.500 ±0.200 (12x)", "-"],
        ["Third", "-", "> 60 s (3 right)"],
    ]
    assert report.table_of(RESULTS, ["run"]) == []


def test_the_report_keeps_what_stands_around_it(load, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    report = load("_compare_report")
    (tmp_path / "benchmarks.md").write_text(
        f"# Ours\n\nBefore.\n\n{report.MARKS[0]}\nold\n{report.MARKS[1]}\n\nAfter.\n"
    )
    report.write_report(RESULTS, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.startswith("# Ours\n\nBefore.\n\n<!--")
    assert page.endswith("-->\n\nAfter.\n")
    assert "| A & B | 12.500 ±0.200 (12x) |" in page
    assert "a-b 2" in page
    assert "old" not in page
    assert json.loads((tmp_path / "benchmarks.json").read_text())["measures"]["call"]["oarlock"]["median"] == 0.001
    assert "1,000 runs in flight" in capsys.readouterr().out


def test_a_later_run_adds_to_an_earlier_one(load):
    report = load("_compare_report")
    again = {"oarlock": {**FIGURE, "median": 0.5}}
    later = {**RESULTS, "measures": {"import": again, "call": again}, "problems": {"other": ["gone"]}}
    both = report.merged(RESULTS, later)
    assert list(both["measures"]) == ["import", "call", "flight_1000"]
    assert both["measures"]["call"] == again
    assert len(both["runs"]) == 2
    assert "- A & B: gone" in report.markdown(both)
    with pytest.raises(SystemExit, match="other versions"):
        report.merged({**RESULTS, "exclude_newer": "2026-01-01T00:00:00Z"}, later)


def test_the_picture_is_sorted_and_well_formed(load):
    report, picture = load("_compare_report"), load("_compare_picture")
    panels = report.panels(RESULTS)
    assert [[bar[0] for bar in panel.bars] for panel in panels] == [["Oarlock", "A & B"], ["Oarlock", "Third"]]
    root = ET.fromstring(picture.draw(panels))
    widths = [bar.attrib["width"] for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[0] == "100%"
    assert float(widths[2]) / float(widths[1]) == pytest.approx(12.5, rel=0.01)
    assert "> 60 s (3 right)" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_every_listed_peer_has_a_driver(load, tmp_path: Path):
    pins, peers = load("_peers").read_peers(tmp_path)
    drivers = {path.stem for path in (BENCHMARKS / "peers").glob("*.py")}
    assert drivers == {peer.name for peer in peers}
    assert pins.exclude_newer.endswith("Z")
    with pytest.raises(SystemExit, match="no such peer: nobody"):
        load("_peers").read_peers(tmp_path, ["nobody"])


def test_a_flight_that_cannot_end_in_time_is_not_tried(load, tmp_path: Path):
    compare = load("compare")
    _, (peer,) = load("_peers").read_peers(tmp_path, ["crewai"])
    options = {"peers": [peer], "home": tmp_path, "rounds": 1, "cpu": 0.1, "limit": 60.0, "end": 0.0}
    comparison = compare.Comparison(flights=[(1_000, 1), (10_000, 1)], **options)
    comparison.figures.add("flight_1000", "crewai", 11.9)
    assert not comparison.hopeless(peer, 10_000)
    comparison.figures.add("flight_1000", "crewai", 11.0)
    comparison.figures.values["flight_1000"]["crewai"] = [12.1, 14.0]
    assert comparison.hopeless(peer, 10_000)
    with pytest.raises(compare.OutOfTimeError):
        comparison.go_on()
    assert comparison.figures.summary()["flight_10000"] == {"crewai": {"note": "> 60 s, not tried"}}


def test_wrong_answers_and_failures_are_told(load):
    tally = load("child").Tally("right")
    tally.count(" right\n")
    tally.count("left")
    tally.fail(ValueError("gone"))
    assert (tally.units, tally.wrong, tally.failed) == (3, 1, 1)
    assert tally.errors == ["answered 'left'", "ValueError: gone"]


def test_a_peer_does_its_orders_and_the_tool_is_counted(load, tmp_path: Path):
    """A process of ours, watched: every unit once; a run that did not use its tool is wrong, whatever it answered."""
    serve = load("_measure").loopback_server
    orders = [{"do": "run", "at": 0, "cpu": 0, "wall": 0}, {"do": "flight", "runs": 3, "limit": 30}, {"do": "foreign"}]
    command = [sys.executable, str(BENCHMARKS / "peer_side" / "child.py"), "oarlock"]
    lines = "".join(json.dumps(order) + "\n" for order in orders)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    for mode, wrong in [("tool", 0), ("answer", 1)]:
        with serve("--mode", mode) as url:
            output = subprocess.run(
                [*command, url, "--audit"], input=lines, check=True, capture_output=True, text=True, env=environment
            ).stdout
        run, flight, foreign = map(json.loads, output.splitlines())
        assert (run["wrong"], flight["wrong"]) == (run["units"] * wrong, 3 * wrong)
        assert (run["failed"], flight["units"], foreign) == (0, 3, {"foreign": []})
