"""A `httpx2.AsyncClient` for libraries that want one: what they send goes out through our transport and our sign-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from oarlock.contract.auth import Auth, authorize
from oarlock.contract.errors import ConfigurationError, LLMError
from oarlock.contract.frames import without_frames
from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.runtime import Runtime
from oarlock.transport.body import ERROR_BODY_SECONDS
from oarlock.transport.port import ResponseStream, Transport
from oarlock.transport.quiet_logs import quiet

__all__ = ["Bridge", "bridged_client"]

_MAX_ERROR_BODY = 64 * 1024  # bytes of an error that are read
# Belong to one connection (RFC 9110, 7.6.1), or are made anew by our transport, which undoes compression too.
_NOT_PASSED_ON = frozenset(
    {"connection", "host", "content-length", "transfer-encoding", "accept-encoding", "keep-alive", "te", "upgrade"}
)
_NO_ANSWER = 599  # a status that nobody sends
_UNDONE = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """How requests go out.

    Attributes:
        transport: what sends them. Redirects are not followed.
        runtime: what a sign-in waits with; that of the event loop which the client is used on.
        url: the one endpoint. The library is given it without its query, which may hold a key; here it is put back.
        auth: the sign-in; the credential goes to this endpoint's origin only.
        headers: put on every request to the endpoint.
        timeout: seconds until the response's headers, for all but `GET`, whose answer may begin at any time.
        sent: told of every request as it goes out, with its credential.
        failed: told of every answer that is a failure, and of what kept one from coming.
    """

    transport: Transport
    runtime: Runtime
    url: str
    auth: Auth | None
    headers: tuple[tuple[str, str], ...]
    timeout: float
    sent: Callable[[HttpRequest], None]
    failed: Callable[[HttpResponse | LLMError], None]

    @property
    def shown_url(self) -> str:
        """The endpoint's URL without its query."""
        return self.url.partition("?")[0]


def bridged_client(bridge: Bridge) -> httpx2.AsyncClient:
    """Return a client that sends through the bridge, to its origin only, and follows no redirect."""
    quiet()
    return httpx2.AsyncClient(
        transport=_Through(bridge), timeout=None, max_redirects=0, trust_env=False, follow_redirects=False
    )


class _Through(httpx2.AsyncBaseTransport):
    """The place where a client of httpx2 meets our transport."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        ours = self._ours(request, await request.aread())
        exchange = _Exchange(self._bridge, ours.url)
        failure: BaseException | None = None
        try:
            if self._bridge.auth is None:
                await exchange.send(ours)
            else:
                await authorize(self._bridge.runtime, self._bridge.auth, ours, exchange.send, exchange.aside)
        except LLMError as error:
            await exchange.close()
            self._bridge.failed(without_frames(error))
            return httpx2.Response(_NO_ANSWER, request=request)  # an exception would end the library's whole session
        except BaseException as error:  # noqa: BLE001  also what cancels it: below this line frames hold credentials
            await exchange.close()
            failure = without_frames(error)
        if failure is not None:
            raise failure
        return exchange.response_for(request)

    def _ours(self, request: httpx2.Request, body: bytes) -> HttpRequest:
        """Return the request as we send it.

        Raises:
            ConfigurationError: it would go elsewhere than to the endpoint.
        """
        bridge, url = self._bridge, str(request.url)
        if _origin(url) != _origin(bridge.url):
            raise ConfigurationError("A request to another origin than the server's own was not sent.")
        own = {name.lower() for name, _ in bridge.headers}
        headers = [
            (name, value)
            for name, value in request.headers.multi_items()
            if name.lower() not in _NOT_PASSED_ON and name.lower() not in own and name.lower() != "user-agent"
        ]
        return HttpRequest(
            method=request.method,
            url=bridge.url if url == bridge.shown_url else url,
            headers=(*headers, *bridge.headers),
            body=body,
            timeout=None if request.method == "GET" else bridge.timeout,
        )


class _Exchange:
    """Sends what a sign-in yields, and keeps the response to the last of it open."""

    def __init__(self, bridge: Bridge, url: str) -> None:
        self._bridge = bridge
        self._url = url
        self._stream: ResponseStream | None = None
        self._body = b""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request; one to the endpoint stays open, unless it failed: then its body is read."""
        if _origin(request.url) != _origin(self._url):  # a token endpoint: its flow wants the body
            return await self.aside(request)
        await self.close()
        self._bridge.sent(request)
        stream = self._stream = await self._bridge.transport.aopen(request)
        self._body = await self._read_failure(stream) if stream.status >= 400 else b""
        return HttpResponse(status=stream.status, headers=stream.headers, body=self._body)

    async def aside(self, request: HttpRequest) -> HttpResponse:
        """Send a request whose response is not the answer, such as one for a token."""
        self._bridge.sent(request)
        return await self._bridge.transport.asend(
            request if request.timeout is not None else request.with_timeout(self._bridge.timeout)
        )

    async def _read_failure(self, stream: ResponseStream) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            while size < _MAX_ERROR_BODY and (piece := await stream.aread_chunk(ERROR_BODY_SECONDS)):
                pieces.append(piece)
                size += len(piece)
        except LLMError:  # the status tells enough
            pass
        return b"".join(pieces)

    async def close(self) -> None:
        """Let the response go."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.aclose()

    def response_for(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response, to be read by whoever asked."""
        stream = self._stream
        assert stream is not None, "a sign-in always sends the request"
        headers = [(name, value) for name, value in stream.headers.pairs() if name not in _UNDONE]
        if stream.status < 300:
            return httpx2.Response(stream.status, headers=headers, stream=_Body(stream), request=request)
        self._bridge.failed(
            HttpResponse(status=stream.status, headers=Headers(stream.headers.pairs()), body=self._body)
        )
        stream.close()
        return httpx2.Response(stream.status, headers=headers, content=self._body, request=request)


class _Body(httpx2.AsyncByteStream):
    """A body that is still arriving."""

    def __init__(self, stream: ResponseStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        failure: Exception | None = None
        try:
            while piece := await self._stream.aread_chunk(None):
                yield piece
        except LLMError as error:
            failure = httpx2.ReadError(str(error))
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        await self._stream.aclose()


def _origin(url: str) -> Any:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
