"""Answers kept in an SQLite file, for the threads of a process and for several processes."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.reply import Reply, ToolCall, Usage

__all__ = ["SqliteStore"]

T = TypeVar("T")

_log = logging.getLogger("oarlock.llm")
_APPLICATION = 0x4F61726C  # "Oarl": how SQLite files say whose they are
_VERSION = 1
_PATIENCE = 2.0  # seconds that a call waits for another process's lock, before it goes on without the cache
_SCHEMA = (
    "CREATE TABLE answers (key TEXT PRIMARY KEY, stored REAL NOT NULL, answer TEXT NOT NULL)",
    "CREATE INDEX answers_by_age ON answers (stored)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)


class SqliteStore:
    """Keeps answers in a file that only its owner may read.

    What goes wrong with the file during a call is logged, once, and the call goes on as if the answer were not there.

    Args:
        path: of the file; made if it is not there.
        size: most answers, `None` for any number; the oldest go first.

    Raises:
        ConfigurationError: the file cannot be made or read, is damaged, or is no cache of this version.
    """

    def __init__(self, path: Path, size: int | None) -> None:
        self._path = path.absolute()
        self._size = size
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._warned = False
        with _stores_lock:
            _stores.add(self)
        try:
            self._make_file()
            with self._lock:
                found = _prepare(self._connected())
        except (OSError, sqlite3.Error, ValueError) as error:
            self._close()
            raise ConfigurationError(
                f"Cache: {str(path)!r} cannot be used ({error}). Give a path in a folder that is there and may be written "
                "to; a damaged file may be deleted."
            ) from error
        if found != (_APPLICATION, _VERSION):
            self._close()
            raise ConfigurationError(f"Cache: {str(path)!r} is no cache of this version of Oarlock. Give another path.")

    def get(self, key: str, since: float, now: float) -> Reply | None:
        """Return the answer if it was stored within this time."""
        row = self._attempt(lambda connection: _read(connection, key, since, now))
        if row is None:
            return None
        try:
            return _decoded(row)
        except (TypeError, ValueError, RecursionError) as error:
            self._warn(error)
            return None

    def put(self, key: str, reply: Reply, since: float, now: float) -> None:
        """Keep an answer, and drop those that have become too old or too many."""
        self._attempt(lambda connection: _write(connection, (key, now, _encoded(reply)), since, self._size))

    def clear(self) -> None:
        """Forget all answers."""
        self._attempt(lambda connection: connection.execute("DELETE FROM answers"))

    def count(self) -> int:
        """Return how many answers there are."""
        return (
            self._attempt(lambda connection: int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])) or 0
        )

    def pause(self) -> None:
        """Close the file, and keep everybody from it until `resume`."""
        self._lock.acquire()
        self._close()

    def resume(self) -> None:
        """Let calls use the file again."""
        self._lock.release()

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            with self._lock:
                return work(self._connected())
        except (sqlite3.Error, OverflowError) as error:
            self._warn(error)
            return None

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("the cache %s does not work, calls go on without it: %s", self._path, error)

    def _make_file(self) -> None:
        """Make the file, readable by nobody else, where there is none; SQLite gives its side files the same mode."""
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            address = f"{self._path.as_uri()}?mode=rw"  # if somebody deletes the file, it is not made anew
            self._connection = sqlite3.connect(
                address, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous = NORMAL")
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self._close()


def _prepare(connection: sqlite3.Connection) -> tuple[int, int]:
    """Make the tables in an empty file; return what the file says it is."""
    if _is_empty(connection):
        _make_tables(connection)
    found = _says(connection)
    if found == (_APPLICATION, _VERSION):
        connection.execute("SELECT key, stored, answer FROM answers LIMIT 1").fetchone()
        _write_ahead(connection)
    return found


def _is_empty(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return not tables and _says(connection) == (0, 0)


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(connection):  # still: of several processes that find it so, one makes the tables
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _says(connection: sqlite3.Connection) -> tuple[int, int]:
    names = ("application_id", "user_version")
    first, second = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    return first, second


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and a writer not wait for each other; the file remembers."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError:  # locked: another process is at it, or works in the file already
        return


def _read(connection: sqlite3.Connection, key: str, since: float, now: float) -> Any:
    query = "SELECT answer FROM answers WHERE key = ? AND stored > ? AND stored <= ?"
    row = connection.execute(query, (key, since, now)).fetchone()
    return None if row is None else row[0]


def _write(connection: sqlite3.Connection, row: tuple[str, float, str], since: float, size: int | None) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)
        connection.execute("DELETE FROM answers WHERE stored <= ?", (since,))
        if size is not None:
            oldest = "SELECT key FROM answers ORDER BY stored DESC LIMIT -1 OFFSET ?"
            connection.execute(f"DELETE FROM answers WHERE key IN ({oldest})", (size,))  # noqa: S608  no data in it
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _encoded(reply: Reply) -> str:
    usage = reply.usage
    return json.dumps(
        {
            "text": reply.text,
            "tool_calls": [[call.id, call.name, call.arguments] for call in reply.tool_calls],
            "finish_reason": reply.finish_reason,
            "model": reply.model,
            "id": reply.id,
            "usage": [usage.prompt_tokens, usage.completion_tokens],
        }
    )


def _decoded(answer: Any) -> Reply:
    """Return a stored answer.

    Raises:
        TypeError, ValueError, RecursionError: it is none.
    """
    facts = json.loads(answer)
    if not isinstance(facts, dict):
        raise TypeError("a stored answer is no JSON object")
    if not facts.get("text") and not facts.get("tool_calls"):
        raise ValueError("a stored answer is empty")
    read, written = (_checked(int, count) for count in facts.get("usage", ()))
    return Reply(
        text=_checked(str, facts.get("text")),
        tool_calls=tuple(_tool_call(*call) for call in facts.get("tool_calls", ())),
        finish_reason=_checked(str, facts.get("finish_reason"), optional=True),
        model=_checked(str, facts.get("model"), optional=True),
        id=_checked(str, facts.get("id"), optional=True),
        usage=Usage(prompt_tokens=read, completion_tokens=written, requests=1),
    )


def _tool_call(id: object, name: object, arguments: object) -> ToolCall:
    return ToolCall(id=_checked(str, id), name=_checked(str, name), arguments=_checked(str, arguments))


def _checked(kind: type[Any], value: object, *, optional: bool = False) -> Any:
    if isinstance(value, kind) or (optional and value is None):
        return value
    raise TypeError(f"a stored answer holds {a_kind(value)} where a {kind.__name__} belongs")


# SQLite's connections must not live through a fork (sqlite.org/howtocorrupt.html, 2.6): all are closed before one, and opened
# again when needed. Hooks cannot be taken back, so there is one for the module, and a set of the stores that are alive.
_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_stores_lock = threading.Lock()
_held: list[SqliteStore] = []


def _before_fork() -> None:
    _stores_lock.acquire()
    _held.extend(_stores)
    for store in _held:
        store.pause()


def _after_fork() -> None:
    while _held:
        _held.pop().resume()
    _stores_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
