"""What views say of pieces of work, in words. Foreign text is escaped, cut, and free of what looks like a credential."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from oarlock.contract.events import ContextShortened
from oarlock.contract.secret import scrub
from oarlock.views.reading import Facts, Problem
from oarlock.views.tree_parts import Kind, Note, Piece, State, Totals, Wait

__all__ = [
    "about", "call_words", "counted", "duration", "money", "note_words", "plain", "summary", "tokens", "tool_words", "wait_words",
]  # fmt: skip

_LEAST_COST: Final = 0.0001  # shown as such; less is none that anybody counts by hand
_JUST_NOW: Final = 0.05  # seconds
# What may turn a line around or hide in it; control characters and halves of surrogate pairs are `scrub`'s business.
_TURNS: Final = re.compile(r"[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_CAUSES: Final = {
    "retry": "to try again",
    "breaker": "for the circuit breaker",
    "rate_limit": "for the rate limit",
    "concurrency": "for a free place",
    "budget": "for the budget",
    "human": "for a human",
}
_PURPOSES: Final = {"judge": " (as judge)", "summary": " (summary)"}


def plain(text: str, limit: int = 100) -> str:
    """Return foreign text as one line that changes nothing but its place on a terminal.

    Example:
        >>> plain("a\\x1b[2Jb\\r\\nc [bold]d")
        'a [2Jb c [bold]d'
    """
    return scrub(_TURNS.sub("", text[: limit * 4]), limit)


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> [duration(seconds) for seconds in (0.04, 7.25, 59.96, 125, 7325)]
        ['0.0 s', '7.2 s', '1 min 0 s', '2 min 5 s', '2 h 2 min']
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things.

    Example:
        >>> counted(1, "call"), counted(1200, "call"), counted(2, "try", "tries")
        ('1 call', '1,200 calls', '2 tries')
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def tokens(totals: Totals) -> str:
    """Return how many tokens were used."""
    return f"{'~' if totals.usage.estimated else ''}{counted(totals.usage.total_tokens, 'token')}"


def money(totals: Totals) -> str:
    """Return what the calls have cost, empty where no price is known. What has no price makes it a lower bound."""
    if not totals.cost:
        return ""
    cost = float(totals.cost)
    shown = f"under {_LEAST_COST}" if cost < _LEAST_COST else f"{cost:,.2f}" if cost >= 10 else f"{cost:.4f}"
    return f"cost {'over ' if totals.unpriced else ''}{shown}"


def about(problem: Problem | None, limit: int = 200) -> str:
    """Return an error in a line."""
    return "" if problem is None else plain(str(problem), limit)


def wait_words(wait: Wait, now: float) -> str:
    """Return what a wait is for, how long it took, or takes so far."""
    breaker = wait.cause == "retry" and wait.problem is not None and wait.problem.type == "CircuitOpenError"
    why = _CAUSES.get("breaker" if breaker else wait.cause, f"({plain(wait.cause, 30).replace('_', ' ')})")
    error = f": {about(wait.problem)}" if wait.problem is not None else ""
    if wait.seconds is not None:
        return f"waited {duration(wait.seconds)} {why}{error}"
    so_far, most = now - wait.began, wait.expected
    if so_far < _JUST_NOW:
        return f"waiting {why if most is None else f'{duration(most)} {why}'}{error}"
    return f"waiting {duration(so_far)}{'' if most is None else f' of {duration(most)}'} {why}{error}"


def call_words(call: Piece, now: float) -> str:
    """Return how a model call stands."""
    model = f"{plain(call.name, 60) or 'a model'}{_PURPOSES.get(call.purpose, '')}"
    if call.state is State.failed:
        return f"{model} failed"
    if call.state is State.stopped:
        return f"{model} was stopped"
    if call.is_over:
        cached = " from the cache" if call.cached else ""
        return (
            f"{model} asks for {counted(call.tool_calls, 'tool')}{cached}"
            if call.tool_calls
            else f"{model} answered{cached}"
        )
    wait = call.waiting
    if wait is not None:
        return f"{model} {wait_words(wait, now)}"
    again = f", attempt {call.attempts}" if call.attempts > 1 else ""
    return (
        f"{model} is writing, {counted(call.written, 'character')}" if call.written else f"{model} is thinking{again}"
    )


def tool_words(tool: Piece, now: float) -> str:
    """Return what a tool does, or for whom."""
    if tool.coworker:
        does = "asks" if tool.question else "delegates to"
        return f"{plain(tool.agent, 40)} {does} {plain(tool.coworker, 40)}: {plain(tool.text)}"
    given = dict(tool.arguments or {})
    arguments = ", ".join(f"{plain(name, 30)}={plain(_written(value), 60)}" for name, value in list(given.items())[:4])
    more = ", …" if len(given) > 4 else ""
    wait = tool.waiting
    end = (
        f" {wait_words(wait, now)}"
        if wait is not None
        else {State.failed: " failed", State.stopped: " was stopped"}.get(tool.state, "")
    )
    return f"{plain(tool.name, 60) or 'a tool'}({plain(arguments, 120)}{more}){end}{' answered as before' if tool.cached else ''}"


def _written(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):  # keys of other types, a circle: what a hook put there
        return "…"


def note_words(note: Note) -> str:
    """Return a note in words, empty for one that goes without saying."""
    words = _NOTES.get(note.kind)
    return words(Facts(note.event)) if words is not None else ""


def _signed_in(facts: Facts) -> str:
    lasts = facts.number("expires_in")
    return f"signed in ({plain(facts.text('why'), 40)}{'' if lasts is None else f', valid for {duration(lasts)}'})"


def _circuit(facts: Facts) -> str:
    state = {"open": "opened", "half_open": "tries again", "closed": "closed"}.get(facts.text("state"), "changed")
    endpoint, why = plain(facts.text("endpoint")), plain(facts.text("why"))
    return f"circuit {state}{f' for {endpoint}' if endpoint else ''}{f': {why}' if why else ''}"


def _decided(facts: Facts) -> str:
    refused, changed = not facts.flag("approved"), facts.mapping("arguments") is not None
    verdict = "refused" if refused else "approved with changes" if changed else "approved"
    reason = plain(facts.text("reason"))
    return f"{plain(facts.text('tool'), 60)} was {verdict}{f': {reason}' if reason else ''}"


def _shortened(facts: Facts) -> str:
    what = facts.event.what if isinstance(facts.event, ContextShortened) else "context shortened"
    return f"{plain(facts.text('model'), 60)}: {what}"


def _rejected(facts: Facts) -> str:
    return f"answer sent back by {plain(facts.text('by'), 20) or 'somebody'}: {plain(facts.text('reason'), 200)}"


def _fell_back(facts: Facts) -> str:
    return f"fell back from {plain(facts.text('from_model'), 60)} to {plain(facts.text('to_model'), 60)}: {about(facts.problem())}"


def _said(facts: Facts) -> str:
    said = plain(facts.text("said"))
    return f"the human wants a change: {said}" if said else "the human is content"


_NOTES: Final[dict[str, Callable[[Facts], str]]] = {
    "AnswerRejected": lambda facts: "" if facts.text("by") == "human" else _rejected(facts),
    "ApprovalDecided": _decided,
    "CircuitChanged": _circuit,
    "ContextShortened": _shortened,
    "FellBack": _fell_back,
    "HumanAnswered": _said,
    "RecordingFailed": lambda facts: (
        f"the record {plain(facts.text('path'))} is not complete: {plain(facts.text('why'))}"
    ),
    "SignedIn": _signed_in,
}


def summary(root: Piece, now: float) -> list[str]:
    """Return what a run took, in a few lines, the first of which says how it ended."""
    totals = root.totals
    how = {State.finished: "finished in", State.failed: "failed after", State.stopped: "stopped after"}.get(
        root.state, "has run for"
    )
    what = plain(root.name, 60) if root.kind is Kind.run else plain(root.agent, 60)
    if root.kind is Kind.run:
        what = "Crew" if what in ("", "crew") else f"Crew {what}"
    more = totals.requests - totals.calls
    calls = counted(totals.calls, "call") + (f" in {totals.requests:,} requests" if more > 0 and totals.calls else "")
    failed = f" ({totals.calls_failed} failed)" if totals.calls_failed else ""
    tools = f"{counted(totals.tools, 'tool run')}{f' ({totals.tools_failed} failed)' if totals.tools_failed else ''}"
    parts = [
        _tasks(root),
        f"{calls}{failed}" if totals.calls else "",
        tools if totals.tools else "",
        f"{tokens(totals)} ({totals.usage.prompt_tokens:,} read, {totals.usage.completion_tokens:,} written)"
        if totals.usage.total_tokens else "",
        money(totals),
        counted(totals.sign_ins, "sign-in") if totals.sign_ins else "",
    ]  # fmt: skip
    waits = [
        f"{duration(wait.seconds)} {_CAUSES.get(cause, plain(cause, 30).replace('_', ' '))}{f' ({wait.count} times)' if wait.count > 1 else ''}"
        for cause, wait in sorted(totals.waits.items(), key=lambda item: -item[1].seconds)
    ]
    lines = [f"{what} {how} {duration(root.lasts(now))}: {', '.join(part for part in parts if part) or 'nothing done'}"]
    return [*lines, f"Waited {', '.join(waits)}"] if waits else lines


def _tasks(root: Piece) -> str:
    totals = root.totals
    if root.kind is not Kind.run:
        return ""
    left = max(root.tasks, totals.tasks) - totals.tasks
    parts = [f"{totals.tasks_failed} not finished" if totals.tasks_failed else "", f"{left} not begun" if left else ""]
    bad = ", ".join(part for part in parts if part)
    return f"{counted(totals.tasks + left, 'task')}{f' ({bad})' if bad else ''}"
