"""CrewAI's arguments for `Agent`, `Crew` and `Task` that Oarlock has none for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from oarlock.agents.left_out import not_in_oarlock
from oarlock.contract.errors import ConfigurationError

__all__ = ["settled"]

_log = logging.getLogger("oarlock.compat")

# By the class: arguments that change nothing an agent does, with why not. They are dropped, and that is logged.
_WITHOUT_EFFECT: Final[Mapping[str, Mapping[str, str]]] = {
    "Agent": {
        "allow_code_execution": "it does nothing in CrewAI any more",
        "code_execution_mode": "it does nothing in CrewAI any more",
    },
    "Crew": {
        "share_crew": "nothing is ever shared",
        "tracing": "nothing is sent anywhere; see kickoff(on_event=...)",
    },
    "Task": {"allow_crewai_trigger_context": "there are no triggers"},
}
# By the class: older names that CrewAI still takes.
_RENAMED: Final[Mapping[str, Mapping[str, str]]] = {"Task": {"max_retries": "guardrail_max_retries"}}
# By the class: arguments that ask for something only if they are not this; then they are refused.
_OFF: Final[Mapping[str, Mapping[str, Any]]] = {
    "Agent": {
        "a2a": None,
        "agent_executor": None,
        "apps": None,
        "checkpoint": None,
        "embedder": None,
        "from_repository": None,
        "knowledge": None,
        "knowledge_config": None,
        "max_reasoning_attempts": None,
        "planning": False,
        "planning_config": None,
        "reasoning": False,
        "security_config": None,
        "skills": None,
        "tool_failure_policy": None,
    },
    "Crew": {
        "chat_llm": None,
        "checkpoint": None,
        "config": None,
        "knowledge": None,
        "prompt_file": None,
        "security_config": None,
        "skills": None,
        "tool_failure_policy": None,
        "trained_agents_file": None,
    },
    "Task": {
        "input_files": None,
        "response_model": None,
        "security_config": None,
        "tool_failure_policy": None,
    },
}


def settled(owner: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a class of CrewAI without those that Oarlock has none for.

    What would change the work is refused; what would not is dropped, and logged unless it is off.

    Args:
        owner: `"Agent"`, `"Crew"` or `"Task"`.
        given: what a script gave.

    Raises:
        ConfigurationError: an argument asks for what is not here.

    Example:
        >>> settled("Crew", {"tasks": [], "tracing": True, "skills": None})
        {'tasks': []}
    """
    off, without_effect, renamed = _OFF[owner], _WITHOUT_EFFECT[owner], _RENAMED.get(owner, {})
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if name in without_effect:
            if value:
                _log.warning("%s(%s=%r) has no effect in Oarlock: %s", owner, name, value, without_effect[name])
        elif name in renamed:
            if value is not None:
                kept[renamed[name]] = value
        elif name == "verbose" and isinstance(value, int):
            kept[name] = bool(value)  # older scripts have 2 for more of it
        elif name == "date_format" and not given.get("inject_date"):
            continue  # the form of what is not asked for
        elif name not in off:
            kept[name] = value
        elif value is not None and value != off[name]:
            raise ConfigurationError(not_in_oarlock(owner, name, value))
    return kept
