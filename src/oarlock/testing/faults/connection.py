"""The endpoint's end of one connection, as a fault sees it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from oarlock.contract.http import Headers
from oarlock.testing._replies import RecordedRequest
from oarlock.testing.faults import answers
from oarlock.testing.faults.certificates import Certificates, Kind

__all__ = ["Connection", "Gone"]

PAUSE = 0.05
"""Seconds between the pieces of what drips: far less than any limit on single reads, so that only a total one helps."""

_EVENTS = "text/event-stream"

HeaderLines = Iterable[tuple[str, str]]


class Gone(Exception):  # noqa: N818  no error: the way out of a fault
    """The client has left, or the endpoint stops; a fault just lets it pass."""


class Connection:
    """One connection to a client that a fault spoils.

    Attributes:
        request: the request that was read last; `None` before the first.
        turn: how many times this fault has begun before on this server.
        other_url: an address at another port, where nothing of the client's may arrive.
    """

    def __init__(
        self,
        opened: socket.socket,
        *,
        stopped: threading.Event,
        record: Callable[[str, str, Headers, bytes], RecordedRequest],
        certificates: Callable[[], Certificates],
        url: str,
        other_url: str,
    ) -> None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request: RecordedRequest | None = None
        self.turn = 0
        self.url = url
        self.other_url = other_url
        self.reusable = False
        self._socket = opened
        self._stopped = stopped
        self._record = record
        self._certificates = certificates
        self._swap = threading.Lock()
        self._buffer = b""

    # Reading.

    def read_request(self) -> RecordedRequest:
        """Read one whole request, and record it."""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, path, _ = (*head[0].split(" "), "", "")[:3]
        headers = Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:])])
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        body = self._chunks() if chunked else self.read(int(headers.get("content-length", "0")))
        self.request = self._record(method, path, headers, body)
        self.reusable = False
        return self.request

    def read(self, size: int) -> bytes:
        """Read so many bytes."""
        while len(self._buffer) < size:
            self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _chunks(self) -> bytes:
        pieces = []
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            pieces.append(self.read(size))
            self._until(b"\r\n")
        self._until(b"\r\n")
        return b"".join(pieces)

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._receive()
        data, _, self._buffer = self._buffer.partition(end)
        return data

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Gone
        self._buffer += data

    @property
    def wants_stream(self) -> bool:
        """Whether the request asks for a stream."""
        asked = None if self.request is None else self.request.json
        return isinstance(asked, dict) and asked.get("stream") is True

    @property
    def credential(self) -> str:
        """The `Authorization` header that came with the request, without its scheme."""
        assert self.request is not None
        return self.request.headers.get("authorization", "").rpartition(" ")[2]

    # Sending.

    def send(self, data: bytes) -> None:
        """Send these bytes as they are."""
        if self._stopped.is_set():
            raise Gone
        try:
            self._socket.sendall(data)
        except OSError:
            raise Gone from None

    def head(self, status: int | str = 200, headers: HeaderLines = (), *, version: str = "1.1") -> None:
        """Send a status line and headers, and the empty line after them."""
        line = status if isinstance(status, str) else f"{status:03d} {_phrase(status)}"
        lines = [f"HTTP/{version} {line}", *(f"{name}: {value}" for name, value in headers), "", ""]
        self.send("\r\n".join(lines).encode("utf-8", "surrogateescape"))

    def answer(self, body: Any = None, *, status: int = 200, headers: HeaderLines = ()) -> None:
        """Send a whole answer, after which the connection can be used again.

        Args:
            body: bytes, text, or what becomes JSON; `None` is a good answer, which streams where that was asked for.
            status: of the answer.
            headers: further ones, or others in place of the usual `Content-Type`.
        """
        headers = list(headers)
        if body is None and status < 300 and self.wants_stream:
            content, kind = answers.events([*answers.deltas(), answers.usage_delta()]), _EVENTS
        else:
            content, kind = answers.encoded(answers.completion() if body is None else body), "application/json"
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.insert(0, ("Content-Type", kind))
        self.head(status, [*headers, ("Content-Length", str(len(content)))])
        self.send(content)
        self.reusable = True

    def begin(self, headers: HeaderLines = (), *, status: int = 200, content_type: str = "application/json") -> None:
        """Begin an answer whose body comes in chunks."""
        self.head(status, [("Content-Type", content_type), ("Transfer-Encoding", "chunked"), *headers])

    def chunk(self, data: bytes) -> None:
        """Send a chunk of a body."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """End a body in chunks."""
        self.send(b"0\r\n\r\n")
        self.reusable = True

    def begin_events(self, *values: Any) -> None:
        """Begin a stream of events, with these."""
        self.begin(content_type=_EVENTS)
        for value in values:
            self.event(value)

    def event(self, value: Any) -> None:
        """Send an event in a chunk of its own."""
        self.chunk(answers.event(value))

    def stream(self, data: bytes, headers: HeaderLines = ()) -> None:
        """Answer with a whole stream of events: these bytes."""
        self.begin(headers, content_type=_EVENTS)
        self.chunk(data)
        self.end()

    def drip(self, data: bytes, pause: float = PAUSE) -> None:
        """Send these bytes again and again, one at a time with a pause, for as long as the client stays."""
        self.repeat(*(data[at : at + 1] for at in range(len(data))), pause=pause)

    def repeat(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send these pieces again and again, with a pause after each, for as long as the client stays."""
        while True:
            for piece in pieces:
                self.send(piece)
                if pause:
                    self.wait(pause)

    # Waiting and ending.

    def wait(self, seconds: float) -> None:
        """Do nothing for so long."""
        if self._stopped.wait(seconds):
            raise Gone

    def hang(self) -> None:
        """Say nothing until the client leaves."""
        with suppress(OSError):
            while socket.socket.recv(self._socket, 65536):  # the bare bytes, TLS or not
                pass
        raise Gone

    def start_tls(self, kind: Kind = "good") -> None:
        """Shake hands as the server, with a certificate of this kind."""
        context = self._certificates().context(kind)
        try:
            with self._swap:
                self._socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
            if self._stopped.is_set():
                raise Gone
            self._socket.do_handshake()
        except OSError:  # the client did not like the certificate, or the server wants one of the client
            self.half_close()
            self.hang()  # closed at once, with data unread, it would reset: the client would miss the alert that says why

    def half_close(self) -> None:
        """End the sending, and go on receiving."""
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)  # an SSLSocket's own would end its reading too

    def reset(self) -> None:
        """Break the connection off, so that the client gets a reset instead of an end."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with self._swap:
            self._socket.close()

    def wake(self) -> None:
        """End whatever another thread waits for on this connection."""
        with self._swap, suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return "Unknown"


def parsed(body: bytes) -> Any:
    """Return a request's body as JSON, `None` where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
