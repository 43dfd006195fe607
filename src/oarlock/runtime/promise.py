"""A result that comes later, for threads and tasks alike."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Promise(Future[T]):
    """A result that one caller will set and any number, in threads or tasks, wait for with `Runtime.wait`."""
