"""A sliding window: a meter that remembers when each unit passed, so that a whole quota may pass at once."""

from __future__ import annotations

from collections import deque

__all__ = ["SlidingWindow"]

_HAIR = 1 + 1e-9  # makes up for the rounding of floats


class SlidingWindow:
    """Meters units so that no window of `period` seconds, its far end not included, holds more than `quota` of them.

    All of them may pass at once, and each as soon as the one `quota` before it is a period old: nobody waits without need, at
    the price of one number for each unit. `Gcra` needs two numbers in all, and spreads units evenly. Not thread-safe by itself.

    Args:
        quota: most units in any window.
        period: seconds.

    Example:
        >>> meter = SlidingWindow(quota=2, period=60.0)
        >>> [meter.take(start, 1) for start in (0.0, 10.0)]
        [0, 0]
        >>> round(meter.earliest(1)), round(meter.earliest(2)), round(meter.earliest(3))
        (60, 70, 120)
    """

    __slots__ = ("_period", "_quota", "_taken")

    def __init__(self, *, quota: int, period: float) -> None:
        self._quota = quota
        self._period = period * _HAIR
        self._taken: deque[float] = deque(maxlen=quota)  # older ones matter no more

    def retune(self, now: float, *, quota: int, burst: int, period: float) -> None:
        """Go on with another quota; what has passed stays counted."""
        self._quota, self._period = quota, period * _HAIR
        self._taken = deque(self._taken, maxlen=quota)

    def fill(self, now: float) -> None:
        """Stand as if the whole quota had just passed."""
        self._taken.extend([now] * self._quota)

    def level(self, now: float) -> float:
        """Return how full the window is: at 1 the next unit has to wait."""
        return sum(start > now - self._period for start in self._taken) / self._quota

    def earliest(self, weight: int) -> float:
        """Return the time from which `weight` units may pass, as far as it is known now."""
        rounds, place = divmod(len(self._taken) + weight - 1, self._quota)
        if not rounds or place >= len(self._taken):
            return float("-inf") if rounds <= 1 or not self._taken else self._taken[-1] + (rounds - 1) * self._period
        return self._taken[place] + rounds * self._period

    def take(self, start: float, weight: int) -> int:
        """Let `weight` units pass at `start`, not before `earliest(weight)`; the ticket is always 0: nothing is corrected."""
        self._taken.extend([start] * weight)
        return 0
