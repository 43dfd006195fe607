"""What tasks and crews give back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from oarlock.agents.left_out import INSTEAD
from oarlock.contract.records import dataclass, field
from oarlock.contract.replacing import replacer
from oarlock.contract.reply import Usage

__all__ = ["AgentAction", "AgentFinish", "CrewOutput", "OutputFormat", "TaskOutput", "output_with"]


class OutputFormat(StrEnum):
    """What a task's output is, beside its text."""

    JSON = "json"
    PYDANTIC = "pydantic"
    RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutput:
    """The answer to one task; `str()` is its text.

    Attributes:
        raw: the text; of a structure its JSON alone, without what the model wrote around it.
        pydantic: the object of `Task(output_pydantic=...)`.
        json_dict: the JSON values of `Task(output_json=...)`.
        description: the task's, with the inputs filled in.
        expected_output: likewise.
        name: the task's.
        agent: the role of whoever did it.
        usage: tokens and requests of this task, delegated work included.
        skipped: the condition of a `ConditionalTask` was not met, so nobody did it.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Poet", goal="Rhyme", llm=ScriptedLLM(["Row, row."]))
        >>> task = Task(description="A line", agent=agent, callback=lambda output: print(output.agent, "wrote:", output))
        >>> _ = Crew(tasks=[task]).kickoff()
        Poet wrote: Row, row.
    """

    raw: str
    description: str
    expected_output: str = ""
    name: str | None = None
    agent: str = ""
    usage: Usage = field(default_factory=Usage)
    skipped: bool = False
    pydantic: Any = None
    json_dict: Any = None

    @property
    def output_format(self) -> OutputFormat:
        """Which of `pydantic`, `json_dict` and `raw` the task asked for."""
        if self.pydantic is not None:
            return OutputFormat.PYDANTIC
        return OutputFormat.RAW if self.json_dict is None else OutputFormat.JSON

    @property
    def json(self) -> str:
        """The text of `json_dict`.

        Raises:
            ValueError: the task has no `output_json`.
        """
        return _json(self.json_dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the structure as a dictionary, empty if there is none."""
        return _to_dict(self)

    @property
    def summary(self) -> str:
        """The first ten words of the description."""
        words = self.description.split()
        return " ".join(words[:10]) + ("..." if len(words) > 10 else "")

    if not TYPE_CHECKING:  # type checkers are to know the attributes

        def __getattr__(self, name: str) -> Any:
            raise _missing(self, name)

    def __str__(self) -> str:
        return self.raw


output_with = replacer(TaskOutput)


@dataclass(slots=True, kw_only=True)  # not frozen: it is the caller's, and `after_kickoff` functions change it
class CrewOutput:
    """What a crew's run gave; `str()` is the text of its last task, `["key"]` a field of its structure.

    Attributes:
        raw: the text of the last task.
        pydantic: the object of the last task's `output_pydantic`.
        json_dict: the JSON values of the last task's `output_json`.
        tasks_output: every task's output, in order.
        usage_metrics: tokens and requests of this run.
        usage_by_agent: the same by the agents' roles.
        run_id: of this run.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Poet", goal="Rhyme", llm=ScriptedLLM(["Row, row."]))
        >>> output = Crew(tasks=[Task(description="A line", agent=agent)]).kickoff()
        >>> str(output), [task.agent for task in output.tasks_output], output.usage_metrics.requests
        ('Row, row.', ['Poet'], 1)
    """

    raw: str
    tasks_output: Sequence[TaskOutput] = ()
    usage_metrics: Usage = field(default_factory=Usage)
    usage_by_agent: dict[str, Usage] = field(default_factory=dict)
    run_id: str = ""
    pydantic: Any = None
    json_dict: Any = None

    @property
    def json(self) -> str:
        """The text of `json_dict`.

        Raises:
            ValueError: the last task has no `output_json`.
        """
        return _json(self.json_dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the structure as a dictionary, empty if there is none."""
        return _to_dict(self)

    def __getitem__(self, key: str) -> Any:
        if self.pydantic is not None and hasattr(self.pydantic, key):
            return getattr(self.pydantic, key)
        if isinstance(self.json_dict, dict) and key in self.json_dict:
            return self.json_dict[key]
        raise KeyError(key)

    @property
    def token_usage(self) -> Usage:
        """The same as `usage_metrics`, under CrewAI's name for it."""
        return self.usage_metrics

    if not TYPE_CHECKING:  # type checkers are to know the attributes

        def __getattr__(self, name: str) -> Any:
            raise _missing(self, name)

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


def _missing(output: object, name: str) -> AttributeError:
    """Return the error for an attribute that there is not, which says of those of CrewAI's outputs what to do instead."""
    of, instead = type(output).__name__, INSTEAD.get(name)
    return AttributeError(
        f"{of}.{name} is not in Oarlock: {instead}." if instead else f"{of!r} object has no attribute {name!r}",
        name=name,
        obj=output,
    )


def _to_dict(output: TaskOutput | CrewOutput) -> dict[str, Any]:
    if isinstance(output.json_dict, dict):
        return dict(output.json_dict)
    made = None if output.pydantic is None else output.pydantic.model_dump()
    return made if isinstance(made, dict) else {}


def _json(value: Any) -> str:
    if value is None:
        raise ValueError("There is no JSON here: the task has no output_json=.")
    return json.dumps(value, ensure_ascii=False)
