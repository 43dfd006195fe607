"""A model call that somebody watches: what is told of it, and under which id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock.agents.partial import PartialReader
from oarlock.contract.context import current_call, scope, tell
from oarlock.contract.errors import OarlockError
from oarlock.contract.events import (
    CacheHit,
    CallFailed,
    CallFinished,
    CallStarted,
    Event,
    FellBack,
    ModelDelta,
    PartialOutput,
    Waited,
    Waiting,
)
from oarlock.contract.replacing import replacer
from oarlock.contract.reply import Delta, Reply, Usage
from oarlock.contract.request import DeltaSink, Request
from oarlock.runtime import ReadRuntime

if TYPE_CHECKING:
    from oarlock.agents.work import Work

__all__ = ["ask_in_view"]


async def ask_in_view(work: Work, request: Request, instead: Reply | None) -> Reply:
    """Do what `Work.answered` does, and tell whoever watches of it."""
    here, model, tally = current_call(), work.asked(request.tools).model, _Tally()
    # As sure to be the same when the run is driven again as the keys of tools.
    with scope(span_id=f"{here.run_id}:{work.key}:{work.calls}", parent_id=here.span_id):
        pieces = _pieces(work)
        # What a hook gives, or may still change, is handed over in one piece at the end.
        held = None if instead is None and (work.hooks is None or not work.hooks.change_answers) else pieces
        request = request.replace(observers=(*request.observers, tally), deltas=pieces if held is None else None)
        tell(
            CallStarted,
            model=model,
            messages=len(request.messages),
            number=work.calls,
            tools=len(request.tools),
            streams=pieces is not None,
            purpose=work.purpose,
            request=request,
        )
        started = work.runtime.now()
        try:
            if instead is not None:
                tell(CacheHit, model=model, saved=Usage())
            reply = await work.answered(request, instead)
            if held is not None:
                await held.put_whole(reply)
        except OarlockError as error:
            tell(CallFailed, model=model, seconds=work.runtime.now() - started, error=error, **tally.figures())
            raise
        tell(CallFinished, model=model, seconds=work.runtime.now() - started, reply=reply, **tally.figures())
    return reply


def _pieces(work: Work) -> _Pieces | None:
    """Return where the pieces of the answer go, if the run is read as a stream."""
    return _Pieces(work.runtime, work) if isinstance(work.runtime, ReadRuntime) else None


class _Pieces(DeltaSink):
    """Tells of a model's answer piece by piece. Each says which attempt it is of, so that there may be several."""

    __slots__ = ("_clock", "_listener", "_partial", "_runtime", "_template", "_work", "attempt")

    may_begin_anew = True

    def __init__(self, runtime: ReadRuntime[Event], work: Work) -> None:
        super().__init__()
        here = current_call()
        assert here.listener is not None, "whoever reads listens"
        self.attempt = 1
        self._runtime, self._listener, self._clock = runtime, here.listener, here.clock
        self._template = ModelDelta(purpose=work.purpose)
        self._work = work
        self._partial = _partial_reader(work)

    def begin_anew(self) -> None:
        self.delivered = 0
        self.attempt += 1
        self._partial = _partial_reader(self._work)

    async def put(self, delta: Delta) -> None:
        """Tell of a piece, and return once the next one is wanted."""
        if delta.text or delta.tool_call is not None:
            self.delivered += 1
            facts = {"text": delta.text, "tool_call": delta.tool_call, "attempt": self.attempt, "time": self._clock()}
            self._listener(_with(self._template, **facts))
            value = self._partial.feed(delta.text) if self._partial is not None and delta.text else None
            if value is not None:
                self._listener(PartialOutput(value=value, attempt=self.attempt))
        await self._runtime.give_way()

    async def put_whole(self, reply: Reply) -> None:
        """Tell of an answer in one piece, and of each tool call in another."""
        await self.put(Delta(reply.text))
        for call in reply.tool_calls:
            await self.put(Delta(tool_call=call))


_with = replacer(ModelDelta)


def _partial_reader(work: Work) -> PartialReader | None:
    structure = work.structure
    if structure is None or work.purpose != "answer":
        return None
    return PartialReader(structure.model, as_json=structure.as_json, after_mark=work.tools_as_text)


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
