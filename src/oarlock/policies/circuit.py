"""One endpoint's circuit: closed, open, or half open with a single call trying it."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

from oarlock.contract.errors import CircuitOpenError, LLMError
from oarlock.contract.events import CircuitChanged
from oarlock.contract.records import dataclass
from oarlock.policies.locks import ForkSafeLock

__all__ = ["Circuit", "CircuitRules", "Window"]

_SLICES = 30  # of the window: its memory does not grow with the calls, and it forgets to a thirtieth of its length


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitRules:
    """When a circuit opens, and for how long; see `CircuitBreaker`."""

    failure_rate: float
    minimum_calls: int
    window: float
    open_for: float


class Window:
    """How many calls there were, and how many failed, in a rolling time; counted in slices of it.

    Example:
        >>> window = Window(30)
        >>> window.add(0.0, failed=True)
        >>> window.add(15.0, failed=False)
        >>> window.calls, window.failures
        (2, 1)
        >>> window.add(30.0, failed=False)
        >>> window.calls, window.failures
        (2, 0)
    """

    __slots__ = ("_slice", "_slices", "calls", "failures")

    def __init__(self, seconds: float) -> None:
        self.calls = 0
        self.failures = 0
        self._slice = seconds / _SLICES
        self._slices: deque[list[int]] = deque()  # number, calls, failures

    def add(self, now: float, *, failed: bool) -> None:
        """Count a call that ended now, and forget those that have become too old."""
        number = math.floor(now / self._slice)
        while self._slices and self._slices[0][0] <= number - _SLICES:
            _, calls, failures = self._slices.popleft()
            self.calls -= calls
            self.failures -= failures
        if not self._slices or self._slices[-1][0] < number:
            self._slices.append([number, 0, 0])
        self._slices[-1][1] += 1
        self._slices[-1][2] += failed
        self.calls += 1
        self.failures += failed


class Circuit:
    """The state of one endpoint. `enter` before a call, `leave` with its outcome after it, whatever happened.

    Args:
        endpoint: its name, for messages and events.
        rules: when it opens.
    """

    def __init__(self, endpoint: str | None, rules: CircuitRules) -> None:
        self._endpoint = endpoint
        self._rules = rules
        self._lock = ForkSafeLock()  # held for a few assignments
        self._state: Literal["closed", "open", "half_open"] = "closed"
        self._window = Window(rules.window)
        self._era = 0  # changes with the state: how a call that began in an earlier one ends no longer counts
        self._shut_until = -math.inf  # while not closed
        self._why = self._last = ""

    def enter(self, now: float) -> tuple[int, CircuitChanged | None]:
        """Let a call through; return its ticket, and what has changed.

        Raises:
            CircuitOpenError: the endpoint is left alone now.
        """
        with self._lock:
            if self._state == "closed":
                return self._era, None
            if now < self._shut_until:
                raise self._refusal(now)
            trying = self._state == "half_open"  # and the call that tried was cancelled, or is lost
            self._change("half_open", now + self._rules.window)
            return self._era, None if trying else CircuitChanged(endpoint=self._endpoint, state="half_open")

    def leave(self, ticket: int, now: float, *, failed: bool | None, error: LLMError | None) -> CircuitChanged | None:
        """Count how a call ended (`failed=None`: as neither success nor failure); return what has changed."""
        with self._lock:
            if ticket != self._era:
                return None
            if self._state == "half_open":
                return self._tried(now, failed, error)
            if failed is None:
                return None
            self._window.add(now, failed=failed)
            if failed:
                self._last = _shown(error)
            calls, failures = self._window.calls, self._window.failures
            if calls < self._rules.minimum_calls or failures / calls < self._rules.failure_rate:
                return None
            why = f"{failures} of {calls} calls within {self._rules.window:g} s failed, the last with {self._last}"
            return self._open(now, why)

    def _tried(self, now: float, failed: bool | None, error: LLMError | None) -> CircuitChanged | None:
        if failed:
            return self._open(now, f"a call that tried it again failed with {_shown(error)}")
        if failed is None:
            self._shut_until = -math.inf  # the next call may try
            return None
        self._change("closed", -math.inf)
        self._window = Window(self._rules.window)
        return CircuitChanged(endpoint=self._endpoint, state="closed")

    def _open(self, now: float, why: str) -> CircuitChanged:
        self._why = why
        self._change("open", now + self._rules.open_for)
        return CircuitChanged(endpoint=self._endpoint, state="open", why=why, seconds=self._rules.open_for)

    def _change(self, state: Literal["closed", "open", "half_open"], shut_until: float) -> None:
        self._state, self._shut_until = state, shut_until
        self._era += 1

    def _refusal(self, now: float) -> CircuitOpenError:
        who = self._endpoint or "The endpoint"
        if self._state == "half_open":
            return CircuitOpenError(
                f"{who} was not asked: {self._why}, and another call is just trying it.",
                attempts=0,
                retry_after=self._rules.open_for,  # if it fails, the next one tries no sooner
            )
        seconds = self._shut_until - now
        return CircuitOpenError(
            f"{who} was not asked: {self._why}. The next call may try it in {seconds:.1f} s.",
            attempts=0,
            retry_after=seconds,
        )


def _shown(error: LLMError | None) -> str:
    status = getattr(error, "status", None)
    return f"{type(error).__name__} (HTTP {status})" if status else type(error).__name__
