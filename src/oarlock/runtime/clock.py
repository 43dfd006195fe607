"""The clock, the dice and the ids of the ordinary runtimes."""

from __future__ import annotations

import os
import random
import time

__all__ = ["SystemClock"]


class SystemClock:
    """What both ordinary runtimes take from the operating system."""

    def now(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def random(self) -> float:
        return random.random()  # noqa: S311  jitter, not a secret

    def new_id(self) -> str:
        return os.urandom(16).hex()
