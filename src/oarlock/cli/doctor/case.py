"""What the steps share: the LLM under examination, the way to it, and what earlier steps found."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from oarlock.cli.doctor.recorder import Exchange, Recorder
from oarlock.contract.errors import LLMError
from oarlock.contract.http import Headers
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply
from oarlock.contract.secret import Secret
from oarlock.llms.chat import ChatLLM
from oarlock.llms.http import HttpLLM
from oarlock.transport import TransportOptions, make_transport

__all__ = ["Address", "Case", "Patient", "case_of", "shown"]

Address = tuple[int, tuple[Any, ...]]
"""Family and address of a socket, as `getaddrinfo` gives them."""

LONGEST_ANSWER = 64  # tokens: the questions ask for a word or two, and a model that thinks aloud must not cost much


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """An LLM to examine.

    Attributes:
        llm: as the user has it, policies and all; it is not changed.
        code: returns how it is made, as Python without secrets, given the model's name and further arguments that turned
            out to be needed.
        model_known: `False` if the model's name is to be found out.
        streams: whether it is expected to stream.
    """

    llm: BaseLLM
    code: Callable[[str, Mapping[str, Any]], str] | None = None
    model_known: bool = True
    streams: bool = True

    @property
    def name(self) -> str:
        """The LLM in words."""
        if not self.model_known and isinstance(self.llm, HttpLLM):
            return shown(self.llm.base_url)
        return shown(self.llm.endpoint_name() or repr(self.llm))


@dataclass(slots=True)
class Case:
    """One examination, while it goes on."""

    llm: BaseLLM
    recorder: Recorder
    timeout: float
    model_known: bool
    streams: bool
    proxy: str | Secret | None = None
    addresses: list[Address] = field(default_factory=list)
    reached: Address | None = None  # the one that answered
    models: dict[str, dict[str, Any]] | None = None  # by name; None where the endpoint has no list
    reply: Reply | None = None
    refusal: LLMError | None = None  # what the first question ended in
    answered: Exchange | None = None  # the exchange of the first question
    times: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)  # arguments that turned out to be needed

    @property
    def http(self) -> HttpLLM | None:
        """The LLM, if it is one over HTTP."""
        return self.llm if isinstance(self.llm, HttpLLM) else None

    @property
    def chat(self) -> ChatLLM | None:
        """The LLM, if it speaks the OpenAI chat format."""
        return self.llm if isinstance(self.llm, ChatLLM) else None

    @property
    def url(self) -> SplitResult:
        """Where questions go."""
        assert self.http is not None
        return urlsplit(self.http._url())  # noqa: SLF001  the doctor may look inside

    @property
    def host(self) -> tuple[str, int]:
        """Host and port of the endpoint."""
        return self.url.hostname or "", self.url.port or (443 if self.url.scheme == "https" else 80)

    @property
    def options(self) -> TransportOptions:
        """How the LLM's transport connects; a client of the user's own does not say, so the default stands for it."""
        options = getattr(self.recorder.inner, "options", None)
        return options if isinstance(options, TransportOptions) else TransportOptions()

    def is_ours(self, exchange: Exchange) -> bool:
        """Whether an exchange was with the endpoint, not with something of the sign-in's."""
        there = urlsplit(exchange.request.url)
        base = urlsplit(self.http.base_url) if self.http else there
        return (there.scheme, there.netloc) == (base.scheme, base.netloc) and there.path.startswith(base.path)

    @property
    def last(self) -> Exchange | None:
        """The last exchange with the endpoint."""
        return next((one for one in reversed(self.recorder.exchanges) if self.is_ours(one)), None)

    @property
    def last_headers(self) -> Headers:
        """The headers of the last answer from the endpoint."""
        answers = (one for one in reversed(self.recorder.exchanges) if one.status is not None and self.is_ours(one))
        return next((one.headers for one in answers), Headers())


def shown(name: str) -> str:
    """Return a name or URL without its query, which may hold a key."""
    return name.partition("?")[0]


def case_of(patient: Patient, timeout: float | None = None, watch: Callable[[Exchange], None] | None = None) -> Case:
    """Return a case around a copy of the LLM that retries nothing, asks for little and is overheard."""
    llm = copy.copy(patient.llm._bare()[0])  # noqa: SLF001
    recorder = Recorder(llm._transport if isinstance(llm, HttpLLM) else make_transport(), watch)  # noqa: SLF001
    llm.policies = ()
    if llm.max_tokens is None or llm.max_tokens > LONGEST_ANSWER:
        llm.max_tokens = LONGEST_ANSWER
    if hasattr(llm, "on_length"):
        llm.on_length = "return"
    if isinstance(llm, HttpLLM):
        llm._transport = recorder  # noqa: SLF001
        llm.timeout = llm.timeout if timeout is None else timeout
        timeout = llm.timeout
    return Case(
        llm=llm,
        recorder=recorder,
        timeout=10.0 if timeout is None else timeout,
        model_known=patient.model_known,
        streams=patient.streams,
    )
