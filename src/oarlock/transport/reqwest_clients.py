"""The pyreqwest clients behind one transport: made when needed, closed at exit, made anew in a forked child."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import Secret
from oarlock.runtime.lasting import in_lasting_thread
from oarlock.transport.identity import Shown
from oarlock.transport.proxies import proxy_for, revealed

if TYPE_CHECKING:
    from oarlock.contract.client_identity import ClientIdentity
    from oarlock.transport.options import TransportOptions

__all__ = ["Clients"]

# pyreqwest goes on with a request that nobody waits for any more until its headers come; only its own timeout ends it.
# A stream has none (it would end the stream as well), so its client has a limit of silence: at least twice the
# request's timeout, in steps of four so that few clients are needed. Seconds.
SILENCES = (64, 256, 1024, 4096, 16384)


class Clients:
    """Up to three kinds of client: for the main thread, for other threads, and one for async use and for streams.

    The main thread has its own, since Ctrl-C there ends its wait by closing the client. An async client serves all
    event loops and threads: pyreqwest does its I/O in a thread of its own.
    """

    def __init__(self, options: TransportOptions) -> None:
        self._options = options
        self._locks: dict[int, threading.Lock] = {}  # one for each process: a fork may copy a held lock
        self._pid = os.getpid()
        self._clients: dict[str | float, Any] = {}
        self._replaced: dict[str | float, Any] = {}
        self._certificate = Shown(options)
        self._identity: ClientIdentity | None = None

    def main(self) -> Any:
        """Return the main thread's blocking client."""
        return self._get("main")

    def other(self) -> Any:
        """Return the blocking client of all other threads."""
        return self._get("other")

    def asynchronous(self, timeout: float | None) -> Any:
        """Return the async client for requests with this timeout."""
        if timeout is not None:
            for silence in SILENCES:
                if 2 * timeout <= silence:
                    return self._get(silence)
        return self._get("unlimited")

    def forget_main(self) -> None:
        """Drop the main thread's client: it was closed to end a wait."""
        self._clients.pop("main", None)

    def _get(self, kind: str | float) -> Any:
        identity = self._certificate.current()
        if identity is self._identity and self._pid == os.getpid() and (client := self._clients.get(kind)) is not None:
            return client
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            if self._pid != os.getpid():  # the parent's clients are left alone: closing would end its connections
                self._pid, self._clients, self._replaced = os.getpid(), {}, {}
            identity = self._certificate.current()
            if identity is not self._identity:  # what is on its way over clients with the old certificate ends there
                self._identity, self._replaced, self._clients = identity, self._clients, {}
            if kind not in self._clients:
                self._clients[kind] = _build(self._options, kind)
                _open.add(self)
            return self._clients[kind]

    def close(self) -> None:
        """Close every client; requests on their way end in an error."""
        if self._pid != os.getpid():
            return
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            clients = [*self._clients.items(), *self._replaced.items()]
            self._clients, self._replaced = {}, {}
        for kind, client in clients:
            if kind in {"main", "other"}:
                client.close()
            else:
                from oarlock.transport.stepping import finish  # brings asyncio, which such a client's users have

                finish(client.close(), None)


_open: WeakSet[Clients] = WeakSet()
# pyreqwest 0.15 crashes now and then when several threads are the first to use its classes, so one builds at a time and
# uses them once. By process: a fork may copy a held lock.
_building: dict[int, threading.Lock] = {}


@atexit.register
def _close_all() -> None:
    """Leave no request on its way when the interpreter ends: its worker thread would call into what is gone."""
    for clients in list(_open):
        clients.close()


def _build(options: TransportOptions, kind: str | float) -> Any:
    """Return a new client.

    Raises:
        ConfigurationError: a certificate or the proxy cannot be used, or no client can work in this process.
    """
    with _building.setdefault(os.getpid(), threading.Lock()):
        if "pyreqwest" not in sys.modules:
            in_lasting_thread(_load)
        client = _built(options, kind)
        client.request("GET", "http://127.0.0.1/").build_streamed()  # which sends nothing
        return client


def _load() -> None:
    """Load the library, in a thread that lasts: its allocator (mimalloc) takes the thread that loads it for the main thread.

    Once that has ended, other threads that use the library crash the process.
    """
    import pyreqwest.client
    import pyreqwest.exceptions  # loaded late, while Ctrl-C is pending, it would abort the process
    import pyreqwest.proxy  # noqa: F401


def _built(options: TransportOptions, kind: str | float) -> Any:
    try:
        return _configured(options, kind, multithreaded=False).build()
    except RuntimeError:
        pass  # this process was forked from one that ran pyreqwest's worker thread, which did not come along
    except ValueError as error:
        raise _unusable(options) from error
    try:
        return _configured(options, kind, multithreaded=True).build()  # the other, unused kind of worker
    except RuntimeError as error:
        raise ConfigurationError(
            "this process was forked from one that was itself forked after use of the HTTP client, which cannot be "
            "started here again: begin processes with multiprocessing's 'spawn', or use transport='httpx2'."
        ) from error


def _configured(options: TransportOptions, kind: str | float, *, multithreaded: bool) -> Any:
    from pyreqwest.client import ClientBuilder, SyncClientBuilder

    builder: Any = (SyncClientBuilder if kind in {"main", "other"} else ClientBuilder)()
    builder = builder.runtime_multithreaded(multithreaded).no_proxy().follow_redirects(False).referer(False)
    builder = builder.gzip(False).deflate(False).brotli(False).zstd(False).default_cookie_store(False)
    builder = builder.connect_timeout(timedelta(seconds=options.connect_timeout))
    builder = builder.pool_max_idle_per_host(options.idle_connections)
    if not isinstance(kind, str):
        builder = builder.read_timeout(timedelta(seconds=kind))
    if options.verify is False:
        builder = builder.danger_accept_invalid_certs(True)
    if (bundle := options.ca_bundle()) is not None:
        builder = builder.add_root_certificate_pem(bundle)
    if (identity := options.identity()) is not None:
        builder = builder.identity_pem(identity.pem.reveal().encode("latin-1"))
    if options.http2:  # where TLS agrees on it; its flow control begins with 64 KB for all streams together
        builder = builder.http2(True).http2_adaptive_window(True).http2_max_header_list_size(options.max_headers)
    return builder if options.proxy is None else _through(builder, options.proxy)


def _through(builder: Any, proxy: str | Secret) -> Any:
    from pyreqwest.proxy import ProxyBuilder

    return builder.proxy(ProxyBuilder.custom(lambda url: revealed(proxy_for(str(url), proxy))))


def _unusable(options: TransportOptions) -> ConfigurationError:
    settings = {
        "verify": isinstance(options.verify, str),
        "client_certificate": options.client_certificate is not None,
        "proxy": options.proxy is not None,
    }
    given = " and ".join(name for name, is_set in settings.items() if is_set) or "the options"
    return ConfigurationError(f"the HTTP client cannot be set up: check {given}.")
