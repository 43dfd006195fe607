"""Many callers, one piece of work: the first does it, the others wait for what comes of it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from oarlock.contract.errors import LLMError
from oarlock.runtime import Promise, Runtime

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs work at most once at a time, over all threads and tasks of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: Promise[T | None] | None = None
        self._leader: tuple[int, Runtime] | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody is doing the work now."""
        return self._pending is not None

    async def run(
        self,
        runtime: Runtime,
        work: Callable[[], Awaitable[T]],
        ready: Callable[[], T | None],
        deadline: float | None = None,
    ) -> T:
        """Return what `ready()` gives; while it gives nothing, do the work, or wait for whoever is doing it.

        A failure of the work reaches everybody who waited for it. Work that was cancelled is taken up by the next one.
        Waiting past the deadline is a `TimeoutError`. Who would wait for ever, as a blocking call on the thread of the
        very event loop that is doing the work, does it too.
        """
        me = threading.get_ident(), runtime
        while True:
            with self._lock:
                done = ready()
                if done is not None:
                    return done
                pending = self._pending
                leader = self._leader
                if pending is None:
                    mine: Promise[T | None] = Promise()
                    self._pending, self._leader = mine, me
            if pending is None:
                return await self._lead(mine, work)
            if leader is not None and leader[0] == me[0] and leader[1] is not runtime:
                return await work()
            shared = await _shared(runtime, pending, deadline)
            if shared is not None:
                return shared

    async def _lead(self, promise: Promise[T | None], work: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await work()
        except Exception as error:
            self._end()
            promise.set_exception(error)
            raise
        except BaseException:  # cancelled: whoever waits takes over
            self._end()
            promise.set_result(None)
            raise
        self._end()
        promise.set_result(result)
        return result

    def _end(self) -> None:
        with self._lock:
            self._pending = self._leader = None

    def __reduce__(self) -> Any:
        return SingleFlight, ()


async def _shared(runtime: Runtime, pending: Promise[T | None], deadline: float | None) -> T | None:
    """Wait for the leader; each who waits raises an error of its own, as others note their attempts on theirs."""
    try:
        return await runtime.wait(pending, deadline)
    except LLMError as error:
        own = copy.copy(error)
        raise own from error
