"""What a sign-in is: a generator that yields requests and receives responses. It does no I/O itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.runtime import Runtime

__all__ = ["Auth", "Do", "Flow"]


@dataclass(frozen=True, slots=True)
class Do:
    """Something else that a flow waits for, such as a user's token function: `token = yield Do(fetch)`."""

    work: Callable[[Runtime], Awaitable[Any]]


Flow = Generator[HttpRequest | Do, Any, None]
"""Yields requests to send (the last one's response is the result) or a `Do`; receives a response, or what it gave."""


@runtime_checkable
class Auth(Protocol):
    """A way of signing in.

    The flow is given the request to sign. It may send others first (to fetch a token), and may send the request again
    when the response says that the credential is no longer good. A response's body is there when its status is 400 or
    more and for every request to another URL.

    Example:
        >>> class Signed:
        ...     def flow(self, request):
        ...         response = yield request.with_headers(("x-signature", "..."))
    """

    def flow(self, request: HttpRequest) -> Generator[Any, Any, None]:
        """Sign one request."""


async def authorize(
    runtime: Runtime, auth: Auth, request: HttpRequest, send: Callable[[HttpRequest], Awaitable[HttpResponse]]
) -> None:
    """Drive a flow to its end; `send` keeps what it needs of the last response."""
    flow = auth.flow(request)
    try:
        item = next(flow)
        while True:
            answer = await (item.work(runtime) if isinstance(item, Do) else send(item))
            item = flow.send(answer)
    except StopIteration:
        return
    finally:
        flow.close()
