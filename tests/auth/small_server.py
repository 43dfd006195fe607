"""A small HTTP server on loopback whose answers are a function of the request, for logins, gateways and token endpoints."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from oarlock.contract.http import Headers


@dataclass(frozen=True, kw_only=True)
class Got:
    """One request as it came; `connection` tells connections apart."""

    method: str
    path: str
    headers: Headers
    body: bytes
    connection: int

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Give:
    """An answer."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str | bytes | Mapping[str, Any] = b""


def hello(text: str = "Hello.") -> Give:
    """Return a good answer of a model."""
    message = {"role": "assistant", "content": text}
    return Give(body={"choices": [{"message": message, "finish_reason": "stop"}]})


class SmallServer:
    """Used with `with`; keeps what it got."""

    def __init__(self, answer: Callable[[Got], Give]) -> None:
        self.got: list[Got] = []
        self._answer = answer
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, got: Got) -> Give:
        self.got.append(got)
        return self._answer(got)

    def paths(self) -> list[str]:
        return [got.path for got in self.got]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.socket.close()


def _handler(owner: SmallServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = Headers(self.headers.items())
            got = Got(
                method=self.command, path=self.path, headers=headers, body=body, connection=self.client_address[1]
            )
            give = owner.answer(got)
            content = json.dumps(give.body) if isinstance(give.body, Mapping) else give.body
            data = content.encode() if isinstance(content, str) else content
            self.send_response(give.status)
            for name, value in give.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        do_GET = do_PUT = do_POST

    return Handler
