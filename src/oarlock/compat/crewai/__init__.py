"""CrewAI's names, where CrewAI has them, for what Oarlock has.

Each is Oarlock's own object under a second name, or, where scripts count on more, a thin class derived from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import oarlock
from oarlock._lazy import lazy_names
from oarlock.compat.missing import sentence

if TYPE_CHECKING:
    from oarlock.compat.crewai.agent import Agent
    from oarlock.compat.crewai.crew import Crew
    from oarlock.compat.crewai.crews.crew_output import CrewOutput
    from oarlock.compat.crewai.llm import LLM
    from oarlock.compat.crewai.llms.base_llm import BaseLLM
    from oarlock.compat.crewai.process import Process
    from oarlock.compat.crewai.task import Task
    from oarlock.compat.crewai.tasks.llm_guardrail import LLMGuardrail
    from oarlock.compat.crewai.tasks.task_output import TaskOutput

__all__ = [
    "LLM",
    "Agent",
    "BaseLLM",
    "Crew",
    "CrewOutput",
    "LLMGuardrail",
    "Process",
    "Task",
    "TaskOutput",
    "__version__",
]

__version__ = f"1.15.17+oarlock.{oarlock.__version__}"  # whose names these are, for scripts that compare versions

_HOMES = {
    "Agent": "agent",
    "BaseLLM": "llms.base_llm",
    "Crew": "crew",
    "CrewOutput": "crews.crew_output",
    "LLM": "llm",
    "LLMGuardrail": "tasks.llm_guardrail",
    "Process": "process",
    "Task": "task",
    "TaskOutput": "tasks.task_output",
}
_import = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(sentence(f"crewai.{name}", __all__))
    return _import(name)


def __dir__() -> list[str]:
    return __all__
