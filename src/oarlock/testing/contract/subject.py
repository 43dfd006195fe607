"""The LLM that is being checked, and the scene on which one check meets it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from oarlock.contract.llm import BaseLLM
from oarlock.testing.contract.stage import Respond, Stage, echo
from oarlock.testing.endpoint import LoopbackEndpoint, Scripted

__all__ = ["Broken", "NotApplicable", "Scene", "Subject", "require"]


class Broken(AssertionError):  # noqa: N818  it says what is
    """What a check found: a sentence on what is wrong and how to mend it."""


class NotApplicable(Exception):  # noqa: N818
    """A check cannot tell anything about this LLM; the message says why."""


def require(holds: object, message: str) -> None:
    """Go on if it holds.

    Raises:
        Broken: it does not.
    """
    if not holds:
        raise Broken(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """How to make the LLM, and what its owner told about it.

    Attributes:
        factory: makes a new LLM; takes the base URL of an endpoint if `takes_url`.
        takes_url: whether our own endpoint can stand in for the real one.
        secrets: texts that must not be seen anywhere.
        echo: whether an answer repeats the word that the question asks it to repeat.
        respond: writes an answer in a private protocol.
    """

    factory: Callable[..., Any]
    takes_url: bool
    secrets: Sequence[str] = ()
    echo: bool = False
    respond: Respond | None = None

    @property
    def echoes(self) -> bool:
        """Whether each answer can be told from the others."""
        return self.echo or self.takes_url


class Scene:
    """One check's stay with the LLM: the endpoints that it starts end with it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._open = ExitStack()

    def llm(self) -> BaseLLM:
        """Return a new LLM that answers: behind an endpoint of ours that echoes, if it lets us choose one."""
        return self.behind(echo)[0] if self.subject.takes_url else self.made()

    def behind(self, *replies: Scripted) -> tuple[BaseLLM, LoopbackEndpoint]:
        """Return a new LLM behind an endpoint of ours that gives these replies; the last one is repeated.

        Raises:
            NotApplicable: we cannot choose its endpoint.
        """
        self.need_url()
        endpoint = self._open.enter_context(Stage(list(replies), self.subject.respond))
        return self.made(endpoint.url), endpoint

    def behind_nothing(self) -> BaseLLM:
        """Return a new LLM whose endpoint refuses connections."""
        self.need_url()
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            port = server.getsockname()[1]
        return self.made(f"http://127.0.0.1:{port}/v1")

    def made(self, *url: str) -> BaseLLM:
        """Return what the factory makes.

        Raises:
            Broken: it is no LLM.
        """
        made = self.subject.factory(*url)
        require(
            isinstance(made, BaseLLM),
            f"The factory returned {_a(made)}, which is no LLM: let it return an object of a class derived from BaseLLM.",
        )
        llm: BaseLLM = made
        return llm

    def need_url(self) -> None:
        """Go on if our own endpoint can stand in for the real one."""
        if not self.subject.takes_url:
            raise NotApplicable(
                "It needs an endpoint of ours: give a factory that takes a base URL, lambda url: MyLLM(url)."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()


def _a(thing: object) -> str:
    return "None" if thing is None else f"a {type(thing).__name__}"
