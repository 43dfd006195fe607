"""Run scripts that were written for CrewAI, unchanged, and say how many run and why the others do not.

    uv run python benchmarks/foreign_scripts.py FOLDER...

FOLDER holds documentation (.md, .mdx), notebooks and example projects, such as a checkout of CrewAI's documentation or of its
examples. Nothing of them is kept here.

- Each Python block of a page is a script. One that uses names which it does not define is put behind the nearest earlier
  blocks of its page that define them; names that earlier blocks import, or other pages (`Agent`, `os`), or that Python has, are
  imported. A name that is only given as an agent, a task, a tool or an LLM, or kicked off, gets a plain one, and that is
  counted apart. What still lacks names is a fragment that nobody can run. YAML blocks named agents.yaml and tasks.yaml lie beside, in config/. A notebook is one script;
  so is each program of an example project, run in a copy of its folder.
- Each script runs in a process and an empty folder of its own, with `oarlock.compat.install_as_crewai()`. Whatever provider it
  names, all requests go to one scripted model on 127.0.0.1, which calls a tool once where there are tools, and then answers in
  the form that is asked for. There is no network, every key that a provider of `LLM` may want is "scripted", and agents without
  an LLM have the environment's, MODEL=openai/gpt-4o.
- What a script has built without asking a model is then used as its reader would: its crew is kicked off, its agents get a task, its
  LLM a question, its tools an agent, its hooks a crew that they hear of. That is counted apart, too.
- Scripts that need a tool of a third party's service are run again with a stand-in for it, and counted apart.
- `--real PYTHON` runs what we fail at under CrewAI itself, installed there, to tell its failures from ours.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from _foreign_child import in_fork
from _foreign_replies import answer
from _foreign_units import Unit, units_below

from oarlock.testing import LoopbackEndpoint

FORKS = multiprocessing.get_context("forkserver")
WARM = ["__main__", "oarlock", "oarlock.agents.crew", "oarlock.llms.llm", "oarlock.tools", "oarlock.compat", "requests"]
QUIET = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}
CHILD = Path(__file__).with_name("_foreign_child.py")
SECONDS = 60  # for one script: those that serve for ever, or wait for something, are ended

RUNS, STOOD_IN = "runs", "runs with stand-ins for other people's tools"
FILLED = "runs with an agent, task, tool or LLM that its page leaves out"
LEFT_OUT, THIRD_PARTY, SERVICE = "uses what Oarlock leaves out", "needs a third-party package", "needs a service"
READERS, FRAGMENT, THEIRS = "needs something of the reader's", "cannot be run by anybody", "fails in CrewAI too"
UNENDING, OURS = f"does not end within {SECONDS} s", "our failure"
APART = "has no CrewAI in it"
ORDER = [RUNS, FILLED, STOOD_IN, LEFT_OUT, THIRD_PARTY, SERVICE, READERS, UNENDING, FRAGMENT, THEIRS, OURS, APART]


@dataclass(slots=True)
class Outcome:
    """What became of a script.

    Attributes:
        name: of the script.
        kind: what became of it.
        reason: why.
        requests: how many a model was asked.
        used: what it built without asking a model, and what was then used as a reader would.
        failed_when_used: what came of that, if it failed.
        detail: a traceback.
    """

    name: str
    kind: str
    reason: str = ""
    requests: int = 0
    used: str = ""
    failed_when_used: str = ""
    detail: str = field(default="", repr=False)

    @property
    def is_of_crewai(self) -> bool:
        """Whether it is about CrewAI's own classes, and not about a tool that stood in."""
        stood = r"(Tool|Attribute|Import|ModuleNotFound|NotImplemented)Error|.*crewai_tools|.*Two tools have the name"
        return not re.match(stood, self.reason)

    @property
    def is_unknown(self) -> bool:
        """Whether a name was asked for of which Oarlock does not know that CrewAI has it."""
        return self.kind == LEFT_OUT and not re.search(
            r"not in Oarlock: (?!did you mean|crewai[\w.]* has )", self.reason
        )


class Laboratory:
    """Runs units, each in a process of its own, beside one scripted model."""

    def __init__(self, url: str, count: Callable[[str], int], real: OtherPython | None) -> None:
        self._url = url
        self._count = count
        self._real = real

    def examine(self, number: int, unit: Unit) -> Outcome:
        """Return what becomes of a unit."""
        if unit.problem:
            return Outcome(unit.name, FRAGMENT, unit.problem)
        if not unit.uses_crewai:
            return Outcome(unit.name, APART)
        outcome = self._run(f"u{number}", unit, [])
        if outcome.kind == RUNS and unit.added:
            return replace(outcome, kind=FILLED, reason=", ".join(unit.added))
        if outcome.kind == THIRD_PARTY and outcome.reason.startswith("crewai_tools"):
            again = self._run(f"s{number}", unit, ["--stand-ins"])
            if again.kind == RUNS:
                return replace(again, kind=STOOD_IN, reason=outcome.reason)
            outcome = again if again.is_of_crewai else outcome
        return self._theirs(number, unit, outcome) or outcome

    def _theirs(self, number: int, unit: Unit, outcome: Outcome) -> Outcome | None:
        """Return how CrewAI itself fails at a script, if it does so of itself and not for want of something else."""
        if self._real is None or not (outcome.kind == OURS or outcome.is_unknown):
            return None
        real = self._run(f"r{number}", unit, ["--real"])
        if real.kind not in (OURS, LEFT_OUT, FRAGMENT) or "to install: " in real.reason:
            return None
        return replace(real, kind=THEIRS, detail=f"{outcome.reason}\n{real.detail}")

    def _run(self, label: str, unit: Unit, options: Sequence[str]) -> Outcome:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            work = Path(folder) / "work"
            script = _laid_out(unit, work)
            result = Path(folder) / "result.json"
            url = self._url.replace("/v1", f"/{label}/v1")
            job = [str(script), url, str(result), *options]
            arguments = (job, str(work), _environment(work, script, url), str(work.with_name("typed.txt")))
            ended = (self._real.run if "--real" in options and self._real else _forked)(*arguments)
            if ended is None:
                return Outcome(unit.name, UNENDING, requests=self._count(label))
            if not result.exists():
                return Outcome(unit.name, OURS, f"the process ended with {ended}", self._count(label))
            told = json.loads(result.read_text(encoding="utf-8"))
        kind, reason = classify(told["error"], told["refused"]) if told["error"] else (RUNS, "")
        later = told.get("used_error")
        return Outcome(
            name=unit.name,
            kind=kind,
            reason=reason,
            requests=self._count(label),
            used=told["used"],
            failed_when_used=": ".join(classify(later, told["refused"])) if later else "",
            detail=(told["error"] or later or {}).get("traceback", ""),
        )


def _forked(*job: Any) -> int | None:
    """Run a job in a fork of a process that has everything imported; `None` if it did not end."""
    process = FORKS.Process(target=in_fork, args=job)
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


class OtherPython:
    """A Python of another environment, which runs jobs in forks of itself, one at a time."""

    def __init__(self, python: str) -> None:
        environment = {**os.environ, **QUIET}
        self._process = subprocess.Popen(
            [python, str(CHILD), "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._lock = threading.Lock()

    def run(self, *job: Any) -> int | None:
        """Return a job's exit code, `None` if it did not end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(f"{json.dumps([*job, SECONDS])}\n")
            self._process.stdin.flush()
            code: int | None = json.loads(self._process.stdout.readline())
        return code


def _laid_out(unit: Unit, work: Path) -> Path:
    """Put a unit's files into its working folder and return its script."""
    if unit.folder:
        shutil.copytree(unit.folder, work)
        return work / Path(unit.code).relative_to(unit.folder)
    work.mkdir()
    for name, text in unit.files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text, encoding="utf-8")
    script = work / "script.py"
    script.write_text(unit.code, encoding="utf-8")
    return script


def _environment(work: Path, script: Path, url: str) -> dict[str, str]:
    places = [script.parent, *(one for one in script.parents if one.name == "src"), work]
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(
            [*dict.fromkeys(map(str, places)), *kept.get("PYTHONPATH", "").split(os.pathsep)]
        ),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MODEL": "openai/gpt-4o",  # for agents without an LLM, as CrewAI reads it
        "OPENAI_API_KEY": "scripted",
        "HOME": str(work),
        **({} if "/u" in url or "/s" in url else {"OPENAI_BASE_URL": url, "OPENAI_API_BASE": url}),
        **QUIET,
    }


def classify(error: dict[str, Any], refused: Sequence[str]) -> tuple[str, str]:
    """Return what kind of end an error is, and the reason in a few words."""
    message, family = error["message"], error["family"]
    first = message.partition("\n")[0][:160]
    if found := re.search(r"([\w.]*)(\(.*?\))? is not in Oarlock", message):
        name = found[1] + (found[2] or "")
        return (THIRD_PARTY, name) if name.startswith("crewai_tools") else (LEFT_OUT, first)
    if "ModuleNotFoundError" in family and str(error["module"]).partition(".")[0] not in ("crewai", "oarlock"):
        return THIRD_PARTY, str(error["module"]).partition(".")[0]
    if refused:
        return SERVICE, ", ".join(sorted(set(refused)))
    if "MCPServerError" in family:
        return (SERVICE if "could not be asked" in message else READERS), f"an MCP server: {first}"
    if "KeyError" in family and "os.environ" in error["traceback"]:
        return READERS, f"an environment variable: {first}"
    if "FileNotFoundError" in family or "cannot be read: No such file" in message:
        return READERS, f"a file: {first}"
    if "NameError" in family:
        return FRAGMENT, first
    return OURS, f"{error['type']}: {first}"


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the lines of the table of results."""
    counts = Counter(outcome.kind for outcome in outcomes)
    asking = Counter(outcome.kind for outcome in outcomes if outcome.requests and not outcome.used)
    used = Counter(outcome.kind for outcome in outcomes if outcome.requests and outcome.used)
    yield "| outcome | scripts | that asked a model | when what they built was used |"
    yield "|---|---:|---:|---:|"
    for kind in ORDER:
        if counts[kind]:
            yield f"| {kind} | {counts[kind]} | {asking[kind]} | {used[kind]} |"


def reasons(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield what stood in the way, most frequent first, with the scripts."""
    for kind in ORDER[1:-1]:
        grouped = defaultdict(list)
        for outcome in outcomes:
            if outcome.kind == kind:
                grouped[outcome.reason].append(outcome.name)
        for reason, names in sorted(grouped.items(), key=lambda item: -len(item[1])):
            yield f"{kind}: {reason} ({len(names)}): {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
    for outcome in outcomes:
        if outcome.failed_when_used:
            yield f"runs, but what it built failed when used: {outcome.failed_when_used}: {outcome.name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--only", default="", help="only scripts whose name matches this pattern")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--real", help="the Python of an environment in which CrewAI is installed")
    parser.add_argument("--json", type=Path, help="where to write every outcome")
    parser.add_argument("--show", action="store_true", help="print each script of --only, and its traceback")
    given = parser.parse_args()
    FORKS.set_forkserver_preload(WARM)
    units = [
        unit for folder in given.folders for unit in units_below(folder.resolve()) if re.search(given.only, unit.name)
    ]
    units = list({(unit.code, str(unit.folder)): unit for unit in reversed(units)}.values())[::-1]
    with LoopbackEndpoint(answer) as endpoint, ThreadPoolExecutor(given.jobs) as pool:

        def count(label: str) -> int:
            return sum(f"/{label}/" in request.path for request in endpoint.requests)

        lab = Laboratory(endpoint.url, count, OtherPython(given.real) if given.real else None)
        outcomes = list(pool.map(lab.examine, range(len(units)), units))
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1), encoding="utf-8")
    for unit, outcome in zip(units, outcomes, strict=True) if given.show else ():
        print(f"=== {outcome.name}: {outcome.kind}: {outcome.reason}\n{unit.code}\n--- {outcome.detail}")
    with suppress(BrokenPipeError):
        print(*reasons(outcomes), "", *table(outcomes), sep="\n")


if __name__ == "__main__":
    main()
