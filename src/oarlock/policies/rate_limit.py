"""Requests and tokens per minute, kept by waiting."""

from __future__ import annotations

import math
import threading
from typing import Any, ClassVar, Self

from oarlock.contract.errors import ConfigurationError, QuotaExceededError, RateLimitError
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.contract.secret import Secret
from oarlock.policies.checks import positive, whole
from oarlock.policies.local_gate import LocalGate
from oarlock.policies.quota import Quota
from oarlock.policies.redis_store import RedisStore, has_credentials, shown_address
from oarlock.policies.shared_gate import SharedGate
from oarlock.policies.tokens import TokenEstimate, characters
from oarlock.runtime import Runtime

__all__ = ["RateLimit"]

# Seconds that everybody is held back after a 429 that says nothing: the first, doubled with each that follows, at most.
# As `Retry` waits for one call, with the AWS SDKs' numbers for throttling.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 20.0
_MOST_MINUTES = 10  # that one call's usage is charged for at most: garbage must not close the gate for days
_LONGEST_KEY = 200


class RateLimit:
    """Lets so many requests and tokens through a minute, in the order in which they arrive; the others wait.

    No window of 60 s ever holds more than the limits. One object may serve any number of LLMs, threads and event loops
    of this process; they then share the limits, and so do copies of it (a pickle starts afresh). With `store`, all
    processes and hosts that give the same store and key share them. Tokens are estimated before a call and settled with
    the real usage after it; until then, a window holds at most the limit by estimate, and what calls use beyond their
    estimates is taken off what may follow. A failed call counts as estimated.

    What the endpoint says can only slow things down. A 429 with a hint holds everybody back for as long as the server
    asked, one without for 1 s, then 2, 4, ... up to 20 s until a call succeeds. Headers of its answers (`x-ratelimit-*`,
    `anthropic-ratelimit-*`, `ratelimit`) hold everybody back until the reset where nothing is left, and lower the
    limits to the endpoint's own where those are lower.

    Args:
        requests_per_minute: the limit on requests; `None` for none.
        tokens_per_minute: the limit on tokens, read and written; `None` for none.
        burst: requests that may pass at once after a pause; the rest are spread evenly. Default: a twentieth of the
            limit. Burst and rate together stay within the limit; as large as the limit, and without a `store`, it lets each request
            pass as soon as the one that many before it is a minute old. For tokens it is a quarter of the limit, so that there
            is room for a large prompt.
        max_wait: seconds; a request that would wait longer fails at once. Default: only the deadline counts.
        learn: whether headers, and a 429 without a hint, slow things down. A 429 with a hint always does.
        store: the URL of a Redis (`redis://`, `rediss://`, `unix://`) that keeps the limits for many processes; needs
            `oarlock[redis]`. Its password is never shown, and a limit that has one cannot be pickled.
        key: the name of the shared quota, such as `"openai-production"`; give the same limits wherever you give it.
            Redis knows it as `oarlock:limit:<key>`, and forgets it when it is no longer used.
        store_timeout: seconds for connecting to the store, and for each command.
        on_store_loss: what happens while the store cannot be reached: `"error"`, calls fail; `"local"`, each process
            keeps to its part of the limits by itself, and tries the store again every 10 s. Around the change a window
            may hold a burst more.
        workers: how many processes share the quota; needed for `"local"`.

    Raises:
        ConfigurationError: neither limit is given, or a setting cannot work.
        RateLimitError: from a call, when the wait would go past the deadline or `max_wait`, or the server asked for more
            than 60 s; `retry_after` says how long. Also when a request is larger than the limit by itself.
        ConnectionFailedError: from a call, when the store cannot be asked; `code` is `"limit_store"`. It is retryable
            unless the set-up is wrong, such as the password.

    Example:
        >>> RateLimit(requests_per_minute=60, tokens_per_minute=90_000)
        RateLimit(requests_per_minute=60, tokens_per_minute=90000)
        >>> print(RateLimit(requests_per_minute=600).explain())
        Lets at most 600 requests (30 at once) pass a minute, fewer where the endpoint says so; the others wait in line.
    """

    rank: ClassVar[int] = 50

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        burst: int | None = None,
        max_wait: float | None = None,
        learn: bool = True,
        store: str | Secret | None = None,
        key: str | None = None,
        store_timeout: float = 2.0,
        on_store_loss: str = "error",
        workers: int | None = None,
    ) -> None:
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.burst = burst
        self.max_wait = None if max_wait is None else positive("RateLimit", "max_wait", max_wait, zero=True)
        self.learn = learn
        self.key = key
        self.store_timeout = positive("RateLimit", "store_timeout", store_timeout)
        self.on_store_loss = on_store_loss
        self.workers = workers
        self._quota = self._heeded = _checked_quota(requests_per_minute, tokens_per_minute, burst)
        _check_sharing(store, key, on_store_loss, workers)
        if not isinstance(learn, bool):
            raise ConfigurationError(f"RateLimit: learn must be True or False, not {learn!r}.")
        self._store_url = None if store is None else Secret(store)
        self.store = None if self._store_url is None else shown_address(self._store_url)
        self._estimate = TokenEstimate()
        self._pause = 0.0  # of the newest 429 without a hint
        self._paused_until = -math.inf
        self._said: dict[str, float] = {}  # the endpoint's own limits
        self._lock = threading.Lock()
        self._gate: LocalGate | SharedGate
        if self._store_url is None or key is None:
            self._gate = LocalGate(self._quota, self._needed, self.max_wait)
        else:
            redis = RedisStore(self._store_url, key, self.store_timeout)
            self._gate = SharedGate(self._quota, self._needed, self.max_wait, redis, workers)

    def __call__(self, handler: Handler) -> Handler:
        gate, estimate, most = self._gate, self._estimate, _MOST_MINUTES * (self.tokens_per_minute or 0)

        async def handle(runtime: Runtime, request: Request) -> Reply:
            length = characters(request) if most else 0
            tokens = self._needed(request, length) if most else 0
            granted: Any = gate.pass_now(runtime.now(), tokens)  # for `gate.settle`, which knows what it is
            if granted is None:
                granted = await gate.queue(runtime, request)
            try:
                reply = await handler(runtime, request)
            except RateLimitError as error:
                self._hold_back(runtime.now(), error)
                await gate.tell(runtime)
                raise
            if self.learn and (reply.limits or self._pause):
                self._heed(runtime.now(), reply)
            if most and (used := reply.usage.total_tokens) > 0:
                estimate.learn(request, reply.usage, length)  # a mean: an update that two threads lose does no harm
                settling = gate.settle(runtime, granted, min(most, used))
                if settling is not None:
                    await settling
            if reply.limits:
                await gate.tell(runtime)
            return reply

        return handle

    def _needed(self, request: Request, length: int | None = None) -> int:
        limit = self._heeded.tokens
        if limit is None:
            return 0
        tokens = self._estimate.of(request, length)
        if tokens > limit:
            raise RateLimitError(
                f"The request needs about {tokens} tokens, more than the limit of {limit} a minute: "
                "shorten it, lower max_tokens, or raise tokens_per_minute.",
                retryable=False,
            )
        return tokens

    def _hold_back(self, now: float, error: RateLimitError) -> None:
        """Heed a 429."""
        if error.status is None and not error.retryable:  # a limiter's own refusal: no word of the server's
            return
        hint = error.retry_after
        if hint is not None and 0 <= hint < math.inf:
            self._gate.hold(now + hint)
        elif self.learn and not isinstance(error, QuotaExceededError):
            with self._lock:
                if now >= self._paused_until:  # not one of several that were on their way when the pause began
                    self._pause = min(2 * self._pause or _FIRST_PAUSE, _LONGEST_PAUSE)
                    self._paused_until = now + self._pause
            self._gate.hold(self._paused_until)

    def _heed(self, now: float, reply: Reply) -> None:
        """Heed what came with a good answer."""
        with self._lock:
            if now >= self._paused_until:
                self._pause = 0.0
            for said in reply.limits:
                if said.limit is not None and said.limit > 0:
                    self._said[said.unit] = said.limit
                if said.remaining == 0 and said.resets_in is not None:
                    self._gate.hold(now + said.resets_in)
            heeded = self._quota.lowered(self._said.get("requests"), self._said.get("tokens"))
            if heeded != self._heeded:
                self._heeded = heeded
                self._gate.retune(now, heeded)

    def levels(self, now: float) -> dict[str, float]:
        """Return how full the limit is at a `Runtime.now()`, by `"requests"` and `"tokens"`.

        At 1 the burst has been used up and the next request has to wait; tokens may be above it, as a request may turn out to
        use more than was reserved. Nothing for a limit in a store: its meters are there.
        """
        return self._gate.levels(now)

    @property
    def waiting(self) -> int:
        """How many requests of this process wait in line."""
        return len(self._gate.line)

    def explain(self) -> str:
        """Say in a sentence what it does, with its numbers."""
        limits = []
        if self._quota.requests is not None:
            limits.append(f"{self._quota.requests:,} requests ({self._quota.burst:,} at once)")
        if self._quota.tokens is not None:
            limits.append(f"{self._quota.tokens:,} tokens")
        shared = "" if self._store_url is None else f", together with all who share {self.key!r} at {self.store}"
        slower = ", fewer where the endpoint says so" if self.learn else ""
        waits = "" if self.max_wait is None else f" for up to {self.max_wait:g} s"
        return f"Lets at most {' and '.join(limits)} pass a minute{shared}{slower}; the others wait in line{waits}."

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name, default in _DEFAULTS.items() if getattr(self, name) != default}
        return f"RateLimit({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # the copy of an LLM asks the same endpoint, which does not count twice

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings: the meters' times mean nothing in another process."""
        state = {name: getattr(self, name) for name in _DEFAULTS}
        if self._store_url is not None and has_credentials(self._store_url):
            state["store"] = self._store_url  # a Secret, which refuses to be pickled
        elif self._store_url is not None:
            state["store"] = self._store_url.reveal()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        RateLimit.__init__(self, **state)


_DEFAULTS: dict[str, Any] = {
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "burst": None,
    "max_wait": None,
    "learn": True,
    "store": None,
    "key": None,
    "store_timeout": 2.0,
    "on_store_loss": "error",
    "workers": None,
}


def _checked_quota(requests: int | None, tokens: int | None, burst: int | None) -> Quota:
    if requests is None and tokens is None:
        raise ConfigurationError("RateLimit: give requests_per_minute, tokens_per_minute, or both.")
    if requests is not None:
        whole("RateLimit", "requests_per_minute", requests)
    if tokens is not None:
        whole("RateLimit", "tokens_per_minute", tokens)
    if burst is not None:
        if requests is None:
            raise ConfigurationError(f"RateLimit: burst ({burst!r}) needs requests_per_minute, whose burst it is.")
        if whole("RateLimit", "burst", burst) > requests:
            raise ConfigurationError(
                f"RateLimit: burst must not be above requests_per_minute ({requests}), and is {burst}."
            )
    return Quota(requests=requests, tokens=tokens, given_burst=burst)


def _check_sharing(store: object, key: object, on_store_loss: object, workers: int | None) -> None:
    if not isinstance(store, str | Secret | None):
        raise ConfigurationError("RateLimit: store must be the URL of a Redis, as text or Secret.")
    if store is None and (key is not None or workers is not None or on_store_loss != "error"):
        raise ConfigurationError("RateLimit: key, on_store_loss and workers need a store.")
    if store is None:
        return
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
        raise ConfigurationError(
            f"RateLimit: a store needs a key, the name of the shared quota, of at most {_LONGEST_KEY} characters, not {key!r}."
        )
    if on_store_loss not in ("error", "local"):
        raise ConfigurationError(f'RateLimit: on_store_loss must be "error" or "local", not {on_store_loss!r}.')
    if (on_store_loss == "local") != (workers is not None):
        raise ConfigurationError(
            'RateLimit: on_store_loss="local" and workers, the number of processes that share the quota, go together.'
        )
    if workers is not None:
        whole("RateLimit", "workers", workers)
