from __future__ import annotations

import threading

import pytest

from oarlock.runtime.lasting import in_lasting_thread


def test_the_main_thread_does_its_own_work() -> None:
    seen: list[threading.Thread] = []
    in_lasting_thread(lambda: seen.append(threading.current_thread()))
    assert seen == [threading.main_thread()]


def test_another_threads_work_is_done_by_one_that_stays() -> None:
    seen: list[threading.Thread] = []
    passing = threading.Thread(target=in_lasting_thread, args=(lambda: seen.append(threading.current_thread()),))
    passing.start()
    passing.join()
    assert seen[0] is not passing
    assert seen[0].is_alive()
    assert seen[0].daemon


def test_what_the_work_raises_is_raised() -> None:
    def work() -> None:
        raise ImportError("no")

    def passing() -> None:
        with pytest.raises(ImportError, match="no"):
            in_lasting_thread(work)
        done.set()

    done = threading.Event()
    thread = threading.Thread(target=passing)
    thread.start()
    thread.join()
    assert done.is_set()
