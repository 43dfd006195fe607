"""What a page needs to show a record: numbers and texts, nothing that it would have to find out itself.

Names are short, and what is as usual is left out, since there may be ten thousand pieces of work: see `piece_data`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from oarlock.contract.event_data import plain
from oarlock.report.reading import Record, RecordedRun
from oarlock.views import Kind, Note, Piece, State, Totals, Wait

__all__ = ["content_of", "page_data"]

_NOTE_WORDS: Final[Mapping[str, str]] = {
    "AnswerRejected": "Answer sent back by {by}",
    "ApprovalDecided": "Approval of {tool}",
    "ApprovalRequested": "Approval of {tool} asked for",
    "CacheHit": "Answered from the cache",
    "CircuitChanged": "Circuit breaker {state}",
    "ContextShortened": "Conversation shortened from about {before} to {after} tokens, to fit into {window}",
    "Delegated": "Handed over to {coworker}",
    "EventsMissed": "{count} events could not be recorded",
    "FellBack": "{from_model} failed, {to_model} was asked instead",
    "GuardrailChecked": "Guardrail {guardrail}",
    "HumanAnswered": "A human answered",
    "HumanAsked": "A human was asked",
    "RecordingFailed": "The record could not be written to",
    "SignedIn": "Signed in by {method} ({why})",
}
_NOTE_TEXTS: Final = ("reason", "said", "why", "work")  # what may stand in one beside those words
_STRUCTURES: Final = (list, dict)


def page_data(record: Record) -> dict[str, Any]:
    """Return all of a record but what was said."""
    pieces: list[dict[str, Any]] = []
    return {
        "name": record.name,
        "notices": list(record.notices),
        "runs": [_run(run, pieces) for run in record.runs],
        "pieces": pieces,
    }


def _run(run: RecordedRun, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a run, having added its pieces behind those that are there, each before those in it."""
    mine = list(run.tree.walk())
    start = min((piece.began for piece in mine), default=run.began[0] if run.began else 0.0)
    first = len(pieces)
    places = {piece.id: first + number for number, piece in enumerate(mine)}
    pieces += [piece_data(piece, places, start) for piece in mine]
    root, totals = run.root, Totals()
    for one in run.tree.roots:
        totals.include(one.totals)
    end = max((piece.began + (piece.seconds or 0.0) for piece in mine), default=start)
    return {
        "id": run.run_id,
        "crew": run.crew or (root.name if root else ""),
        "state": "cut" if not run.ended else str(root.state) if root else "stopped",
        "start": start,
        "seconds": _round(end - start),
        "again": [_round(time - start) for time in run.began[1:]],
        "content": run.content,
        "from": first,
        "to": len(pieces),
        "totals": _totals(totals),
        "agents": _groups(mine, lambda piece: piece.agent),
        "models": _groups((piece for piece in mine if piece.kind is Kind.call), lambda piece: piece.name),
        "waits": _waits(mine),
        "answer": _short(root.answer, 20_000) if root else "",
        "error": str(root.problem) if root and root.problem else "",
    }


def piece_data(piece: Piece, places: Mapping[str, int], start: float) -> dict[str, Any]:
    """Return a piece of work.

    `p` is the place of the piece around it, `k` its kind, `s` its state unless it finished, `n` its name, `a` the agent, `b` when
    it began and `d` how long it took, in seconds, `e` its error, `w` its waits (cause, beginning, seconds, error), `t` tokens
    (read, written, cached, estimated), `c` its cost, `at` its attempts, `q` its purpose, `tc` the tools that its answer asks
    for, `ca` that it came from a cache, `x` what else happened (words, when, text).
    """
    parent = places.get(piece.parent.id) if piece.parent is not None else None
    usage, problem = piece.usage, piece.problem
    made = {
        "p": parent,
        "k": str(piece.kind),
        "s": None if piece.state is State.finished else str(piece.state),
        "n": _short(piece.name or piece.text, 200),
        "a": _short(piece.agent, 200),
        "b": _round(piece.began - start),
        "d": _round(piece.seconds or 0.0),
        "e": _error_of(piece),
        "own": True if problem is not None and piece.problem_of_its_own is not None else None,
        "w": [_wait(wait, start) for wait in piece.waits],
        "t": [usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens, int(usage.estimated)]
        if piece.kind is Kind.call and piece.state is State.finished
        else None,
        "c": _money(piece.cost),
        "at": piece.attempts if piece.attempts > 1 else None,
        "q": piece.purpose if piece.kind is Kind.call and piece.purpose != "answer" else None,
        "tc": piece.tool_calls or None,
        "ca": True if piece.cached else None,
        "co": _short(piece.coworker, 200) or None,
        "x": [_note(note, start) for note in piece.notes],
    }
    return {name: value for name, value in made.items() if value is not None and value != []}


def _error_of(piece: Piece) -> str | None:
    if piece.problem is not None:
        return str(piece.problem)
    failed = piece.kind is Kind.tool and piece.state is State.failed
    return _short(piece.answer, 300) or None if failed else None


def cause_of(wait: Wait) -> str:
    """Return what a wait was for, more exactly than events say it: a retry may be a backoff, or one that was asked for."""
    if wait.cause != "retry":
        return wait.cause
    kind = wait.problem.type if wait.problem is not None else ""
    if kind == "CircuitOpenError":
        return "breaker"
    return "throttled" if kind == "RateLimitError" or (wait.problem and wait.problem.status == 429) else "backoff"


def _wait(wait: Wait, start: float) -> list[Any]:
    said = [] if wait.problem is None else [str(wait.problem)]
    return [cause_of(wait), _round(wait.began - start), _round(wait.seconds or 0.0), *said]


def _note(note: Note, start: float) -> list[Any]:
    event = note.event if isinstance(note.event, Mapping) else {}
    known = {name: _short(str(value), 200) for name, value in event.items()}
    if "state" in known:
        known["state"] = known["state"].replace("_", " ")
    words = _NOTE_WORDS.get(note.kind, note.kind).format_map(_Unknown(known))
    if note.kind == "GuardrailChecked":
        words += ": passed" if event.get("passed") is True else ": not passed"
    elif note.kind == "ApprovalDecided":
        words += ": given" if event.get("approved") is True else ": refused"
    said = next((known[name] for name in _NOTE_TEXTS if known.get(name) and known[name] not in words), "")
    error = event.get("error")
    if not said and isinstance(error, Mapping):
        said = _short(f"{error.get('type')}: {error.get('message')}", 1000)
    return [words, _round(note.time - start), *([said] if said else [])]


class _Unknown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _totals(totals: Totals) -> dict[str, Any]:
    usage = totals.usage
    return {
        "tasks": totals.tasks,
        "tasks_failed": totals.tasks_failed,
        "calls": totals.calls,
        "calls_failed": totals.calls_failed,
        "requests": totals.requests,
        "tools": totals.tools,
        "tools_failed": totals.tools_failed,
        "cached": totals.cached,
        "read": usage.prompt_tokens,
        "written": usage.completion_tokens,
        "estimated": usage.estimated,
        "cost": _money(totals.cost) if totals.calls and totals.unpriced < totals.calls and totals.cost else None,
        "unpriced": totals.unpriced,
        "waited": _round(totals.waited),
        "sign_ins": totals.sign_ins,
    }


def _groups(pieces: Iterable[Piece], name_of: Callable[[Piece], str]) -> list[dict[str, Any]]:
    """Return what calls and tools took, by agent or by model, the most tokens first."""
    groups: dict[str, dict[str, Any]] = {}
    for piece in pieces:
        if piece.kind not in (Kind.call, Kind.tool):
            continue
        name = _short(name_of(piece), 200) or "—"
        group = groups.setdefault(
            name,
            {
                "n": name,
                "calls": 0,
                "failed": 0,
                "tools": 0,
                "read": 0,
                "written": 0,
                "cost": None,
                "busy": 0.0,
                "waited": 0.0,
            },
        )
        if piece.kind is Kind.tool:
            group["tools"] += 1
            continue
        waited = sum(wait.seconds or 0.0 for wait in piece.waits)
        group["calls"] += 1
        group["failed"] += piece.state is State.failed
        group["busy"] += max(0.0, (piece.seconds or 0.0) - waited)
        group["waited"] += waited
        if piece.state is State.finished:
            group["read"] += piece.usage.prompt_tokens
            group["written"] += piece.usage.completion_tokens
        if piece.cost is not None:
            group["cost"] = (group["cost"] or Decimal(0)) + piece.cost
    rows = sorted(groups.values(), key=lambda group: -(group["read"] + group["written"]))
    return [
        {**row, "cost": _money(row["cost"]), "busy": _round(row["busy"]), "waited": _round(row["waited"])}
        for row in rows
    ]


def _waits(pieces: Iterable[Piece]) -> list[list[Any]]:
    """Return for each cause how often there was a wait, how long in all and at most; the longest first."""
    found: dict[str, list[float]] = {}
    for piece in pieces:
        for wait in piece.waits:
            found.setdefault(cause_of(wait), []).append(wait.seconds or 0.0)
    rows = [[_short(cause, 60), len(all_), _round(sum(all_)), _round(max(all_))] for cause, all_ in found.items()]
    return sorted(rows, key=lambda row: -row[2])


def content_of(piece: Piece, places: Mapping[str, int]) -> dict[str, Any] | None:
    """Return what was said in a piece of work, `None` for nothing.

    A call has its `messages` (role, text, name, tool calls), which may come `after` some of those of an earlier call: its place
    and how many. What others have is a list of titled texts.
    """
    if piece.kind is Kind.call:
        return _conversation(piece, places)
    titles = {Kind.task: "Task", Kind.run: "Crew", Kind.tool: "Work"}
    texts = [
        [titles.get(piece.kind, "Text"), piece.text],
        ["Arguments", _as_text(piece.arguments)],
        ["Result" if piece.kind is Kind.tool else "Answer", piece.answer],
    ]
    said = [text for text in texts if text[1]]
    return {"texts": said} if said else None


def _conversation(call: Piece, places: Mapping[str, int]) -> dict[str, Any] | None:
    begin = call.begin if isinstance(call.begin, Mapping) else {}
    request = begin.get("request")
    request = request if isinstance(request, Mapping) else {}
    after, messages = request.get("after"), request.get("messages")
    made: dict[str, Any] = {}
    if isinstance(after, Mapping) and isinstance(after.get("count"), int):
        place = places.get(str(after.get("span_id")))
        made["after"] = [place, after["count"]]
    if isinstance(messages, list):
        made["messages"] = [_message(one) for one in messages if isinstance(one, Mapping)]
    if isinstance(request.get("tools"), list) and request["tools"]:
        made["tools"] = [_short(str(tool), 200) for tool in request["tools"]]
    end = call.end if isinstance(call.end, Mapping) else {}
    reply = end.get("reply")
    asked = reply.get("tool_calls") if isinstance(reply, Mapping) else None
    calls = [_call(one) for one in asked if isinstance(one, Mapping)] if isinstance(asked, list) else []
    if call.answer or calls:
        made["answer"] = {"r": "assistant", "t": call.answer, **({"c": calls} if calls else {})}
    return made or None


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    asked = message.get("tool_calls")
    functions = [one.get("function") for one in asked if isinstance(one, Mapping)] if isinstance(asked, list) else []
    calls = [_call(one) for one in functions if isinstance(one, Mapping)]
    name = message.get("name")
    return {
        "r": _short(str(message.get("role", "?")), 40),
        "t": _as_text(message.get("content")),
        **({"n": _short(name, 200)} if isinstance(name, str) else {}),
        **({"c": calls} if calls else {}),
    }


def _call(function: Mapping[str, Any]) -> list[str]:
    """Return a tool call: its name and its arguments, set out over lines if they are JSON."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments)
        except (ValueError, RecursionError):
            parsed = None
        arguments = parsed if isinstance(parsed, _STRUCTURES) else arguments
    return [_short(str(function.get("name", "?")), 200), _as_text(arguments)]


def _as_text(value: Any) -> str:
    """Return a text as it is, a list of parts as their texts, other things as JSON."""
    if value is None or value == {}:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        return "\n\n".join(
            part["text"] if isinstance(part.get("text"), str) else _as_text(dict(part)) for part in value
        )
    return json.dumps(plain(value), ensure_ascii=False, indent=2)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _round(seconds: float) -> float:
    return round(seconds, 6)


def _money(cost: Decimal | None) -> str | None:
    return None if cost is None else f"{cost:f}"
