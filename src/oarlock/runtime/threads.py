"""Daemon threads made on demand: a call that hangs never keeps the program from ending."""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

_IDLE_SECONDS = 10.0  # an idle thread ends after this; new ones cost about 50 microseconds


class ThreadPool:
    """Up to `size` daemon threads (`None`: as many as there is work), made when needed, ended when idle.

    Differs from `concurrent.futures.ThreadPoolExecutor` in that the interpreter does not wait for its threads at exit,
    a fork starts afresh, and a copy or pickle is a new pool, so that an object holding one stays copyable.

    No work waits behind other work while a thread may be had for it. Threads are called one at a time, though: the one
    that comes calls the next if there is more to do than it takes. So a burst of short work is done by a thread or two;
    calling one for each piece would cost more than the work, as they all want the interpreter's lock at once.
    """

    def __init__(self, size: int | None = None, name: str = "oarlock") -> None:
        self.size = size
        self.name = name
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: deque[Callable[[], None]] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()  # rung once for each thread that is called
        self._coming = False  # a thread was called and has not looked for work yet
        self._threads = 0
        self._idle = 0  # threads that wait and have not been called

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run `call(*args)` in a thread, in a copy of the caller's context."""
        future: Future[Any] = Future()
        context = contextvars.copy_context()
        self.start(lambda: _finish(future, lambda: context.run(call, *args)))
        return future

    def start(self, work: Callable[[], None]) -> None:
        """Run `work()`, which must not raise, in a thread."""
        if os.getpid() != self._pid:
            self._reset()
        with self._lock:
            self._queue.append(work)
            try:
                self._call_thread()
            except RuntimeError:
                self._queue.pop()
                raise

    def _call_thread(self) -> None:
        """Let a thread come, unless one is on its way; where none can, those at work will look for more."""
        if self._coming:
            return
        if self._idle:
            self._idle -= 1
            self._coming = True
            self._bell.put(None)
        else:
            self._coming = self._start_thread()

    def _start_thread(self) -> bool:
        """Start a thread; return whether that was possible."""
        if self.size is not None and self._threads >= self.size:
            return False
        try:
            threading.Thread(target=self._work, name=f"{self.name}-{self._threads + 1}", daemon=True).start()
        except RuntimeError:  # the system gives no more threads: those there are take turns
            if not self._threads:
                raise
            return False
        self._threads += 1
        return True

    def _work(self) -> None:
        while True:
            work = self._next(called=True)
            while work is not None:
                work()
                work = self._next()
            if not self._wait():
                return

    def _next(self, *, called: bool = False) -> Callable[[], None] | None:
        """Take work, and call another thread if there is more; without any the thread counts as idle."""
        with self._lock:
            if called:
                self._coming = False
            if not self._queue:
                self._idle += 1
                return None
            work = self._queue.popleft()
            if self._queue:
                self._call_thread()
            return work

    def _wait(self) -> bool:
        """Wait to be called; return whether that happened, or else the thread has to end."""
        try:
            self._bell.get(timeout=_IDLE_SECONDS)
        except Empty:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    self._threads -= 1
                    return False
            self._bell.get()  # called at the last moment
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return ThreadPool, (self.size, self.name)


def _finish(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except StopIteration as error:  # asyncio refuses to carry this one; a coroutine would turn it into the same
        stopped = RuntimeError("the call raised StopIteration")
        stopped.__cause__ = error
        future.set_exception(stopped)
    except BaseException as error:  # noqa: BLE001  whatever it is belongs to whoever waits for the future
        future.set_exception(error)
    else:
        future.set_result(result)
