"""Tools that become known only when a run, or an agent's work in it, begins."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from oarlock.agents.approval import rules_of
from oarlock.agents.definitions import tools_of
from oarlock.runtime import Runtime

if TYPE_CHECKING:
    from oarlock.agents.run import Assignment

__all__ = ["refresh", "with_offered"]


async def refresh(runtime: Runtime, assignments: Iterable[Assignment]) -> None:
    """Let all sources of tools connect, side by side, before any model is asked."""
    sources = {id(source): source for assignment in assignments for source in assignment.sources}
    if sources:
        await runtime.gather(*(functools.partial(source.refresh, runtime) for source in sources.values()))


async def with_offered(runtime: Runtime, assignment: Assignment) -> Assignment:
    """Return an assignment with the tools that its sources offer now.

    Raises:
        ConfigurationError: two tools have one name, or one is dangerous and nobody can approve its calls.
    """
    owner = f"Agent {assignment.agent.role!r}"
    tools = list(assignment.tools.values())
    for source in assignment.sources:
        tools += await source.offered(runtime)
    named = tools_of(owner, tools)
    return dataclasses.replace(
        assignment, tools=named, rules=rules_of(owner, named, assignment.agent, assignment.crew), sources=()
    )
