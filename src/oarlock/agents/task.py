"""`Task`: what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from oarlock.agents.agent import Agent
from oarlock.agents.definitions import checked, text, tools_of
from oarlock.contract.checks import flag
from oarlock.contract.errors import ConfigurationError

__all__ = ["Task"]

LATER = {
    "config": None,
    "converter_cls": None,
    "create_directory": True,
    "guardrail": None,
    "guardrails": None,
    "guardrail_max_retries": 3,
    "human_input": False,
    "markdown": False,
    "output_file": None,
    "output_json": None,
    "output_pydantic": None,
}


@checked(later=LATER)
@dataclass(kw_only=True, eq=False, slots=True, weakref_slot=True)
class Task:
    """One piece of work. Runs never change it.

    Args:
        description: what to do; `{name}`s are filled in from the run's inputs, here and in the next one.
        expected_output: what the answer should look like.
        agent: who does it. In a crew with a single agent it may be left out.
        context: the earlier tasks whose answers to show; default: all earlier ones. `[]` for none.
        tools: in place of the agent's.
        name: for logs and events; default: the beginning of the description.
        callback: called with the `TaskOutput` once it is there.
        async_execution: begin as soon as the answers that it sees are there, beside other tasks, rather than after the
            task before it. By default it sees all earlier tasks but the asynchronous ones directly before it.

    Raises:
        ConfigurationError: an unknown or missing argument, or a value that cannot work.

    Example:
        >>> Task(description="Research {topic}", expected_output="Three facts").name
        'Research {topic}'
    """

    description: str
    expected_output: str = ""
    agent: Agent | None = None
    context: Sequence[Task] | None = None
    tools: list[Any] = field(default_factory=list)
    name: str | None = None
    callback: Callable[[Any], Any] | None = None
    async_execution: bool = False

    def __post_init__(self) -> None:
        text("Task", "description", self.description)
        if self.name is None:
            first_line = self.description.strip().splitlines()[0]
            self.name = first_line if len(first_line) <= 60 else f"{first_line[:59]}…"
        owner = f"Task {self.name!r}"
        if self.agent is not None and not isinstance(self.agent, Agent):
            raise ConfigurationError(f"{owner}: agent must be an Agent, not of the type {type(self.agent).__name__}.")
        if self.context is not None:
            self.context = list(self.context)
            if not all(isinstance(task, Task) for task in self.context):
                raise ConfigurationError(f"{owner}: context must be a list of tasks.")
        flag(owner, "async_execution", self.async_execution)
        if self.tools:
            self.tools = list(self.tools)
            tools_of(owner, self.tools)
