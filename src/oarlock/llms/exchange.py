"""One attempt on the wire: what a sign-in sends, within the attempt's time, and the response to it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from oarlock.contract.errors import LLMTimeoutError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.runtime import Runtime

if TYPE_CHECKING:
    from oarlock.transport import Transport

__all__ = ["Exchange", "timed_out_at"]

_SO_NEAR = 0.001  # seconds: for less than that, a request is not copied to give it a shorter timeout


class Exchange:
    """Sends what a sign-in flow yields, within one attempt's time.

    Attributes:
        runtime: what to wait with.
        until: the time at which the attempt ends.
        sent: takes note of what goes out.
    """

    def __init__(self, transport: Transport, runtime: Runtime, until: float, sent: list[HttpRequest]) -> None:
        self.transport = transport
        self.runtime = runtime
        self.until = until
        self.sent = sent

    def send(self, request: HttpRequest) -> Awaitable[HttpResponse]:
        """Send a request of the sign-in's; the response to the last one is the answer."""
        return self.aside(request)

    def aside(self, request: HttpRequest) -> Awaitable[HttpResponse]:
        """Send a request whose response is not the answer, such as one for a token."""
        self.sent.append(request)
        return self.runtime.invoke(self.transport.send, self.transport.asend, self.timed(request))

    def timed(self, request: HttpRequest) -> HttpRequest:
        """Return the request with no more time than is left, and no more than it has, such as a sign-in's own for its token.

        Raises:
            LLMTimeoutError: none is left.
        """
        return timed_out_at(request, self.until, self.runtime)


def timed_out_at(request: HttpRequest, until: float, runtime: Runtime) -> HttpRequest:
    """Return the request with no more time than is left until then.

    Raises:
        LLMTimeoutError: none is left.
    """
    left = until - runtime.now()
    if left <= 0:
        raise LLMTimeoutError("The time for this attempt was used up by the sign-in.")
    if request.timeout is not None and request.timeout <= left + _SO_NEAR:
        return request
    return request.with_timeout(left)
