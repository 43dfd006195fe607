"""From Oarlock's events of a run to those of CrewAI's bus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from oarlock.agents.outputs import TaskOutput
from oarlock.compat.crewai.events.base_events import BaseEvent
from oarlock.compat.crewai.events.event_bus import CrewAIEventsBus
from oarlock.compat.crewai.events.types import agent_events as agents
from oarlock.compat.crewai.events.types import crew_events as crews
from oarlock.compat.crewai.events.types import llm_events as llms
from oarlock.compat.crewai.events.types import llm_guardrail_events as guardrails
from oarlock.compat.crewai.events.types import task_events as tasks
from oarlock.compat.crewai.events.types import tool_usage_events as tools
from oarlock.contract import events as ours
from oarlock.contract.secret import scrub

if TYPE_CHECKING:
    import oarlock

__all__ = ["BusRun"]


class BusRun:
    """Tells CrewAI's bus of one run of a crew.

    Args:
        bus: whom to tell.
        crew: whose run it is.
        inputs: of the run.
        then: is told of each event, too.
    """

    def __init__(
        self,
        bus: CrewAIEventsBus,
        crew: oarlock.Crew,
        inputs: Mapping[str, Any] | None,
        then: Callable[[ours.Event], None] | None,
    ) -> None:
        self._bus = bus
        self._crew = crew
        self._inputs = inputs
        self._then = then
        self._tasks: dict[str | None, Any] = {}
        self._running: dict[str | None, ours.ToolStarted] = {}
        self._asked: dict[str | None, Any] = {}
        self._checks: Counter[tuple[str | None, str]] = Counter()

    def __call__(self, event: ours.Event) -> None:
        """Hear of an event of the run."""
        tell = self._TOLD.get(type(event))
        if tell is not None:
            tell(self, event)
        if self._then is not None:
            self._then(event)

    def completed(self, result: Any) -> None:
        """Tell of the run's end."""
        usage = getattr(result, "usage_metrics", None)
        total = 0 if usage is None else usage.total_tokens
        made = crews.CrewKickoffCompletedEvent(
            crew_name=self._crew.name, crew=self._crew, output=result, total_tokens=total
        )
        self._bus.emit(self._crew, made)

    def _tell(self, source: Any, kind: type[BaseEvent], event: ours.Event, **facts: Any) -> None:
        made = kind(
            timestamp=datetime.fromtimestamp(event.time, UTC),
            task_id=event.task_id,
            task_name=event.task,
            agent_id=event.agent,
            agent_role=event.agent,
            parent_event_id=event.parent_id,
            **facts,
        )
        self._bus.emit(source, made)

    def _at(self, event: ours.Event) -> tuple[Any, Any]:
        """Return the task that an event is about, and the agent at work, as far as they are known."""
        task = self._tasks.get(event.task_id)
        everybody = [self._crew._manager, *self._crew.agents, *(one.agent for one in self._crew.tasks)]  # noqa: SLF001
        named = (one for one in everybody if one is not None and one.role == event.agent)
        return task, next(named, getattr(task, "agent", None))

    def _run_started(self, event: ours.RunStarted) -> None:
        inputs = None if self._inputs is None else dict(self._inputs)
        self._tell(
            self._crew, crews.CrewKickoffStartedEvent, event, crew_name=self._crew.name, crew=self._crew, inputs=inputs
        )

    def _run_failed(self, event: ours.RunFailed) -> None:
        facts = {"crew_name": self._crew.name, "crew": self._crew, "error": _words(event.error)}
        self._tell(self._crew, crews.CrewKickoffFailedEvent, event, **facts)

    def _task_started(self, event: ours.TaskStarted) -> None:
        self._tasks[event.task_id] = self._crew.tasks[event.number - 1]
        task, agent = self._at(event)
        self._tell(task, tasks.TaskStartedEvent, event, task=task)
        facts = {"tools": task.tools or getattr(agent, "tools", []), "task_prompt": event.description}
        self._tell(agent, agents.AgentExecutionStartedEvent, event, agent=agent, task=task, **facts)

    def _task_finished(self, event: ours.TaskFinished) -> None:
        task, agent = self._at(event)
        self._tell(agent, agents.AgentExecutionCompletedEvent, event, agent=agent, task=task, output=event.answer)
        output = TaskOutput(
            raw=event.answer,
            description=task.description,
            name=event.task,
            agent=event.agent or "",
            usage=event.usage,
            **{"json_dict" if isinstance(event.value, dict | list) else "pydantic": event.value},
        )
        self._tell(task, tasks.TaskCompletedEvent, event, task=task, output=output)

    def _task_failed(self, event: ours.TaskFailed) -> None:
        task, agent = self._at(event)
        error = _words(event.error)
        self._tell(agent, agents.AgentExecutionErrorEvent, event, agent=agent, task=task, error=error)
        self._tell(task, tasks.TaskFailedEvent, event, task=task, error=error)

    def _call_started(self, event: ours.CallStarted) -> None:
        request = event.request
        assert request is not None, "events of runs have it"
        self._asked[event.span_id] = messages = [dict(message) for message in request.messages]
        self._tell_of_call(
            llms.LLMCallStartedEvent,
            event,
            model=event.model,
            messages=messages,
            tools=[dict(tool) for tool in request.tools] or None,
            stream=event.streams,
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            stop_sequences=list(request.stop) or None,
        )

    def _call_finished(self, event: ours.CallFinished) -> None:
        reply = event.reply
        asks = bool(reply.tool_calls)
        self._tell_of_call(
            llms.LLMCallCompletedEvent,
            event,
            model=event.model,
            messages=self._asked.pop(event.span_id, None),
            response=[call.as_message() for call in reply.tool_calls] if asks else reply.text,
            call_type=llms.LLMCallType.TOOL_CALL if asks else llms.LLMCallType.LLM_CALL,
            usage={
                "prompt_tokens": reply.usage.prompt_tokens,
                "completion_tokens": reply.usage.completion_tokens,
                "total_tokens": reply.usage.total_tokens,
            },
            finish_reason=None if reply.finish_reason is None else str(reply.finish_reason),
            response_id=None if reply.id is None else str(reply.id),
        )

    def _call_failed(self, event: ours.CallFailed) -> None:
        self._asked.pop(event.span_id, None)
        self._tell_of_call(llms.LLMCallFailedEvent, event, model=event.model, error=_words(event.error))

    def _delta(self, event: ours.ModelDelta) -> None:
        call = event.tool_call
        if call is None:
            self._tell_of_call(llms.LLMStreamChunkEvent, event, chunk=event.text, call_type=llms.LLMCallType.LLM_CALL)
            return
        function = llms.FunctionCall(arguments=call.arguments, name=call.name or None)
        piece = llms.ToolCall(id=call.id or None, function=function)
        kind = llms.LLMCallType.TOOL_CALL
        self._tell_of_call(llms.LLMStreamChunkEvent, event, chunk=call.arguments, tool_call=piece, call_type=kind)

    def _tell_of_call(self, kind: type[llms.LLMEventBase], event: ours.Event, **facts: Any) -> None:
        _, agent = self._at(event)
        self._tell(getattr(agent, "llm", None), kind, event, call_id=event.span_id or "", **facts)

    def _tool_started(self, event: ours.ToolStarted) -> None:
        self._running[event.span_id] = event
        _, agent = self._at(event)
        self._tell(agent, tools.ToolUsageStartedEvent, event, **self._about(event))

    def _tool_finished(self, event: ours.ToolFinished) -> None:
        began = self._running.pop(event.span_id)
        _, agent = self._at(event)
        if event.failed:
            self._tell(agent, tools.ToolUsageErrorEvent, event, **self._about(began), error=event.answer)
            return
        times = {
            "started_at": datetime.fromtimestamp(began.time, UTC),
            "finished_at": datetime.fromtimestamp(event.time, UTC),
        }
        facts = {"from_cache": event.cached, "output": event.answer, **times}
        self._tell(agent, tools.ToolUsageFinishedEvent, event, **self._about(began), **facts)

    def _about(self, event: ours.ToolStarted) -> dict[str, Any]:
        _, agent = self._at(event)
        return {"tool_name": event.tool, "tool_args": event.arguments, "agent": agent}

    def _checked(self, event: ours.GuardrailChecked) -> None:
        task, _ = self._at(event)
        place = event.task_id, event.guardrail
        facts = {"guardrail_name": event.guardrail, "retry_count": self._checks[place]}
        self._tell(task, guardrails.LLMGuardrailStartedEvent, event, guardrail=event.guardrail, **facts)
        error = None if event.passed else event.reason
        self._tell(task, guardrails.LLMGuardrailCompletedEvent, event, success=event.passed, error=error, **facts)
        self._checks[place] += 1

    _TOLD: ClassVar[Mapping[type[ours.Event], Callable[[Any, Any], None]]] = {
        ours.RunStarted: _run_started,
        ours.RunFailed: _run_failed,
        ours.TaskStarted: _task_started,
        ours.TaskFinished: _task_finished,
        ours.TaskFailed: _task_failed,
        ours.CallStarted: _call_started,
        ours.CallFinished: _call_finished,
        ours.CallFailed: _call_failed,
        ours.ModelDelta: _delta,
        ours.ToolStarted: _tool_started,
        ours.ToolFinished: _tool_finished,
        ours.GuardrailChecked: _checked,
    }


def _words(error: BaseException) -> str:
    return scrub(str(error), 1000) or type(error).__name__
