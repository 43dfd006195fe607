"""Two tools with which an agent has work done by the others: delegate work, ask a question."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from oarlock.agents.prompts import COWORKERS, FROM_COWORKER
from oarlock.agents.run import Assignment, execute_piece
from oarlock.agents.task import Task
from oarlock.contract.context import current_call, emit, scope
from oarlock.contract.errors import StepsExhaustedError, ToolError
from oarlock.contract.events import Delegated
from oarlock.contract.secret import scrub
from oarlock.runtime import Runtime
from oarlock.tools import BaseTool

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent

__all__ = ["Team", "coworker_named"]

_MOST_PIECES = 25  # handed over for one task of a crew, on all levels together; as many as model calls for one task
_MOST_REFUSALS = 3  # after which whoever still delegates will not stop by themselves
_MOST_LEVELS = 3  # of a coworker who delegates to a coworker, and so on
_NEAR = 0.75  # how alike two names must be (difflib's ratio): "Reseacher" and "Researchers" are near "Researcher"


@dataclass(slots=True, eq=False)
class Team:
    """Who may be given work at one task of a run, and how much has been handed over.

    Attributes:
        members: the task's assignment to each of them, with what they are given in place of the task's description.
        is_exhausted: so much was delegated that the run ends.
    """

    members: list[Assignment]
    is_exhausted: bool = False
    _pieces: Iterator[int] = field(default_factory=lambda: itertools.count(1))  # counts right in threads too

    def tools_of(self, agent: Agent, *, level: int = 1, only: Agent | None = None) -> dict[str, BaseTool]:
        """Return the tools with which an agent delegates, none if there is nobody else.

        Args:
            agent: who delegates.
            level: how many delegate above it, and itself.
            only: the one coworker that it may turn to; default: all others.
        """
        coworkers: dict[str, Assignment] = {}
        for member in self.members:
            if member.agent is not agent and (only is None or member.agent is only):
                coworkers.setdefault(member.role, member)
        if not coworkers:
            return {}
        kinds: tuple[type[_HandOver], ...] = (DelegateWork, AskQuestion)
        tools = [kind(team=self, asker=agent, level=level, coworkers=coworkers) for kind in kinds]
        return {tool.function_name: tool for tool in tools}

    def count(self, level: int) -> None:
        """Count a piece of work that is to be handed over.

        Raises:
            ToolError: it goes too far; the text is for the model.
            StepsExhaustedError: the model does not listen.
        """
        number = next(self._pieces)
        if number > _MOST_PIECES + _MOST_REFUSALS:
            self.is_exhausted = True
            raise StepsExhaustedError(
                f"The task came to no end: {_MOST_PIECES} pieces of it were delegated, and still the agents delegate. "
                "Make the task smaller, or let fewer agents delegate."
            )
        if number > _MOST_PIECES:
            raise ToolError(
                f"nothing more can be delegated, {_MOST_PIECES} pieces were. Give your answer from what you know."
            )
        if level > _MOST_LEVELS:
            raise ToolError(f"this work was delegated {_MOST_LEVELS} times already. Do it yourself.")


class _HandOver(BaseTool, abstract=True):
    """What both tools have in common. They run inside the run that they belong to: its limits, user and events go on."""

    team: Team
    asker: Agent
    level: int
    coworkers: Mapping[str, Assignment]
    question: bool = False
    cache_function = False  # whoever asks again wants it done again
    is_part_of_run: ClassVar[bool] = True

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        listed = "\n".join(f"- {role}: {member.goal}" for role, member in self.coworkers.items())
        self.description = f"{self.description}\n{COWORKERS.format(coworkers=listed)}"

    async def handle(
        self,
        runtime: Runtime,
        arguments: Mapping[str, Any],
        *,
        deadline: float | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Let a coworker do it, and return the answer."""
        work = arguments["question" if self.question else "task"]
        if not work.strip():
            raise ToolError("there was nothing to do in it. Say what you want of your coworker.")
        self.team.count(self.level)
        member = coworker_named(arguments["coworker"], self.coworkers)
        piece = self._piece(member, work)
        emit(Delegated(coworker=member.role, work=work, question=self.question))
        deadline = current_call().deadline if deadline is None else deadline
        with scope(attempt=1, deadline=deadline, idempotency_key=None, stop=(), retried=False, apart=True):
            try:
                key = (idempotency_key or runtime.new_id()).removeprefix(f"{current_call().run_id}:")
                return await execute_piece(runtime, piece, arguments["context"], key)
            except StepsExhaustedError as error:
                if self.team.is_exhausted:
                    raise
                raise ToolError(f"{member.role} came to no end with it. {error}") from error

    def _piece(self, member: Assignment, work: str) -> Assignment:
        agent = member.agent
        more = self.team.tools_of(agent, level=self.level + 1) if agent.allow_delegation else {}
        return dataclasses.replace(
            member,
            task=Task(description=work, expected_output=FROM_COWORKER, name=member.task.name),
            description=work,
            expected_output=FROM_COWORKER,
            tools={**more, **member.tools},
            finish=None,  # the form of the whole answer is the business of whoever has the task
        )


class DelegateWork(_HandOver):
    """Give a piece of work to one of your coworkers and get the result. They know nothing but what you tell them here."""

    name = "delegate_work_to_coworker"

    def _run(self, task: str, coworker: str, context: str = "") -> str:
        """Hand it over.

        Args:
            task: what to do, and what the result should look like.
            coworker: the name of one of them.
            context: all that they need to know for it.
        """
        raise NotImplementedError("handle() does it")


class AskQuestion(_HandOver):
    """Ask one of your coworkers a question and get the answer. They know nothing but what you tell them here."""

    name = "ask_question_to_coworker"
    question = True

    def _run(self, question: str, coworker: str, context: str = "") -> str:
        """Ask.

        Args:
            question: what you want to know.
            coworker: the name of one of them.
            context: all that they need to know for it.
        """
        raise NotImplementedError("handle() does it")


def coworker_named(name: str, coworkers: Mapping[str, Assignment]) -> Assignment:
    """Return who is meant: case, blanks, quotes and slips of the pen do not matter, as long as it is clear.

    Raises:
        ToolError: nobody, or it is not clear who; the text is for the model.
    """
    plain: dict[str, Assignment] = {}
    for role, member in coworkers.items():
        plain.setdefault(_plain(role), member)
    wanted = _plain(name)
    if wanted in plain:
        return plain[wanted]
    containing = [role for role in plain if wanted and (f" {wanted} " in f" {role} " or f" {role} " in f" {wanted} ")]
    near = containing or difflib.get_close_matches(wanted[:200], plain, n=2, cutoff=_NEAR)
    if len(near) == 1:
        return plain[near[0]]
    doubt = "it is not clear which coworker is" if near else "there is no coworker"
    listed = ", ".join(repr(scrub(role, 100)) for role in coworkers)
    raise ToolError(f"{doubt} {scrub(name, 100)!r}. The coworkers are: {listed}.")


def _plain(name: str) -> str:
    return " ".join(re.findall(r"\w+", name.casefold().replace("_", " ")))
