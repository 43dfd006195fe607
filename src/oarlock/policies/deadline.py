"""A limit on the time of a whole call: all attempts, waits and the reading of the answer."""

from __future__ import annotations

from typing import ClassVar

from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies.checks import seconds as checked_seconds
from oarlock.runtime import Runtime

__all__ = ["Deadline"]


class Deadline:
    """Gives a call, with all its attempts and waits, so many seconds and no more.

    What is inside sees the deadline and gives up at it: the transport while connecting and reading, a limiter or a
    retry before a wait that would go past it, and a blocking `call()` of a user's own class, which then runs in a
    thread that is left behind. A deadline never extends an earlier one.

    Args:
        seconds: for the whole call; at most six hours, since more is what milliseconds look like.

    Raises:
        ConfigurationError: not a number above zero.
        LLMTimeoutError: from a call, when its time is up.

    Example:
        >>> Deadline(60)
        Deadline(60)
    """

    rank: ClassVar[int] = 30

    def __init__(self, seconds: float) -> None:
        self.seconds = checked_seconds("Deadline", "seconds", seconds)

    def __call__(self, handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            own, given = runtime.now() + self.seconds, request.deadline
            if given is None or own < given:
                request = request.replace(deadline=own)
            return await handler(runtime, request)

        return handle

    def explain(self) -> str:
        """Say in words what it does."""
        return f"Gives a call, with all that is inside of here, {self.seconds:g} s and no more."

    def __repr__(self) -> str:
        return f"Deadline({self.seconds:g})"
