"""Daemon threads made on demand: a call that hangs never keeps the program from ending."""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

_IDLE_SECONDS = 10.0  # an idle thread ends after this; new ones cost about 50 microseconds

_Work = tuple[Future[Any], Callable[[], Any]]


class ThreadPool:
    """Up to `size` daemon threads (`None`: as many as there is work), made when needed, ended when idle.

    Differs from `concurrent.futures.ThreadPoolExecutor` in that the interpreter does not wait for its threads at exit,
    a fork starts afresh, and a copy or pickle is a new pool, so that an object holding one stays copyable.
    """

    def __init__(self, size: int | None = None, name: str = "oarlock") -> None:
        self.size = size
        self.name = name
        self._reset()

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run `call(*args)` in a thread, in a copy of the caller's context."""
        future: Future[Any] = Future()
        context = contextvars.copy_context()
        if os.getpid() != self._pid:
            self._reset()
        with self._lock:
            if self._idle:
                self._idle -= 1  # one of the idle threads is now promised this work
            elif not self._start_thread():
                self._backlog += 1
            self._queue.put((future, lambda: context.run(call, *args)))
        return future

    def _start_thread(self) -> bool:
        """Start a thread, promised one piece of work; return whether that was possible."""
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

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0  # threads that wait and are promised no work
        self._backlog = 0  # work that is promised to no thread: the next to become free takes it

    def _work(self) -> None:
        work: _Work | None = self._queue.get()  # it was promised, so it is there
        while work is not None:
            _finish(*work)
            del work  # keeps nothing of a finished call alive while idle
            work = self._next()

    def _next(self) -> _Work | None:
        with self._lock:
            if self._backlog:
                self._backlog -= 1
                return self._queue.get()
            self._idle += 1
        try:
            return self._queue.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    self._threads -= 1
                    return None
            return self._queue.get()  # promised at the last moment

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
