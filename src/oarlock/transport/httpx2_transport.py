"""The second transport: httpx2, pure Python, also over a client of the user's own."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import Any

from oarlock.contract.errors import ConfigurationError, OarlockError
from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.runtime.timeouts import within
from oarlock.transport.body import ERROR_BODY_SECONDS, Body, body_error, check_headers, too_large
from oarlock.transport.failures import limit_of, unsendable
from oarlock.transport.httpx2_clients import Clients, Deadline, check_time, spoil_if_more_came
from oarlock.transport.httpx2_errors import translate
from oarlock.transport.naming import endpoint
from oarlock.transport.options import TransportOptions
from oarlock.transport.proxies import proxy_for
from oarlock.transport.quiet_logs import quiet

__all__ = ["Httpx2Transport"]


class Httpx2Transport:
    """Sends requests through httpx2: the same behaviour as `ReqwestTransport`, at ten times its CPU.

    With a client of your own, its certificates, proxies, mounts, event hooks, headers and auth hold; it is never closed
    here, and redirects are not followed. A blocking exchange over it ends within twice the timeout where the body drips;
    headers that drip end only in async use, since the client's own limits are for one read each. The caps on bodies and our
    decompression hold; `verify`, `proxy`, `http2` and the closing of connections that brought more than their answer do not.

    Args:
        options: limits, certificates and proxy.
        client: a `httpx2.Client` for blocking use or a `httpx2.AsyncClient` for async use.

    Raises:
        ConfigurationError: httpx2 is not installed, or `client` is none of its clients.
    """

    def __init__(self, options: TransportOptions | None = None, *, client: Any = None) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise ConfigurationError("transport='httpx2' needs httpx2: install oarlock[httpx2].") from error
        if client is not None and not isinstance(client, (httpx2.Client, httpx2.AsyncClient)):
            raise ConfigurationError(f"client must be a httpx2.Client or httpx2.AsyncClient, not {type(client)!r}.")
        quiet()
        self.options = options or TransportOptions()
        if self.options.http2 and client is None and find_spec("h2") is None:
            raise ConfigurationError("http2=True with transport='httpx2' needs h2: install oarlock[http2].")
        self._by_proxy: dict[str | Secret | None, Clients] = {}
        self._client = client

    def __repr__(self) -> str:
        return f"Httpx2Transport({'' if self._client is None else type(self._client).__name__})"

    def send(self, request: HttpRequest) -> HttpResponse:
        """Exchange a request for a response whose body is read whole; errors as in `Transport`."""
        try:
            with Deadline(limit_of(request)):
                stream = self._begin(request, limit_of(request))
                try:
                    return stream.read_all()
                finally:
                    stream.close()
        except Exception as error:  # noqa: BLE001  httpx2 raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """Exchange a request for a response whose body is read whole; errors as in `Transport`."""
        try:
            with within(limit_of(request)):
                stream = await self._abegin(request)
                try:
                    return await stream.aread_all()
                finally:
                    await stream.aclose()
        except Exception as error:  # noqa: BLE001  httpx2 raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    def open(self, request: HttpRequest) -> Httpx2Stream:
        """Exchange a request for a response whose body is still to be read; errors as in `Transport`."""
        try:
            with Deadline(limit_of(request)):
                return self._begin(request, limit_of(request) if self._client is not None else None)
        except Exception as error:  # noqa: BLE001  httpx2 raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    async def aopen(self, request: HttpRequest) -> Httpx2Stream:
        """Exchange a request for a response whose body is still to be read; errors as in `Transport`."""
        try:
            with within(limit_of(request)):
                return await self._abegin(request)
        except Exception as error:  # noqa: BLE001  httpx2 raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    def _begin(self, request: HttpRequest, wait: float | None) -> Httpx2Stream:
        import httpx2

        if self._client is None:
            outgoing = self._outgoing(httpx2.Request, request, wait)
            response = self._clients(request).blocking().handle_request(outgoing)
        elif isinstance(self._client, httpx2.Client):
            outgoing = self._outgoing(self._client.build_request, request, wait)
            response = self._client.send(outgoing, stream=True, follow_redirects=False)
        else:
            raise ConfigurationError("the transport has a httpx2.AsyncClient; blocking use needs a httpx2.Client.")
        try:
            return Httpx2Stream(response, outgoing, request, self.options)
        except OarlockError:
            response.close()
            raise

    async def _abegin(self, request: HttpRequest) -> Httpx2Stream:
        import httpx2

        if self._client is None:
            outgoing = self._outgoing(httpx2.Request, request, None)
            response = await (await self._clients(request).asynchronous()).handle_async_request(outgoing)
        elif isinstance(self._client, httpx2.AsyncClient):
            outgoing = self._outgoing(self._client.build_request, request, None)
            response = await self._client.send(outgoing, stream=True, follow_redirects=False)
        else:
            raise ConfigurationError("the transport has a httpx2.Client; async use needs a httpx2.AsyncClient.")
        try:
            return Httpx2Stream(response, outgoing, request, self.options)
        except OarlockError:
            await response.aclose()
            raise

    def _clients(self, request: HttpRequest) -> Clients:
        proxy = proxy_for(request.url, self.options.proxy)
        found = self._by_proxy.get(proxy)
        return found or self._by_proxy.setdefault(proxy, Clients(self.options, proxy))

    def _outgoing(self, build: Any, request: HttpRequest, wait: float | None) -> Any:
        """Return the library's request; its timeouts stay in its extensions, where a stream's reads may set them."""
        headers = [(name.encode(), value.encode()) for name, value in request.headers]
        if not any(name.lower() == b"accept-encoding" for name, _ in headers):
            headers.append((b"accept-encoding", b"identity"))  # a client of the user's would offer br and zstd
        limits = {"connect": self.options.connect_timeout, "read": wait, "write": wait, "pool": wait}
        extensions = {"timeout": limits}
        outgoing = build(
            request.method, request.url, headers=headers, content=request.body or None, extensions=extensions
        )
        if not outgoing.url.host or not 0 < (outgoing.url.port or 80) < 65536:
            raise unsendable(request)
        return outgoing

    def close(self) -> None:
        """Close all connections but those of a client of the user's; the next request opens new ones."""
        for clients in list(self._by_proxy.values()):
            clients.close()

    async def aclose(self) -> None:
        """Close all connections but those of a client of the user's; the next request opens new ones."""
        for clients in list(self._by_proxy.values()):
            await clients.aclose()


class Httpx2Stream:
    """A response that httpx2 is still receiving; read it in the colour in which it was opened."""

    __slots__ = ("_body", "_closed", "_limits", "_options", "_pieces", "_request", "_response", "headers", "status")

    def __init__(self, response: Any, outgoing: Any, request: HttpRequest, options: TransportOptions) -> None:
        self._response = response
        self._request = request
        self._options = options
        self._limits: dict[str, float | None] = outgoing.extensions["timeout"]
        self._pieces: Any = None
        self._closed = False
        self.status: int = response.status_code
        where = endpoint(request.url)
        self.headers = Headers(response.headers.multi_items())
        check_headers(self.headers, options.max_headers, request.url)
        cut = self.status >= 400
        cap = options.max_error_body if cut else options.max_body
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > cap and not cut and request.method != "HEAD":
            raise too_large(where, "body", "max_body", cap)
        self._body = Body(self.headers, cap=cap, cut=cut, where=where)

    def read_all(self) -> HttpResponse:
        """Return the response with its whole body, within the deadline of the thread."""
        pieces: list[bytes] = []
        problem = ""
        if self.status >= 400:
            self._limits["read"] = ERROR_BODY_SECONDS
        try:
            with Deadline(ERROR_BODY_SECONDS if self.status >= 400 else None):
                while piece := self._next():
                    pieces.append(piece)
        except Exception as error:  # noqa: BLE001  translated, or raised again
            problem = self._body_error(error)
        return HttpResponse(status=self.status, headers=self.headers, body=b"".join(pieces), body_error=problem)

    async def aread_all(self) -> HttpResponse:
        """Return the response with its whole body."""
        pieces: list[bytes] = []
        problem = ""
        try:
            with within(ERROR_BODY_SECONDS if self.status >= 400 else None):
                while piece := await self._anext():
                    pieces.append(piece)
        except Exception as error:  # noqa: BLE001  translated, or raised again
            problem = self._body_error(error)
        return HttpResponse(status=self.status, headers=self.headers, body=b"".join(pieces), body_error=problem)

    def _body_error(self, error: Exception) -> str:
        """Return why the body of an error answer is not whole; with a good status that is raised."""
        if self.status < 400:
            raise error
        return body_error(translate(error, self._request, self._options, ERROR_BODY_SECONDS))

    def read_chunk(self, timeout: float | None) -> bytes:
        """Return the next decoded piece of the body, `b""` at its end. Waits at most `timeout` seconds."""
        self._limits["read"] = timeout  # read by httpcore2 at the first piece: what holds for a client of the user's
        try:
            with Deadline(timeout):
                return self._next()
        except Exception as error:  # noqa: BLE001  httpx2 raises builtin errors too; all are translated
            failure = translate(error, self._request, self._options, timeout)
        self.close()
        raise failure

    async def aread_chunk(self, timeout: float | None) -> bytes:
        """Return the next decoded piece of the body, `b""` at its end. Waits at most `timeout` seconds."""
        try:
            with within(timeout):
                return await self._anext()
        except Exception as error:  # noqa: BLE001  httpx2 raises builtin errors too; all are translated
            failure = translate(error, self._request, self._options, timeout)
        await self.aclose()
        raise failure

    def _next(self) -> bytes:
        if self._pieces is None:
            self._pieces = iter(self._response.stream)
        while not (self._body.full or self._closed) and (data := next(self._pieces, None)) is not None:
            check_time()
            if piece := self._body.feed(data):
                return piece
        self._end()
        self.close()
        return b""

    async def _anext(self) -> bytes:
        if self._pieces is None:
            self._pieces = aiter(self._response.stream)
        while not (self._body.full or self._closed) and (data := await anext(self._pieces, None)) is not None:
            if piece := self._body.feed(data):
                return piece
        self._end()
        await self.aclose()
        return b""

    def _end(self) -> None:
        if not (self._body.full or self._closed):
            self._body.finish()
            spoil_if_more_came(self._response)

    def close(self) -> None:
        """Give the connection back or drop it; safe to call twice, never raises."""
        self._closed = True
        with contextlib.suppress(Exception):  # closing must not hide what happened before; nothing is left to do
            self._response.close()

    async def aclose(self) -> None:
        """Give the connection back or drop it; safe to call twice, never raises."""
        self._closed = True
        with contextlib.suppress(Exception):  # closing must not hide what happened before; nothing is left to do
            await self._response.aclose()
