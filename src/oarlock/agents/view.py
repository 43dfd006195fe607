"""A model call that somebody watches: what is told of it, and under which id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock.contract.context import current_call, scope, tell
from oarlock.contract.errors import OarlockError
from oarlock.contract.events import CacheHit, CallFailed, CallFinished, CallStarted, Event, FellBack, Waited, Waiting
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request

if TYPE_CHECKING:
    from oarlock.agents.work import Work

__all__ = ["ask_in_view"]


async def ask_in_view(work: Work, request: Request, instead: Reply | None) -> Reply:
    """Do what `Work.answered` does, and tell whoever watches of it."""
    here, model, tally = current_call(), work.llm.model, _Tally()
    request = request.replace(observers=(*request.observers, tally))
    # As sure to be the same when the run is driven again as the keys of tools.
    with scope(span_id=f"{here.run_id}:{work.key}:{work.calls}", parent_id=here.span_id):
        tell(
            CallStarted,
            model=model,
            messages=len(request.messages),
            number=work.calls,
            tools=len(request.tools),
            streams=request.deltas is not None,
            request=request,
        )
        started = work.runtime.now()
        try:
            if instead is not None:
                tell(CacheHit, model=model, saved=Usage())
            reply = await work.answered(request, instead)
        except OarlockError as error:
            tell(CallFailed, model=model, seconds=work.runtime.now() - started, error=error, **tally.figures())
            raise
        tell(CallFinished, model=model, seconds=work.runtime.now() - started, reply=reply, **tally.figures())
    return reply


class _Tally:
    """Counts what a call's policies tell: its attempts, and how long it waited."""

    __slots__ = ("attempts", "waited")

    def __init__(self) -> None:
        self.attempts = 1
        self.waited = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Waited):
            self.waited += event.seconds
        elif isinstance(event, FellBack) or (isinstance(event, Waiting) and event.cause == "retry"):
            self.attempts += 1

    def figures(self) -> dict[str, float]:
        return {"attempts": self.attempts, "waited": self.waited}
