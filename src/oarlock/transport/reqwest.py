"""The default transport: pyreqwest (Rust's reqwest and rustls), for blocking and async use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.transport.body import body_error, too_large
from oarlock.transport.failures import limit_of
from oarlock.transport.interrupts import in_main_thread, interrupts
from oarlock.transport.naming import endpoint
from oarlock.transport.options import TransportOptions
from oarlock.transport.reqwest_clients import Clients
from oarlock.transport.reqwest_errors import translate
from oarlock.transport.reqwest_messages import PREFETCH, new_body, prepared, read_headers

if TYPE_CHECKING:
    from pyreqwest.client import SyncClient

    from oarlock.transport.reqwest_stream import ReqwestStream

__all__ = ["ReqwestTransport"]


class ReqwestTransport:
    """Sends requests through pyreqwest. One object serves any number of threads, event loops and forked children.

    Nothing is imported or opened before the first request. Redirects are not followed; cookies, proxy variables and
    `.netrc` are not used; no compression is asked for, but gzip and deflate are undone. Ctrl-C ends a wait.

    An answer's headers are seen along with the first 64 KB of its body, but for `open`: to ask for them apart costs an
    async call a sixth more. So an error whose body drips takes the whole time of its request.

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
        exchange: Any = prepared(client, request, limit_of(request))
        response = exchange.__enter__()
        try:
            status = response.status
            headers = read_headers(response, request, self.options)
            if self._is_here(headers, request, status):
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
            seconds = limit_of(request)
            async with prepared(self._clients.asynchronous(seconds), request, seconds) as response:
                status = response.status
                headers = read_headers(response, request, self.options)
                if self._is_here(headers, request, status):
                    return HttpResponse(status=status, headers=headers, body=(await response.bytes()).to_bytes())
                return await self._aread(response, request, status, headers)
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    async def _aread(self, response: Any, request: HttpRequest, status: int, headers: Headers) -> HttpResponse:
        """Read a body piece by piece."""
        body = new_body(request, status, headers, self.options)
        read = response.body_reader.read_chunk
        pieces: list[bytes] = []
        problem = ""
        try:
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

    def _is_here(self, headers: Headers, request: HttpRequest, status: int) -> bool:
        """Whether the body has come along with the headers, small and plain; refuses one that says it is too large."""
        length = headers.get("content-length")
        if length is None or "content-encoding" in headers or not length.isdecimal():
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
            exchange = prepared(self._clients.asynchronous(seconds), request, None, prefetch=0)
            return _streams().open(exchange, seconds, request, self.options)
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    async def aopen(self, request: HttpRequest) -> ReqwestStream:
        """Exchange a request for a response whose body is still to be read; errors as in `Transport`."""
        try:
            seconds = limit_of(request)
            exchange = prepared(self._clients.asynchronous(seconds), request, None, prefetch=0)
            return await _streams().aopen(exchange, seconds, request, self.options)
        except Exception as error:  # noqa: BLE001  pyreqwest raises builtin errors too; all are translated
            failure = translate(error, request, self.options, request.timeout)
        raise failure

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close all connections; the next request opens new ones."""
        self._clients.close()


def _streams() -> type[ReqwestStream]:
    from oarlock.transport.reqwest_stream import ReqwestStream  # brings asyncio, which plain blocking calls never need

    return ReqwestStream
