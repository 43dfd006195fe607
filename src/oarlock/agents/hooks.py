"""Hooks: functions of the user's own before and after each model call and each tool call of an agent, and what they get."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from oarlock.agents.definitions import check_takes_one, functions
from oarlock.agents.human import answer_on_terminal
from oarlock.contract.messages import Message
from oarlock.contract.records import dataclass, field
from oarlock.contract.reply import Reply

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.crew import Crew
    from oarlock.agents.task import Task
    from oarlock.contract.llm import BaseLLM
    from oarlock.tools import BaseTool

__all__ = ["KINDS", "Hook", "Hooks", "LLMCallHookContext", "ToolCallHookContext", "check_hooks", "name_of"]

Hook: TypeAlias = Callable[[Any], Any]
"""A function, blocking or `async def`, of an `LLMCallHookContext` or a `ToolCallHookContext`."""

KINDS = ("before_llm_call", "after_llm_call", "before_tool_call", "after_tool_call")
_HINT = "Press Enter to go on, or write an answer:"


class _AsksHumans:
    """What both contexts have."""

    __slots__ = ()

    def request_human_input(self, prompt: str, default_message: str = _HINT) -> str:
        """Ask on the terminal, from a blocking hook, and return the line that was written.

        Raises:
            ConfigurationError: nobody can be asked: this is no terminal.
        """
        return answer_on_terminal(prompt, default_message)


@dataclass(slots=True, kw_only=True, eq=False)
class LLMCallHookContext(_AsksHumans):
    """A model call, for hooks before and after it.

    Attributes:
        messages: the conversation, to be read or changed; what a hook changes stays so for the rest of the task.
        agent: who asks.
        task: at what; a piece of work that was delegated is a task of its own.
        crew: of which crew; `None` for an agent alone.
        llm: which model.
        iterations: which model call of this task it is, from 1.
        tools: the names of the tools on offer.
        reply: the answer, in hooks after the call.
    """

    messages: list[Message] = field(repr=False)
    agent: Agent
    task: Task
    crew: Crew | None = field(default=None, repr=False)
    llm: BaseLLM
    iterations: int = 1
    tools: tuple[str, ...] = ()
    reply: Reply | None = field(default=None, repr=False)

    @property
    def response(self) -> str | None:
        """The text of the answer."""
        return None if self.reply is None else self.reply.text


@dataclass(slots=True, kw_only=True, eq=False)
class ToolCallHookContext(_AsksHumans):
    """A tool call, for hooks before and after it.

    Attributes:
        tool_name: as models know it.
        tool_input: the arguments, to be read or changed; they are checked after the hooks.
        tool: the tool itself.
        agent: who wants it.
        task: at what.
        crew: of which crew; `None` for an agent alone.
        tool_result: what the model is told, in hooks after the call.
        raw_tool_result: what the tool returned.
        failed: the tool was not run, or raised.
    """

    tool_name: str
    tool_input: dict[str, Any] = field(repr=False)
    tool: BaseTool
    agent: Agent
    task: Task
    crew: Crew | None = field(default=None, repr=False)
    tool_result: str | None = field(default=None, repr=False)
    raw_tool_result: Any = field(default=None, repr=False)
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Hooks of all four kinds. `Agent` and `Crew` have an argument for each of them.

    Attributes:
        everywhere: hooks around those of all crews and agents of the process. Oarlock itself never sets it: it is there for
            `oarlock.compat`, whose scripts register hooks globally. An object is replaced, never changed.
    """

    everywhere: ClassVar[Hooks | None] = None

    before_llm_call: tuple[Hook, ...] = ()
    after_llm_call: tuple[Hook, ...] = ()
    before_tool_call: tuple[Hook, ...] = ()
    after_tool_call: tuple[Hook, ...] = ()


def check_hooks(owner: str, holder: Agent | Crew) -> None:
    """Put the hooks of an agent or a crew into tuples.

    Raises:
        ConfigurationError: something is no function of one argument.
    """
    for kind in KINDS:
        given = getattr(holder, kind)
        if given != ():
            setattr(holder, kind, tuple(_checked(owner, kind, hook) for hook in functions(owner, kind, given)))


def _checked(owner: str, kind: str, hook: Hook) -> Hook:
    check_takes_one(f"{owner}: the {kind} hook {name_of(hook)}", hook, "the context of the call")
    return hook


def name_of(hook: Hook) -> str:
    """Return what to call a hook in a message."""
    return str(getattr(hook, "__qualname__", None) or repr(hook))
