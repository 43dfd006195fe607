"""The clock, the dice and the ids of the ordinary runtimes."""

from __future__ import annotations

import os
import random
import time

__all__ = ["SystemClock"]


class SystemClock:
    """What both ordinary runtimes take from the operating system."""

    now = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    random = staticmethod(random.random)  # jitter, not a secret

    def new_id(self) -> str:
        return os.urandom(16).hex()
