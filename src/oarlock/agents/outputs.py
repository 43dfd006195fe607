"""What tasks and crews give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from oarlock.contract.reply import Usage

__all__ = ["AgentAction", "AgentFinish", "CrewOutput", "TaskOutput"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutput:
    """The answer to one task; `str()` is its text.

    Attributes:
        raw: the text.
        description: the task's, with the inputs filled in.
        expected_output: likewise.
        name: the task's.
        agent: the role of whoever did it.
        usage: tokens and requests of this task, delegated work included.
        skipped: the condition of a `ConditionalTask` was not met, so nobody did it.
    """

    raw: str
    description: str
    expected_output: str = ""
    name: str | None = None
    agent: str = ""
    usage: Usage = field(default_factory=Usage)
    skipped: bool = False

    @property
    def summary(self) -> str:
        """The first ten words of the description."""
        words = self.description.split()
        return " ".join(words[:10]) + ("..." if len(words) > 10 else "")

    def __str__(self) -> str:
        return self.raw


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewOutput:
    """What a crew's run gave; `str()` is the text of its last task.

    Attributes:
        raw: the text of the last task.
        tasks_output: every task's output, in order.
        usage_metrics: tokens and requests of this run.
        usage_by_agent: the same by the agents' roles.
        run_id: of this run.
    """

    raw: str
    tasks_output: Sequence[TaskOutput] = ()
    usage_metrics: Usage = field(default_factory=Usage)
    usage_by_agent: dict[str, Usage] = field(default_factory=dict)
    run_id: str = ""

    @property
    def token_usage(self) -> Usage:
        """The same as `usage_metrics`, under CrewAI's name for it."""
        return self.usage_metrics

    def __str__(self) -> str:
        return self.raw


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAction:
    """A tool call of an agent, for `step_callback`."""

    tool: str
    tool_input: str
    result: str
    thought: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFinish:
    """An agent's answer, for `step_callback`."""

    output: Any
    thought: str = ""
    text: str = ""
