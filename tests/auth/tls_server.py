"""A server on loopback that speaks TLS, may demand client certificates, and keeps count of who came."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
from small_server import Give, Got, SmallServer


class TlsServer(SmallServer):
    """Counts connections before their handshake; `shown` has the common name of each client certificate, or `None`."""

    def __init__(
        self, answer: Callable[[Got], Give], authority: trustme.CA, *, clients: trustme.CA | None = None
    ) -> None:
        super().__init__(answer)
        self.connections = 0
        self.shown: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.context)
        if clients is not None:
            clients.configure_trust(self.context)
            self.context.verify_mode = ssl.CERT_REQUIRED
        server: Any = self._server
        server.finish_request = self._secured
        self.url = f"https://127.0.0.1:{server.server_port}"
        self.port = int(server.server_port)

    def _secured(self, sock: socket.socket, address: Any) -> None:
        self.connections += 1
        try:
            with self.context.wrap_socket(sock, server_side=True) as secured:
                self.shown.append(common_name(secured))
                self._server.RequestHandlerClass(secured, address, self._server)
        except OSError:  # a handshake that failed, or a client that went away
            return


class CountingServer(SmallServer):
    """A plain server that counts connections."""

    def __init__(self, answer: Callable[[Got], Give]) -> None:
        super().__init__(answer)
        self.connections = 0
        server: Any = self._server
        finish = server.finish_request

        def counted(*arguments: Any) -> None:
            self.connections += 1
            finish(*arguments)

        server.finish_request = counted
        self.port = int(server.server_port)


def common_name(secured: ssl.SSLSocket) -> str | None:
    certificate: Any = secured.getpeercert() or {}
    return next((value for ((name, value),) in certificate.get("subject", ()) if name == "commonName"), None)


def issue(authority: trustme.CA, name: str, **more: Any) -> tuple[bytes, bytes]:
    """Return a client certificate's chain and its key."""
    made = authority.issue_cert(f"{name}@example.com", common_name=name, **more)
    return b"".join(pem.bytes() for pem in made.cert_chain_pems), made.private_key_pem.bytes()


def replace(path: Path, data: bytes) -> None:
    """Replace a file at once, as careful programs do."""
    spare = path.with_suffix(".new")
    spare.write_bytes(data)
    spare.replace(path)
