"""What a sign-in is: a generator that yields requests and receives responses. It does no I/O itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Protocol, runtime_checkable

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.records import dataclass
from oarlock.runtime import Runtime

__all__ = ["Auth", "Do", "Flow", "Send", "authorize"]

Send = Callable[[HttpRequest], Awaitable[HttpResponse]]
"""Sends a request and returns the response, whatever its status, with its body."""


@dataclass(frozen=True, slots=True)
class Do:
    """Something else that a flow waits for, such as a token that all callers share: `token = yield Do(fetch)`.

    The work is given the runtime and a way to send requests of its own, such as one to a token endpoint.
    """

    work: Callable[[Runtime, Send], Awaitable[Any]]


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
    runtime: Runtime, auth: Auth, request: HttpRequest, send: Send, aside: Send | None = None
) -> HttpResponse:
    """Drive a flow to its end, and return the response to the last request that it yielded.

    Args:
        runtime: what to wait with.
        auth: the sign-in.
        request: what to sign.
        send: for what the flow yields.
        aside: for requests of the work in a `Do`; default: `send`.

    Raises:
        ConfigurationError: the flow yielded no request.
    """
    flow = auth.flow(request)
    response: HttpResponse | None = None
    try:
        item = next(flow)
        while True:
            if isinstance(item, Do):
                answer = await item.work(runtime, aside or send)
            else:
                answer = response = await send(item)
            item = flow.send(answer)
    except StopIteration:
        if response is None:
            raise ConfigurationError(f"{type(auth).__name__}.flow() yielded no request to send.") from None
        return response
    finally:
        flow.close()
