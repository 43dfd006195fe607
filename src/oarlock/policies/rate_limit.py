"""Requests and tokens per minute, kept by waiting."""

from __future__ import annotations

import math
import threading
from typing import Any, ClassVar, Self

from oarlock.contract.errors import ConfigurationError, RateLimitError
from oarlock.contract.events import Waiting
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies.checks import positive, whole
from oarlock.policies.gcra import Gcra
from oarlock.policies.line import Line
from oarlock.policies.tokens import TokenEstimate
from oarlock.runtime import Runtime

__all__ = ["RateLimit"]

_MINUTE = 60.0
_LONGEST_HOLD = 60.0  # seconds; a server that asks for more makes calls fail at once, as in `Retry`

_Grant = tuple[int, int]  # the token meter's ticket, and the tokens that were taken


class RateLimit:
    """Lets so many requests and tokens through a minute, in the order in which they arrive; the others wait.

    No window of 60 s ever holds more than the limits. One object may serve any number of LLMs, threads and event loops
    of this process; they then share the limits, and so do copies of it (a pickle starts afresh). Tokens are estimated
    before a call and settled with the real usage after it; until then, a window holds at most the limit by estimate,
    and what calls use beyond their estimates is taken off what may follow. A failed call counts as estimated. A 429 with
    a hint holds everybody back for as long as the server asked.

    Args:
        requests_per_minute: the limit on requests; `None` for none.
        tokens_per_minute: the limit on tokens, read and written; `None` for none.
        burst: requests that may pass at once after a pause; the rest are spread evenly. Default: a twentieth of the
            limit. Burst and rate together stay within the limit. For tokens it is a quarter of the limit, so that there
            is room for a large prompt.
        max_wait: seconds; a request that would wait longer fails at once. Default: only the deadline counts.

    Raises:
        ConfigurationError: neither limit is given, or a setting cannot work.
        RateLimitError: from a call, when the wait would go past the deadline or `max_wait`, or the server asked for more
            than 60 s; `retry_after` says how long. Also when a request is larger than the limit by itself.

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
        if burst is not None and requests_per_minute is None:
            raise ConfigurationError(f"RateLimit: burst ({burst!r}) needs requests_per_minute, whose burst it is.")
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.burst = burst
        self.max_wait = None if max_wait is None else positive("RateLimit", "max_wait", max_wait, zero=True)
        self._requests = None if requests_per_minute is None else _request_meter(requests_per_minute, burst)
        self._tokens = None if tokens_per_minute is None else _token_meter(tokens_per_minute)
        self._estimate = TokenEstimate()
        self._held_until = float("-inf")
        self._lock = threading.Lock()  # held for a few additions, never while waiting
        self._line = Line(self._lock)

    def __call__(self, handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            grant = self._enter(runtime.now(), request)
            if grant is None:
                grant = await self._queue(runtime, request)
            try:
                reply = await handler(runtime, request)
            except RateLimitError as error:
                self._hold_back(runtime.now(), error)
                raise
            if self._tokens is not None:
                self._settle(request, reply, grant)
            return reply

        return handle

    def _enter(self, now: float, request: Request) -> _Grant | None:
        """Let a request through if it need not wait."""
        tokens = self._needed(request) if self._tokens is not None else 0
        with self._lock:
            if self._line or self._start(now, 1, tokens) > now:
                return None
            return self._take(now, tokens)

    async def _queue(self, runtime: Runtime, request: Request) -> _Grant:
        """Wait in line. The meters are asked when a request's turn has come, so corrections and hints reach all in line."""
        now = runtime.now()
        latest = now + self.max_wait if self.max_wait is not None else math.inf
        latest = min(latest, math.inf if request.deadline is None else request.deadline)
        tokens = self._needed(request)
        with self._lock:
            start = self._start(now, len(self._line) + 1, self._line.weight + tokens)
            self._refuse_long_wait(now, start, latest)
            waiter = self._line.join(runtime, due=start, weight=tokens)
        try:
            request.emit(Waiting(cause="rate_limit", seconds=start - now))
            if not await self._line.wait(runtime, waiter, latest):  # what came in between has made it later
                now = runtime.now()
                with self._lock:
                    raise _too_long(self._start(now, 1, tokens) - now)
            while True:
                tokens, now = self._needed(request), runtime.now()
                with self._lock:
                    waiter.due = start = self._start(now, 1, tokens)
                    if start <= now:
                        return self._take(now, tokens)
                    self._refuse_long_wait(now, start, latest)
                await runtime.sleep(start - now)
        finally:
            self._line.leave(waiter, runtime.now())

    def _needed(self, request: Request) -> int:
        if self.tokens_per_minute is None:
            return 0
        tokens = self._estimate.of(request)
        if tokens > self.tokens_per_minute:
            raise RateLimitError(
                f"The request needs about {tokens} tokens, more than the limit of {self.tokens_per_minute} a minute: "
                "shorten it, lower max_tokens, or raise tokens_per_minute.",
                retryable=False,
            )
        return tokens

    def _start(self, now: float, requests: int, tokens: int) -> float:
        """Return when so much may pass."""
        start = max(now, self._held_until)
        if self._tokens is not None:
            start = max(start, self._tokens.earliest(tokens))
        if self._requests is not None:
            start = max(start, self._requests.earliest(requests))
        return start

    def _take(self, now: float, tokens: int) -> _Grant:
        if self._requests is not None:
            self._requests.take(now, 1)
        return (0, 0) if self._tokens is None else (self._tokens.take(now, tokens), tokens)

    def _refuse_long_wait(self, now: float, start: float, latest: float) -> None:
        if self._held_until - now > _LONGEST_HOLD:
            seconds = self._held_until - now
            raise RateLimitError(
                f"The endpoint asked not to be called for another {seconds:.0f} s.",
                retry_after=seconds,
                retryable=False,
            )
        if start > latest:
            raise _too_long(start - now)

    def _settle(self, request: Request, reply: Reply, grant: _Grant) -> None:
        ticket, taken = grant
        used = reply.usage.total_tokens
        if self._tokens is None or used <= 0:
            return
        with self._lock:
            self._estimate.learn(request, reply.usage)
            self._tokens.settle(ticket, taken, used)

    def _hold_back(self, now: float, error: RateLimitError) -> None:
        hint = error.retry_after
        ours = error.status is None and not error.retryable  # a limiter's own refusal: no word of the server's
        if hint is not None and 0 < hint < math.inf and not ours:
            with self._lock:
                self._held_until = max(self._held_until, now + hint)

    def __repr__(self) -> str:
        return f"RateLimit({', '.join(f'{name}={value}' for name, value in self.__getstate__().items() if value is not None)})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # the copy of an LLM asks the same endpoint, which does not count twice

    def __getstate__(self) -> dict[str, Any]:
        names = ("requests_per_minute", "tokens_per_minute", "burst", "max_wait")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        RateLimit.__init__(self, **state)  # the meters' times mean nothing in another process


def _too_long(seconds: float) -> RateLimitError:
    return RateLimitError(
        f"The rate limit would make this request wait {seconds:.1f} s, longer than there is time for.",
        retry_after=seconds,
        retryable=False,
    )


def _request_meter(limit: int, burst: int | None) -> Gcra:
    whole("RateLimit", "requests_per_minute", limit)
    size = max(1, limit // 20) if burst is None else whole("RateLimit", "burst", burst)
    if size > limit:
        raise ConfigurationError(f"RateLimit: burst must not be above requests_per_minute ({limit}), and is {size}.")
    return Gcra(quota=limit, burst=size, period=_MINUTE)


def _token_meter(limit: int) -> Gcra:
    whole("RateLimit", "tokens_per_minute", limit)
    return Gcra(quota=limit, burst=max(1, limit // 4), period=_MINUTE)
