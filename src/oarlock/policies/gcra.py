"""The generic cell rate algorithm (ITU-T I.371), weighted, as arithmetic on one number."""

from __future__ import annotations

__all__ = ["Gcra"]


class Gcra:
    """Meters units so that no window of `period` seconds holds more than `quota` of them.

    After a pause `burst` units may pass at once; otherwise they pass evenly, at the rate that is left of the quota. The
    state is the time at which the meter will have drained (the "theoretical arrival time"). Not thread-safe by itself.

    Args:
        quota: most units in any window.
        burst: units that may pass at once; a greater weight waits until the meter has drained further.
        period: seconds.
    """

    __slots__ = ("_burst", "_drained", "_interval")

    def __init__(self, *, quota: int, burst: int, period: float) -> None:
        self._burst = burst
        # In a window: the burst, then one unit each interval. quota - burst + 1 intervals hold quota - burst units more,
        # as the one at the window's far end falls outside; a hair more makes up for the rounding of floats.
        self._interval = period / (quota - burst + 1) * (1 + 1e-9)
        self._drained = float("-inf")

    def earliest(self, weight: int) -> float:
        """Return the time from which `weight` units may pass."""
        return self._drained + (weight - self._burst) * self._interval

    def take(self, start: float, weight: int) -> float:
        """Let `weight` units pass at `start`; return a ticket for `settle`."""
        self._drained = max(start, self._drained) + weight * self._interval
        return self._drained

    def settle(self, ticket: float, taken: int, used: int) -> None:
        """Correct an estimate: more is charged at once, less is given back only if nobody has queued up behind."""
        if used > taken or ticket == self._drained:
            self._drained += (used - taken) * self._interval
