"""Requests and tokens per minute, kept by waiting."""

from __future__ import annotations

import threading
from typing import ClassVar

from oarlock.contract.errors import ConfigurationError, RateLimitError
from oarlock.contract.events import Waiting
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies.checks import positive, whole
from oarlock.policies.gcra import Gcra
from oarlock.policies.tokens import TokenEstimate
from oarlock.runtime import Runtime

__all__ = ["RateLimit"]

_MINUTE = 60.0


class RateLimit:
    """Lets so many requests and tokens through a minute, in the order in which they arrive; the others wait.

    No window of 60 s ever holds more than the limits. One object may serve any number of LLMs, threads and event loops
    of this process; they then share the limits. Tokens are estimated before a call and settled with the real usage
    after it. A 429 with a hint holds everybody back for as long as the server asked.

    Args:
        requests_per_minute: the limit on requests; `None` for none.
        tokens_per_minute: the limit on tokens, read and written; `None` for none.
        burst: requests that may pass at once after a pause; the rest are spread evenly. Default: a twentieth of the
            limit. Burst and rate together stay within the limit.
        max_wait: seconds; a request that would wait longer fails at once. Default: only the deadline counts.

    Raises:
        ConfigurationError: neither limit is given, or a setting cannot work.
        RateLimitError: from a call, when the wait would go past the deadline or `max_wait`; `retry_after` says how long.

    Example:
        >>> RateLimit(requests_per_minute=60, tokens_per_minute=90_000)
        RateLimit(requests_per_minute=60, tokens_per_minute=90000)
    """

    rank: ClassVar[int] = 50

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        burst: int | None = None,
        max_wait: float | None = None,
    ) -> None:
        if requests_per_minute is None and tokens_per_minute is None:
            raise ConfigurationError("RateLimit: give requests_per_minute, tokens_per_minute, or both.")
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.max_wait = None if max_wait is None else positive("RateLimit", "max_wait", max_wait, zero=True)
        self._requests = None if requests_per_minute is None else _request_meter(requests_per_minute, burst)
        self._tokens = None if tokens_per_minute is None else _token_meter(tokens_per_minute)
        self._estimate = TokenEstimate()
        self._held_until = float("-inf")
        self._lock = threading.Lock()  # held for a few additions, never while waiting

    def __call__(self, handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            tokens = self._estimate.of(request) if self._tokens else 0
            ticket = await self._wait_for_turn(runtime, request, tokens)
            try:
                reply = await handler(runtime, request)
            except RateLimitError as error:
                self._hold_back(runtime.now(), error.retry_after)
                raise
            self._settle(request, reply, tokens, ticket)
            return reply

        return handle

    async def _wait_for_turn(self, runtime: Runtime, request: Request, tokens: int) -> float | None:
        """Reserve a place, wait for it, and return the token meter's ticket."""
        now = runtime.now()
        start, place, ticket = self._reserve(now, tokens, self._latest_start(now, request))
        if start > now:
            request.emit(Waiting(cause="rate_limit", seconds=start - now))
            try:
                while now < start:  # looked at again after waking: a sleep may end early
                    await runtime.sleep(start - now)
                    now = runtime.now()
            except BaseException:  # cancelled while waiting: the place goes to the next one, if it was the last in line
                self._give_back(place, tokens, ticket)
                raise
        return ticket

    def _latest_start(self, now: float, request: Request) -> float:
        latest = float("inf") if self.max_wait is None else now + self.max_wait
        return latest if request.deadline is None else min(latest, request.deadline)

    def _reserve(self, now: float, tokens: int, latest: float) -> tuple[float, float | None, float | None]:
        """Return when the request may start, and its tickets of the two meters."""
        if self.tokens_per_minute is not None and tokens > self.tokens_per_minute:
            raise RateLimitError(
                f"The request needs about {tokens} tokens, more than the limit of {self.tokens_per_minute} a minute: "
                "shorten it, lower max_tokens, or raise tokens_per_minute.",
                retryable=False,
            )
        with self._lock:
            start = max(now, self._held_until)
            if self._tokens:
                start = max(start, self._tokens.earliest(tokens))
            if self._requests:
                start = max(start, self._requests.earliest(1))
            if start > latest:
                raise RateLimitError(
                    f"The rate limit would make this request wait {start - now:.1f} s, longer than there is time for.",
                    retry_after=start - now,
                    retryable=False,
                )
            place = self._requests.take(start, 1) if self._requests else None
            return start, place, self._tokens.take(start, tokens) if self._tokens else None

    def _give_back(self, place: float | None, tokens: int, ticket: float | None) -> None:
        with self._lock:
            if self._requests and place is not None:
                self._requests.settle(place, 1, 0)
            if self._tokens and ticket is not None:
                self._tokens.settle(ticket, tokens, 0)

    def _settle(self, request: Request, reply: Reply, tokens: int, ticket: float | None) -> None:
        if self._tokens is None or ticket is None or not reply.usage.total_tokens:
            return
        self._estimate.learn(request, reply.usage)
        with self._lock:
            self._tokens.settle(ticket, tokens, reply.usage.total_tokens)

    def _hold_back(self, now: float, seconds: float | None) -> None:
        if seconds:
            with self._lock:
                self._held_until = max(self._held_until, now + seconds)

    def __repr__(self) -> str:
        limits = {"requests_per_minute": self.requests_per_minute, "tokens_per_minute": self.tokens_per_minute}
        return f"RateLimit({', '.join(f'{name}={value}' for name, value in limits.items() if value is not None)})"

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()


def _request_meter(limit: int, burst: int | None) -> Gcra:
    whole("RateLimit", "requests_per_minute", limit)
    size = max(1, limit // 20) if burst is None else whole("RateLimit", "burst", burst)
    if size > limit:
        raise ConfigurationError(f"RateLimit: burst ({size}) must not be above requests_per_minute ({limit}).")
    return Gcra(quota=limit, burst=size, period=_MINUTE)


def _token_meter(limit: int) -> Gcra:
    whole("RateLimit", "tokens_per_minute", limit)
    return Gcra(quota=limit, burst=max(1, limit // 4), period=_MINUTE)  # room for a large prompt now and then
