"""Real MCP servers behind HTTP on 127.0.0.1, which may check JWTs, and ways to run a crew."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from mcp.server import MCPServer as RealServer

from oarlock.contract.http import Headers
from oarlock.testing import JwtIssuer, VirtualRuntime

Answer = Callable[[str, dict[str, str]], tuple[int, dict[str, str], bytes] | None]


def run_blocking(crew: Any, **settings: Any) -> Any:
    return crew.kickoff(**settings)


def run_async(crew: Any, **settings: Any) -> Any:
    return asyncio.run(crew.akickoff(**settings))


def run_virtual(crew: Any, **settings: Any) -> Any:
    with VirtualRuntime() as runtime:
        return runtime.run(crew.akickoff(**settings))


class HttpServer:
    """An MCP server behind HTTP, in a thread.

    Attributes:
        requests: each request's method, path with query, and headers.
        instead: asked first; what it returns is answered in place of the server.
    """

    def __init__(self, app: Any) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.instead: Answer | None = None
        self._app = app
        self._server = uvicorn.Server(
            uvicorn.Config(self._handle, port=0, log_level="critical", ws="none", interface="asgi3", lifespan="on")
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    async def _handle(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            path = scope["path"] + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
            self.requests.append((scope["method"], path, headers))
            answer = self.instead(scope["method"], headers) if self.instead else None
            if answer is not None:
                status, fields, body = answer
                pairs = [(name.encode(), value.encode()) for name, value in fields.items()]
                await send({"type": "http.response.start", "status": status, "headers": pairs})
                await send({"type": "http.response.body", "body": body})
                return
        await self._app(scope, receive, send)

    def start(self) -> None:
        self._thread.start()  # the socket takes connections already; they wait until the server is up

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(30)
        self._socket.close()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    def seen(self, field: str) -> set[str | None]:
        return {headers.get(field) for _, _, headers in self.requests}


def small_shop() -> RealServer:
    server = RealServer("shop")

    @server.tool()
    def price(item: str) -> str:
        """Say what something costs."""
        return f"{item} costs 3"

    return server


def serving(app: Any) -> Iterator[HttpServer]:
    server = HttpServer(app)
    server.start()
    yield server
    server.stop()


def checking(issuer: JwtIssuer) -> Answer:
    """Return what a server that wants tokens answers to those that it does not like."""

    def check(method: str, headers: dict[str, str]) -> Any:
        refusal = issuer.check(Headers(headers))
        return None if refusal is None else (401, {"www-authenticate": "Bearer"}, b"no good token")

    return check
