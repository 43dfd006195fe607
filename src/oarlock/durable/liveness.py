"""Which processes that drive runs still live: each holds a lock that goes with it, however it ends."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Final, Protocol

from oarlock.contract.errors import ConfigurationError, RunStoreError
from oarlock.contract.secret import scrub
from oarlock.durable.address import Address

__all__ = ["GRACE", "Liveness", "liveness", "new_executor", "one_at_a_time"]

_log = logging.getLogger("oarlock.durable")
_CLASS: Final = 0x0A41  # of our advisory locks in PostgreSQL
_WORKER: Final = 0x7FFFFFFF + 1  # the byte of the one worker of an SQLite database
_LOOK: Final = 1.0  # seconds between two looks at one's own lock, which a lost connection takes away
_TURN: Final = 0.1  # seconds between two looks at whether the tables may be changed
GRACE: Final = 4.0  # seconds after which a lock that is still missing is one of a process that has ended


@contextmanager
def one_at_a_time(address: Address) -> Iterator[None]:
    """Let one process at a time change the tables; in SQLite the file's own lock sees to that."""
    if address.file is not None:
        yield
        return
    import psycopg

    try:
        connection = psycopg.connect(address.url, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        reason = scrub(str(error).strip().split("\n", 1)[0], 200)
        raise RunStoreError(f"The database of runs, {address.shown}, cannot be reached: {reason}") from None
    pause = threading.Event()
    with closing(connection):
        # Asked again and again: a statement that waits for the lock is one that `create index concurrently` waits for.
        while connection.execute("select pg_try_advisory_lock(%s, 0)", (_CLASS,)).fetchone() == (False,):
            pause.wait(_TURN)
        yield


class Liveness(Protocol):
    """One's own sign of life, and a look at that of others."""

    def is_alive(self, executor: str) -> bool:
        """Return whether a process holds its lock. One that has just lost its connection may not, for a few seconds."""

    def is_only_worker(self) -> bool:
        """Become the only worker of the database, where there can be one; return whether nobody is."""

    def looking_after_others(self) -> AbstractContextManager[bool]:
        """Be the one that looks after others for a while; what is entered says whether that is so."""

    def close(self) -> None:
        """Give up one's own."""


def new_executor() -> str:
    """Return the name of this process among those that drive runs, never the same twice."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)[1:]}"


def liveness(address: Address, executor: str | None) -> Liveness:
    """Return the one for a database.

    Args:
        address: the database.
        executor: this process; `None` to look only.
    """
    return (
        PostgresLiveness(address.url, executor)
        if address.file is None
        else FileLiveness(f"{address.file}-alive", executor)
    )


def _number(executor: str) -> int | None:
    try:
        return int(executor.rpartition("-")[2], 16) & 0x7FFFFFFF
    except ValueError:
        return None


class FileLiveness:
    """Locks on single bytes of a file beside an SQLite database; the system frees them when a process ends."""

    # Locks are the process's: closing any one descriptor of a file frees them all, and nobody is kept from one's own.
    _open: Final[dict[tuple[int, str], int]] = {}
    _held: Final[set[tuple[int, str]]] = set()

    def __init__(self, path: str, executor: str | None) -> None:
        try:
            import fcntl
        except ImportError:  # pragma: no cover  Windows
            raise ConfigurationError(
                "Durable runs in SQLite need the file locks of a POSIX system; use postgresql://."
            ) from None
        self._fcntl = fcntl
        key = (os.getpid(), path)
        if key not in self._open:
            self._open[key] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = self._open[key]
        self._own = None if executor is None else (self._file, executor)
        if executor is not None:
            self._lock(executor)
            self._held.add((self._file, executor))

    def is_only_worker(self) -> bool:
        """Become the only worker of the database, unless another process is."""
        return self._try(_WORKER)

    @contextmanager
    def looking_after_others(self) -> Iterator[bool]:
        """Look after others: there are no other workers, but perhaps one that was."""
        yield True

    def _lock(self, executor: str) -> bool:
        number = _number(executor)
        return number is None or self._try(number)

    def _try(self, number: int) -> bool:
        try:
            self._fcntl.lockf(self._file, self._fcntl.LOCK_EX | self._fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        return True

    def is_alive(self, executor: str) -> bool:
        """Return whether a process holds its lock."""
        if (self._file, executor) in self._held or not self._lock(executor):
            return True
        self._unlock(executor)
        return False

    def _unlock(self, executor: str) -> None:
        number = _number(executor)
        if number is not None:
            self._fcntl.lockf(self._file, self._fcntl.LOCK_UN, 1, number)

    def close(self) -> None:
        """Give up one's own."""
        if self._own is not None:
            self._held.discard(self._own)
            self._unlock(self._own[1])
            self._fcntl.lockf(self._file, self._fcntl.LOCK_UN, 1, _WORKER)


class PostgresLiveness:
    """Advisory locks on connections of their own; the server frees them when the connection ends.

    A connection that was lost is not a death: it is made again, with its lock, within seconds. Whoever sees a lock missing
    looks again after that before they believe it.
    """

    def __init__(self, url: str, executor: str | None) -> None:
        import psycopg

        self._psycopg = psycopg
        self._url = url
        self._own = executor
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._connection: Any = None
        self._connected()
        self._thread = threading.Thread(target=self._keep, name="oarlock-alive", daemon=True)
        if executor is not None:
            self._thread.start()

    def _connected(self) -> Any:
        if self._connection is None or self._connection.closed:
            connection = self._psycopg.connect(
                self._url,
                autocommit=True,
                application_name="oarlock-alive",
                connect_timeout=5,
                # A host that vanishes must be noticed by the server, and a server by us, in some ten seconds.
                keepalives_idle=4,
                keepalives_interval=2,
                keepalives_count=3,
                options="-c tcp_keepalives_idle=4 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
            )
            if self._own is not None:
                connection.execute("select pg_try_advisory_lock(%s, %s)", (_CLASS, _number(self._own)))
            self._connection = connection
        return self._connection

    def _keep(self) -> None:
        while not self._stop.wait(_LOOK):
            try:
                with self._guard:
                    if not self._stop.is_set():
                        self._connected().execute("select 1")
            except self._psycopg.Error as error:
                _log.warning("The connection that shows this process to be alive was lost: %s", type(error).__name__)

    def is_alive(self, executor: str) -> bool:
        """Return whether a process holds its lock; yes, if the database cannot be asked."""
        number = _number(executor)
        if executor == self._own:
            return True
        if number is None:
            return False
        try:
            with self._guard:
                found = self._connected().execute(
                    "select 1 from pg_locks where locktype = 'advisory' and classid = %s and objid = %s and granted",
                    (_CLASS, number),
                )
                return found.fetchone() is not None
        except self._psycopg.Error:
            return True

    def is_only_worker(self) -> bool:
        """Any number may be."""
        return True

    @contextmanager
    def looking_after_others(self) -> Iterator[bool]:
        """Look after others, unless another worker is at it."""
        mine = bool(self._asked("select pg_try_advisory_lock(%s, 1)"))
        try:
            yield mine
        finally:
            if mine:
                self._asked("select pg_advisory_unlock(%s, 1)")

    def _asked(self, query: str) -> Any:
        try:
            with self._guard:
                return self._connected().execute(query, (_CLASS,)).fetchone()[0]
        except self._psycopg.Error as error:
            raise RunStoreError(f"The database of runs failed: {type(error).__name__}.") from None

    def close(self) -> None:
        """Give up one's own."""
        self._stop.set()
        with self._guard:
            if self._connection is not None:
                self._connection.close()
        if self._thread.is_alive():
            self._thread.join(_LOOK)
