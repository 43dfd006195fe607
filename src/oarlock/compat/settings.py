"""CrewAI's arguments for `Agent`, `Crew` and `Task` that Oarlock has none for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from oarlock.agents.left_out import INSTEAD, not_in_oarlock
from oarlock.contract.errors import ConfigurationError

__all__ = ["settled", "without_left_out"]

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
# Arguments whose `None` means what they have by default, in CrewAI too.
_DEFAULT_FOR_NONE: Final = frozenset(
    {
        "async_execution",
        "create_directory",
        "human_input",
        "markdown",
        "max_retries",
        "name",
        "use_system_prompt",
        "verbose",
    }
)
# By the class: older names that CrewAI still takes.
_RENAMED: Final[Mapping[str, Mapping[str, str]]] = {"Task": {"max_retries": "guardrail_max_retries"}}
# By the class: arguments that ask for something only if they are not this; then they are refused.
_OFF: Final[Mapping[str, Mapping[str, Any]]] = {
    "Agent": {
        "a2a": None,
        "agent_executor": None,
        "apps": None,
        "callbacks": [],
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
        elif name in off:
            if value is not None and value != off[name]:
                raise ConfigurationError(not_in_oarlock(owner, name, value))
        elif not _says_nothing(name, value, given):
            loud = name == "verbose" and isinstance(value, int)  # older scripts have 2 for more of it
            kept[renamed.get(name, name)] = bool(value) if loud else value
    return kept


def _says_nothing(name: str, value: Any, given: Mapping[str, Any]) -> bool:
    """Return whether an argument changes nothing: it is the default, or the form of a date that nobody asks for."""
    return (value is None and name in _DEFAULT_FOR_NONE) or (name == "date_format" and not given.get("inject_date"))


def without_left_out(owner: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a method without those of CrewAI's that are not here, if they ask for nothing.

    Raises:
        ConfigurationError: one of them asks for something.
    """
    for name, value in given.items():
        if name in INSTEAD and value:
            raise ConfigurationError(not_in_oarlock(owner, name, value))
    return {name: value for name, value in given.items() if name not in INSTEAD}
