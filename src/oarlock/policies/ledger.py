"""The books of a budget: what is spent, what calls in flight hold, and who waits."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

from oarlock.runtime import Promise, Runtime, current_blocking

__all__ = ["NOTHING", "Charge", "Cost", "Ledger", "Tally", "tallied"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs; money in grains (see `prices`)."""

    requests: int = 0
    tokens: int = 0
    money: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.requests + other.requests, self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.requests - other.requests, self.tokens - other.tokens, self.money - other.money)

    def beyond(self, other: Cost) -> Cost:
        """Return what this is more than the other, nothing where it is less."""
        if other is NOTHING:  # as nearly always
            return self
        more = self - other
        return Cost(max(0, more.requests), max(0, more.tokens), max(0, more.money))


NOTHING = Cost()

Tally: TypeAlias = "list[tuple[Ledger, Cost]]"
_tally: ContextVar[Tally | None] = ContextVar("oarlock_tally", default=None)


@contextmanager
def tallied() -> Iterator[Tally]:
    """Collect what is spent in a block, of whichever ledger."""
    tally: Tally = []
    token = _tally.set(tally)
    try:
        yield tally
    finally:
        _tally.reset(token)


@dataclass(slots=True, eq=False)
class Charge:
    """One call on a ledger.

    Attributes:
        ledger: whose it is.
        hold: the most that it should cost.
        runtime: on which it waits.
        around: the call that this one is a part of.
        inside: what calls that are part of this one have cost already.
        turn: for who stands in line: comes when there is room, or the limit was reached.
    """

    ledger: Ledger
    hold: Cost
    runtime: Runtime
    around: Charge | None = None
    inside: Cost = NOTHING
    thread: int = field(default_factory=threading.get_ident)
    turn: Promise[None] | None = None


class Ledger:
    """Lets calls in as long as what is spent and held stays within the limits; the others wait in order of arrival.

    A call that might pass a limit by itself goes in alone, once nobody else is inside: so at most one call is over it.
    Once a limit is reached nobody is let in; those who wait are told to look.

    Args:
        limits: any of `requests`, `tokens` and `money` (in grains).
        spent: so far.
    """

    def __init__(self, limits: Mapping[str, int], spent: Cost) -> None:
        self.limits = dict(limits)
        self.spent = spent
        self._empty()

    def enter(self, charge: Charge) -> Promise[None] | None:
        """Let a call in, unless a limit is reached, or put it in line; return what it then has to wait for."""
        if self._pid != os.getpid():  # a fork: the calls in flight are the parent's
            self._empty()
        with self._lock:
            if self.reached():
                return None
            if (not self._line and self._has_room(charge)) or self._would_wait_for_itself(charge):
                self._let_in(charge)
                return None
            self._line.append(charge)
            charge.turn = Promise()
            return charge.turn

    def is_in(self, charge: Charge) -> bool:
        """Return whether a call has been let in and has not left."""
        return charge in self._inside

    def spend(self, cost: Cost, charge: Charge) -> None:
        """Note what a call has cost, for it and for those that it is a part of."""
        tally = _tally.get()
        if tally is not None:
            tally.append((self, cost))
        with self._lock:
            self.spent += cost
            around = charge.around
            while around is not None:
                around.inside += cost
                around = around.around

    def leave(self, charge: Charge) -> None:
        """Give up a place, inside or in line, and let in whoever may follow."""
        with self._lock:
            if charge in self._inside:
                self._inside.remove(charge)
                self._held -= charge.hold
            elif charge in self._line:
                self._line.remove(charge)
            following = self._following()
        for turn in following:
            turn.set_result(None)

    def reached(self) -> str | None:
        """Return the first limit that is used up."""
        for name, limit in self.limits.items():
            if getattr(self.spent, name) >= limit:
                return name
        return None

    def passed(self) -> str | None:
        """Return the first limit that those inside may pass, if they are several."""
        return None if len(self._inside) < 2 else self._over(self.spent + self._held)

    def _following(self) -> list[Promise[None]]:
        following = []
        while self._line and (self.reached() or self._has_room(self._line[0])):
            charge = self._line.popleft()
            if not self.reached():
                self._let_in(charge)
            if charge.turn is not None:
                following.append(charge.turn)
        return following

    def _has_room(self, charge: Charge) -> bool:
        return not self._inside or self._over(self.spent + self._held + charge.hold) is None

    def _over(self, cost: Cost) -> str | None:
        for name, limit in self.limits.items():
            if getattr(cost, name) > limit:
                return name
        return None

    def _let_in(self, charge: Charge) -> None:
        self._inside.add(charge)
        self._held += charge.hold

    def _would_wait_for_itself(self, charge: Charge) -> bool:
        """Return whether somebody inside cannot move before this call has ended.

        That is so for the tasks of an event loop on whose very thread it blocks, and for a stream that this thread has
        left open.
        """
        blocks = charge.runtime is current_blocking()
        mine = [one for one in self._inside if one.thread == charge.thread]
        return any(blocks or one.runtime is not charge.runtime for one in mine)

    def _empty(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()  # held for a few additions, never while waiting
        self._inside: set[Charge] = set()
        self._held = NOTHING
        self._line: deque[Charge] = deque()
