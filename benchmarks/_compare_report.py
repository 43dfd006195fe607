"""What `compare.py` makes of its figures: tables on the terminal, Markdown, JSON and a picture."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _compare_picture import Panel, draw
from _measure import print_table

OURS = "oarlock"
MARKS = ("<!-- measured: written by benchmarks/compare.py -->", "<!-- end of what was measured -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a figure is called, and how it is shown: times `factor`, with so many `digits`."""

    title: str
    unit: str
    factor: float = 1.0
    digits: int = 2
    more_is_better: bool = False


MILLISECONDS: dict[str, Any] = {"unit": "CPU ms", "factor": 1e3}

MEASURES: dict[str, Measure] = {
    "distributions": Measure(title="distributions", unit="", digits=0),
    "mb": Measure(title="installed", unit="MB", digits=0),
    "bare": Measure(title="bare interpreter", digits=0, **MILLISECONDS),
    "import": Measure(title="import", digits=0, **MILLISECONDS),
    "first_call": Measure(title="first call answered", digits=0, **MILLISECONDS),
    "first_run": Measure(title="first run answered", digits=0, **MILLISECONDS),
    "call": Measure(title="a call", digits=3, **MILLISECONDS),
    "run": Measure(title="a run with a tool", digits=3, **MILLISECONDS),
    "stream": Measure(title="a token, all in one write", unit="CPU µs", factor=1e6, digits=1),
    "stream_each": Measure(title="a token, each in a write", unit="CPU µs", factor=1e6, digits=1),
    **{f"acall_{at}": Measure(title=f"a call, {at} at once", digits=3, **MILLISECONDS) for at in (1, 64, 512)},
    **{f"arun_{at}": Measure(title=f"a run, {at} at once", digits=3, **MILLISECONDS) for at in (1, 64, 512)},
    **{
        f"arun_{at}_rate": Measure(title=f"runs, {at} at once", unit="a second", digits=0, more_is_better=True)
        for at in (1, 64, 512)
    },
}
for runs in (100, 1_000, 10_000):
    MEASURES[f"flight_{runs}"] = Measure(title=f"{runs:,} runs", unit="s")
    MEASURES[f"flight_{runs}_cpu"] = Measure(title="each", digits=2, **MILLISECONDS)
    MEASURES[f"flight_{runs}_kb"] = Measure(title="each", unit="KB", digits=0)

TABLES: dict[str, Sequence[str]] = {
    "Installing and starting": ("distributions", "mb", "import", "first_call", "first_run"),
    "One at a time, blocking": ("call", "run", "stream", "stream_each"),
    "Calls side by side, async": ("acall_1", "acall_64", "acall_512"),
    "Runs of call, tool, call side by side, async": ("arun_1", "arun_64", "arun_512"),
    "Runs a second": ("arun_1_rate", "arun_64_rate", "arun_512_rate"),
    "100 runs in flight": ("flight_100", "flight_100_cpu", "flight_100_kb"),
    "1,000 runs in flight": ("flight_1000", "flight_1000_cpu", "flight_1000_kb"),
    "10,000 runs in flight": ("flight_10000", "flight_10000_cpu", "flight_10000_kb"),
}

PANELS = {
    "import": "importing it, CPU ms",
    "call": "a blocking call, CPU ms",
    "arun_64": "a run of call, tool, call, 64 at once, CPU ms",
    "stream_each": "a streamed token, CPU µs",
    "flight_1000": "1,000 runs in flight, 1 s if they cost nothing, s",
    "flight_1000_kb": "memory of each of 1,000 runs in flight, KB",
}


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def cell(measure: Measure, figure: dict[str, Any] | None, ours: float | None) -> str:
    """Return `1.30 ±0.05 (6.7x)`: median, half the distance of the quartiles, ratio to ours; or what went wrong."""
    if figure is None:
        return "-"
    if "median" not in figure or "note" in figure:
        return str(figure.get("note", "-"))
    text = number(figure["median"] * measure.factor, measure.digits)
    if len(figure["rounds"]) > 1:
        spread = (figure["high"] - figure["low"]) / 2 * measure.factor
        text += f" ±{number(spread, measure.digits)}"
    if ours:
        ratio = figure["median"] / ours
        text += f" ({ratio:.2f}x)" if ratio < 10 else f" ({ratio:.0f}x)"
    return text


def table_of(results: dict[str, Any], names: Sequence[str]) -> list[list[str]]:
    """Return heading and rows, a peer each; empty if nothing was measured."""
    measured = [name for name in names if name in results["measures"]]
    if not measured:
        return []
    heading = ["", *(f"{MEASURES[name].title}, {MEASURES[name].unit}".removesuffix(", ") for name in measured)]
    rows = []
    for peer, title in results["titles"].items():
        cells = []
        for name in measured:
            figures = results["measures"][name]
            cells.append(cell(MEASURES[name], figures.get(peer), figures.get(OURS, {}).get("median")))
        if any(text != "-" for text in cells):
            rows.append([title, *cells])
    return [heading, *rows]


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in rows[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def conditions(results: dict[str, Any]) -> str:
    """Return in words where, when and with what it was measured."""
    machine = results["machine"]
    versions = "; ".join(
        f"{results['titles'][peer]}: {', '.join(f'{name} {version}' for name, version in found.items())}"
        for peer, found in results["versions"].items()
    )
    when = "; ".join(
        f"on {run['began']}, in {run['minutes']:.0f} minutes, while the machine's load was {run['lowest_load']:.1f} to"
        f" {run['highest_load']:.1f} ({run['parts'].replace(',', ', ')})"
        for run in results["runs"]
    )
    bare = [figure["median"] * 1000 for figure in results["measures"].get("bare", {}).values()]
    alone = (
        f" Of an import and a first answer {min(bare):.0f} to {max(bare):.0f} CPU ms are the interpreter's."
        if bare
        else ""
    )
    return (
        f"Measured {when}. {machine['cores']} cores ({machine['processor']}), {machine['system']}, Python {machine['python']}."
        f"{alone} Versions are those that were newest on {results['exclude_newer'][:10]}: {versions}."
    )


def merged(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Return one report of two runs; where both measured something, the later one counts.

    Raises:
        SystemExit: they are of different versions.
    """
    if earlier["exclude_newer"] != later["exclude_newer"]:
        raise SystemExit("the earlier run had other versions: measure everything again")
    problems = {
        name: [*earlier["problems"].get(name, []), *later["problems"].get(name, [])] for name in later["titles"]
    }
    return {
        **later,
        "runs": [*earlier["runs"], *later["runs"]],
        "measures": {
            name: row for name in MEASURES if (row := later["measures"].get(name, earlier["measures"].get(name)))
        },
        "problems": {name: texts for name, texts in problems.items() if texts},
    }


def markdown(results: dict[str, Any]) -> str:
    parts = [conditions(results)]
    for title, names in TABLES.items():
        if rows := table_of(results, names):
            parts += [f"### {title}", markdown_table(rows)]
    if results["problems"]:
        lines = [
            f"- {results['titles'][peer]}: {text}" for peer, texts in results["problems"].items() for text in texts
        ]
        parts += ["### What went wrong", "\n".join(lines)]
    else:
        parts.append("Every answer was right.")
    return "\n\n".join(parts)


def panels(results: dict[str, Any]) -> list[Panel]:
    """Return what the picture shows."""
    shown = []
    for name, title in PANELS.items():
        if name not in results["measures"]:
            continue
        measure = MEASURES[name]
        bars = []
        for peer, figure in results["measures"][name].items():
            value = figure.get("median") if "note" not in figure else None
            label = str(figure.get("note", "")) if value is None else number(value * measure.factor, measure.digits)
            bars.append(
                (results["titles"][peer], None if value is None else value * measure.factor, label, peer == OURS)
            )
        bars.sort(key=lambda bar: (bar[1] is None, bar[1]))
        shown.append(Panel(title=title, bars=bars))
    return shown


def write_report(results: dict[str, Any], folder: Path | None) -> None:
    """Print the tables; with a folder, write benchmarks.md (between its marks), benchmarks.json and the picture there."""
    for title, names in TABLES.items():
        if rows := table_of(results, names):
            print_table(title, rows)
    if folder is None:
        return
    page = folder / "benchmarks.md"
    text = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n\n" + "\n".join(MARKS) + "\n"
    page.write_text(placed(text, markdown(results)), encoding="utf-8")
    (folder / "benchmarks.json").write_text(
        json.dumps(rounded(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / "pictures" / "benchmarks.svg").write_text(draw(panels(results)), encoding="utf-8")


def placed(text: str, generated: str) -> str:
    """Put what was measured between its marks, which stay."""
    before, rest = text.split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    return f"{before}{MARKS[0]}\n\n{generated}\n\n{MARKS[1]}{after}"


def rounded(value: Any) -> Any:
    """Return the figures with five significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def facts_of_machine() -> dict[str, Any]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = re.findall(r"^model name\s*: (.+)$", text, re.MULTILINE)[0]
    except (OSError, IndexError):
        processor = platform.processor()
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return {"cores": os.cpu_count(), "processor": processor, "system": system, "python": platform.python_version()}
