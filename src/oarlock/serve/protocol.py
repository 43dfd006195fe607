"""HTTP/1.1 that does not wait for ever: for a request's headers, or for a client that does not read."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["MOST_HEADER_BYTES", "PatientProtocol"]

MOST_HEADER_BYTES: Final = 64 * 1024  # DESIGN.md's cap for headers; that of other servers is from 8 to 64 KB
_HEADER_SECONDS: Final = 15.0  # from the first byte, or from connecting, to the end of the headers
_READER_SECONDS: Final = 30.0  # that a client may leave what it is sent lying before it reads on


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, with an end to two waits that it has none for."""

    header_seconds = _HEADER_SECONDS
    reader_seconds = _READER_SECONDS

    _until_headers: asyncio.TimerHandle | None = None
    _until_read: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        _cancel(self._until_headers)
        _cancel(self._until_read)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._until_read = self.loop.call_later(self.reader_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._until_read)

    def _watch_headers(self) -> None:
        """Give the next request's headers their time, unless a request is being served or the connection is idle."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.timeout_keep_alive_task is not None:
            _cancel(self._until_headers)
            self._until_headers = None
        elif self._until_headers is None:
            self._until_headers = self.loop.call_later(self.header_seconds, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
