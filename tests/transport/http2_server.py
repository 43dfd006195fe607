"""A small HTTP/2 server over TLS on loopback, made of the `h2` package: scripted like the server for HTTP/1.1."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events

LONG = 5.0

Script = Callable[["Http2Connection", int], None]


class Http2Connection:
    """The server's end of one connection."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self.engine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.requests: dict[int, dict[bytes, bytes]] = {}
        self.bodies: dict[int, bytes] = {}
        self.over = False

    def flush(self) -> None:
        self._sock.sendall(self.engine.data_to_send())

    def answer(self, stream: int, body: bytes = b"ok", *headers: tuple[bytes, bytes], status: bytes = b"200") -> None:
        self.begin(stream, (b"content-length", b"%d" % len(body)), *headers, status=status)
        self.engine.send_data(stream, body, end_stream=True)

    def begin(self, stream: int, *headers: tuple[bytes, bytes], status: bytes = b"200") -> None:
        self.engine.send_headers(stream, [(b":status", status), *headers])

    def run(self, script: Script) -> None:
        self.engine.initiate_connection()
        self.flush()
        while data := self._sock.recv(65536):
            for event in self.engine.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.requests[event.stream_id] = dict(event.headers)
                    self.bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] += event.data
                    self.engine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    script(self, event.stream_id)
            self.flush()
            if self.over:
                return


class Http2Server:
    """Runs `script(connection, stream)` for each request; counts connections."""

    def __init__(self, script: Script, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["h2"])
        self._script, self._context = script, context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._socks: list[Any] = [self._listener]
        self.connections: list[Http2Connection] = []
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._socks.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,), daemon=True))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = self._context.wrap_socket(sock, server_side=True)
            self._socks.append(secured)
            self.connections.append(Http2Connection(secured))
            with secured:
                self.connections[-1].run(self._script)

    def stop(self) -> None:
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(LONG)
