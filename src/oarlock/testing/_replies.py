"""What a loopback endpoint can be told to answer: plain values, one per request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

from oarlock.contract.http import Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One request as the endpoint received it.

    Attributes:
        number: its place in the order of arrival, from 0.
        method: such as `"POST"`.
        path: path and query.
        headers: names compare without case; the repr shows names only.
        body: the bytes of the body.
        json: the body parsed, or `None` where it is not JSON.

    Example:
        >>> from oarlock.testing import LoopbackEndpoint
        >>> with LoopbackEndpoint() as endpoint:
        ...     _ = ChatLLM("our-model", endpoint.url).call("Hi")
        >>> endpoint.requests[0].json["messages"]
        [{'role': 'user', 'content': 'Hi'}]
    """

    number: int
    method: str
    path: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    json: Any = field(repr=False)

    @property
    def prompt(self) -> str:
        """The text of the last message."""
        return str(self.json["messages"][-1].get("content") or "")


@dataclass(frozen=True, slots=True)
class Answer:
    """A plain answer with its details; a bare `str` does for the usual case.

    Example:
        >>> Answer("The rest is cut", finish_reason="length", usage={"prompt_tokens": 9, "completion_tokens": 4})
        Answer(text='The rest is cut', finish_reason='length', usage={'prompt_tokens': 9, 'completion_tokens': 4})
    """

    text: str
    _: KW_ONLY
    finish_reason: str = "stop"
    usage: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """An answer that asks for tools: pairs of a name and its arguments (a `str` is sent as it stands).

    Example:
        >>> ToolCalls([("add", {"a": 1, "b": 2}), ("add", "{not json")]).calls[0]
        ('add', {'a': 1, 'b': 2})
    """

    calls: Sequence[tuple[str, Mapping[str, Any] | str]]
    _: KW_ONLY
    text: str | None = None
    usage: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """An answer by status, with an OpenAI-style error body from 400 up unless `body` is given.

    Example:
        >>> Status(503, headers={"Retry-After": "1"}).status
        503
    """

    status: int
    _: KW_ONLY
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes to put on the wire as they are, then close: status line, headers and all.

    Example:
        >>> from oarlock.testing import LoopbackEndpoint
        >>> with LoopbackEndpoint(Raw(b"HTTP/1.1 200 OK\\r\\n\\r\\nno JSON")) as endpoint:
        ...     ChatLLM("our-model", endpoint.url).call("Hi")
        Traceback (most recent call last):
        oarlock.contract.errors.ResponseFormatError: ...
    """

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection without an answer.

    Example:
        >>> from oarlock.testing import LoopbackEndpoint, VirtualRuntime
        >>> with VirtualRuntime(), LoopbackEndpoint([Drop(), "Hello."]) as endpoint:
        ...     print(ChatLLM("our-model", endpoint.url).call("Hi"))
        Hello.
    """


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing until `endpoint.release()`, then answer `then`; when the endpoint stops, close without an answer."""

    then: Scripted = field(default_factory=Drop)


Scripted: TypeAlias = (
    str
    | int
    | Mapping[str, Any]
    | Answer
    | ToolCalls
    | Status
    | Raw
    | Drop
    | Hang
    | Iterator[str]
    | Callable[[RecordedRequest], "Scripted"]
)
