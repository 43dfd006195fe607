"""A lock for state that outlives a fork."""

from __future__ import annotations

import os
import threading

__all__ = ["ForkSafeLock"]


class ForkSafeLock:
    """A lock that a forked child finds free, whichever thread of the parent held it: each process has its own.

    For a few plain assignments only: what a held lock protected is copied as it stands.

    Example:
        >>> lock = ForkSafeLock()
        >>> with lock:
        ...     pass
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        self._own().acquire()

    def __exit__(self, *error: object) -> None:
        self._own().release()

    def _own(self) -> threading.Lock:
        pid = os.getpid()
        lock = self._locks.get(pid)
        return self._locks.setdefault(pid, threading.Lock()) if lock is None else lock
