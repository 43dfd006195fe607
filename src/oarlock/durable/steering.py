"""What one may do with a run from outside: let it go on, stop it, begin another one from it, answer its questions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from oarlock.contract.errors import RunError
from oarlock.durable.log import AGAIN, DECIDED
from oarlock.durable.port import RunInfo, State, Store
from oarlock.durable.spec import queue_of
from oarlock.durable.stores import found

__all__ = ["ANSWER", "QUESTION", "answer", "fork", "questions", "resume"]

QUESTION: Final = "asks:"
ANSWER: Final = "answer:"
_LEFT: Final = "here.nobody"  # a queue for runs that a `kickoff` with their id takes from there
_HELD: Final = "held"  # a queue that nobody looks at


def resume(store: Store, run_id: str, *, tools: str | None = None) -> None:
    """Let a run go on that failed, was cancelled or waits.

    Args:
        store: its database.
        run_id: of the run.
        tools: `"retry"` or `"skip"`: what becomes of tools that may have done their work when it was cut off.

    Raises:
        RunError: there is no such run, or it is not in a state to go on from.
    """
    info = found(store, run_id, content=False)
    if info.state in (State.finished, State.running):
        raise RunError(f"Run {run_id!r} is {info.state}: there is nothing to resume.", run_id=run_id)
    marks = list(info.facts.get("marks", ()))
    if info.state is State.failed:
        marks.append(f"{AGAIN}:{uuid.uuid4().hex[:8]}")
    if tools is not None:
        marks.append(f"{DECIDED}:{tools}:{uuid.uuid4().hex[:8]}")
    store.note(run_id, {"marks": marks, "waits": None})
    queue = home_of(info)
    if info.state is State.failed:
        store.again(run_id, queue)
    elif info.state is not State.queued:
        store.resume(run_id, queue)


def home_of(info: RunInfo) -> str:
    """Return the queue that a run goes to: its crew's, if it was submitted; else whoever has its id may take it."""
    if info.facts.get("here"):
        return _LEFT
    return queue_of(str(info.facts.get("crew", "")), str(info.facts.get("fingerprint", "")))


def fork(store: Store, run_id: str, position: int, fingerprint: str | None = None) -> str:
    """Begin a new run with the recorded answers before a position, and return its id.

    Args:
        store: the database.
        run_id: of the run to begin from.
        position: the first step that is done anew, as `oarlock runs show` numbers them.
        fingerprint: of the crew's definition that is to do it; default: that of the run.

    Raises:
        RunError: there is no such run.
    """
    info = found(store, run_id, content=False)
    if position < 1:
        raise RunError(f"--from-step must be 1 or more, not {position}.", run_id=run_id)
    forked = store.fork(run_id, position, _HELD)
    facts: dict[str, Any] = {name: None for name in info.facts if name.startswith((QUESTION, ANSWER))}
    wanted = fingerprint or str(info.facts.get("fingerprint", ""))
    store.note(forked, {**facts, "fingerprint": "" if info.facts.get("here") else wanted, "waits": None, "marks": []})
    store.resume(forked, home_of(found(store, forked, content=False)))
    return forked


def questions(store: Store, facts: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the questions to a human that a run has asked and that nobody has answered, by their keys: task and agent."""
    asked = {name.removeprefix(QUESTION): value for name, value in facts.items() if name.startswith(QUESTION) and value}
    return {
        key: {what: store.unseal(str(text)) for what, text in value.items()}
        for key, value in asked.items()
        if not facts.get(f"{ANSWER}{key}")
    }


def answer(store: Store, run_id: str, said: str, question: str | None = None) -> None:
    """Answer a question of a run: what to change, or nothing to accept.

    Args:
        store: its database.
        run_id: of the run.
        said: the answer.
        question: which one, if there are several.

    Raises:
        RunError: there is no such run or no such question, or it is not clear which.
    """
    info = found(store, run_id, content=False)
    asked = questions(store, info.facts)
    if question is None and len(asked) == 1:
        question = next(iter(asked))
    if question is None or question not in asked:
        listed = ", ".join(f"{key} ({value.get('task')})" for key, value in asked.items()) or "none"
        which = "asks nothing of that name" if question is not None else "does not ask exactly one thing"
        raise RunError(f"Run {run_id!r} {which}. Its open questions: {listed}.", run_id=run_id)
    store.note(run_id, {f"{ANSWER}{question}": {"said": store.seal(said), "at": time.time()}})
    if found(store, run_id, content=False).state is State.waiting:
        store.note(run_id, {"waits": None})
        store.resume(run_id, home_of(info))
