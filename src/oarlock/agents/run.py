"""An agent at a task, from the filled-in task to its output. The core: it awaits nothing but its runtime."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from oarlock.agents.approval import rules_of
from oarlock.agents.console import Listener, watched
from oarlock.agents.definitions import check_llm, tools_of
from oarlock.agents.finish import Finish, finish_of
from oarlock.agents.hooks_at_work import hooks_at_work
from oarlock.agents.inputs import fill
from oarlock.agents.limits import PerMinute, TimeLimit, limited
from oarlock.agents.native import run_native
from oarlock.agents.outputs import TaskOutput, output_with
from oarlock.agents.prompts import react_prompt, system_prompt, task_prompt
from oarlock.agents.react import run_react
from oarlock.agents.sources import with_offered
from oarlock.agents.templates import PLAIN, Prompts, prompts_of, today
from oarlock.agents.window import Window
from oarlock.agents.work import Work, notify
from oarlock.contract.context import current_call, scope, tell
from oarlock.contract.errors import BadRequestError, ConfigurationError, ContextWindowExceededError, EmptyReply
from oarlock.contract.events import TaskFailed, TaskFinished, TaskStarted
from oarlock.contract.llm import BaseLLM
from oarlock.contract.records import dataclass, field
from oarlock.contract.reply import Usage
from oarlock.runtime import Runtime
from oarlock.tools import ToolRules, ToolSource, ToolStore, split

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.crew import Crew
    from oarlock.agents.task import Task
    from oarlock.policies import Budget
    from oarlock.tools import BaseTool

__all__ = ["Assignment", "assign", "execute", "execute_alone", "within"]

_log = logging.getLogger("oarlock.agents")
_NO_LIMIT = nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A task with everything filled in, ready to be worked on in one run.

    Attributes:
        tool_llm: the LLM for turns in which tools may be called, if it is another one.
        prompts: what stands around the prompts.
        crew: of which crew; `None` for an agent alone.
        spent: what each agent has used for it, by role, filled while it is worked on.
    """

    task: Task
    agent: Agent
    llm: BaseLLM
    description: str
    expected_output: str
    role: str
    goal: str
    system: str
    tools: Mapping[str, BaseTool]
    step_callbacks: tuple[Callable[[Any], Any], ...] = field(default=())
    sources: tuple[ToolSource, ...] = ()
    rules: ToolRules | None = None
    budget: Budget | None = None
    finish: Finish | None = None
    crew: Crew | None = None
    tool_llm: BaseLLM | None = None
    prompts: Prompts = PLAIN
    spent: list[tuple[str, Usage]] = field(default_factory=list)


def assign(
    task: Task,
    agent: Agent,
    llm: BaseLLM | None,
    inputs: Mapping[str, Any],
    *,
    step_callbacks: tuple[Callable[[Any], Any] | None, ...] = (),
    budgets: dict[int, Budget] | None = None,
    own_tools: bool = False,
    limit: PerMinute | None = None,
    on_human_input: Callable[..., Any] | None = None,
    crew: Crew | None = None,
) -> Assignment:
    """Fill a task in and check that it can be done, before any model is asked.

    Args:
        task: what to do.
        agent: who does it.
        llm: what the agent thinks with.
        inputs: values for the `{name}`s.
        step_callbacks: to be called after the agent's own.
        budgets: those of this run by agent, so that all work of one agent counts against one; filled here.
        limit: the crew's, on all its calls.
        own_tools: the agent works with its own tools, whatever the task has.
        on_human_input: whom the task asks for `human_input`, in place of the terminal.
        crew: whose run it is; its hooks are around the agent's, and its `cache` and `on_approval` serve agents without their own.

    Raises:
        ConfigurationError: an input is missing, or nobody to think with.
    """
    owner = f"Agent {agent.role!r}"
    if llm is None:
        raise ConfigurationError(
            f"{owner} has no LLM: pass Agent(llm=...), or Crew(manager_llm=...) to serve all agents without one."
        )
    if isinstance(llm, str):  # set after the agent was built, where nobody has made an LLM of a name
        check_llm(owner, "llm", llm)
    role = fill(agent.role, inputs, f"{owner}: role")
    goal = fill(agent.goal, inputs, f"{owner}: goal")
    backstory = fill(agent.backstory, inputs, f"{owner}: backstory")
    given_tools = agent.tools if own_tools else task.tools or agent.tools
    tools = tools_of(owner, given_tools) if given_tools else {}
    return Assignment(
        task=task,
        agent=agent,
        llm=limited(llm, (limit, agent.limit), agent.tries),
        tool_llm=_tool_llm(owner, agent, crew, limit),
        description=fill(task.description, inputs, f"Task {task.name!r}: description"),
        expected_output=fill(task.expected_output, inputs, f"Task {task.name!r}: expected_output"),
        role=role,
        goal=goal,
        system=system_prompt(role, goal, backstory),
        prompts=prompts_of(owner, agent, inputs),
        tools=tools,
        sources=split(given_tools)[1] if given_tools else (),
        rules=rules_of(owner, tools, agent, crew),
        step_callbacks=tuple(callback for callback in (agent.step_callback, *step_callbacks) if callback),
        budget=_own_budget(agent, {} if budgets is None else budgets),
        finish=finish_of(task, inputs, on_human_input) if task.is_finished_further else None,
        crew=crew,
    )


def _tool_llm(owner: str, agent: Agent, crew: Crew | None, limit: PerMinute | None) -> BaseLLM | None:
    """Return the `function_calling_llm` of an agent, else that of its crew.

    Raises:
        ConfigurationError: it cannot call functions.
    """
    llm = agent.function_calling_llm or (None if crew is None else crew.function_calling_llm)
    if llm is None:
        return None
    if not llm.supports_function_calling():
        raise ConfigurationError(
            f"{owner}: function_calling_llm is {llm}, which says that it cannot call functions. Give one that can, or none: "
            "the agent's llm then uses its tools, through text if need be."
        )
    return limited(llm, (limit, agent.limit), agent.tries)


async def execute_alone(
    runtime: Runtime,
    agent: Agent,
    task: Task,
    context: str | None = None,
    tools: list[Any] | None = None,
    *,
    on_event: Listener | None = None,
) -> TaskOutput:
    """Run one task by one agent, without a crew."""
    assignment = assign(task, agent, agent.llm, {})
    if tools is not None:
        given = tools_of("execute_task", tools)
        rules = rules_of("execute_task", given, agent, None)
        assignment = dataclasses.replace(assignment, tools=given, rules=rules, sources=split(tools)[1])
    shown = watched(agent.verbose, (), on_event, lambda: [agent])
    with shown as told, scope(run_id=runtime.new_id(), listener=told, clock=runtime.time, tool_store=ToolStore()):
        return await execute(runtime, assignment, context or "", 1)


async def execute(runtime: Runtime, assignment: Assignment, context: str, number: int) -> TaskOutput:
    """Do one task, and tell its callback."""
    if assignment.sources:
        assignment = await with_offered(runtime, assignment)
    task = assignment.task
    here = current_call()
    place = {"task_id": (task_id := f"{here.run_id}:{number}"), "span_id": task_id, "parent_id": here.span_id}
    place |= within(assignment.budget)
    with scope(task=task.name, agent=assignment.role, tool_rules=assignment.rules, **place):
        tell(TaskStarted, number=number, description=assignment.description)
        started = runtime.now()
        work = _work(runtime, assignment, context, str(number))
        if assignment.finish is not None:
            assignment.finish.prepare(work)
        try:
            with _time_limit(runtime, assignment.agent):
                output = _output(assignment, await _loop(work))
                if assignment.finish is not None:
                    output = await assignment.finish.output(work, output, _loop)
        except BaseException as error:  # also what cancels it: whoever pairs what begins and ends is told of each end
            if isinstance(error, Exception):
                error.add_note(f"This happened while agent {assignment.role!r} worked on task {task.name!r}.")
            tell(TaskFailed, seconds=runtime.now() - started, error=error)
            raise
        assignment.spent.append((assignment.role, work.usage))
        spent = functools.reduce(Usage.__add__, [usage for _, usage in assignment.spent])
        output = output_with(output, usage=spent)
        value = output.json_dict if output.pydantic is None else output.pydantic
        tell(TaskFinished, seconds=runtime.now() - started, answer=output.raw, usage=output.usage, value=value)
        if task.callback:
            await notify(runtime, f"{number}:done", task.callback, output)
    return output


async def execute_piece(runtime: Runtime, assignment: Assignment, context: str, key: str) -> str:
    """Do a piece of a task for another agent, within the limits of both, and return the answer.

    Args:
        runtime: drives it.
        assignment: the piece; what it costs is noted there.
        context: what to know beforehand.
        key: tells this piece from all other work of the run.
    """
    if assignment.sources:
        assignment = await with_offered(runtime, assignment)
    with scope(agent=assignment.role, tool_rules=assignment.rules, **within(assignment.budget)):
        work = _work(runtime, assignment, context, key)
        try:
            with _time_limit(runtime, assignment.agent):
                return await _loop(work)
        except Exception as error:
            error.add_note(f"This happened while agent {assignment.role!r} worked on a part of it for another one.")
            raise
        finally:
            assignment.spent.append((assignment.role, work.usage))


def _output(assignment: Assignment, answer: str) -> TaskOutput:
    return TaskOutput(
        raw=answer,
        description=assignment.description,
        expected_output=assignment.expected_output,
        name=assignment.task.name,
        agent=assignment.role,
    )


def _work(runtime: Runtime, assignment: Assignment, context: str, key: str) -> Work:
    agent, prompts = assignment.agent, assignment.prompts
    system = assignment.system
    if agent.inject_date:
        system += today(agent.date_format, runtime.time())
    task = task_prompt(assignment.description, assignment.expected_output, context)
    messages = prompts.messages(system, task)
    return Work(
        runtime=runtime,
        role=assignment.role,
        llm=assignment.llm,
        tool_llm=assignment.tool_llm,
        tools=assignment.tools,
        prompts=prompts,
        messages=messages,
        max_iter=agent.max_iter,
        key=key,
        step_callbacks=assignment.step_callbacks,
        hooks=hooks_at_work(assignment.crew, agent, assignment.task),
        window=Window(len(messages), context, agent.count_tokens) if agent.respect_context_window else None,
        extras={"from_task": assignment.task, "from_agent": agent},
    )


async def _loop(work: Work) -> str:
    """Run the loop that suits the model; one that fails at calling functions goes on with text."""
    if work.tools_as_text:  # the agent tries again
        return await run_react(work)
    if not work.tools or work.tool_llm is not None or work.llm.supports_function_calling():
        try:
            return await run_native(work)
        except (EmptyReply, BadRequestError) as error:
            if not _cannot_call_functions(work, error):
                raise
            _log.warning("%s does not take tools (%s); going on with tools as text", work.tool_llm or work.llm, error)
    work.tools_as_text = True
    work.add_to_system(react_prompt([tool.schema for tool in work.tools.values()]))
    return await run_react(work)


def _cannot_call_functions(work: Work, error: EmptyReply | BadRequestError) -> bool:
    """Return whether the first call failed in a way that offering tools explains."""
    if not work.tools or work.calls != 1 or isinstance(error, ContextWindowExceededError):
        return False
    return isinstance(error, EmptyReply) or any(word in str(error).lower() for word in ("tool", "function"))


def _own_budget(agent: Agent, budgets: dict[int, Budget]) -> Budget | None:
    if agent.budget is None:
        return None
    return budgets.setdefault(id(agent), agent.budget.fresh())


def _time_limit(runtime: Runtime, agent: Agent) -> AbstractContextManager[object]:
    return _NO_LIMIT if agent.max_execution_time is None else TimeLimit(runtime, agent)


def within(budget: Budget | None) -> dict[str, Any]:
    """Return the facts of a scope in which model calls count against this budget, if there is one."""
    return {} if budget is None else {"budgets": (*current_call().budgets, budget)}
