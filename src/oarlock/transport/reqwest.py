"""The default transport: pyreqwest (Rust's reqwest and rustls), for blocking and async use."""

from __future__ import annotations

import contextlib
from asyncio import timeout as asyncio_timeout
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oarlock.contract.errors import OarlockError
from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.transport.body import ERROR_BODY_SECONDS, Body, body_error, check_headers, too_large
from oarlock.transport.failures import limit_of
from oarlock.transport.interrupts import in_main_thread, interrupts
from oarlock.transport.naming import endpoint
from oarlock.transport.options import TransportOptions
from oarlock.transport.reqwest_clients import Clients
from oarlock.transport.reqwest_errors import translate
from oarlock.transport.stepping import finish

if TYPE_CHECKING:
    from pyreqwest.client import SyncClient
    from pyreqwest.request import StreamRequest
    from pyreqwest.response import Response

__all__ = ["ReqwestTransport"]

# A body up to this size arrives together with the headers, in one step; pyreqwest's own default.
PREFETCH = 64 * 1024


class ReqwestTransport:
    """Sends requests through pyreqwest. One object serves any number of threads, event loops and forked children.

    Nothing is imported or opened before the first request. Redirects are not followed; cookies, proxy variables and
    `.netrc` are not used; no compression is asked for, but gzip and deflate are undone. Ctrl-C ends a wait.

    Args:
        options: limits, certificates and proxy.

    Example:
        >>> transport = ReqwestTransport(TransportOptions(connect_timeout=5))
        >>> transport
        ReqwestTransport(connect_timeout=5)
    """

    def __init__(self, options: TransportOptions | None = None) -> None:
        self.options = options or TransportOptions()
        self._clients = Clients(self.options)

    def __repr__(self) -> str:
        return f"ReqwestTransport(connect_timeout={self.options.connect_timeout})"

    def send(self, request: HttpRequest) -> HttpResponse:
        """Exchange a request for a response whose body is read whole; errors as in `Transport`."""
        try:
            if in_main_thread():
                return self._exchange_in_main_thread(request)
            return self._exchange(self._clients.other(), request)
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    def _exchange_in_main_thread(self, request: HttpRequest) -> HttpResponse:
        client = self._clients.main()
        watch = interrupts()
        watch.watch(client.close)
        try:
            return self._exchange(client, request)
        finally:
            if not watch.unwatch():
                self._clients.forget_main()

    def _exchange(self, client: SyncClient, request: HttpRequest) -> HttpResponse:
        exchange: Any = _prepare(client, request, limit_of(request))
        response = exchange.__enter__()
        try:
            status = response.status
            headers = read_headers(response, request, self.options)
            if self._is_here(response, request, status):
                return HttpResponse(status=status, headers=headers, body=response.bytes().to_bytes())
            body = new_body(request, status, headers, self.options)
            read = response.body_reader.read_chunk
            pieces: list[bytes] = []
            problem = ""
            try:
                while not body.full and (chunk := read()) is not None:
                    pieces.append(body.feed(chunk.to_bytes()))
                body.finish()
            except Exception as error:  # noqa: BLE001  translated, or raised again
                problem = self._body_error(error, request, status)
            return HttpResponse(status=status, headers=headers, body=b"".join(pieces), body_error=problem)
        finally:
            exchange.__exit__(None, None, None)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """Exchange a request for a response whose body is read whole; errors as in `Transport`."""
        try:
            return await self._aexchange(request)
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    async def _aexchange(self, request: HttpRequest) -> HttpResponse:
        seconds = limit_of(request)
        async with _prepare(self._clients.asynchronous(seconds), request, seconds, prefetch=0) as response:
            status = response.status
            headers = read_headers(response, request, self.options)
            if status < 400 and self._is_here(response, request, status):
                return HttpResponse(status=status, headers=headers, body=(await response.bytes()).to_bytes())
            body = new_body(request, status, headers, self.options)
            read = response.body_reader.read_chunk
            pieces: list[bytes] = []
            problem = ""
            try:
                async with asyncio_timeout(ERROR_BODY_SECONDS if status >= 400 else None):
                    while not body.full and (chunk := await read()) is not None:
                        pieces.append(body.feed(chunk.to_bytes()))
                body.finish()
            except Exception as error:  # noqa: BLE001  translated, or raised again
                problem = self._body_error(error, request, status)
            return HttpResponse(status=status, headers=headers, body=b"".join(pieces), body_error=problem)

    def _body_error(self, error: Exception, request: HttpRequest, status: int) -> str:
        """Return why the body of an error answer is not whole; with a good status that is raised."""
        if status < 400:
            raise error
        return body_error(translate(error, request, self.options, request.timeout))

    def _is_here(self, response: Any, request: HttpRequest, status: int) -> bool:
        """Whether the body can be had in one step, since it is small and plain; refuses one that says it is too large."""
        length = response.get_header("content-length")
        if length is None or response.get_header("content-encoding") is not None or not length.isdecimal():
            return False
        size = int(length[:20])
        cap = self.options.max_error_body if status >= 400 else self.options.max_body
        if size > cap and status < 400 and request.method != "HEAD":
            raise too_large(endpoint(request.url), "body", "max_body", cap)
        return size < PREFETCH and size <= cap

    def open(self, request: HttpRequest) -> ReqwestStream:
        """Exchange a request for a response whose body is still to be read; errors as in `Transport`."""
        try:
            seconds = limit_of(request)
            exchange = _prepare(self._clients.asynchronous(seconds), request, None, prefetch=0)
            return ReqwestStream(exchange, finish(exchange.__aenter__(), seconds), request, self.options)
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    async def aopen(self, request: HttpRequest) -> ReqwestStream:
        """Exchange a request for a response whose body is still to be read; errors as in `Transport`."""
        try:
            seconds = limit_of(request)
            exchange = _prepare(self._clients.asynchronous(seconds), request, None, prefetch=0)
            async with asyncio_timeout(seconds):
                response = await exchange.__aenter__()
            return ReqwestStream(exchange, response, request, self.options)
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close all connections; the next request opens new ones."""
        self._clients.close()


class ReqwestStream:
    """A response that pyreqwest is still receiving. It may be opened in one colour and read in the other."""

    __slots__ = ("__weakref__", "_body", "_closed", "_exchange", "_options", "_read", "_request", "headers", "status")

    def __init__(
        self, exchange: StreamRequest, response: Response, request: HttpRequest, options: TransportOptions
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._options = options
        self._closed = False
        self.status: int = response.status
        self._read = response.body_reader.read_chunk
        try:
            self.headers = read_headers(response, request, options)
            self._body = new_body(request, self.status, self.headers, options)
        except OarlockError:
            self.close()
            raise

    def read_chunk(self, timeout: float | None) -> bytes:
        """Return the next decoded piece of the body, `b""` at its end. Waits at most `timeout` seconds."""
        try:
            while not self._closed and not self._body.full:
                chunk = finish(self._read(), timeout)
                if chunk is None:
                    return self._end()
                if piece := self._body.feed(chunk.to_bytes()):
                    return piece
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, self._request, self._options, timeout)
        else:
            return b""
        self.close()
        raise failure

    async def aread_chunk(self, timeout: float | None) -> bytes:
        """Return the next decoded piece of the body, `b""` at its end. Waits at most `timeout` seconds."""
        try:
            while not self._closed and not self._body.full:
                async with asyncio_timeout(timeout):
                    chunk = await self._read()
                if chunk is None:
                    return self._end()
                if piece := self._body.feed(chunk.to_bytes()):
                    return piece
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, self._request, self._options, timeout)
        else:
            return b""
        self.close()
        raise failure

    def _end(self) -> bytes:
        self._body.finish()
        self.close()
        return b""

    def close(self) -> None:
        """Give the connection back or drop it; safe to call twice, never raises."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):  # closing must not hide what happened before; nothing is left to do
            finish(self._exchange.__aexit__(None, None, None), None)

    async def aclose(self) -> None:
        """Give the connection back or drop it; safe to call twice, never raises."""
        self.close()  # pyreqwest only notes that the response is given up: there is nothing to wait for

    def __del__(self) -> None:
        self.close()


def _prepare(client: Any, request: HttpRequest, seconds: float | None, *, prefetch: int = PREFETCH) -> Any:
    builder = client.request(request.method, request.url)
    if request.headers:
        builder.headers(request.headers)
    if request.body:
        builder.body_bytes(request.body)
    if seconds is not None:
        builder.timeout(timedelta(seconds=seconds))
    if prefetch != PREFETCH:
        builder.streamed_read_buffer_limit(prefetch)
    return builder.build_streamed()


def new_body(request: HttpRequest, status: int, headers: Headers, options: TransportOptions) -> Body:
    """Return what decodes and counts the body of a response."""
    cut = status >= 400
    cap = options.max_error_body if cut else options.max_body
    return Body(headers, cap=cap, cut=cut, where=endpoint(request.url))


def read_headers(response: Any, request: HttpRequest, options: TransportOptions) -> Headers:
    """Return a response's headers, checked against their cap; a value that is not text is left out."""
    fields = response.headers
    try:
        by_name = fields.dict_multi_value()  # half the time of `items`, but a repeated field's values are a list
        pairs = fields.items() if list in map(type, by_name.values()) else by_name.items()
        headers = Headers.lowered(pairs)
    except ValueError:
        headers = Headers.lowered(_readable(fields))
    check_headers(headers, options.max_headers, request.url)
    return headers


def _readable(fields: Any) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name in dict.fromkeys(fields.keys()):
        try:
            pairs.extend((name, value) for value in fields.getall(name))
        except ValueError:  # bytes beyond ASCII, which HTTP has made obsolete; nothing of ours reads them
            continue
    return pairs
