"""`ToolAnswer`: what a model is told."""

from __future__ import annotations

from typing import Any

from oarlock.contract.records import dataclass, field

__all__ = ["ToolAnswer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """What a model is told after it asked for a tool.

    Attributes:
        text: for the model; begins with `Error: ` if it failed.
        failed: the tool was not run, or raised.
        tool: the tool's function name, or the name that the model made up.
        value: what the tool returned; `None` if it failed.
        result_as_answer: the text is to be the agent's final answer.
        cached: it is the answer that an equal call had before in this run; the tool was not run again.
        ran: the tool's own code ran for it.
    """

    text: str
    failed: bool = False
    tool: str = ""
    value: Any = field(default=None, repr=False)
    result_as_answer: bool = False
    cached: bool = False
    ran: bool = field(default=False, repr=False, compare=False)
