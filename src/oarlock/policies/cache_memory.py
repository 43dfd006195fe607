"""Answers kept in memory, the most recently used ones."""

from __future__ import annotations

import threading
from collections import OrderedDict

from oarlock.contract.reply import Reply

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps up to `size` answers; the one that was not used for longest goes first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[float, Reply]] = OrderedDict()

    def get(self, key: str, since: float, now: float) -> Reply | None:
        """Return the answer if it was stored within this time."""
        with self._lock:
            stored, reply = self._answers.get(key, (None, None))
            if stored is None:
                return None
            if not since < stored <= now:
                del self._answers[key]
                return None
            self._answers.move_to_end(key)
            return reply

    def put(self, key: str, reply: Reply, since: float, now: float) -> None:
        """Keep an answer."""
        with self._lock:
            self._answers[key] = (now, reply)
            self._answers.move_to_end(key)
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)

    def clear(self) -> None:
        """Forget all answers."""
        with self._lock:
            self._answers.clear()

    def count(self) -> int:
        """Return how many answers there are."""
        return len(self._answers)
