"""Real loopback servers, and one way to use every transport in both colours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.transport import Httpx2Transport, ReqwestTransport, ResponseStream, TransportOptions

LONG = 30.0  # seconds: how long a test waits for something that is sure to come


class Gone(Exception):
    """The client has closed the connection."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.buffer = b""
        self.head = b""
        self.body = b""

    def _receive(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise Gone
        self.buffer += data

    def read_request(self) -> None:
        while b"\r\n\r\n" not in self.buffer:
            self._receive()
        self.head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        length = 0
        for line in self.head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(self.buffer) < length:
            self._receive()
        self.body, self.buffer = self.buffer[:length], self.buffer[length:]

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def answer(self, body: bytes = b"ok", *headers: bytes, status: bytes = b"200 OK") -> None:
        fields = b"".join(header + b"\r\n" for header in headers)
        self.send(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n%s\r\n%s" % (status, len(body), fields, body))

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def begin(self, *headers: bytes) -> None:
        fields = b"".join(header + b"\r\n" for header in headers)
        self.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n%s\r\n" % fields)

    def hang(self) -> None:
        """Say nothing until the client is gone."""
        try:
            while self.sock.recv(65536):
                pass
        except OSError:
            pass
        raise Gone

    def drip(self, data: bytes) -> None:
        """Send these bytes again and again, slowly, until the client is gone."""
        while not self.server.stopped.wait(0.02):
            self.send(data)
        raise Gone

    def flood(self, data: bytes) -> None:
        """Send these bytes again and again, fast, until the client is gone."""
        while not self.server.stopped.is_set():
            self.send(data)
        raise Gone

    def cut(self) -> None:
        raise Gone


Script = Callable[[Peer], None]


class Server:
    """Runs `script` for each request; counts connections, keeps requests."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None, greeting: bytes = b"") -> None:
        self.greeting = greeting
        self.script = script
        self.context = context
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.stopped = threading.Event()
        self.gone = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._peers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._peers.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, Gone):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
                self._peers.append(sock)
            peer = Peer(self, sock)
            if self.greeting:
                peer.send(self.greeting)
            while not self.stopped.is_set():
                peer.read_request()
                self.heads.append(peer.head)
                self.bodies.append(peer.body)
                self.script(peer)
        sock.close()
        self.gone.release()

    def request(self, path: str = "/v1?key=canary", timeout: float | None = LONG, **values: Any) -> HttpRequest:
        values = {"method": "POST", "body": b"{}", **values}
        return HttpRequest(url=self.url + path, timeout=timeout, **values)

    def stop(self) -> None:
        self.stopped.set()
        for sock in [self._listener, *self._peers]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(LONG)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(script: Script = lambda peer: peer.answer(), *values: Any, **more: Any) -> Server:
        servers.append(Server(script, *values, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


class Caller:
    """One transport in one colour, with blocking methods for the tests."""

    def __init__(self, kind: str, colour: str) -> None:
        self.kind = kind
        self.colour = colour
        self._transports: list[Any] = []
        self.runner = asyncio.Runner()
        self.transport = self.configure()

    def configure(self, **options: Any) -> Any:
        self.transport = (ReqwestTransport if self.kind == "reqwest" else Httpx2Transport)(TransportOptions(**options))
        self._transports.append(self.transport)
        return self.transport

    def _do(self, blocking: Callable[..., Any], asynchronous: Callable[..., Any], *args: Any) -> Any:
        return blocking(*args) if self.colour == "blocking" else self.runner.run(asynchronous(*args))

    def send(self, request: HttpRequest) -> HttpResponse:
        return self._do(self.transport.send, self.transport.asend, request)

    def open(self, request: HttpRequest) -> ResponseStream:
        return self._do(self.transport.open, self.transport.aopen, request)

    def read(self, stream: ResponseStream, timeout: float | None = LONG) -> bytes:
        return self._do(stream.read_chunk, stream.aread_chunk, timeout)

    def read_all(self, stream: ResponseStream) -> bytes:
        return b"".join(iter(lambda: self.read(stream), b""))

    def close(self, stream: ResponseStream) -> None:
        self._do(stream.close, stream.aclose)

    def finish(self) -> None:
        for transport in self._transports:
            self._do(transport.close, transport.aclose)
        self.runner.close()


@pytest.fixture(params=["reqwest-blocking", "reqwest-async", "httpx2-blocking", "httpx2-async"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    made = Caller(*request.param.split("-"))
    yield made
    made.finish()


@pytest.fixture(params=["reqwest", "httpx2"])
def transport(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = ReqwestTransport() if request.param == "reqwest" else Httpx2Transport()
    yield made
    made.close()
