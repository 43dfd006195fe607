"""Each argument of `Agent`, `Task`, `ConditionalTask` and `Crew`, with values that cannot work: told when it is built, by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from oarlock import Agent, ConfigurationError, Crew, Process, Task
from oarlock.agents import ConditionalTask
from oarlock.testing import ScriptedLLM

NO_TEXTS = [3, None, [], b"text"]
NO_FLAGS = ["yes", 1, 0, None, []]
NO_FUNCTIONS = [3, "name", [], {}]
NO_COUNTS = [-1, 1.5, "3", True, None, []]
NO_LLMS = [3, object(), ScriptedLLM, lambda messages: "hello", ["llm"]]
NO_TEMPLATES = ["", "no place", 3, ["{{ .System }}"]]

HOOKS: dict[str, list[Any]] = {
    kind: [3, "name", [3], lambda: None, [lambda one, two: None]]
    for kind in ("before_llm_call", "after_llm_call", "before_tool_call", "after_tool_call")
}
AGENT: dict[str, list[Any]] = {
    "role": ["", " ", *NO_TEXTS],
    "goal": ["", " ", *NO_TEXTS],
    "backstory": NO_TEXTS,
    "llm": NO_LLMS,
    "function_calling_llm": NO_LLMS,
    "tools": ["search", 3, {"a": 1}, [3], ["search"], [dict], [lambda: 1, lambda: 2]],
    "max_iter": [0, *NO_COUNTS],
    "max_execution_time": [0, -1, "5", True, float("nan"), float("inf"), 10**400, []],
    "max_rpm": [0, -1, 1.5, "3", True, []],
    "max_retry_limit": [-1, 1.5, "3", True, []],
    "verbose": NO_FLAGS,
    "allow_delegation": NO_FLAGS,
    "step_callback": NO_FUNCTIONS,
    "guardrail": [3, " ", [], lambda: None],
    "guardrail_max_retries": NO_COUNTS,
    "system_template": NO_TEMPLATES,
    "prompt_template": NO_TEMPLATES,
    "response_template": NO_TEMPLATES,
    "use_system_prompt": NO_FLAGS,
    "inject_date": NO_FLAGS,
    "date_format": ["", "today", "%", *NO_TEXTS],
    "respect_context_window": NO_FLAGS,
    "count_tokens": [3, "tiktoken", [], {}],
    **HOOKS,
    "cache": ["yes", 1, 0, []],
    "on_approval": NO_FUNCTIONS,
    "budget": [3, "10 USD", {"tokens": 1}],
}
TASK: dict[str, list[Any]] = {
    "description": ["", " ", *NO_TEXTS],
    "expected_output": NO_TEXTS,
    "agent": ["Clerk", 3, Agent, []],
    "context": ["text", 3, ["text"], [Agent], {"a": 1}],
    "tools": ["search", 3, {"a": 1}, [3], ["search"]],
    "name": ["", " ", 3, []],
    "callback": NO_FUNCTIONS,
    "async_execution": NO_FLAGS,
    "output_pydantic": [dict, "Model", {"a": 1}, int],
    "output_json": [dict, "Model", {"a": 1}, int],
    "output_max_repairs": NO_COUNTS,
    "markdown": NO_FLAGS,
    "guardrail": [3, " ", lambda: None],
    "guardrails": [3, " ", [3], [lambda: None], [" "]],
    "guardrail_max_retries": NO_COUNTS,
    "human_input": NO_FLAGS,
    "output_file": ["", " ", 3, "../x", "/etc/x", "folder/", []],
    "create_directory": NO_FLAGS,
}
CREW: dict[str, list[Any]] = {
    "tasks": [[], "text", 3, [3], [Task], None, {"a": 1}],
    "agents": ["text", 3, [3], [Agent], {"a": 1}],
    "process": ["parallel", 3, None, []],
    "manager_llm": NO_LLMS,
    "function_calling_llm": NO_LLMS,
    "manager_agent": ["Boss", 3, Agent],
    "max_rpm": [0, -1, 1.5, "3", True, []],
    "verbose": NO_FLAGS,
    "name": ["", " ", *NO_TEXTS],
    "step_callback": NO_FUNCTIONS,
    "task_callback": NO_FUNCTIONS,
    "on_human_input": NO_FUNCTIONS,
    "on_approval": NO_FUNCTIONS,
    "cache": ["yes", 1, 0, []],
    "before_kickoff_callbacks": [3, "name", [3], {"a": 1}, None],
    "after_kickoff_callbacks": [3, "name", [3], {"a": 1}, None],
    "output_log_file": [3, "", " ", "logs/", []],
    "full_output": NO_FLAGS,
    **HOOKS,
    "budget": [3, "10 USD", {"tokens": 1}],
    "record": [3, "", ["run.jsonl"], {"path": "run.jsonl"}, True],
    "streams": NO_FLAGS,
}
CONDITIONAL: dict[str, list[Any]] = {**TASK, "condition": [3, "name", [], None]}
KNOWN_AS = {"streams": "stream"}  # the field's name, where the argument has another


def agent(**settings: Any) -> Agent:
    return Agent(**{"role": "Clerk", "goal": "Count", **settings})


def task(**settings: Any) -> Task:
    return Task(**{"description": "Count boats", "name": "boats", **settings})


def conditional(**settings: Any) -> Task:
    return ConditionalTask(
        **{"description": "Count boats", "name": "boats", "condition": lambda output: True, **settings}
    )


def crew(**settings: Any) -> Crew:
    return Crew(**{"tasks": [task(agent=agent())], **settings})


TABLE = [(agent, AGENT, "Agent"), (task, TASK, "Task"), (conditional, CONDITIONAL, "Task"), (crew, CREW, "Crew")]
CASES = [
    pytest.param(build, owner, KNOWN_AS.get(name, name), value, id=f"{build.__name__}-{name}-{number}")
    for build, table, owner in TABLE
    for name, values in table.items()
    for number, value in enumerate(values)
]


@pytest.mark.parametrize(("build", "owner", "name", "value"), CASES)
def test_a_value_that_cannot_work_is_told_by_name(build: Any, owner: str, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(**{name: value})
    said = str(caught.value)
    assert said.startswith((f"{owner} 'Clerk'", f"{owner} 'boats'", f"{owner}: ", f"{owner}(")), said
    assert name.rstrip("s") in said, said
    assert said.endswith((".", "?", "!", ")")), said
    assert len(said) < 600, said


@pytest.mark.parametrize(("cls", "table"), [(Agent, AGENT), (Task, TASK), (ConditionalTask, CONDITIONAL), (Crew, CREW)])
def test_no_argument_is_left_out(cls: type[Any], table: dict[str, Any]) -> None:
    assert {field.name for field in dataclasses.fields(cls) if field.init} == table.keys()


@pytest.mark.parametrize(
    "name", sorted({"memory", "knowledge", "planning", "a2a", "skills", "prompt_file", "executor_class"})
)
@pytest.mark.parametrize("build", [agent, task, crew])
def test_what_is_left_out_on_purpose_names_what_to_do_instead(build: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^\w+\({name}=\[1\]\) is not in Oarlock: \w.*\.$"):
        build(**{name: [1]})


@pytest.mark.parametrize(
    "build",
    [
        lambda: crew(process=Process.hierarchical),
        lambda: crew(process=Process.hierarchical, manager_llm=ScriptedLLM([]), tasks=[task()]),
        lambda: crew(manager_agent=agent()),
        lambda: crew(tasks=[task()], agents=[agent(), agent()]),
        lambda: crew(tasks=[conditional(agent=agent())]),
        lambda: task(output_pydantic=object, output_json=object),
    ],
)
def test_arguments_that_do_not_go_together_are_told(build: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^(Crew|Task)"):
        build()
