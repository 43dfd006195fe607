"""A small real HTTP server on 127.0.0.1 that speaks the OpenAI chat format and answers by script."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

from oarlock.contract.http import Headers
from oarlock.testing._chat_format import Wire, encode, error_body, status_content
from oarlock.testing._replies import (
    Answer,
    Drop,
    Hang,
    Raw,
    RecordedRequest,
    Scripted,
    Status,
    ToolCalls,
)
from oarlock.testing._sign_in import JwtIssuer, SignInCheck, require_bearer, require_header

__all__ = [
    "Answer",
    "Drop",
    "Hang",
    "JwtIssuer",
    "LoopbackEndpoint",
    "Raw",
    "RecordedRequest",
    "Scripted",
    "SignInCheck",
    "Status",
    "ToolCalls",
    "require_bearer",
    "require_header",
]

_STOP_TIMEOUT = 5.0
"""Seconds that `stop` waits for a script's own code; its threads are daemons and hold up no interpreter's end."""


class LoopbackEndpoint:
    """A chat endpoint on 127.0.0.1 for tests and demos: a real server, real sockets, scripted answers.

    Args:
        replies: one reply or a sequence; each chat request takes the next: a `str` or `Answer`, a `dict` (a whole
            response body or an assistant message), `ToolCalls`, an `int` status or `Status`, `Drop`, `Hang`, `Raw`,
            or a callable that takes the `RecordedRequest` and returns any of these or an iterator of pieces of text,
            which streams live. When they are used up, the last is repeated.
        strict: answer 500 instead when they are used up.
        auth: takes the headers of every request and returns a refusal or `None`; a refused request uses up no reply.

    Requests to a path that ends in `/chat/completions` are answered, all others get 404. With `"stream": true` the
    answer comes as server-sent events. Token counts are estimated, four characters a token, unless given.

    Example:
        >>> import json, urllib.request
        >>> with LoopbackEndpoint(["Hello.", Status(503, headers={"Retry-After": "1"})]) as endpoint:
        ...     body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
        ...     with urllib.request.urlopen(f"{endpoint.url}/chat/completions", data=body) as response:
        ...         print(json.load(response)["choices"][0]["message"]["content"])
        ...     print(endpoint.requests[0].prompt)
        Hello.
        Hi
    """

    def __init__(
        self,
        replies: Scripted | Sequence[Scripted] = "Hello.",
        *,
        strict: bool = False,
        auth: SignInCheck | None = None,
    ) -> None:
        several = isinstance(replies, Sequence) and not isinstance(replies, str)
        self._replies: list[Scripted] = list(replies) if several else [replies]  # type: ignore[arg-type,list-item]
        self._strict = strict
        self._taken = 0
        self._auth = auth
        self._requests: list[RecordedRequest] = []
        self._changed = threading.Condition()
        self._released = 0
        self._stopped = False
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:40123/v1`."""
        if self._server is None:
            raise RuntimeError("The endpoint has not been started: use `with LoopbackEndpoint(...) as endpoint`.")
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far in order of arrival, refused ones included."""
        with self._changed:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many connections have been opened so far."""
        return 0 if self._server is None else self._server.accepted

    def start(self) -> Self:
        """Open the port and start to answer; `with` does it for you."""
        if self._server is not None:
            raise RuntimeError("An endpoint is started once; make a new one.")
        self._server = _Server(self._answer)
        self._server.start()
        return self

    def stop(self) -> None:
        """Close every connection and the port, end hanging requests, wait for the threads. Safe to call twice."""
        with self._changed:
            again, self._stopped = self._stopped, True
            self._changed.notify_all()
        if self._server is not None and not again:
            self._server.stop()

    def release(self) -> None:
        """Let go of every request that has arrived so far and hangs, or is about to."""
        with self._changed:
            self._released = len(self._requests)
            self._changed.notify_all()

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> None:
        """Wait until `count` requests have arrived.

        Raises:
            TimeoutError: fewer came within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{len(self._requests)} of {count} requests came in {timeout} s")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = "not started" if self._server is None else self.url
        return f"<LoopbackEndpoint {where}, {len(self._requests)} requests>"

    def _answer(self, method: str, path: str, headers: Headers, body: bytes) -> Wire:
        request = self._record(method, path, headers, body)
        try:
            return self._refusal(request) or self._encode(self._take(), request)
        except Exception as error:  # noqa: BLE001  the user's own code: let the test see it as an answer
            return _failure(f"The script of this endpoint raised {type(error).__name__}: {error}")

    def _record(self, method: str, path: str, headers: Headers, body: bytes) -> RecordedRequest:
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        with self._changed:
            request = RecordedRequest(
                number=len(self._requests), method=method, path=path, headers=headers, body=body, json=parsed
            )
            self._requests.append(request)
            self._changed.notify_all()
        return request

    def _refusal(self, request: RecordedRequest) -> Status | None:
        refusal = None if self._auth is None else self._auth(request.headers)
        if refusal is not None:
            return refusal
        if request.method != "POST" or not request.path.partition("?")[0].endswith("/chat/completions"):
            return Status(404, body=error_body(404, f"There is no {request.method} {request.path} here"))
        if not isinstance(request.json, dict):
            return Status(400, body=error_body(400, "The body is not a JSON object"))
        return None

    def _take(self) -> Scripted:
        with self._changed:
            position, self._taken = self._taken, self._taken + 1
        if position < len(self._replies):
            return self._replies[position]
        if self._replies and not self._strict:
            return self._replies[-1]
        return _failure(f"The script has {len(self._replies)} replies and this is chat request {position + 1}.")

    def _encode(self, reply: Scripted, request: RecordedRequest) -> Wire:
        while isinstance(reply, Hang) or callable(reply):
            if callable(reply):
                reply = reply(request)
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._released > request.number)
                reply = Drop() if self._stopped else reply.then
        return encode(reply, request)


def _failure(message: str) -> Status:
    return Status(500, body=error_body(500, message, code="loopback_script"))


class _Server(TCPServer):
    """Accepts connections, one thread each; knows its open sockets, so that it can end them."""

    request_queue_size = 1024

    def __init__(self, answer: Callable[[str, str, Headers, bytes], Wire]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.answer = answer
        self.accepted = 0
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept, name="oarlock-loopback", daemon=True)

    def start(self) -> None:
        self._acceptor.start()

    def stop(self) -> None:
        self._stopping = True
        with suppress(OSError):  # wakes the acceptor: nothing else interrupts it on every platform
            socket.create_connection(("127.0.0.1", self.server_address[1]), timeout=1.0).close()
        self._acceptor.join(_STOP_TIMEOUT)
        self.server_close()
        with self._lock:
            for connection in self._open.values():
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_STOP_TIMEOUT)

    def _accept(self) -> None:
        while not self._stopping:
            self.handle_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._stopping:
            self.shutdown_request(request)
            return
        self.accepted += 1
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        self._threads = [other for other in self._threads if other.is_alive()]
        self._threads.append(thread)
        with self._lock:
            self._open[thread] = request
        thread.start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            with suppress(OSError):  # the client went away, or `stop` ended the connection
                self.finish_request(request, client_address)
        finally:
            with self._lock:
                del self._open[threading.current_thread()]
            self.shutdown_request(request)


class _Connection(BaseHTTPRequestHandler):
    """One keep-alive connection."""

    protocol_version = "HTTP/1.1"
    server_version = "oarlock-loopback"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # one write for headers and body; streams flush after each event
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def do_POST(self) -> None:
        """Read the request and send what the endpoint answers."""
        try:
            body = self._read_chunks() if "transfer-encoding" in self.headers else self._read_length()
        except ValueError as error:
            self.close_connection = True
            self._send_status(Status(400, headers={"Connection": "close"}, body=error_body(400, str(error))))
        else:
            self._send(self.server.answer(self.command, self.path, Headers(self.headers.items()), body))

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815  the names that http.server calls

    def _read_length(self) -> bytes:
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) != length:
            raise ValueError(f"{len(body)} of {length} bytes came")
        return body

    def _read_chunks(self) -> bytes:
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, reply: Wire) -> None:
        match reply:
            case Status():
                self._send_status(reply)
            case Raw() | Drop():
                self.close_connection = True
                self.wfile.write(reply.data if isinstance(reply, Raw) else b"")
            case _:
                self._send_events(reply)

    def _send_status(self, reply: Status) -> None:
        content = status_content(reply)
        headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(content))})
        self._send_head(reply.status, {**headers, **Headers(reply.headers)})
        self.wfile.write(content)

    def _send_events(self, events: Iterator[bytes]) -> None:
        self._send_head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        try:
            for event in events:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                self.wfile.flush()
        except Exception:  # noqa: BLE001  the user's own iterator failed, or the client left: cut the stream
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
