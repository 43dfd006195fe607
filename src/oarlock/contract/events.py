"""Typed events: one stream of them feeds the console view, callbacks, metrics, telemetry and whoever listens.

Each event belongs to a piece of work: a run, a task, a model call or a tool's run, whose id is its `span_id`. What begins a piece
and what ends it have the same `span_id`, so that they can be paired however much runs side by side; `parent_id` is that of the
piece around it, so that all pieces of a run are a tree. An event that begins and ends nothing happened in its `span_id`.

| piece of work | begins with | ends with | happens within |
|---|---|---|---|
| run | `RunStarted` | `RunFinished`, `RunFailed` | `TaskSkipped`, `RecordingFailed` |
| task | `TaskStarted` | `TaskFinished`, `TaskFailed` | `GuardrailChecked`, `AnswerRejected`, `HumanAsked`, `HumanAnswered`, `ContextShortened` |
| model call | `CallStarted` | `CallFinished`, `CallFailed` | `ModelDelta`, `PartialOutput`, `Waiting`, `Waited`, `CacheHit`, `FellBack`, `CircuitChanged`, `SignedIn` |
| tool's run | `ToolStarted` | `ToolFinished` | `ApprovalRequested`, `ApprovalDecided`, `Delegated`, and what the coworker then does |

`oarlock.events.to_dict` makes JSON of them. Fields with what users, models and tools wrote are marked as content there, and left
out unless asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarlock.contract.context import current_call
from oarlock.contract.errors import OarlockError
from oarlock.contract.records import dataclass, field
from oarlock.contract.reply import Reply, ToolCall, Usage

if TYPE_CHECKING:
    from oarlock.contract.request import Request

__all__ = [
    "AnswerRejected",
    "ApprovalDecided",
    "ApprovalRequested",
    "CacheHit",
    "CallFailed",
    "CallFinished",
    "CallStarted",
    "CircuitChanged",
    "ContextShortened",
    "Delegated",
    "Event",
    "EventsMissed",
    "FellBack",
    "GuardrailChecked",
    "HumanAnswered",
    "HumanAsked",
    "ModelDelta",
    "PartialOutput",
    "RecordingFailed",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "SignedIn",
    "TaskFailed",
    "TaskFinished",
    "TaskSkipped",
    "TaskStarted",
    "ToolFinished",
    "ToolStarted",
    "Waited",
    "Waiting",
]


_CONTENT = {"content": True}  # what users, models and tools wrote: in JSON only where it is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run.

    Attributes:
        agent: the role of the agent at work, if it was inside one's.
        task: the name of the task, likewise.
        time: when, in seconds since the epoch, by the run's clock; it does not count where events are compared.
        run_id: of the run.
        task_id: of this doing of the task.
        span_id: of the piece of work that this event begins or ends, or else in which it happened; see the module's text.
        parent_id: of the piece of work around that one.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Poet", goal="Rhyme", llm=ScriptedLLM(["Row, row."]))
        >>> stream = Crew(tasks=[Task(description="A line", agent=agent)]).stream()
        >>> [type(event).__name__ for event in stream if event.agent]
        ['TaskStarted', 'CallStarted', 'ModelDelta', 'ModelDelta', 'CallFinished', 'TaskFinished']
    """

    agent: str | None = field(default_factory=lambda: current_call().agent)
    task: str | None = field(default_factory=lambda: current_call().task)
    time: float = field(default_factory=lambda: current_call().clock(), compare=False)
    run_id: str | None = field(default_factory=lambda: current_call().run_id)
    task_id: str | None = field(default_factory=lambda: current_call().task_id)
    span_id: str | None = field(default_factory=lambda: current_call().span_id)
    parent_id: str | None = field(default_factory=lambda: current_call().parent_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A crew began. An agent without a crew has a task of its own, and no run around it.

    Attributes:
        tasks: how many there are.
        crew: its name.
    """

    tasks: int
    crew: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A crew ended with an answer: that of its last task."""

    seconds: float
    usage: Usage
    answer: str = field(default="", repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(Event):
    """A crew ended with an error; one that was cancelled, or whose stream was left, with what ended it."""

    seconds: float
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """An agent began a task.

    Attributes:
        number: its place among the crew's tasks, from 1.
        description: what to do, with the inputs filled in.
    """

    number: int = 1
    description: str = field(default="", repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """An agent ended a task.

    Attributes:
        seconds: how long it took.
        answer: the text.
        usage: what it cost, delegated work included.
        value: the object of `output_pydantic`, or the values of `output_json`.
    """

    seconds: float
    answer: str = field(repr=False, metadata=_CONTENT)
    usage: Usage = field(default_factory=Usage)
    value: Any = field(default=None, repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(Event):
    """An agent could not end a task; one that was cancelled, or whose stream was left, with what ended it."""

    seconds: float
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSkipped(Event):
    """The condition of a task was not met."""

    number: int = 1
    description: str = field(default="", repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated(Event):
    """An agent handed work over to a coworker, or asked one a question; what is done for it comes under that agent.

    Attributes:
        coworker: the role of whoever is to do it.
        work: the work or the question, in the model's words.
        question: it is a question.
    """

    coworker: str
    work: str = field(repr=False, metadata=_CONTENT)
    question: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    """A model is being asked.

    Attributes:
        model: its name.
        messages: how many.
        number: which of the agent's calls for this piece of work it is, from 1.
        tools: how many are offered.
        streams: the answer comes in pieces, as `ModelDelta`s.
        purpose: `"answer"`, `"judge"` for a guardrail in words, or `"summary"` of a conversation that is too long.
        request: what is asked.
    """

    model: str
    messages: int
    number: int = 1
    tools: int = 0
    streams: bool = False
    purpose: str = "answer"
    request: Request | None = field(default=None, repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDelta(Event):
    """A piece of a model's answer. The pieces of one answer have the `span_id` of its call.

    Attributes:
        text: of the answer; empty for a piece of a tool call.
        tool_call: a piece of a tool call: its id and name, as far as they have come, and a part of its arguments.
        attempt: a higher one begins the answer anew, and what came before counts no more.
        purpose: as in `CallStarted`.
    """

    text: str = field(default="", repr=False, metadata=_CONTENT)
    tool_call: ToolCall | None = field(default=None, repr=False, metadata=_CONTENT)
    attempt: int = 1
    purpose: str = "answer"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(Event):
    """A model answered.

    Attributes:
        model: its name.
        seconds: from asking to the whole answer, waits and further attempts included.
        reply: the answer; its `usage` is what the call cost.
        attempts: how many requests it took.
        waited: of the seconds, those in which it waited: for a retry, a rate limit, a place, ...
    """

    model: str
    seconds: float
    reply: Reply = field(repr=False, metadata=_CONTENT)
    attempts: int = 1
    waited: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed(Event):
    """A model call failed for good; see `CallFinished`."""

    model: str
    seconds: float
    error: OarlockError
    attempts: int = 1
    waited: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Event):
    """A call begins to wait, and why. A `Waited` follows when that is over.

    Attributes:
        cause: `"retry"`, `"rate_limit"`, `"concurrency"`, `"budget"`, ...
        seconds: how long it should take; `None` where that depends on others.
        error: what made it wait, where it was an error.
        attempt: the attempt that failed, for a retry.
    """

    cause: str
    seconds: float | None = None
    error: OarlockError | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited(Event):
    """A call has waited; `seconds` is how long it really took. `cause` is that of the `Waiting` before."""

    cause: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialOutput(Event):
    """What has come so far of a task's structured answer, while it is streamed.

    Attributes:
        value: an object of the task's pydantic model with what has come so far: other fields have their defaults, or are
            `None`, and are not in its `model_fields_set`; texts and lists grow. With `output_json` it is a dictionary. It has
            not been validated as a whole.
        attempt: as in `ModelDelta`; an answer that is asked for again begins anew, too.
    """

    value: Any = field(repr=False, metadata=_CONTENT)
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailChecked(Event):
    """A guardrail has looked at an answer.

    Attributes:
        guardrail: the name of the function, or the rule.
        passed: whether the answer may stand.
        reason: why not.
    """

    guardrail: str
    passed: bool
    reason: str = field(default="", repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRejected(Event):
    """An answer goes back to the agent.

    Attributes:
        by: `"structure"`, `"guardrail"` or `"human"`.
        reason: what is wrong with it.
    """

    by: str
    reason: str = field(repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanAsked(Event):
    """A human is shown an answer, and the task waits for what they say."""

    answer: str = field(repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanAnswered(Event):
    """A human has said what to change, or nothing, after so many seconds."""

    seconds: float
    said: str = field(default="", repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsMissed(Event):
    """So many events went by unseen: your own code caused more of them than are kept, before the stream could be read again."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFailed(Event):
    """The run's record could not be written to; the run goes on, and so does its record once it can. Told once.

    Attributes:
        path: of the record.
        why: in words, such as "No space left on device".
    """

    path: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit(Event):
    """A call was answered from a cache. `saved` is what the answer cost when a model gave it."""

    model: str
    saved: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShortened(Event):
    """A conversation was shortened so that it fits into the model's context window. Counts are in tokens, about.

    Attributes:
        window: the context window.
        before: how much the conversation took.
        after: how much it takes now.
        tool_results: how many results of tools were cut.
        summarised: how many messages a summary took the place of.
        others: how many other texts were cut, answers of earlier tasks among them.
        left_out: how many whole messages are not sent any more.
        refused: the endpoint had refused it; otherwise it was seen before the call.
    """

    model: str
    window: int
    before: int
    after: int
    tool_results: int = 0
    summarised: int = 0
    others: int = 0
    left_out: int = 0
    refused: bool = False

    @property
    def what(self) -> str:
        """The event in a sentence."""
        parts = [
            f"{self.tool_results} tool result{'s'[: self.tool_results != 1]} cut" if self.tool_results else "",
            f"{self.summarised} messages summarised" if self.summarised else "",
            f"{self.others} other text{'s'[: self.others != 1]} cut" if self.others else "",
            f"{self.left_out} message{'s'[: self.left_out != 1]} left out" if self.left_out else "",
        ]
        return (
            f"context shortened from about {self.before:,} to {self.after:,} tokens, of {self.window:,}: "
            f"{', '.join(part for part in parts if part)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack(Event):
    """A model failed for good, and another one is asked instead."""

    from_model: str
    to_model: str
    error: OarlockError


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged(Event):
    """A circuit breaker opened, is trying the endpoint again, or closed.

    Attributes:
        endpoint: whose circuit it is; `None` for an LLM that names none.
        state: `"open"`, `"half_open"` or `"closed"`.
        why: in words, for `"open"`: how many calls of how many failed.
        seconds: for how long it is open; 0 for the others.
    """

    endpoint: str | None
    state: str
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn(Event):
    """A sign-in got a credential. `why` is `"first use"`, `"expired"` or `"refused"`; `expires_in` is in seconds."""

    method: str
    why: str
    expires_in: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Event):
    """A tool is being run.

    Attributes:
        tool: its function name, or what the model called it.
        arguments: as the model gave them.
    """

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict, repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(Event):
    """A tool ended; `failed` when its answer is the text of an error, `cached` when it is that of an equal call before."""

    tool: str
    seconds: float
    answer: str = field(repr=False, metadata=_CONTENT)
    failed: bool = False
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested(Event):
    """Somebody is asked whether a dangerous tool may run."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict, repr=False, metadata=_CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDecided(Event):
    """They have answered.

    Attributes:
        approved: the tool may run.
        reason: why not, in their words, if they gave any.
        arguments: what it is run with in place of the model's arguments, if they changed them.
        seconds: how long it took them.
    """

    tool: str
    approved: bool
    reason: str = field(default="", repr=False, metadata=_CONTENT)
    arguments: dict[str, Any] | None = field(default=None, repr=False, metadata=_CONTENT)
    seconds: float = 0.0
