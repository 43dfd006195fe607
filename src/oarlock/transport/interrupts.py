"""Ctrl-C for calls that wait in native code, where Python's signal handlers do not run.

While the main thread waits, signals are also written to a socket (`signal.set_wakeup_fd`). A daemon thread reads it and
ends the wait from outside; the main thread comes back and Python raises `KeyboardInterrupt` as ever. It costs the call
1.5 microseconds; doing the call in a second thread instead costs 30 times that. Other signals wait for the call's end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable

__all__ = ["Interrupts", "in_main_thread", "interrupts"]

_watches: dict[int, Interrupts] = {}  # by process: a forked child has not its parent's thread


def interrupts() -> Interrupts:
    """Return the process's watch for Ctrl-C; for the main thread only."""
    watch = _watches.get(os.getpid())
    if watch is None:
        watch = _watches[os.getpid()] = Interrupts()
    return watch


def in_main_thread() -> bool:
    """Whether signals are handled in the calling thread."""
    return threading.get_ident() == threading.main_thread().ident


class Interrupts:
    """Ends what the main thread waits for when Ctrl-C comes. One for each process; used by the main thread only."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._number = self._writer.fileno()
        self._lock = threading.Lock()
        self._end: Callable[[], object] | None = None
        self._before = -1
        threading.Thread(target=self._watch, name="oarlock-interrupts", daemon=True).start()

    def watch(self, end: Callable[[], object]) -> None:
        """From now to `unwatch`, call `end` in another thread on Ctrl-C."""
        self._end = end
        self._before = signal.set_wakeup_fd(self._number, warn_on_full_buffer=False)

    def unwatch(self) -> bool:
        """Return to the state before `watch`; whether `end` is still uncalled."""
        signal.set_wakeup_fd(self._before)
        with self._lock:
            untouched = self._end is not None
            self._end = None
        return untouched

    def _watch(self) -> None:
        while received := self._reader.recv(1):
            self._forward(received)
            # A handler of the user's own may only take a note; then the call must go on.
            if received[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                with self._lock:
                    end, self._end = self._end, None
                    if end is not None:
                        end()

    def _forward(self, received: bytes) -> None:
        """Pass a signal on to who listened before, such as the event loop of a notebook."""
        if self._before >= 0 and self._before != self._number:
            with contextlib.suppress(OSError):  # closed meanwhile, or full: then it has enough to wake up for
                os.write(self._before, received)
