"""`human_input`: a human looks at the answer before it counts."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from oarlock.agents.terminal import alone_on_terminal, is_terminal, shown
from oarlock.agents.work import call_back, name_of
from oarlock.contract.context import tell
from oarlock.contract.errors import ConfigurationError, OutputError, a_kind
from oarlock.contract.events import HumanAnswered, HumanAsked
from oarlock.runtime import Job, Runtime, ThreadPool

if TYPE_CHECKING:
    from oarlock.agents.outputs import TaskOutput

__all__ = ["Asker", "answer_on_terminal", "ask", "asker_of"]

Asker = Callable[..., Any]
"""A function, blocking or `async`: `(TaskOutput) -> str | None`: what to change, or nothing to accept the answer."""

_TERMINAL: Final = ThreadPool(1, "oarlock-terminal")


def asker_of(owner: str, hook: Asker | None) -> Asker:
    """Return whom to ask about an answer: the hook, else the terminal.

    Raises:
        ConfigurationError: there is neither.
    """
    if hook is not None:
        return hook
    if not is_terminal():
        raise ConfigurationError(
            f"{owner}: human_input=True needs somebody to ask, and this is no terminal. Pass Crew(on_human_input=function), "
            "which gets the TaskOutput and returns what to change, or nothing."
        )
    return ask_on_terminal


async def ask(runtime: Runtime, key: str, asker: Asker, output: TaskOutput) -> str:
    """Return what a human wants changed, empty for nothing, as a step of the run.

    Raises:
        ConfigurationError: a hook returned something else.
        OutputError: the terminal was closed.
    """
    tell(HumanAsked, answer=output.raw)
    began = runtime.now()
    if asker is ask_on_terminal:
        job: Job[Any] = functools.partial(runtime.invoke, ask_on_terminal, None, output, pool=_TERMINAL)
    else:
        job = functools.partial(call_back, runtime, asker, output)
    changes = _changes(await runtime.step("callback", name_of(asker), job, key))
    tell(HumanAnswered, seconds=runtime.now() - began, said=changes)
    return changes


def _changes(said: Any) -> str:
    if said is None or said is True:
        return ""
    if not isinstance(said, str):
        raise ConfigurationError(
            f"on_human_input must return a text with what to change, or None to accept, not {a_kind(said)}."
        )
    return said.strip()


def ask_on_terminal(output: TaskOutput) -> str:
    """Show an answer and read a line.

    Raises:
        OutputError: the terminal was closed.
    """
    with alone_on_terminal():
        print(f"\n{shown(output.agent)} has answered:\n\n{shown(output.raw)}\n", file=sys.stderr, flush=True)  # noqa: T201  the terminal's view
        try:
            return input("Press Enter to accept it, or write what to change: ")
        except EOFError:
            print(file=sys.stderr)  # noqa: T201  so that what follows does not stand behind the question
            raise OutputError(
                "The terminal was closed before anybody accepted the answer; the error has it as .text.",
                text=output.raw,
            ) from None


def answer_on_terminal(question: str, hint: str) -> str:
    """Ask a question, and read a line.

    Raises:
        ConfigurationError: this is no terminal.
    """
    with alone_on_terminal():
        print(f"\n{shown(question)}", file=sys.stderr, flush=True)  # noqa: T201  the terminal's view
        try:
            return input(f"{shown(hint)} ").strip()
        except EOFError:
            raise ConfigurationError("request_human_input() needs somebody to ask, and this is no terminal.") from None
