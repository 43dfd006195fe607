"""One run of a crew on behalf of a client."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from oarlock.contract.events import CallFinished, Event
from oarlock.contract.reply import Usage
from oarlock.runtime.ambient import current_async
from oarlock.serve.errors import ApiError
from oarlock.serve.runs.failures import failure
from oarlock.serve.runs.journal import Journal

if TYPE_CHECKING:
    from oarlock.agents.outputs import CrewOutput, TaskOutput
    from oarlock.tools import ApprovalRequest

__all__ = ["RUN", "Question", "Run", "Status", "ask_about_answer", "ask_for_approval"]

Status: TypeAlias = Literal["running", "waiting", "finished", "failed", "cancelled"]

RUN: Final[ContextVar[Run]] = ContextVar("oarlock_served_run")
"""The run in whose service some code is called."""


@dataclass(slots=True, kw_only=True)
class Question:
    """Something that a run wants to know from a human.

    Attributes:
        id: to answer it by.
        kind: `"human_input"`: what to change about an answer; `"approval"`: whether a tool may run.
        facts: what it is about.
        answer: what was said, once it was.
    """

    id: str
    kind: str
    facts: dict[str, Any]
    answer: Future[Any] = field(repr=False)

    def shown(self) -> dict[str, Any]:
        """Return it for the client."""
        return {"id": self.id, "kind": self.kind, **self.facts}


@dataclass(slots=True, kw_only=True)
class Run:
    """A run: where it stands, what happened, what it gave.

    Attributes:
        id: of the run.
        crew: the crew's name.
        owner: the caller who began it, and who alone sees it.
        journal: its events.
    """

    id: str
    crew: str
    owner: str
    journal: Journal
    created: float = field(default_factory=time.time)
    ended: float | None = None
    work: asyncio.Task[None] | None = field(default=None, repr=False)
    questions: dict[str, Question] = field(default_factory=dict)
    result: CrewOutput | None = field(default=None, repr=False)
    error: dict[str, Any] | None = None
    usage: Usage = field(default_factory=Usage)
    over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def status(self) -> Status:
        """Where it stands."""
        if self.result is not None:
            return "finished"
        if self.error is not None:
            return "cancelled" if self.error["code"] == "cancelled" else "failed"
        return "waiting" if self.open_questions else "running"

    @property
    def open_questions(self) -> list[Question]:
        """Those that nobody has answered."""
        return [question for question in self.questions.values() if not question.answer.done()]

    def hear(self, event: Event) -> None:
        """Note an event of the run, from whatever thread."""
        if isinstance(event, CallFinished):
            self.usage += event.reply.usage
        self.journal.write(event)

    async def ask(self, kind: str, facts: dict[str, Any]) -> Any:
        """Ask the client, and return what it answers."""
        question = Question(id=current_async().new_id(), kind=kind, facts=facts, answer=Future())
        self.questions[question.id] = question
        try:
            return await asyncio.wrap_future(question.answer)
        finally:
            del self.questions[question.id]

    def answer(self, question_id: str, said: Any) -> None:
        """Give an answer to a question.

        Raises:
            ApiError: 404, there is no such question, or it has been answered.
        """
        question = self.questions.get(question_id)
        if question is None or question.answer.done():
            raise ApiError(404, "There is no such question, or it has been answered.", code="question_not_found")
        question.answer.set_result(said)

    def end(self, result: CrewOutput | None, error: dict[str, Any] | None) -> None:
        """Note how it ended."""
        self.result, self.error, self.ended = result, error, time.time()
        if result is not None:
            self.usage = result.usage_metrics
        self.journal.end()
        self.over.set()

    def end_unbegun(self) -> None:
        """Note that it is over, where it was cancelled before its first step."""
        if self.ended is None:
            self.end(None, failure(asyncio.CancelledError()))

    def summary(self) -> dict[str, Any]:
        """Return where the run stands."""
        return {
            "id": self.id,
            "object": "run",
            "crew": self.crew,
            "status": self.status,
            "created": self.created,
            "ended": self.ended,
            "usage": {
                "prompt_tokens": self.usage.prompt_tokens,
                "completion_tokens": self.usage.completion_tokens,
                "total_tokens": self.usage.total_tokens,
                "requests": self.usage.requests,
            },
            "questions": [question.shown() for question in self.open_questions],
        }

    def whole(self) -> dict[str, Any]:
        """Return where the run stands, with what it gave."""
        return {**self.summary(), "result": _given(self.result), "error": self.error}


async def ask_about_answer(output: TaskOutput) -> str:
    """Ask the client of this run what to change about an answer: a crew's `on_human_input`."""
    facts = {"task": output.name, "agent": output.agent, "answer": output.raw}
    return str(await RUN.get().ask("human_input", facts))


async def ask_for_approval(request: ApprovalRequest) -> bool | str:
    """Ask the client of this run whether a tool may run: a crew's `on_approval`."""
    facts = {"task": request.task, "agent": request.agent, "tool": request.tool, "arguments": dict(request.arguments)}
    verdict: bool | str = await RUN.get().ask("approval", facts)
    return verdict


def _given(result: CrewOutput | None) -> dict[str, Any] | None:
    if result is None:
        return None
    tasks = [
        {"name": one.name, "agent": one.agent, "answer": one.raw, "structure": _structure(one), "skipped": one.skipped}
        for one in result.tasks_output
    ]
    return {"answer": result.raw, "structure": _structure(result), "tasks": tasks}


def _structure(output: Any) -> Any:
    """Return the structure of an output as JSON values, `None` if it has none."""
    if output.pydantic is not None:
        return output.pydantic.model_dump(mode="json")
    return output.json_dict
