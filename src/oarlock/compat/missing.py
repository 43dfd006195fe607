"""What to say when a script asks for a part of CrewAI that is not here."""

from __future__ import annotations

import difflib
from abc import ABCMeta
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from oarlock.agents.left_out import INSTEAD
from oarlock.contract.errors import ConfigurationError

__all__ = ["COMPANIONS", "NotInOarlockError", "Says", "missing_module", "public", "sentence"]

COMPANIONS: Final = frozenset({"crewai_files", "crewai_tools"})
"""Packages beside CrewAI that its users import."""

_FACTS: Final = INSTEAD["memory"]
_FLOW: Final = "call crews from plain Python, or make the steps tasks of one Crew, with context and ConditionalTask"
_RUN: Final = INSTEAD["checkpoint"]
_TELEMETRY: Final = "there is no telemetry to switch off"
_STEPS: Final = "kickoff(on_event=...) and crew.stream(inputs) tell of every step; see oarlock.events"
_ORDINARY: Final = "it is of CrewAI's insides; the classes of `crewai` have what scripts need of it"
_TRIES: Final = "run the crew on your examples in a test of your own; see oarlock.testing"
_TOOL: Final = "write a function and mark it with @tool from crewai.tools"
_WIRE: Final = "subclass BaseLLM or HttpLLM, or give ChatLLM auth=, headers= and policies="

# By a part of the dotted name, or two; the first that is here decides.
_INSTEAD: Final[Mapping[str, str]] = {
    **INSTEAD,
    "CheckpointConfig": INSTEAD["checkpoint"],
    "Fingerprint": "every run and call has an id of its own: result.run_id, and current_call() in tools",
    "Flow": _FLOW,
    "Knowledge": _FACTS,
    "LiteAgent": "use Agent(...).kickoff(prompt)",
    "Memory": _FACTS,
    "CrewStructuredTool": _TOOL,
    "aquery_knowledge": _FACTS,
    "calculate_usage_metrics": "result.usage_metrics has them, crew.usage_metrics those of the last run",
    "create_crew_knowledge": _FACTS,
    "create_crew_memory": _FACTS,
    "create_dynamic_tool_filter": "give each agent a server of its own, with tool_filter=function",
    "ToolFilterContext": "give each agent a server of its own, with tool_filter=function",
    "MCPClient": "use oarlock.mcp.MCPServerHTTP and its tools",
    "MCPToolResolver": "use oarlock.mcp.MCPServerHTTP and its tools",
    "PlanningConfig": INSTEAD["planning"],
    "agent_adapters": "call the other framework's agent in a function marked with @tool",
    "aggregate_raw_outputs": "a task's context shows it the answers before it",
    "auth": _WIRE,
    "cli": "use the `oarlock` command",
    "crewai_files": INSTEAD["multimodal"],
    "crewai_tools": _TOOL,
    "evaluation": _TRIES,
    "execute_async": "Task(async_execution=True) in a Crew, or await agent.aexecute_task(task)",
    "execute_sync": "agent.execute_task(task) does one task, crew.kickoff() all of them",
    "experimental": _FLOW,
    "fetch_inputs": "kickoff(inputs) says at once which {name}s are missing",
    "fingerprint": "every run and call has an id of its own: result.run_id, and current_call() in tools",
    "flow": _FLOW,
    "flow_events": _FLOW,
    "fork": _RUN,
    "from_checkpoint": _RUN,
    "get_token_usage_summary": "llm.with_policies(Metrics()).get_metrics() has the tokens of all calls, each reply its own",
    "hallucination_guardrail": "write a guardrail in words, Task(guardrail='...'), or as a function",
    "i18n": "an agent's role, goal and backstory are all that is said of it; see oarlock.agents.prompts",
    "interpolate_inputs": "kickoff(inputs) fills them in for each run",
    "knowledge_events": _FACTS,
    "last_messages": _STEPS,
    "lite_agent": "use Agent(...).kickoff(prompt)",
    "llms.hooks": _WIRE,
    "load_agent": "oarlock.project.load_crew reads agents and tasks from one YAML file",
    "load_crew_and_kickoff": "oarlock.project.load_crew(path).kickoff(inputs)",
    "load_crew": "oarlock.project.load_crew reads a crew from one YAML file",
    "logging_events": _STEPS,
    "mcp_events": _STEPS,
    "memory_events": _FACTS,
    "paths": "nothing is stored",
    "planning_types": INSTEAD["planning"],
    "plus_api": "there is no service behind Oarlock",
    "prompts": "an agent's role, goal and backstory are all that is said of it; see oarlock.agents.prompts",
    "providers": _WIRE,
    "query_knowledge": _FACTS,
    "rag": _FACTS,
    "reasoning_events": INSTEAD["planning"],
    "replay": _RUN,
    "reset_knowledge": "there is no knowledge to reset",
    "reset_memories": "there is no memory to reset",
    "security": "every run and call has an id of its own: result.run_id, and current_call() in tools",
    "state": INSTEAD["checkpoint"],
    "stream_events": "llm.stream(messages) gives the pieces of an answer",
    "telemetry": _TELEMETRY,
    "test": _TRIES,
    "tool_failure": "a tool that fails raises ToolError, and the model is told its text",
    "train": _TRIES,
    "training": _TRIES,
    "utilities": _ORDINARY,
}
# Of events: by how the name begins, since there are many of each kind.
_OF_EVENTS: Final[Mapping[tuple[str, ...], str]] = {
    ("A2A",): INSTEAD["a2a"],
    ("AgentEvaluation", "CrewTest", "CrewTrain", "TaskEvaluation"): _TRIES,
    ("AgentReasoning", "Plan", "Reasoning"): INSTEAD["planning"],
    ("Checkpoint",): _RUN,
    ("Conversation", "Flow", "HumanFeedback", "MethodExecution"): _FLOW,
    ("Knowledge", "Memory"): _FACTS,
    ("LiteAgent",): "agent.stream(prompt) tells what an agent does without a crew; see oarlock.events",
    ("MCP",): "ToolUsageStartedEvent and its like tell of the tools of MCP servers, too",
    ("Skill",): INSTEAD["skills"],
    (
        "ToolExecution",
        "ToolFailure",
        "ToolSelection",
        "ToolValidate",
    ): "ToolUsageErrorEvent tells of every tool that failed",
}
_NEAR: Final = 0.75  # how alike a name must be to be what was meant: CrewAI has many that differ by a word
_MOST_NAMES: Final = 12  # in a list for the reader


def sentence(name: str, known: Iterable[str] = ()) -> str:
    """Return why a dotted name of CrewAI cannot be had, and what to do instead.

    Args:
        name: such as `"crewai.Flow"` or `"crewai.flow.flow"`.
        known: what there is in its place, to suggest the nearest.

    Example:
        >>> sentence("crewai.Agnet", ["Agent", "Task"])
        "crewai.Agnet is not in Oarlock: did you mean 'Agent'?"
        >>> sentence("crewai.telemetry")
        'crewai.telemetry is not in Oarlock: there is no telemetry to switch off.'
    """
    parts = name.split(".")
    pairs = [f"{first}.{second}" for first, second in pairwise(parts)]
    place, _, last = name.rpartition(".")
    of_events = _instead_of_event(last) if "events" in parts else None
    instead = of_events or next((_INSTEAD[part] for part in (*pairs, *reversed(parts)) if part in _INSTEAD), None)
    near = difflib.get_close_matches(last, known, n=1, cutoff=_NEAR)
    if near and (instead is None or instead is _ORDINARY):
        return f"{name} is not in Oarlock: did you mean {near[0]!r}?"
    if instead is None and "events" in parts:
        instead = _STEPS
    names = sorted(known)
    if instead is None and 0 < len(names) <= _MOST_NAMES:
        instead = f"{place} has {', '.join(names)}"
    return f"{name} is not in Oarlock: {instead}." if instead else f"{name} is not in Oarlock."


def _instead_of_event(name: str) -> str | None:
    return next((instead for starts, instead in _OF_EVENTS.items() if name.startswith(starts)), None)


class Says(ABCMeta):
    """Of a class of CrewAI's, whose objects it is for, too: says of a name that it has not what to use in its place.

    Example:
        >>> from oarlock.compat.crewai import Crew
        >>> Crew.from_checkpoint
        Traceback (most recent call last):
        AttributeError: crewai.Crew.from_checkpoint is not in Oarlock: kickoff(durable=..., run_id=...) records a run, and ...
    """

    def __getattr__(cls, name: str) -> Any:
        raise AttributeError(name if name.startswith("__") else sentence(f"crewai.{cls.__name__}.{name}", public(cls)))


def public(cls: type) -> list[str]:
    """Return the names that a class has for its users."""
    return [name for name in dir(cls) if not name.startswith("_")]


class NotInOarlockError(ModuleNotFoundError, ConfigurationError):
    """Raised by an import of what CrewAI has and Oarlock has not; the message says what to write instead.

    Example:
        >>> from oarlock.compat import as_crewai
        >>> with as_crewai():
        ...     from crewai import Flow
        Traceback (most recent call last):
        oarlock.compat.missing.NotInOarlockError: crewai.Flow is not in Oarlock: call crews from plain Python, ...
    """


def missing_module(name: str, known: Iterable[str] = ()) -> NotInOarlockError:
    """Return the error for importing something of CrewAI that is not here."""
    return NotInOarlockError(sentence(name, known), name=name)
