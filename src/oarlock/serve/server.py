"""The application on a port, until Ctrl-C or SIGTERM; then what runs is let end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import queue
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from oarlock.contract.checks import positive, whole
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import is_loopback
from oarlock.serve.app import App
from oarlock.serve.protocol import MOST_HEADER_BYTES, PatientProtocol

__all__ = ["serve", "serving"]

_log = logging.getLogger("oarlock.serve")
_IDLE_SECONDS: Final = 30  # that an unused connection is kept; longer than the 15 s that clients keep theirs (httpx: 5)
_LAST_PORT: Final = 65_535
_BACKLOG: Final = 1024  # connections that the system holds until they are taken
_TICK: Final = 0.1  # seconds; as uvicorn looks for a second Ctrl-C
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def serve(
    app: App,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    certificate: tuple[Path, Path] | None = None,
    drain_seconds: float = 30.0,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve an application until Ctrl-C or SIGTERM.

    Then no new request is taken, and those that run may end within `drain_seconds`; a second Ctrl-C ends at once.

    Args:
        app: what `create_app` returned.
        host: the address to listen on. Any but this machine's own needs an app that asks for keys.
        port: 0 takes a free one.
        certificate: the files of a TLS certificate and its key, in PEM.
        drain_seconds: how long running requests may go on after the signal.
        ready: called with the server's URL once it listens.

    Raises:
        ConfigurationError: the address cannot be listened on, or everybody could reach an app without keys.

    Example:
        >>> from oarlock.serve import create_app
        >>> serve(create_app(our_llm), port=8000)  # doctest: +SKIP
    """
    with _server(app, host, port, certificate=certificate, drain_seconds=drain_seconds, ready=ready or _nobody) as (
        server,
        listener,
    ):
        server.run([listener])


@contextlib.contextmanager
def serving(app: App, *, certificate: tuple[Path, Path] | None = None, drain_seconds: float = 5.0) -> Iterator[str]:
    """Serve an application on a free port of 127.0.0.1 within a block, in a thread: for tests.

    Args:
        app: what `create_app` returned.
        certificate: the files of a TLS certificate and its key, in PEM.
        drain_seconds: how long running requests may go on at the end of the block.

    Example:
        >>> from oarlock.serve import create_app
        >>> from oarlock.testing import ScriptedLLM
        >>> with serving(create_app({"mine": ScriptedLLM(["Hello"])})) as url:
        ...     ChatLLM("mine", f"{url}/v1").call("Hi")
        'Hello'
    """
    urls: queue.SimpleQueue[str | BaseException] = queue.SimpleQueue()
    with _server(app, "127.0.0.1", 0, certificate=certificate, drain_seconds=drain_seconds, ready=urls.put) as (
        server,
        listener,
    ):

        def run() -> None:
            try:
                server.run([listener])
            except BaseException as error:  # noqa: BLE001  told in the thread that waits
                urls.put(error)

        thread = threading.Thread(target=run, name="oarlock-serve", daemon=True)
        thread.start()
        url = urls.get()
        if isinstance(url, BaseException):
            raise url
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


def _nobody(_: str) -> None:
    pass


@contextlib.contextmanager
def _server(
    app: App,
    host: str,
    port: int,
    *,
    certificate: tuple[Path, Path] | None,
    drain_seconds: float,
    ready: Callable[[str], None],
) -> Iterator[tuple[uvicorn.Server, socket.socket]]:
    positive("serve", "drain_seconds", drain_seconds, zero=True)
    if not is_loopback(host) and not app.asks_for_keys:
        raise ConfigurationError(
            f"Whoever reaches {host or 'this machine'} could use these models: give API keys (--api-key env:NAME), or listen on "
            "127.0.0.1 only."
        )
    cert, key = certificate or (None, None)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    _load(config)
    with _listening(host, port) as listener, _quiet_uvicorn():
        url = _url(listener, tls=certificate is not None)
        yield _Server(config, app, lambda: ready(url)), listener


class _Server(uvicorn.Server):
    """Tells the app when it begins and when it ends, and does not pass signals on to itself once it has ended."""

    def __init__(self, config: uvicorn.Config, app: App, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.drain()
        patience = self.config.timeout_graceful_shutdown or 0
        until = time.monotonic() + patience
        await super().shutdown(sockets)
        closing = asyncio.ensure_future(self._app.close(max(0.0, until - time.monotonic())))
        while not closing.done():
            await asyncio.wait({closing}, timeout=_TICK)
            if self.force_exit:
                closing.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            _log.info(
                "Ending: running requests may go on for %s s; Ctrl-C ends them.", self.config.timeout_graceful_shutdown
            )
        super().handle_exit(sig, frame)


@contextlib.contextmanager
def _quiet_uvicorn() -> Iterator[None]:
    """Keep uvicorn's own log to what is wrong; requests are in ours."""
    theirs = logging.getLogger("uvicorn.error")
    before = theirs.level
    theirs.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        theirs.setLevel(before)


def _listening(host: str, port: int) -> socket.socket:
    if whole("serve", "port", port, least=0) > _LAST_PORT:  # which the system would take modulo 65536
        raise ConfigurationError(f"serve: port must be from 0 to {_LAST_PORT}, not {port}.")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        # Said to be TCP's, so that asyncio sends what it has at once: else each answer waits 40 ms for an acknowledgement.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # elsewhere it would let several servers share the port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
    return listener


def _url(listener: socket.socket, *, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


def _load(config: uvicorn.Config) -> None:
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        files = f"{config.ssl_certfile} and {config.ssl_keyfile}"
        raise ConfigurationError(f"{files} are no TLS certificate and its key, in PEM: {error}.") from error
