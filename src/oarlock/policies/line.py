"""Those who wait for a limiter, first come first served, over all threads and event loops of the process."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from oarlock.runtime import Promise, Runtime, driver_of

__all__ = ["Line", "Waiter"]

_PATIENCE = 1.0  # seconds after which whoever is first and does not move is passed over
_LONGEST_PATIENCE = 16.0


@dataclass(slots=True, eq=False)
class Waiter:
    """One place in the line. `due` is when it means to leave it; `first` becomes true when its turn has come."""

    runtime: Runtime
    due: float
    weight: int
    first: bool = False
    turn: Promise[None] = field(default_factory=Promise)
    thread: int = field(default_factory=threading.get_ident)


class Line:
    """A line of waiters: the first may try, the others wait until it has left.

    The first may be unable to move: its event loop stands still or is gone, or the process was forked. After a second
    it is passed over. Order is lost then, nothing else: only the meters let anybody through.

    Args:
        lock: the owner's; held while the line changes.

    Attributes:
        waiters: those in line, the first to go first.
        weight: what they want, all together.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self.weight = 0
        self._lock = lock
        self.waiters: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self.waiters)

    def join(self, runtime: Runtime, *, due: float, weight: int) -> Waiter:
        """Return a place at the end of the line. The owner holds the lock."""
        waiter = Waiter(driver_of(runtime), due, weight)
        self.weight += weight
        first = self.waiters[0] if self.waiters else None
        if first is not None and first.thread == waiter.thread and first.runtime is not waiter.runtime:
            # A blocking call on the thread of an event loop whose tasks wait: none of them can move before it has.
            self.waiters.appendleft(waiter)
        else:
            self.waiters.append(waiter)
        waiter.first = self.waiters[0] is waiter
        return waiter

    async def wait(self, runtime: Runtime, waiter: Waiter, latest: float) -> bool:
        """Wait for one's turn; return whether it came before `latest`."""
        patience, due = _PATIENCE, waiter.due
        while not waiter.first:
            try:
                await runtime.wait(waiter.turn, min(due + patience, latest))
            except TimeoutError:
                due = runtime.now()
                if due >= latest:
                    return waiter.first
                self._pass_over(due)
                patience = min(2 * patience, _LONGEST_PATIENCE)
        return True

    def leave(self, waiter: Waiter, now: float) -> None:
        """Give up a place, served or not; if it was the first, it is the next one's turn."""
        with self._lock:
            if waiter not in self.waiters:
                return
            self._remove(waiter)
            following = self._call_first(now)
        if following is not None:
            following.turn.set_result(None)

    def _pass_over(self, now: float) -> None:
        with self._lock:
            if not self.waiters or self.waiters[0].due + _PATIENCE > now:
                return
            self._remove(self.waiters[0])
            following = self._call_first(now)
        if following is not None:
            following.turn.set_result(None)

    def _remove(self, waiter: Waiter) -> None:
        self.waiters.remove(waiter)
        self.weight -= waiter.weight

    def _call_first(self, now: float) -> Waiter | None:
        """Return whose turn it has become, if anybody's."""
        if not self.waiters or self.waiters[0].first:
            return None
        following = self.waiters[0]
        following.first, following.due = True, now
        return following
