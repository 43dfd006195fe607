"""From an event loop into a thread and back, at a third of the cost of `loop.run_in_executor`."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from oarlock.runtime.threads import ThreadPool

__all__ = ["run_in_thread"]

_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


def run_in_thread(pool: ThreadPool, call: Callable[..., Any], args: tuple[Any, ...]) -> asyncio.Future[Any]:
    """Run `call(*args)` in a thread, in a copy of the context; what is cancelled before it has begun never begins."""
    loop = asyncio.get_running_loop()
    mailbox = _mailboxes.get(loop)
    if mailbox is None:
        mailbox = _mailboxes[loop] = _Mailbox()
    future = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        if future.cancelled():
            return
        try:
            outcome: _Outcome = (future, context.run(call, *args), None)
        except StopIteration as error:  # asyncio refuses to carry this one; a coroutine would turn it into the same
            stopped = RuntimeError("the call raised StopIteration")
            stopped.__cause__ = error
            outcome = (future, None, stopped)
        except BaseException as error:  # noqa: BLE001  whatever it is belongs to whoever waits for the future
            outcome = (future, None, error)
        mailbox.post(loop, outcome)

    pool.start(work)
    return future


class _Mailbox:
    """Outcomes on their way to one event loop. It is woken once for all that have come since it looked last."""

    __slots__ = ("_outcomes", "_told")

    def __init__(self) -> None:
        self._outcomes: deque[_Outcome] = deque()
        self._told = False

    def post(self, loop: asyncio.AbstractEventLoop, outcome: _Outcome) -> None:
        """Called by any thread."""
        self._outcomes.append(outcome)
        if not self._told:
            self._told = True
            try:
                loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop has closed: nobody waits any more
                self._outcomes.clear()

    def _deliver(self) -> None:
        self._told = False  # before looking: what is posted from now on tells anew
        while self._outcomes:
            future, result, error = self._outcomes.popleft()
            if future.done():  # cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


_mailboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox] = WeakKeyDictionary()  # a loop has one for life
