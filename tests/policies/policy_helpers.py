"""What the tests of the policies share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from oarlock.contract.events import Event, Waited, Waiting
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies import RateLimit
from oarlock.runtime import Runtime


class Watch:
    """A policy, outermost, that keeps what the others inside of it tell."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            return await handler(runtime, request.replace(observers=(*request.observers, self.events.append)))

        return handle

    @property
    def waits(self) -> list[Waiting]:
        return [event for event in self.events if isinstance(event, Waiting)]

    @property
    def waited(self) -> list[Waited]:
        return [event for event in self.events if isinstance(event, Waited)]


def tokens(total: int) -> Reply:
    """Return an answer that cost so many tokens."""
    return Reply(text="ok", usage=Usage(prompt_tokens=total, requests=1))


def most_in_a_window(grants: Sequence[tuple[float, int]], period: float = 60.0) -> int:
    """Return the greatest sum of weights in any window [t, t + period)."""
    most = total = first = 0
    for when, weight in grants:
        total += weight
        while when - grants[first][0] >= period:
            total -= grants[first][1]
            first += 1
        most = max(most, total)
    return most


def fixed_estimate(limit: RateLimit, estimate: Callable[[Any], int]) -> RateLimit:
    """Make a limiter's estimate of tokens a plain function, so that a test knows it."""
    limit._estimate.of = lambda request, length=None: estimate(request)  # type: ignore[method-assign]
    limit._estimate.learn = lambda *_: None  # type: ignore[method-assign]
    return limit
