"""Work that has to be done by a thread that never ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["in_lasting_thread"]


def in_lasting_thread(work: Callable[[], None]) -> None:
    """Run `work()` in the main thread if that is the caller's, else in a daemon thread that stays for good.

    Whatever `work` raises is raised here.
    """
    if threading.current_thread() is threading.main_thread():
        work()
        return
    done = threading.Event()
    failed: list[BaseException] = []

    def stay() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it is raised where it was asked for
            failed.append(error)
        done.set()
        threading.Event().wait()

    threading.Thread(target=stay, name="oarlock-lasting", daemon=True).start()
    done.wait()
    if failed:
        raise failed[0]
