"""Who approves the calls of dangerous tools, and how an agent's tools may be used."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from oarlock.agents.terminal import alone_on_terminal, is_terminal, shown
from oarlock.contract.errors import ConfigurationError
from oarlock.tools import ApprovalRequest, Approver, BaseTool, ToolRules

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.crew import Crew

__all__ = ["check_approver", "check_cache", "rules_of"]

_MOST_SHOWN = 20_000  # characters of arguments; who approves must see all that fits on any screen


def check_cache(owner: str, cache: object) -> None:
    """Raise a ConfigurationError unless this says something about caching."""
    if cache is not None and not isinstance(cache, bool):
        raise ConfigurationError(
            f"{owner}: cache must be True (answer equal tool calls of a run once), False, or None (as each tool says), "
            f"not {cache!r}."
        )


def check_approver(owner: str, approver: object) -> None:
    """Raise a ConfigurationError unless this is a function, or nothing."""
    if approver is not None and (not callable(approver) or isinstance(approver, type)):
        raise ConfigurationError(
            f"{owner}: on_approval must be a function that takes an ApprovalRequest and returns True, False, a reason, or "
            f"other arguments, not {approver!r}."
        )


def rules_of(owner: str, tools: Mapping[str, BaseTool], agent: Agent, crew: Crew | None) -> ToolRules | None:
    """Return how an agent may use its tools, or nothing where there is nothing to say. The agent's own word comes first.

    Raises:
        ConfigurationError: a tool is dangerous, and there is nobody to approve its calls.
    """
    cache = agent.cache if agent.cache is not None or crew is None else crew.cache
    approver: Approver | None = agent.on_approval or (None if crew is None else crew.on_approval)
    dangerous = next((name for name, tool in tools.items() if tool.dangerous), None)
    if dangerous is None:
        return None if cache is None else ToolRules(cache=cache)
    if approver is None:
        if not is_terminal():
            raise ConfigurationError(
                f"{owner}: the tool {dangerous!r} is dangerous, so each of its calls needs an approval, and this is no "
                "terminal to ask on. Pass on_approval=function to the Agent or the Crew: it gets an ApprovalRequest and "
                "returns True, False, a reason to refuse, or other arguments."
            )
        approver = approve_on_terminal
    return ToolRules(cache=cache, approver=approver)


def approve_on_terminal(request: ApprovalRequest) -> bool | str:
    """Show a call and read a line: `y` allows it, anything else refuses it, as the reason if it is more than `n`."""
    arguments = shown(json.dumps(dict(request.arguments), ensure_ascii=False, indent=2))
    if len(arguments) > _MOST_SHOWN:
        arguments = f"{arguments[:_MOST_SHOWN]}\n[cut: {len(arguments) - _MOST_SHOWN:,} more characters are not shown]"
    who = shown(request.agent or "The model")
    with alone_on_terminal():
        print(f"\n{who} wants to use {request.tool} with\n\n{arguments}\n", file=sys.stderr, flush=True)  # noqa: T201  the terminal's view
        try:
            said = input("Allow it? Write y to allow it, or why not: ").strip()
        except EOFError:
            return "nobody answered"
    if said.casefold() in ("y", "yes"):
        return True
    return False if said.casefold() in ("", "n", "no") else said
