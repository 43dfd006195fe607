"""A response that pyreqwest is still receiving."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from oarlock.contract.errors import OarlockError
from oarlock.contract.http import HttpRequest
from oarlock.runtime.timeouts import within
from oarlock.transport.options import TransportOptions
from oarlock.transport.reqwest_errors import translate
from oarlock.transport.reqwest_messages import new_body, read_headers
from oarlock.transport.stepping import finish

if TYPE_CHECKING:
    from pyreqwest.request import StreamRequest
    from pyreqwest.response import Response

__all__ = ["ReqwestStream"]


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

    @classmethod
    def open(
        cls, exchange: StreamRequest, seconds: float | None, request: HttpRequest, options: TransportOptions
    ) -> ReqwestStream:
        """Send the request, blocking, and return its response; `TimeoutError` after so many seconds."""
        return cls(exchange, finish(exchange.__aenter__(), seconds), request, options)

    @classmethod
    async def aopen(
        cls, exchange: StreamRequest, seconds: float | None, request: HttpRequest, options: TransportOptions
    ) -> ReqwestStream:
        """Send the request and return its response; `TimeoutError` after so many seconds."""
        with within(seconds):
            response = await exchange.__aenter__()
        return cls(exchange, response, request, options)

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
                with within(timeout):
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
