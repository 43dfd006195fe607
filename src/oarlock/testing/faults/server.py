"""The endpoint that serves faults: a real server on 127.0.0.1."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import Headers
from oarlock.testing._replies import RecordedRequest
from oarlock.testing.faults.catalog import Fault, get
from oarlock.testing.faults.certificates import Certificates
from oarlock.testing.faults.connection import Connection, Gone, parsed

__all__ = ["FaultServer", "serve"]

HOST = "127.0.0.1"
_STOP_TIMEOUT = 5.0
"""Seconds that the end waits for a fault of a user's own; its threads are daemons and hold up no interpreter's end."""


def serve(
    what: str | Fault | Sequence[str | Fault],
    *,
    then: str | Fault | None = None,
    times: int = 1,
    tls: bool = False,
    port: int = 0,
) -> FaultServer:
    """Return an endpoint that misbehaves in this way; it runs inside `with`.

    Args:
        what: a fault, or several that come one after the other, a request each; the last goes on for ever.
        then: what comes after the first `times` requests, such as `"answer"`.
        times: how many requests (or connections, for what begins before a request) `what` is for, if there is a `then`.
        tls: serve it over `https://`, with a good certificate; `server.ca_pem` is what to trust.
        port: of the endpoint; default: a free one.

    Raises:
        ConfigurationError: no such fault, or the settings do not go together.

    Example:
        >>> from oarlock import ChatLLM
        >>> from oarlock.testing import faults
        >>> with faults.serve("status_503", then="answer") as server:
        ...     ChatLLM("m", server.url).call("Hi")
        ...     len(server.requests)
        'Hello there.'
        2
    """
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ConfigurationError(f"serve: times must be a whole number of at least 1, not {times!r}.")
    first = [what] if isinstance(what, str | Fault) else list(what)
    if not first:
        raise ConfigurationError("serve: name at least one fault; oarlock.testing.faults.names() has them.")
    script = [*first * times, then] if then is not None else first
    served = [one if isinstance(one, Fault) else get(one) for one in script]
    if len(served) > 1 and any(one.at == "never" for one in served):
        raise ConfigurationError("serve: 'refused' takes no connections, so nothing can come before or after it.")
    return FaultServer(served, tls=tls or any(one.tls for one in served), port=port)


class FaultServer:
    """An endpoint on 127.0.0.1 that misbehaves by script; `serve` makes one.

    A second origin, `other_url`, answers every request well and records it: whatever a fault says, no client may go there.

    Example:
        >>> from oarlock.testing import faults
        >>> with faults.serve(["status_503", "answer"]) as server:
        ...     print(ChatLLM("our-model", server.url).call("Hi"), len(server.requests))
        Hello there. 2
    """

    def __init__(self, script: Sequence[Fault], *, tls: bool = False, port: int = 0) -> None:
        self._certificates: Certificates | None = None
        self._lock = threading.Lock()
        self._main = _Origin(_Script(script), self._certified, tls=tls, port=port)
        self._other = _Origin(_Script([get("answer")]), self._certified)

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:40123/v1`."""
        return self._main.url

    @property
    def other_url(self) -> str:
        """The base URL of the second origin."""
        return self._other.url

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that was read so far, in order of arrival."""
        return list(self._main.requests)

    @property
    def connections(self) -> int:
        """How many connections have been made so far."""
        return self._main.accepted

    @property
    def other_requests(self) -> list[RecordedRequest]:
        """Every request that has come to the second origin."""
        return list(self._other.requests)

    @property
    def other_connections(self) -> int:
        """How many connections have been made to the second origin."""
        return self._other.accepted

    @property
    def ca_pem(self) -> str:
        """The path of the PEM file with the certificate of the authority to trust."""
        return self._certified().ca_pem

    def start(self) -> Self:
        """Open the ports and begin; `with` does it for you.

        Raises:
            ConfigurationError: the port is taken.
        """
        self._main.open()
        try:
            self._other.open()
        except OSError:
            self.stop()
            raise
        self._main.start(self._other.url)
        self._other.start(self._main.url)
        return self

    def stop(self) -> None:
        """Close every connection and both ports, and wait for the threads. Safe to call twice."""
        self._main.stop()
        self._other.stop()
        with self._lock:
            if self._certificates is not None:
                self._certificates.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<FaultServer {self._main}, {len(self._main.requests)} requests>"

    def _certified(self) -> Certificates:
        with self._lock:
            if self._certificates is None:
                self._certificates = Certificates()
            return self._certificates


class _Script:
    """Which fault comes next."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = faults
        self._taken = 0
        self._turns: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, *, at_accept: bool = False) -> tuple[Fault, int] | None:
        """Return the next fault and how often it has come before; with `at_accept` only if it begins there."""
        with self._lock:
            fault = self.faults[min(self._taken, len(self.faults) - 1)]
            if at_accept and fault.at != "accept":
                return None
            self._taken += 1
            turn = self._turns[fault.name]
            self._turns[fault.name] += 1
            return fault, turn


class _Origin:
    """One port: takes connections, a thread each, and knows what is open, so that it can end it."""

    def __init__(
        self, script: _Script, certificates: Callable[[], Certificates], *, tls: bool = False, port: int = 0
    ) -> None:
        self.requests: list[RecordedRequest] = []
        self.accepted = 0
        self._script = script
        self._certificates = certificates
        self._tls = tls
        self._port = port
        self._other_url = ""
        self._listener: socket.socket | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, Connection] = {}
        self._acceptor = threading.Thread(target=self._accept, name="oarlock-faults", daemon=True)

    def __str__(self) -> str:
        return self.url if self._listener is not None else "not started"

    @property
    def url(self) -> str:
        if self._listener is None:
            raise RuntimeError("The endpoint has not been started: use `with faults.serve(...) as server`.")
        return f"http{'s' if self._tls else ''}://{HOST}:{self._port}/v1"

    def open(self) -> None:
        if self._listener is not None:
            raise RuntimeError("An endpoint is started once; make a new one.")
        self._listener = socket.socket()
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((HOST, self._port))
        except OSError as error:
            self._listener.close()
            raise ConfigurationError(f"serve: port {self._port} cannot be opened: {error.strerror}.") from error
        self._port = self._listener.getsockname()[1]
        if self._script.faults[0].at != "never":  # a port that is held, and refuses, unless it listens
            self._listener.listen(128)

    def start(self, other_url: str) -> None:
        self._other_url = other_url
        if self._script.faults[0].at != "never":
            self._acceptor.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._listener is None:
            return
        with suppress(OSError):  # wakes the acceptor: nothing else interrupts it on every platform
            socket.create_connection((HOST, self._port), timeout=1.0).close()
        if self._acceptor.ident is not None:
            self._acceptor.join(_STOP_TIMEOUT)
        self._listener.close()
        with self._lock:
            open_ = dict(self._open)
        for connection in open_.values():
            connection.wake()
        for thread in open_:
            if thread is not threading.current_thread():
                thread.join(_STOP_TIMEOUT)

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            opened, _ = self._listener.accept()
            if self._stopped.is_set():
                opened.close()
                return
            self.accepted += 1
            connection = Connection(
                opened,
                stopped=self._stopped,
                record=self._record,
                certificates=self._certificates,
                url=self.url,
                other_url=self._other_url,
            )
            thread = threading.Thread(target=self._serve, args=(connection,), name="oarlock-faults", daemon=True)
            with self._lock:
                self._open[thread] = connection
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            with suppress(Gone):
                self._converse(connection)
        finally:
            connection.close()
            with self._lock:
                del self._open[threading.current_thread()]

    def _converse(self, connection: Connection) -> None:
        begun = self._script.take(at_accept=True)
        if begun is not None:
            fault, connection.turn = begun
            fault.behave(connection)
            return
        if self._tls:
            connection.start_tls()
        while True:
            connection.read_request()
            taken = self._script.take()
            assert taken is not None
            fault, connection.turn = taken
            fault.behave(connection)
            if not connection.reusable:
                return

    def _record(self, method: str, path: str, headers: Headers, body: bytes) -> RecordedRequest:
        with self._lock:
            request = RecordedRequest(
                number=len(self.requests), method=method, path=path, headers=headers, body=body, json=parsed(body)
            )
            self.requests.append(request)
            return request
