"""Who does a crew's task: its agent, alone or with the help of others, or a manager who gives it to them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oarlock.agents.agent import Agent
from oarlock.agents.delegation import Team
from oarlock.agents.prompts import MANAGE, MANAGER_BACKSTORY, MANAGER_GOAL, MANAGER_ROLE
from oarlock.agents.run import Assignment, assign
from oarlock.contract.errors import ConfigurationError

if TYPE_CHECKING:
    from oarlock.agents.crew import Crew
    from oarlock.agents.task import Task
    from oarlock.policies import Budget

__all__ = ["assignment_of", "manager_of", "staff_of"]


def manager_of(crew: Crew) -> Agent:
    """Return who leads a hierarchical crew.

    Raises:
        ConfigurationError: nobody, or somebody who cannot.
    """
    if not staff_of(crew):
        raise ConfigurationError("Crew: Process.hierarchical needs agents=[...] for the manager to delegate to.")
    manager = crew.manager_agent
    if manager is None:
        if crew.manager_llm is None:
            raise ConfigurationError(
                "Crew: Process.hierarchical needs a manager: pass manager_llm=... or manager_agent=Agent(...)."
            )
        return Agent(role=MANAGER_ROLE, goal=MANAGER_GOAL, backstory=MANAGER_BACKSTORY, llm=crew.manager_llm)
    if any(agent is manager for agent in staff_of(crew)):
        raise ConfigurationError(
            f"Crew: {manager.role!r} is the manager_agent, and cannot also be among the agents or have a task of its own."
        )
    return manager


def staff_of(crew: Crew) -> list[Agent]:
    """Return all agents who do a crew's work, each once: its own, and those that only tasks name."""
    agents = [*crew.agents, *(task.agent for task in crew.tasks if task.agent is not None)]
    return list({id(agent): agent for agent in agents}.values())


def assignment_of(
    crew: Crew, task: Task, manager: Agent | None, inputs: Mapping[str, Any], budgets: dict[int, Budget]
) -> Assignment:
    """Return a task with its inputs filled in, and with all who may be asked to help.

    Raises:
        ConfigurationError: an input is missing, or somebody has no LLM.
    """
    agent = manager or task.agent or crew.agents[0]
    staffed = functools.partial(_staffed, crew, task, inputs, budgets)
    main = staffed(agent, own_tools=manager is not None)
    if manager is None and not agent.allow_delegation:
        return main
    members = [dataclasses.replace(staffed(one, own_tools=manager is None), spent=main.spent) for one in staff_of(crew)]
    tools = Team(members).tools_of(agent, only=task.agent if manager else None)
    system = f"{main.system}\n{MANAGE}" if manager else main.system
    return dataclasses.replace(main, tools={**tools, **main.tools}, system=system)


def _staffed(
    crew: Crew, task: Task, inputs: Mapping[str, Any], budgets: dict[int, Budget], agent: Agent, *, own_tools: bool
) -> Assignment:
    return assign(
        task,
        agent,
        agent.llm or crew.manager_llm,
        inputs,
        step_callbacks=(crew.step_callback,),
        budgets=budgets,
        own_tools=own_tools,
        limit=crew.limit,
        on_human_input=crew.on_human_input,
        crew=crew,
    )
