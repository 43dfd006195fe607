"""httpx2's connection pools behind one transport: for threads, for each event loop, and with a deadline on every read."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, finalize

from oarlock.contract.errors import ConfigurationError
from oarlock.transport.failures import FOREVER
from oarlock.transport.identity import Shown
from oarlock.transport.proxies import revealed

if TYPE_CHECKING:
    from oarlock.contract.client_identity import ClientIdentity
    from oarlock.contract.secret import Secret
    from oarlock.transport.options import TransportOptions

__all__ = ["Clients", "Deadline", "check_time", "spoil_if_more_came"]

# Asked of a network stream of ours, it marks the connection as one that must not be used again: from then on it says that
# there is something to read, at which httpcore2's pool closes an idle connection.
SPOIL = "oarlock.spoil"

_held = threading.local()


class Deadline:
    """The time by which the calling thread's exchange must be over: a context around blocking I/O.

    httpx2 limits one read; a server that drips a byte a second never reaches that. Here the limit of each read is what is
    left of the whole. Of several around each other the earliest holds.
    """

    __slots__ = ("_outer", "_until")

    def __init__(self, seconds: float | None) -> None:
        self._until = None if seconds is None or seconds >= FOREVER else monotonic() + seconds

    def __enter__(self) -> None:
        self._outer = getattr(_held, "until", None)
        _held.until = self._until if self._outer is None else min(self._outer, self._until or self._outer)

    def __exit__(self, *_: object) -> None:
        _held.until = self._outer


def check_time() -> None:
    """Raise `TimeoutError` if the thread's deadline has passed: for clients whose reads are not cut to it."""
    until: float | None = getattr(_held, "until", None)
    if until is not None and monotonic() > until:
        raise TimeoutError("the time for the whole exchange is over")


def _left(timeout: float | None, over: str = "ReadTimeout") -> float | None:
    """Return what is left of the thread's time, at most `timeout`; if nothing is, raise httpcore2's error named `over`."""
    until: float | None = getattr(_held, "until", None)
    if until is None:
        return timeout
    left = until - monotonic()
    if left <= 0:
        import httpcore2

        raise getattr(httpcore2, over)("the time for the whole exchange is over")
    return left if timeout is None else min(left, timeout)


def spoil_if_more_came(response: Any) -> None:
    """Let a connection not be used again if more has come over it than its response.

    httpcore2 2.16 keeps that in h11's buffer and takes it for the answer to the next request: an answer to another's
    question. Call it when the body has ended and the response is not closed yet.
    """
    holder = response.stream
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state"):
        holder = getattr(holder, name, None)
    network = response.extensions.get("network_stream")
    if holder is not None and network is not None and holder.trailing_data[0]:
        network.get_extra_info(SPOIL)


class _Stream:
    """httpcore2's network stream with each wait cut to what is left."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._spoilt = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._stream.read(max_bytes, _left(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        try:
            left = _left(timeout, "ConnectTimeout")
        except Exception:
            self.close()  # as httpcore2's own streams do when the handshake fails: nobody else holds it yet
            raise
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        self._spoilt = self._spoilt or info == SPOIL
        return True if self._spoilt and info == "is_readable" else self._stream.get_extra_info(info)


class _Backend:
    """httpcore2's blocking network with each wait cut to what is left. (The lookup of a name cannot be cut.)"""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> _Stream:
        return _Stream(
            self._backend.connect_tcp(host, port, _left(timeout, "ConnectTimeout"), local_address, socket_options)
        )


class _AsyncStream:
    """httpcore2's network stream that also closes when a TLS handshake is cancelled (httpcore2 2.16 leaves it open)."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._spoilt = False
        self.read = stream.read
        self.write = stream.write
        self.aclose = stream.aclose

    def get_extra_info(self, info: str) -> Any:
        self._spoilt = self._spoilt or info == SPOIL
        return True if self._spoilt and info == "is_readable" else self._stream.get_extra_info(info)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _AsyncStream:
        try:
            return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise


class _AsyncBackend:
    """httpcore2's network for asyncio, with the streams above."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> _AsyncStream:
        return _AsyncStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))


class Clients:
    """A blocking pool for all threads, and an async pool for each event loop; all through one proxy, or through none."""

    def __init__(self, options: TransportOptions, proxy: str | Secret | None = None) -> None:
        self._options = options
        self._proxy = proxy
        self._locks: dict[int, threading.Lock] = {}  # one for each process: a fork may copy a held lock
        self._pid = os.getpid()
        self._context: ssl.SSLContext | None = None
        self._certificate = Shown(options)
        self._identity: ClientIdentity | None = None
        self._blocking: Any = None
        self._loops: WeakKeyDictionary[Any, tuple[Any, AsyncGenerator[None, None]]] = WeakKeyDictionary()

    def blocking(self) -> Any:
        """Return the `httpx2.HTTPTransport`."""
        self._mind_certificate()
        if self._blocking is not None and self._pid == os.getpid():
            return self._blocking
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            self._forget_parent()
            if self._blocking is None:
                import httpcore2
                import httpx2

                self._blocking = httpx2.HTTPTransport(**self._settings())
                # httpcore2 takes a network backend, httpx2 does not pass one on; without it headers may drip for ever.
                self._blocking._pool._network_backend = _Backend(httpcore2.SyncBackend())  # noqa: SLF001
                finalize(self, _close_in, os.getpid(), self._blocking)
            return self._blocking

    async def asynchronous(self) -> Any:
        """Return the running loop's `httpx2.AsyncHTTPTransport`; it is closed when the loop shuts down."""
        self._mind_certificate()
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop) if self._pid == os.getpid() else None
        if found is None:
            with self._locks.setdefault(os.getpid(), threading.Lock()):
                self._forget_parent()
                import httpcore2
                import httpx2

                transport: Any = httpx2.AsyncHTTPTransport(**self._settings(), http2=self._options.http2)
                transport._pool._network_backend = _AsyncBackend(httpcore2.AnyIOBackend())  # noqa: SLF001  see blocking()
                found = self._loops[loop] = transport, _closes_with_loop(transport)
            await found[1].__anext__()
        return found[0]

    def _mind_certificate(self) -> None:
        """Let new connections show a client certificate that has changed; those that are open stay in use."""
        if self._certificate.current() is self._identity:
            return
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            self._identity, self._context = self._certificate.current(), None
            self._forget_parent()
            context = self._settings()["verify"]
            for transport in (self._blocking, *(found[0] for found in list(self._loops.values()))):
                if transport is not None:
                    transport._pool._ssl_context = context  # noqa: SLF001  httpx2 has no way to change it

    def _forget_parent(self) -> None:
        """In a forked child, drop the parent's pools without closing the connections that both now hold."""
        if self._pid != os.getpid():
            self._pid, self._blocking, self._loops = os.getpid(), None, WeakKeyDictionary()

    def _settings(self) -> dict[str, Any]:
        import httpx2

        if self._context is None:  # 20 ms, so it is made once for all pools
            self._context = ssl_context(self._options)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self._options.idle_connections)
        return {
            "verify": self._context,
            "trust_env": False,
            "limits": limits,
            "proxy": revealed(self._proxy),
        }

    def close(self) -> None:
        """Close the blocking pool; those of event loops are forgotten, and close with their loops."""
        blocking, self._blocking = self._blocking, None
        if blocking is not None and self._pid == os.getpid():
            blocking.close()

    async def aclose(self) -> None:
        """Close the blocking pool and the running loop's."""
        self.close()
        found = self._loops.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found[1].aclose()


def _close_in(pid: int, transport: Any) -> None:
    """Close a blocking pool that nobody uses any more, in the process that opened it."""
    if pid == os.getpid():
        transport.close()


async def _closes_with_loop(transport: Any) -> AsyncGenerator[None, None]:
    """Close a pool when its event loop shuts down, which ends the async generators that were begun on it."""
    try:
        yield
    finally:
        await transport.aclose()


def ssl_context(options: TransportOptions) -> ssl.SSLContext:
    """Return the TLS settings that `verify` and `client_certificate` ask for."""
    import httpx2

    context: ssl.SSLContext = httpx2.create_ssl_context(verify=options.verify is not False, trust_env=False)
    try:
        if isinstance(options.verify, str):
            options.ca_bundle()
            context.load_verify_locations(cafile=options.verify)
        if (identity := options.identity()) is not None:
            identity.show_in(context)
    except ssl.SSLError as error:
        raise ConfigurationError(
            "verify or client_certificate does not hold PEM certificates and their key."
        ) from error
    return context
