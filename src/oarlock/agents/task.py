"""`Task`: what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from oarlock.agents.agent import Agent
from oarlock.agents.definitions import checked, function, items, text, tools_of
from oarlock.agents.files import check_output_file
from oarlock.agents.guardrails import Guardrail, guardrails_of
from oarlock.agents.structured import Structure, structure_of
from oarlock.contract.checks import flag, whole
from oarlock.contract.errors import ConfigurationError, a_kind

__all__ = ["Task"]

USUAL = ("description", "expected_output", "agent", "context", "tools", "name")

LATER = {
    "config": None,
    "converter_cls": None,
}


@checked(later=LATER, usual=USUAL)
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
        output_pydantic: a pydantic model that the answer must fit; the output has the object as `.pydantic`.
        output_json: the same; the output has the JSON values as `.json_dict`.
        output_max_repairs: how many times the model may mend an answer that does not fit; it is shown what is wrong.
        markdown: ask for Markdown.
        guardrail: what the answer must pass: a function, blocking or `async`, that takes the `TaskOutput` and returns
            `(True, value)` or `(False, reason)`, or a rule in words, which the agent's LLM judges. A `value` that is a text
            or a `TaskOutput` replaces the answer; the agent gets the `reason` and tries again.
        guardrails: several of them, in order.
        guardrail_max_retries: how many times the agent may try again, over all guardrails.
        human_input: ask a human, on the terminal or through `Crew(on_human_input=...)`, what to change, until it is nothing.
        output_file: where to write the answer: a path below the working folder, `{name}`s filled in.
        create_directory: make the folders of `output_file`.

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
    output_pydantic: type[Any] | None = None
    output_json: type[Any] | None = None
    output_max_repairs: int = 2
    markdown: bool = False
    guardrail: Guardrail | None = None
    guardrails: Sequence[Guardrail] | Guardrail | None = None
    guardrail_max_retries: int = 3
    human_input: bool = False
    output_file: str | None = None
    create_directory: bool = True
    structure: Structure | None = field(init=False, repr=False)
    all_guardrails: tuple[Guardrail, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text("Task", "description", self.description)
        if self.name is None:
            first_line = self.description.strip().splitlines()[0]
            self.name = first_line if len(first_line) <= 60 else f"{first_line[:59]}…"
        text("Task", "name", self.name)
        owner = f"Task {self.name!r}"
        text(owner, "expected_output", self.expected_output, empty=True)
        if self.agent is not None and not isinstance(self.agent, Agent):
            raise ConfigurationError(f"{owner}: agent must be an Agent, not of the type {type(self.agent).__name__}.")
        if self.context is not None:
            self.context = items(owner, "context", self.context)
            if other := [one for one in self.context if not isinstance(one, Task)]:
                raise ConfigurationError(f"{owner}: context must be a list of tasks, and holds {a_kind(other[0])}.")
        if self.tools != []:
            self.tools = items(owner, "tools", self.tools)
            tools_of(owner, self.tools)
        self.structure, self.all_guardrails = None, ()

    def _check_settings(self) -> None:
        owner = f"Task {self.name!r}"
        function(owner, "callback", self.callback, "the TaskOutput")
        flag(owner, "async_execution", self.async_execution)
        for name in ("markdown", "human_input", "create_directory"):
            flag(owner, name, getattr(self, name))
        for name in ("guardrail_max_retries", "output_max_repairs"):
            whole(owner, name, getattr(self, name), least=0)
        self.structure = structure_of(owner, self.output_pydantic, self.output_json, self.output_max_repairs)
        self.all_guardrails = guardrails_of(owner, self.guardrail, self.guardrails)
        if self.output_file is not None:
            check_output_file(owner, self.output_file)

    @property
    def is_finished_further(self) -> bool:
        """Whether the agent's answer is not the output as it is."""
        return bool(
            self.structure or self.all_guardrails or self.output_file is not None or self.human_input or self.markdown
        )
