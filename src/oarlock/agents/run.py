"""Runs: a crew through its tasks, an agent through one. The core: it awaits nothing but its runtime."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oarlock.agents.console import listener
from oarlock.agents.definitions import tools_of
from oarlock.agents.inputs import fill
from oarlock.agents.native import run_native
from oarlock.agents.outputs import CrewOutput, TaskOutput
from oarlock.agents.prompts import joined, react_prompt, system_prompt, task_prompt
from oarlock.agents.react import run_react
from oarlock.agents.work import Work, call_back
from oarlock.contract.context import current_call, emit, scope
from oarlock.contract.errors import BadRequestError, ConfigurationError, ContextWindowExceededError, EmptyReply
from oarlock.contract.events import Event, RunFailed, RunFinished, RunStarted, TaskFinished, TaskStarted
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Usage
from oarlock.runtime import Runtime

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.crew import Crew
    from oarlock.agents.task import Task
    from oarlock.policies import Budget
    from oarlock.tools import BaseTool

__all__ = ["execute_alone", "run_crew"]

_log = logging.getLogger("oarlock.agents")
_NO_BUDGET = nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A task with everything filled in, ready to be worked on."""

    task: Task
    agent: Agent
    llm: BaseLLM
    description: str
    expected_output: str
    role: str
    system: str
    tools: Mapping[str, BaseTool]
    step_callbacks: tuple[Callable[[Any], Any], ...] = field(default=())
    budget: Budget | None = None


def assign(
    task: Task,
    agent: Agent,
    llm: BaseLLM | None,
    inputs: Mapping[str, Any],
    step_callbacks: tuple[Callable[[Any], Any] | None, ...] = (),
) -> Assignment:
    """Fill a task in and check that it can be done, before any model is asked.

    Raises:
        ConfigurationError: an input is missing, or nobody to think with.
    """
    owner = f"Agent {agent.role!r}"
    if llm is None:
        raise ConfigurationError(
            f"{owner} has no LLM: pass Agent(llm=...), or Crew(manager_llm=...) to serve all agents without one."
        )
    role = fill(agent.role, inputs, f"{owner}: role")
    goal = fill(agent.goal, inputs, f"{owner}: goal")
    backstory = fill(agent.backstory, inputs, f"{owner}: backstory")
    return Assignment(
        task=task,
        agent=agent,
        llm=llm,
        description=fill(task.description, inputs, f"Task {task.name!r}: description"),
        expected_output=fill(task.expected_output, inputs, f"Task {task.name!r}: expected_output"),
        role=role,
        system=system_prompt(role, goal, backstory),
        tools=tools_of(owner, task.tools or agent.tools) if task.tools or agent.tools else {},
        step_callbacks=tuple(callback for callback in (agent.step_callback, *step_callbacks) if callback),
        budget=_fresh(agent.budget),
    )


async def execute_alone(
    runtime: Runtime, agent: Agent, task: Task, context: str | None = None, tools: list[Any] | None = None
) -> TaskOutput:
    """Run one task by one agent, without a crew."""
    assignment = assign(task, agent, agent.llm, {})
    if tools is not None:
        assignment = dataclasses.replace(assignment, tools=tools_of("execute_task", tools))
    with scope(run_id=runtime.new_id(), listener=listener(agent.verbose, (), None)):
        return await execute(runtime, assignment, context or "", 1)


async def run_crew(
    runtime: Runtime,
    crew: Crew,
    inputs: Mapping[str, Any] | None,
    watcher: Callable[[Event], None] | None,
    user: Any = None,
) -> CrewOutput:
    """Run a crew's tasks one after the other."""
    given = _checked_inputs(inputs)
    assignments = _with_one_budget_each([crew.assignment(task, given) for task in crew.tasks])
    run_id, started = runtime.new_id(), runtime.now()
    user = current_call().user if user is None else user
    with scope(run_id=run_id, listener=watcher, user=user), _within(_fresh(crew.budget)):
        emit(RunStarted(run_id=run_id, tasks=len(assignments)))
        outputs: dict[int, TaskOutput] = {}
        try:
            for assignment in assignments:
                context = _context(assignment.task, outputs)
                output = await execute(runtime, assignment, context, len(outputs) + 1)
                outputs[id(assignment.task)] = output
                if crew.task_callback:
                    await call_back(runtime, crew.task_callback, output)
        except BaseException as error:
            emit(RunFailed(run_id=run_id, seconds=runtime.now() - started, error=error))
            raise
        result = _result(list(outputs.values()), run_id)
        emit(RunFinished(run_id=run_id, seconds=runtime.now() - started, usage=result.usage_metrics))
    return result


async def execute(runtime: Runtime, assignment: Assignment, context: str, number: int) -> TaskOutput:
    """Do one task, and tell its callback."""
    task = assignment.task
    with scope(task=task.name, agent=assignment.role), _within(assignment.budget):
        emit(TaskStarted(number=number, description=assignment.description))
        started = runtime.now()
        work = _work(runtime, assignment, context, number)
        try:
            answer = await _loop(work)
        except Exception as error:
            error.add_note(f"This happened while agent {assignment.role!r} worked on task {task.name!r}.")
            raise
        output = TaskOutput(
            raw=answer,
            description=assignment.description,
            expected_output=assignment.expected_output,
            name=task.name,
            agent=assignment.role,
            usage=work.usage,
        )
        emit(TaskFinished(seconds=runtime.now() - started, answer=answer))
        if task.callback:
            await call_back(runtime, task.callback, output)
    return output


def _work(runtime: Runtime, assignment: Assignment, context: str, number: int) -> Work:
    return Work(
        runtime=runtime,
        role=assignment.role,
        llm=assignment.llm,
        tools=assignment.tools,
        messages=[
            {"role": "system", "content": assignment.system},
            {
                "role": "user",
                "content": task_prompt(assignment.description, assignment.expected_output, context),
            },
        ],
        max_iter=assignment.agent.max_iter,
        key=str(number),
        step_callbacks=assignment.step_callbacks,
        extras={"from_task": assignment.task, "from_agent": assignment.agent},
    )


async def _loop(work: Work) -> str:
    """Run the loop that suits the model; one that fails at calling functions goes on with text."""
    if not work.tools or work.llm.supports_function_calling():
        try:
            return await run_native(work)
        except (EmptyReply, BadRequestError) as error:
            if not _cannot_call_functions(work, error):
                raise
            _log.warning("%s does not take tools (%s); going on with tools as text", work.llm, error)
    work.messages[0]["content"] = (
        f"{work.messages[0]['content']}{react_prompt([t.schema for t in work.tools.values()])}"
    )
    return await run_react(work)


def _cannot_call_functions(work: Work, error: EmptyReply | BadRequestError) -> bool:
    """Return whether the first call failed in a way that offering tools explains."""
    if not work.tools or work.calls != 1 or isinstance(error, ContextWindowExceededError):
        return False
    return isinstance(error, EmptyReply) or any(word in str(error).lower() for word in ("tool", "function"))


def _with_one_budget_each(assignments: list[Assignment]) -> list[Assignment]:
    """Return the assignments, where those of one agent count against one budget."""
    budgets: dict[int, Budget | None] = {}
    return [
        dataclasses.replace(one, budget=budgets.setdefault(id(one.agent), one.budget)) if one.budget else one
        for one in assignments
    ]


def _fresh(budget: Budget | None) -> Budget | None:
    return None if budget is None else budget.fresh()


def _within(budget: Budget | None) -> AbstractContextManager[object]:
    return _NO_BUDGET if budget is None else budget


def _context(task: Task, outputs: Mapping[int, TaskOutput]) -> str:
    """Return the answers that a task sees: of the tasks it names, else of all before it."""
    wanted = outputs.values() if task.context is None else [outputs[id(earlier)] for earlier in task.context]
    return joined(output.raw for output in wanted)


def _checked_inputs(inputs: object) -> Mapping[str, Any]:
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping) or not all(isinstance(name, str) for name in inputs):
        raise ConfigurationError(
            f"inputs must be a mapping of names to values, not of the type {type(inputs).__name__}."
        )
    return inputs


def _result(outputs: list[TaskOutput], run_id: str) -> CrewOutput:
    by_agent: dict[str, Usage] = {}
    for output in outputs:
        by_agent[output.agent] = by_agent.get(output.agent, Usage()) + output.usage
    return CrewOutput(
        raw=outputs[-1].raw,
        tasks_output=tuple(outputs),
        usage_metrics=functools.reduce(Usage.__add__, by_agent.values()),
        usage_by_agent=by_agent,
        run_id=run_id,
    )
