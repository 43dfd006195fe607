"""What the doctor found: a step, an examination, a report. `as_json` is what `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Examination", "Outcome", "Report", "Step", "failed", "fine", "skipped", "warning"]

Outcome = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What came of one step.

    Attributes:
        name: such as `"dns"`; empty until the step is done.
        outcome: `"skipped"` is no blame: there was nothing to look at, or an earlier step failed.
        saw: what was seen, or why it was skipped; one line.
        advice: what to do about it.
        facts: the same for programs.
        seconds: how long it took.
    """

    name: str = ""
    outcome: Outcome
    saw: str
    advice: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the step as `--json` shows it."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "saw": self.saw,
            "advice": self.advice,
            "facts": dict(self.facts),
            "seconds": round(self.seconds, 3),
        }


def fine(saw: str, advice: str = "", **facts: Any) -> Step:
    """Return a step that found all well."""
    return Step(outcome="ok", saw=saw, advice=advice, facts=facts)


def warning(saw: str, advice: str = "", **facts: Any) -> Step:
    """Return a step that found something to think about; the LLM works all the same."""
    return Step(outcome="warning", saw=saw, advice=advice, facts=facts)


def failed(saw: str, advice: str = "", **facts: Any) -> Step:
    """Return a step that found what is wrong."""
    return Step(outcome="failed", saw=saw, advice=advice, facts=facts)


def skipped(why: str, advice: str = "", **facts: Any) -> Step:
    """Return a step that had nothing to look at."""
    return Step(outcome="skipped", saw=why, advice=advice, facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What came of examining one LLM.

    Attributes:
        llm: its name, such as `"gpt-x at https://llm.example.com/v1"`.
        steps: in the order in which they were done.
        requests: how many requests went to the endpoint, and to the sign-in's own.
        code: Python for this LLM, without secrets; `None` where it does not answer.
    """

    llm: str
    steps: tuple[Step, ...]
    requests: int
    sign_in_requests: int
    code: str | None

    @property
    def ok(self) -> bool:
        """Whether all that the LLM claims works."""
        return not self.failures

    @property
    def failures(self) -> list[Step]:
        """The steps that failed."""
        return [step for step in self.steps if step.outcome == "failed"]

    def __getitem__(self, name: str) -> Step:
        return {step.name: step for step in self.steps}[name]

    def as_json(self) -> dict[str, Any]:
        """Return the examination as `--json` shows it."""
        return {
            "llm": self.llm,
            "ok": self.ok,
            "requests": self.requests,
            "sign_in_requests": self.sign_in_requests,
            "steps": [step.as_json() for step in self.steps],
            "code": self.code,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a whole target: a URL has one LLM, a crew file may have several."""

    target: str
    examinations: tuple[Examination, ...]

    @property
    def ok(self) -> bool:
        """Whether everything works."""
        return all(one.ok for one in self.examinations)

    def as_json(self) -> dict[str, Any]:
        """Return the report as `--json` shows it; `format` changes when the meaning of a field does."""
        return {
            "format": 1,
            "target": self.target,
            "ok": self.ok,
            "llms": [one.as_json() for one in self.examinations],
        }
