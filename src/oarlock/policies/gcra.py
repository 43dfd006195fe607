"""The generic cell rate algorithm (ITU-T I.371), weighted, as arithmetic on a few numbers."""

from __future__ import annotations

import math
from bisect import bisect_right

__all__ = ["Gcra", "interval"]

_LEVELS = 64  # how finely the meter's past levels are remembered


def interval(*, quota: int, burst: int, period: float) -> float:
    """Return the seconds from one unit to the next with which no window of `period` seconds holds more than `quota`.

    In a window: the burst, then one unit each interval. quota - burst + 1 intervals hold quota - burst units more, as
    the one at the window's far end falls outside; a hair more makes up for the rounding of floats.
    """
    return period / (quota - burst + 1) * (1 + 1e-9)


class Gcra:
    """Meters units so that no window of `period` seconds, its far end not included, holds more than `quota` of them.

    After a pause `burst` units may pass at once; otherwise they pass evenly, at the rate that is left of the quota. The
    state is the time at which the meter will have drained (the "theoretical arrival time"), kept as a time and a whole
    number of units after it, so that rounding never adds up. Not thread-safe by itself.

    The promise, where units are corrected with `settle`: counting what was really used, no window holds more than the
    quota plus what the calls in it used beyond their estimates and had not yet reported when its last one passed.

    Args:
        quota: most units in any window.
        burst: units that may pass at once; a greater weight waits until the meter has drained further.
        period: seconds.
    """

    __slots__ = ("_burst", "_count", "_grain", "_interval", "_lows", "_origin", "_spared", "_units")

    def __init__(self, *, quota: int, burst: int, period: float) -> None:
        self._burst = burst
        self._interval = interval(quota=quota, burst=burst, period=period)
        self._origin = float("-inf")
        self._units = 0
        self._count = 0
        self._grain = max(1, burst // _LEVELS)
        self._lows: list[tuple[int, int]] = []  # (ticket, units in the meter when it passed), both rising
        self._spared = 0  # units given back since those levels were noted

    def retune(self, now: float, *, quota: int, burst: int, period: float) -> None:
        """Go on with other limits; what is in the meter stays in it."""
        new = interval(quota=quota, burst=burst, period=period)
        left = self._origin + self._units * self._interval - now  # seconds until the meter has drained
        if left > 0:
            self._units = math.ceil(left / self._interval)
            self._origin = now - (self._units - left / self._interval) * new
        else:
            self._origin, self._units = now + left, 0
        self._interval, self._burst = new, burst

    def fill(self, now: float) -> None:
        """Stand as if a burst had just passed."""
        self._origin, self._units = now, self._burst

    def level(self, now: float) -> float:
        """Return how full the meter is, as a part of the burst: at 1 the next unit has to wait."""
        units = (self._origin - now) / self._interval + self._units  # the origin may lie at minus infinity
        return max(0.0, units) / self._burst

    def earliest(self, weight: int) -> float:
        """Return the time from which `weight` units may pass."""
        return self._origin + (self._units + weight - self._burst) * self._interval

    def take(self, start: float, weight: int) -> int:
        """Let `weight` units pass at `start`, not before `earliest(weight)`; return a ticket for `settle`."""
        self._count += 1
        if start > self._origin + self._units * self._interval:  # not at it: its rounding would add up
            self._origin, self._units = start, weight
            self._lows, self._spared = [(self._count, 0)], 0
        else:
            level = max(0, self._units - int((start - self._origin) / self._interval) - 1)
            self._note(level - level % self._grain + self._spared)
            self._units += weight
        return self._count

    def settle(self, ticket: int, taken: int, used: int) -> None:
        """Correct an estimate: more is charged; less is given back as far as the meter was not empty since.

        The meter then stands as if the right weight had been taken at once. (What had drained away before a later call
        passed cannot be given back: that call has had the use of it.)
        """
        change = used - taken
        if change < 0 and self._lows[-1][0] > ticket:  # others have passed since
            later = bisect_right(self._lows, ticket, key=_ticket)
            change = -min(-change, max(0, self._lows[later][1] - self._spared))
            self._spared -= change
        self._units += change

    def _note(self, level: int) -> None:
        lows = self._lows
        while lows and lows[-1][1] >= level:
            lows.pop()
        lows.append((self._count, level))


def _ticket(low: tuple[int, int]) -> int:
    return low[0]
