"""What to say when a script asks for a part of CrewAI that is not here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from oarlock.agents.left_out import INSTEAD
from oarlock.contract.errors import ConfigurationError

__all__ = ["COMPANIONS", "NotInOarlockError", "missing_module", "sentence"]

COMPANIONS: Final = frozenset({"crewai_files", "crewai_tools"})
"""Packages beside CrewAI that its users import."""

_FACTS: Final = INSTEAD["memory"]
_FLOW: Final = "call crews from plain Python, or make the steps tasks of one Crew, with context and ConditionalTask"
_RUN: Final = INSTEAD["checkpoint"]
_TELEMETRY: Final = "there is no telemetry to switch off"
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
    "experimental": _FLOW,
    "fingerprint": "every run and call has an id of its own: result.run_id, and current_call() in tools",
    "flow": _FLOW,
    "get_token_usage_summary": "llm.with_policies(Metrics()).get_metrics() has the tokens of all calls, each reply its own",
    "i18n": "an agent's role, goal and backstory are all that is said of it; see oarlock.agents.prompts",
    "llms.hooks": _WIRE,
    "load_crew": "oarlock.project.load_crew reads a crew from one YAML file",
    "paths": "nothing is stored",
    "planning_types": INSTEAD["planning"],
    "plus_api": "there is no service behind Oarlock",
    "prompts": "an agent's role, goal and backstory are all that is said of it; see oarlock.agents.prompts",
    "providers": _WIRE,
    "rag": _FACTS,
    "replay": _RUN,
    "reset_memories": "there is no memory to reset",
    "security": "every run and call has an id of its own: result.run_id, and current_call() in tools",
    "state": INSTEAD["checkpoint"],
    "stream_events": "llm.stream(messages) gives the pieces of an answer",
    "telemetry": _TELEMETRY,
    "test": _TRIES,
    "tool_failure": "a tool that fails raises ToolError, and the model is told its text",
    "train": _TRIES,
    "training": _TRIES,
}


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
    instead = next((_INSTEAD[part] for part in (*pairs, *parts) if part in _INSTEAD), None)
    if instead:
        return f"{name} is not in Oarlock: {instead}."
    near = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
    if near:
        return f"{name} is not in Oarlock: did you mean {near[0]!r}?"
    place = name.rpartition(".")[0]
    return (
        f"{name} is not in Oarlock: {place} has {', '.join(sorted(known))}." if known else f"{name} is not in Oarlock."
    )


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
