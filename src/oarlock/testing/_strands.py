"""Jobs side by side on a virtual clock: threads of which exactly one runs at any time, in a fixed order."""

from __future__ import annotations

import contextvars
import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

__all__ = ["DeadlockError", "Scheduler", "Strand", "current_strand"]


class DeadlockError(RuntimeError):
    """A job waits for a result that nobody is left to give."""


class Strand:
    """One job of a `gather`, in a thread that runs only while it has the turn.

    Threads, though only one runs at a time, because a job can then be suspended in the middle of blocking code too,
    such as a tool that asks a model, and in the middle of a stream.
    """

    def __init__(self, scheduler: Scheduler, job: Callable[[], Any]) -> None:
        self.scheduler = scheduler
        self.outcome: Future[Any] = Future()
        self.ticket = -1  # of the suspension it is in; an older ticket wakes nobody
        self.deadlocked = False
        self._context = contextvars.copy_context()
        self._job = job
        self._turn = threading.Lock()
        self._turn.acquire()
        self._started = False

    def resume(self) -> None:
        """Give it the turn."""
        if self._started:
            self._turn.release()
            return
        self._started = True
        threading.Thread(target=self._context.run, args=(self._work,), name="oarlock-strand", daemon=True).start()

    def park(self) -> None:
        """Wait for the turn."""
        self._turn.acquire()

    def _work(self) -> None:
        _current.set(self)
        try:
            result = self._job()
        except BaseException as error:  # noqa: BLE001  belongs to whoever gathers
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(result)
        self.scheduler.ended()


_current: contextvars.ContextVar[Strand | None] = contextvars.ContextVar("oarlock_strand", default=None)


def current_strand() -> Strand | None:
    """Return the strand in whose service this code runs, also in a helper thread that was given its context."""
    return _current.get()


class Scheduler:
    """Gives the turn to one strand after the other: the earliest wake time first, equal times in order of arrival.

    Args:
        owner: the runtime that it works for.
        clock: returns the virtual time.
        set_clock: sets it; only ever forward.
    """

    def __init__(self, owner: object, clock: Callable[[], float], set_clock: Callable[[float], None]) -> None:
        self.owner = owner
        self._clock = clock
        self._set_clock = set_clock
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._turn.acquire()
        self._queue: list[tuple[float, int, int, Strand]] = []
        self._arrivals = itertools.count()
        self._tickets = itertools.count()
        self._stuck: dict[Strand, None] = {}  # those without a wake time, the longest waiting first
        self._alive = 0

    def run_all(self, jobs: Sequence[Callable[[], Any]]) -> list[Future[Any]]:
        """Run jobs to their ends, from outside any strand."""
        strands = [self._spawn(job) for job in jobs]
        while self._alive:
            self._next().resume()
            self._turn.acquire()
        return [strand.outcome for strand in strands]

    def run_nested(self, parent: Strand, jobs: Sequence[Callable[[], Any]]) -> list[Future[Any]]:
        """Run jobs to their ends, from inside a strand, which is suspended meanwhile."""
        ticket = parent.ticket = next(self._tickets)
        left = itertools.count(len(jobs) - 1, -1)
        children = [self._spawn(job) for job in jobs]
        for child in children:
            child.outcome.add_done_callback(lambda _: None if next(left) else self._wake(parent, ticket))
        self._hand_back(parent)
        return [child.outcome for child in children]

    def sleep(self, strand: Strand, until: float) -> None:
        """Suspend a strand up to a time."""
        strand.ticket = next(self._tickets)
        self._enqueue(strand, until)
        self._hand_back(strand)

    def wait(self, strand: Strand, promise: Future[Any], deadline: float | None) -> None:
        """Suspend a strand until the promise is done, the deadline has come, or nobody is left who could run.

        Raises:
            DeadlockError: nobody is left.
        """
        ticket = strand.ticket = next(self._tickets)
        if deadline is None:
            self._stuck[strand] = None
        else:
            self._enqueue(strand, deadline)
        promise.add_done_callback(lambda _: self._wake(strand, ticket))
        self._hand_back(strand)
        if strand.deadlocked:
            strand.deadlocked = False
            raise DeadlockError("This job waits for a result that nobody is left to give: every other job waits too.")

    def ended(self) -> None:
        """Take the turn back from a strand that has ended."""
        self._alive -= 1
        self._turn.release()

    def _spawn(self, job: Callable[[], Any]) -> Strand:
        strand = Strand(self, job)
        strand.ticket = next(self._tickets)
        self._alive += 1
        self._enqueue(strand, self._clock())
        return strand

    def _enqueue(self, strand: Strand, until: float) -> None:
        with self._lock:
            heapq.heappush(self._queue, (until, next(self._arrivals), strand.ticket, strand))

    def _wake(self, strand: Strand, ticket: int) -> None:
        if strand.ticket == ticket:
            self._stuck.pop(strand, None)
            self._enqueue(strand, self._clock())

    def _hand_back(self, strand: Strand) -> None:
        self._turn.release()
        strand.park()

    def _next(self) -> Strand:
        """Return whose turn it is, and set the clock to its time."""
        while self._queue:
            with self._lock:
                until, _, ticket, strand = heapq.heappop(self._queue)
            if strand.ticket == ticket:
                strand.ticket = -1
                self._set_clock(until)
                return strand
        strand = next(iter(self._stuck))
        del self._stuck[strand]
        strand.ticket, strand.deadlocked = -1, True
        return strand
