"""What `verbose=True` shows: a line for each thing that happens, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any

from oarlock.contract.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallFailed,
    CallFinished,
    ContextShortened,
    Delegated,
    Event,
    RunFailed,
    RunFinished,
    RunStarted,
    SignedIn,
    TaskFinished,
    TaskSkipped,
    TaskStarted,
    ToolFinished,
    Waiting,
)
from oarlock.contract.secret import scrub
from oarlock.contract.watching import listening

__all__ = ["Listener", "describe", "listener"]

Listener = Callable[[Event], None]


def listener(verbose: bool, loud: Collection[str], on_event: Listener | None) -> Listener | None:
    """Return who listens to a run: the console, if the crew or the event's agent is verbose, and the user's function.

    Before them all come those that watch the process.
    """
    if not verbose and not loud:
        return listening(on_event)

    def listen(event: Event) -> None:
        if verbose or event.agent in loud:
            lines = describe(event)
            if lines:  # in one piece: tasks that run side by side may print from several threads
                print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201  this is the console view
        if on_event is not None:
            on_event(event)

    return listening(listen)


def describe(event: Event) -> list[str]:
    """Return an event in words, one line each, nothing for what goes without saying. Foreign text is escaped and cut."""
    words = _WORDS.get(type(event))
    return words(event) if words else []


def _task(event: TaskStarted) -> list[str]:
    return [f"  Task {event.number}: {scrub(event.description, 100)}", f"    Agent: {scrub(event.agent or '', 60)}"]


def _delegated(event: Delegated) -> list[str]:
    does = "asks" if event.question else "delegates to"
    return [f"    {scrub(event.agent or '', 60)} {does} {scrub(event.coworker, 60)}: {scrub(event.work, 100)}"]


def _signed_in(event: SignedIn) -> list[str]:
    lasts = f", valid for {event.expires_in:.0f} s" if event.expires_in is not None else ""
    return [f"    Signed in ({event.why}{lasts})"]


def _waiting(event: Waiting) -> list[str]:
    why = f": {scrub(str(event.error), 120)}" if event.error else ""
    seconds = "" if event.seconds is None else f" {event.seconds:.1f} s"
    return [f"    Waiting{seconds} ({event.cause.replace('_', ' ')}){why}"]


def _answered(event: CallFinished) -> list[str]:
    usage = event.reply.usage
    tokens = f"{'about ' if usage.estimated else ''}{usage.total_tokens} tokens"
    return [f"    {scrub(event.model, 60)} answered: {tokens} in {event.seconds:.1f} s"]


def _used(event: ToolFinished) -> list[str]:
    how = " failed" if event.failed else " answered as before" if event.cached else ""
    return [f"    Tool {scrub(event.tool, 60)}{how}: {scrub(event.answer, 100)}"]


def _decided(event: ApprovalDecided) -> list[str]:
    verdict = "refused" if not event.approved else "approved" if event.arguments is None else "approved with changes"
    why = f": {scrub(event.reason, 100)}" if event.reason else ""
    return [f"    {scrub(event.tool, 60)} was {verdict}{why}"]


def _finished(event: RunFinished) -> list[str]:
    usage = event.usage
    return [f"Crew finished in {event.seconds:.1f} s: {usage.requests} calls, {usage.total_tokens} tokens"]


_WORDS: dict[type[Event], Callable[[Any], list[str]]] = {
    RunStarted: lambda event: [f"Crew started: {event.tasks} task{'s' if event.tasks != 1 else ''}"],
    TaskStarted: _task,
    TaskSkipped: lambda event: [f"  Task {event.number}: {scrub(event.description, 100)}", "    Skipped"],
    Delegated: _delegated,
    SignedIn: _signed_in,
    Waiting: _waiting,
    CallFinished: _answered,
    ContextShortened: lambda event: [f"    {scrub(event.model, 60)}: {event.what}"],
    CallFailed: lambda event: [f"    {scrub(event.model, 60)} failed: {scrub(str(event.error))}"],
    ToolFinished: _used,
    ApprovalRequested: lambda event: [
        f"    {scrub(event.agent or '', 60)} asks for approval of {scrub(event.tool, 60)}"
    ],
    ApprovalDecided: _decided,
    TaskFinished: lambda event: [f"    Answer after {event.seconds:.1f} s: {scrub(event.answer, 200)}"],
    RunFinished: _finished,
    RunFailed: lambda event: [
        f"Crew failed after {event.seconds:.1f} s: {type(event.error).__name__}: {scrub(str(event.error))}"
    ],
}
