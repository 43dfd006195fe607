"""A transport that passes everything on, and remembers what went by: the doctor reads headers and times from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.transport import ResponseStream, Transport

__all__ = ["Exchange", "Recorder"]

_KEPT = 256 * 1024  # bytes of a stream that are kept, to look for events


@dataclass(slots=True)
class Exchange:
    """One request and what came of it; times are monotonic but for `at`, which is the wall clock's.

    Attributes:
        request: as it was sent, credentials and all: never to be shown.
        status: `None` where no answer came.
        seconds: to the end of the answer, or of the stream's headers.
        first_event: seconds to the first event of a stream.
        body: of the answer, or the beginning of the stream.
    """

    request: HttpRequest
    at: float
    begun: float
    status: int | None = None
    headers: Headers = field(default_factory=Headers)
    seconds: float = 0.0
    first_event: float | None = None
    body: bytes = b""
    error: Exception | None = None

    @property
    def content_type(self) -> str:
        """The media type, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_html(self) -> bool:
        """Whether a page for people came."""
        return self.content_type == "text/html" or self.body.lstrip()[:1] == b"<"


class Recorder:
    """Wraps a transport.

    Args:
        inner: what sends.
        watch: is told of each exchange at its end.
    """

    def __init__(self, inner: Transport, watch: Callable[[Exchange], None] | None = None) -> None:
        self.inner = inner
        self._watch = watch
        self.exchanges: list[Exchange] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        """See `Transport`."""
        with self._noting(request) as exchange:
            return _whole(exchange, self.inner.send(request))

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """See `Transport`."""
        with self._noting(request) as exchange:
            return _whole(exchange, await self.inner.asend(request))

    def open(self, request: HttpRequest) -> ResponseStream:
        """See `Transport`."""
        with self._noting(request) as exchange:
            return _Watched(exchange, self.inner.open(request))

    async def aopen(self, request: HttpRequest) -> ResponseStream:
        """See `Transport`."""
        with self._noting(request) as exchange:
            return _Watched(exchange, await self.inner.aopen(request))

    def close(self) -> None:
        """See `Transport`."""
        self.inner.close()

    async def aclose(self) -> None:
        """See `Transport`."""
        await self.inner.aclose()

    @contextmanager
    def _noting(self, request: HttpRequest) -> Iterator[Exchange]:
        exchange = Exchange(request=request, at=time.time(), begun=time.monotonic())
        self.exchanges.append(exchange)
        try:
            yield exchange
        except Exception as error:
            exchange.error = error
            raise
        finally:
            exchange.seconds = time.monotonic() - exchange.begun
            if self._watch is not None:
                self._watch(exchange)


def _whole(exchange: Exchange, response: HttpResponse) -> HttpResponse:
    exchange.status, exchange.headers, exchange.body = response.status, response.headers, response.body
    return response


class _Watched:
    """A stream whose bytes are looked at on their way."""

    def __init__(self, exchange: Exchange, stream: ResponseStream) -> None:
        self._exchange = exchange
        self._stream = stream
        self.status = exchange.status = stream.status
        self.headers = exchange.headers = stream.headers

    def read_chunk(self, timeout: float | None) -> bytes:
        return self._noted(self._stream.read_chunk(timeout))

    async def aread_chunk(self, timeout: float | None) -> bytes:
        return self._noted(await self._stream.aread_chunk(timeout))

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _noted(self, chunk: bytes) -> bytes:
        exchange: Any = self._exchange
        exchange.body = (exchange.body + chunk)[:_KEPT]
        if exchange.first_event is None and b"data:" in exchange.body:
            exchange.first_event = time.monotonic() - exchange.begun
        return chunk
