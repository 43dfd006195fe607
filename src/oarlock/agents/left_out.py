"""What Oarlock leaves out on purpose, and what to use in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["INSTEAD", "not_in_oarlock"]

_FACTS: Final = "give an agent what it should know through a task's context, an input or a tool"
_PLAN: Final = "write the plan as tasks, or let a manager make it with process=Process.hierarchical"
_CODE: Final = "give the agent a tool that runs code where you want it to run"
_FILES: Final = "give the agent a tool that reads the file, or an LLM of your own that is sent it"
_TRACES: Final = "no run is reported anywhere; kickoff(on_event=...) shows you every step"

INSTEAD: Final[Mapping[str, str]] = {
    "a2a": "reach a remote agent through a tool",
    "allow_code_execution": _CODE,
    "apps": "reach an application through a tool",
    "checkpoint": "kickoff(durable=..., run_id=...) records a run, and goes on with it",
    "embedder": _FACTS,
    "function_calling_llm": "an agent's own llm calls its tools",
    "knowledge": _FACTS,
    "knowledge_sources": _FACTS,
    "max_retry_limit": "retrying is a policy of the LLM: llm.with_policies(Retry(attempts=...))",
    "memory": _FACTS,
    "multimodal": _FILES,
    "output_log_file": "kickoff(on_event=...) shows you every step, and logging the rest",
    "planning": _PLAN,
    "planning_llm": _PLAN,
    "reasoning": _PLAN,
    "share_crew": _TRACES,
    "skills": "put what an agent should do into its backstory, or what it should know into a tool",
    "tracing": _TRACES,
}
"""What to do instead, by the names that users of CrewAI know."""


def not_in_oarlock(owner: str, name: str, value: Any) -> str:
    """Return the sentence for an argument that asks for what is not here.

    Example:
        >>> not_in_oarlock("Crew", "planning", True)
        'Crew(planning=True) is not in Oarlock: write the plan as tasks, or let a manager make it with process=Process.hierarchical.'
    """
    shown = repr(value)
    instead = INSTEAD.get(name)
    said = f"{owner}({name}={shown if len(shown) <= 60 else '...'}) is not in Oarlock"
    return f"{said}: {instead}." if instead else f"{said}."
