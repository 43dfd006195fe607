"""The order of a crew's tasks: which ones wait for which, and doing independent ones side by side."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from oarlock.contract.errors import ConfigurationError
from oarlock.runtime import Promise, Runtime

if TYPE_CHECKING:
    from oarlock.agents.task import Task

__all__ = ["Order", "run_side_by_side"]


class Order:
    """What each task of a list sees, and what it waits for; tasks go by their positions.

    A task sees the answers of all tasks before it, or those of its `context`. An asynchronous task without a `context` does
    not see the asynchronous ones directly before it, so that they run side by side. It begins once what it sees is there;
    the others also keep their order among themselves.

    Raises:
        ConfigurationError: a task stands in the list twice, or needs one that cannot come before it.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._positions = {id(task): position for position, task in enumerate(tasks)}
        if len(self._positions) < len(tasks):
            twice = next(task for position, task in enumerate(tasks) if self._positions[id(task)] != position)
            raise ConfigurationError(f"Crew: task {twice.name!r} stands in the list twice.")
        for position, task in enumerate(tasks):
            self._check(position, task)

    def _check(self, position: int, task: Task) -> None:
        if position == 0 and condition_of(task) is not None:
            raise ConfigurationError(
                f"Crew: task {task.name!r} is conditional, and there is no task before it whose output could decide."
            )
        for needed in task.context or ():
            found = self._positions.get(id(needed))
            if found is None:
                raise ConfigurationError(
                    f"Crew: task {task.name!r} has {needed.name!r} as its context, which is not among the crew's tasks. "
                    "Add it to tasks=[...]."
                )
            if found >= position:
                raise ConfigurationError(self._cannot_come_before(task, needed))

    def _cannot_come_before(self, task: Task, needed: Task) -> str:
        if needed is task:
            return f"Crew: task {task.name!r} has itself as its context."
        if self._leads_to(needed, task):
            return f"Crew: tasks {task.name!r} and {needed.name!r} wait for each other: their contexts form a cycle."
        return (
            f"Crew: task {task.name!r} has {needed.name!r} as its context, which is not among the tasks before it. "
            "Change their order."
        )

    def _leads_to(self, task: Task, wanted: Task) -> bool:
        """Return whether a task needs another one, by way of any number of contexts."""
        seen: set[int] = set()
        left = [task]
        while left:
            one = left.pop()
            if one is wanted:
                return True
            if id(one) not in seen:
                seen.add(id(one))
                left.extend(one.context or ())
        return False

    @property
    def is_a_line(self) -> bool:
        """Whether the tasks simply come one after the other."""
        return not any(task.async_execution for task in self._tasks)

    def seen_by(self, position: int) -> Iterable[int]:
        """Return the tasks whose answers a task sees."""
        task = self._tasks[position]
        if task.context is not None:
            return [self._positions[id(needed)] for needed in task.context]
        end = position
        while task.async_execution and end and self._tasks[end - 1].async_execution:
            end -= 1
        return range(end)

    def needs(self) -> list[int]:
        """Return for each task, as the bits of a number, the tasks whose ends it waits for."""
        needs, last_in_line = [], 0
        for position, task in enumerate(self._tasks):
            bits = 0
            seen = self.seen_by(position)
            if isinstance(seen, range):
                bits = (1 << seen.stop) - 1
            else:
                for one in seen:
                    bits |= 1 << one
            if condition_of(task) is not None:
                bits |= 1 << (position - 1)
            if not task.async_execution:
                bits |= last_in_line
                last_in_line = 1 << position
            needs.append(bits)
        return needs


def condition_of(task: Task) -> Callable[..., object] | None:
    """Return the condition of a `ConditionalTask`, `None` for any other task."""
    return getattr(task, "condition", None)


async def run_side_by_side(runtime: Runtime, needs: Sequence[int], do: Callable[[int], Awaitable[None]]) -> None:
    """Do each task as soon as those that it waits for are done.

    After a failure no further task begins. Those under way are awaited, since nothing can stop a blocking one and what it
    costs is spent; then the first failure is raised, with a note for each further one.

    Args:
        runtime: drives them.
        needs: for each task, as the bits of a number, those that it waits for; all of them come before it.
        do: does the task at a position.
    """
    crowd = _Crowd(runtime, needs, do)
    failure: Exception | None = None
    try:
        await runtime.gather(*[crowd.work] * crowd.most_at_once)
    except Exception as error:  # noqa: BLE001  raised below
        failure = error
    finally:
        crowd.disband()  # if the run was cancelled, or interrupted by a key, no thread begins another task
    if failure is not None:
        raise crowd.first_failure or failure


class _Crowd:
    """As many workers as there can be tasks at once; each does what is ready, the first of the list first.

    A worker never waits for a certain other one, so any number of them comes to the end.
    """

    def __init__(self, runtime: Runtime, needs: Sequence[int], do: Callable[[int], Awaitable[None]]) -> None:
        self._runtime = runtime
        self._do = do
        self._followers: list[list[int]] = [[] for _ in needs]
        self._missing = [0] * len(needs)
        self._not_begun = len(needs)
        self._idle: list[Promise[None]] = []
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self.most_at_once = self._lay_out(needs)
        self._ready = [position for position, missing in enumerate(self._missing) if not missing]

    def _lay_out(self, needs: Sequence[int]) -> int:
        """Note who follows whom, and return how many tasks there can be at once.

        A task is put behind one that it needs, if that is still the last of its row: so many rows are enough.
        """
        before: list[int] = []  # all that a task waits for, by any way
        rows, last_of_rows = 0, 0
        for position, needed in enumerate(needs):
            everything = needed
            for direct in _without_detours(needed, before):
                everything |= before[direct]
                self._followers[direct].append(position)
                self._missing[position] += 1
            before.append(everything)
            in_front = last_of_rows & everything
            if in_front:
                last_of_rows ^= 1 << (in_front.bit_length() - 1)
            else:
                rows += 1
            last_of_rows |= 1 << position
        return rows

    @property
    def first_failure(self) -> BaseException | None:
        """What went wrong first."""
        return next(iter(self._failures), None)

    async def work(self) -> None:
        """Do tasks until none is left to begin."""
        while (turn := self._take()) is not None:
            if isinstance(turn, Promise):
                await self._runtime.wait(turn)
                continue
            try:
                await self._do(turn)
            except BaseException as error:  # whatever it is: nobody must wait for ever
                self._fail(error)
                raise
            self._ended(turn)

    def _take(self) -> int | Promise[None] | None:
        """Return a task to do, what to wait for until there is one, or `None` if there will be none."""
        with self._lock:
            if not self._not_begun:
                return None
            if self._ready:
                self._not_begun -= 1
                return heapq.heappop(self._ready)
            promise: Promise[None] = Promise()
            self._idle.append(promise)
            return promise

    def _ended(self, position: int) -> None:
        with self._lock:
            for follower in self._followers[position]:
                self._missing[follower] -= 1
                if not self._missing[follower]:
                    heapq.heappush(self._ready, follower)
            others = len(self._ready) - 1 if self._not_begun > len(self._ready) else len(self._idle)
            woken = [self._idle.pop() for _ in range(min(max(0, others), len(self._idle)))]
        for promise in woken:
            promise.set_result(None)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failures.append(error)
            first = self._failures[0]
            if error is not first and isinstance(error, Exception):
                first.add_note(f"Another task failed after that: {type(error).__name__}: {error}")
        self.disband()

    def disband(self) -> None:
        """Let nobody begin another task."""
        with self._lock:
            self._not_begun = 0
            woken, self._idle = self._idle, []
        for promise in woken:
            promise.set_result(None)


def _without_detours(needed: int, before: Sequence[int]) -> Iterator[int]:
    """Yield the tasks that are needed, without those that another one of them waits for anyway."""
    while needed:
        last = needed.bit_length() - 1
        yield last
        needed &= ~(before[last] | 1 << last)
