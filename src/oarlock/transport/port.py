"""The narrow port between Oarlock and an HTTP client: a request in; status, headers and bytes out."""

from __future__ import annotations

from typing import Protocol

from oarlock.contract.http import Headers, HttpRequest, HttpResponse

__all__ = ["ResponseStream", "Transport"]


class ResponseStream(Protocol):
    """A response whose body arrives in pieces. Read it from one thread or task at a time, and close it."""

    status: int
    headers: Headers

    def read_chunk(self, timeout: float | None) -> bytes:
        """Return the next decoded piece of the body, `b""` at its end. Waits at most `timeout` seconds."""

    async def aread_chunk(self, timeout: float | None) -> bytes:
        """Return the next decoded piece of the body, `b""` at its end. Waits at most `timeout` seconds."""

    def close(self) -> None:
        """Give the connection back or drop it; safe to call twice, never raises."""

    async def aclose(self) -> None:
        """Give the connection back or drop it; safe to call twice, never raises."""


class Transport(Protocol):
    """An HTTP client behind four verbs, each in both colours. Redirects are never followed.

    Raises:
        ConnectionFailedError: refused, reset, cut, DNS, TLS.
        LLMTimeoutError: the request's `timeout` ran out.
        ReplyTooLarge: a body over the cap (after decompression) or headers over theirs.
        ConfigurationError: the URL or a header cannot be sent as it stands.
    """

    def send(self, request: HttpRequest) -> HttpResponse:
        """Exchange a request for a response whose body is read whole."""

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """Exchange a request for a response whose body is read whole."""

    def open(self, request: HttpRequest) -> ResponseStream:
        """Exchange a request for a response whose body is still to be read."""

    async def aopen(self, request: HttpRequest) -> ResponseStream:
        """Exchange a request for a response whose body is still to be read."""

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""

    async def aclose(self) -> None:
        """Close all connections; the next request opens new ones."""
