"""Meters in Redis: a few scripts behind one blocking client, with a bound on how long each may take."""

from __future__ import annotations

import importlib
import importlib.util
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from oarlock.contract.errors import ConfigurationError, ConnectionFailedError, LLMError, LLMTimeoutError
from oarlock.contract.secret import Secret, scrub
from oarlock.policies.gcra import interval
from oarlock.policies.quota import PERIOD, Quota
from oarlock.policies.redis_scripts import HOLD, SETTLE, TAKE
from oarlock.runtime import Runtime, ThreadPool

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["RedisStore", "SharedPass", "StoreAnswer", "has_credentials", "shown_address"]

_PREFIX = "oarlock:limit:"
# Seconds that the meters' period is longer than the quota's, so that requests which reach the endpoint up to that much
# later or sooner than their neighbours still fit into its minute. Costs less than one in a hundred.
_SLACK = 0.5
_FAR = 1e6  # seconds that count as for ever: more would be no whole number of microseconds to Redis
_THREADS = 8  # for event loops, which hand commands to threads; a line asks one at a time, so this is for settling
_CONFUSED = (ValueError, TypeError, LookupError, AttributeError)  # of the client, by bytes that no Redis would send
_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class SharedPass:
    """A ticket for `settle`: the tokens that were taken, when the meter had them drained, what had been given back."""

    taken: int
    at: int
    spared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAnswer:
    """What the store says: a pass, or how many seconds to wait, and for what.

    Attributes:
        passed: the ticket, if the request may pass.
        wait: seconds until the asker's turn.
        requests, tokens: seconds until that meter would let it pass; zero or less where it would now.
        held: seconds for which nobody may pass.
    """

    passed: SharedPass | None
    wait: float
    requests: float
    tokens: float
    held: float


class RedisStore:
    """A quota that is kept in Redis, under `oarlock:limit:` and its key.

    The client is the blocking one, in threads where the caller is on an event loop: it is bound to no loop, survives a
    fork, and a cancelled caller leaves no half-read connection behind.

    Args:
        url: such as `redis://host:6379/0`; may hold a password, which is never shown.
        key: the quota's name.
        timeout: seconds for connecting and for each command.

    Raises:
        ConfigurationError: no such URL, or the package `redis` is missing.
    """

    def __init__(self, url: Secret, key: str, timeout: float) -> None:
        self.address = shown_address(url)
        self._key = _PREFIX + key
        self._timeout = timeout
        self._threads = ThreadPool(_THREADS, "oarlock-redis")
        client = _client(url, timeout, self.address)
        self._redis_error: type[Exception] = importlib.import_module("redis").RedisError
        weakref.finalize(self, client.connection_pool.disconnect)  # also at exit: sockets are closed, not left to warn
        self._take, self._settle, self._hold = (client.register_script(text) for text in (TAKE, SETTLE, HOLD))

    @property
    def patience(self) -> float:
        """Seconds after which an answer is no longer waited for: a connection and a command."""
        return 2 * self._timeout

    async def take(
        self, runtime: Runtime, quota: Quota, tokens: int, *, most: float, hold: float, deadline: float | None
    ) -> StoreAnswer:
        """Pass, or learn how long to wait.

        Args:
            runtime: how to wait for Redis.
            quota: what may pass a minute.
            tokens: to reserve.
            most: seconds for which the caller can wait, to be given a turn; below zero for none.
            hold: seconds for which nobody may pass, as far as the caller knows.
            deadline: a `runtime.now()` at which nobody waits for an answer any more.

        Raises:
            ConnectionFailedError: there is no answer; `retryable` unless the set-up is wrong.
        """
        one, burst, each, token_burst = _micros(quota)
        wanted = [one, burst, math.ceil(tokens * each), token_burst, round(min(most, _FAR) * 1e6)]
        answer = await self._run(runtime, self._take, hold, wanted, deadline)
        if len(answer) != 6 or not all(isinstance(number, int) for number in answer):
            raise self._wrong("it does not answer as a Redis does")
        wait, for_requests, for_tokens, held = (number / 1e6 for number in answer[:4])
        passed = SharedPass(tokens, answer[4], answer[5]) if wait == 0 else None
        return StoreAnswer(passed=passed, wait=wait, requests=for_requests, tokens=for_tokens, held=held)

    async def settle(self, runtime: Runtime, quota: Quota, granted: SharedPass, used: int, *, hold: float) -> None:
        """Charge what was used beyond the reservation, or give back what was not used, as far as that is safe.

        Raises:
            ConnectionFailedError: see `take`.
        """
        each = _micros(quota)[2]
        more = used - granted.taken
        change = math.ceil(more * each) if more >= 0 else -math.floor(-more * each)
        await self._run(runtime, self._settle, hold, [change, granted.at, granted.spared], None)

    async def hold(self, runtime: Runtime, seconds: float) -> None:
        """Let nobody pass for so long.

        Raises:
            ConnectionFailedError: see `take`.
        """
        await self._run(runtime, self._hold, seconds, [], None)

    async def _run(
        self,
        runtime: Runtime,
        script: Callable[..., Any],
        hold: float,
        arguments: Sequence[int],
        deadline: float | None,
    ) -> Sequence[Any]:
        keep = round((PERIOD + _SLACK) * 1000)
        until = runtime.now() + self.patience
        until = until if deadline is None else min(until, deadline)
        values = [keep, math.ceil(min(max(0.0, hold), _FAR) * 1e6), *arguments]
        try:
            answer = await runtime.invoke(script, None, [self._key], values, deadline=until, pool=self._threads)
        except (OSError, self._redis_error, *_CONFUSED) as error:
            if isinstance(error, TimeoutError) and until == deadline:
                problem: LLMError = LLMTimeoutError(
                    "The deadline passed while the shared rate limit was asked.", retryable=False
                )
            else:
                problem = self._problem(error)
        else:
            return answer if isinstance(answer, list) else ()
        raise problem  # outside of `except`: the client's error, with its frames, stays behind

    def _problem(self, error: Exception) -> ConnectionFailedError:
        from redis import exceptions as of_redis

        if isinstance(error, _CONFUSED):
            return self._wrong("it does not answer as a Redis does")
        if isinstance(error, TimeoutError | of_redis.TimeoutError):
            return self._lost(f"no answer within {self._timeout:g} s")
        if isinstance(error, of_redis.AuthenticationError | of_redis.NoPermissionError):
            return self._wrong(f"it does not let us in: {_said(error)}")
        if isinstance(error, of_redis.MovedError | of_redis.AskError):
            return self._wrong(
                "it is one node of a cluster, and another one has the key: give the URL of a single Redis"
            )
        passing = (
            *(OSError, of_redis.ConnectionError, of_redis.ReadOnlyError),
            *(of_redis.ClusterDownError, of_redis.TryAgainError, of_redis.OutOfMemoryError),
        )
        return self._lost(_said(error)) if isinstance(error, passing) else self._wrong(f"it answered {_said(error)}")

    def _lost(self, why: str) -> ConnectionFailedError:
        return ConnectionFailedError(
            f"The shared rate limit at {self.address} cannot be asked, so the request was not sent: {why}. "
            'Start that Redis, or let RateLimit(on_store_loss="local", workers=...) do without.',
            code="limit_store",
        )

    def _wrong(self, what: str) -> ConnectionFailedError:
        return ConnectionFailedError(
            f"The shared rate limit at {self.address} cannot be used, so the request was not sent: {what}. "
            "Check the URL in store=.",
            code="limit_store",
            retryable=False,
        )


def _micros(quota: Quota) -> tuple[int, int, float, int]:
    """Return microseconds: of a request, of the burst of requests, of a token, of the burst of tokens."""
    one = burst = token_burst = 0
    each = 0.0
    period = PERIOD + _SLACK
    if quota.requests is not None:
        one = math.ceil(interval(quota=quota.requests, burst=quota.burst, period=period) * 1e6)
        burst = quota.burst * one
    if quota.tokens is not None:
        each = interval(quota=quota.tokens, burst=quota.token_burst, period=period) * 1e6
        token_burst = math.floor(quota.token_burst * each)
    return one, burst, each, token_burst


def _said(error: Exception) -> str:
    return scrub(str(error)).rstrip(".") or type(error).__name__


def shown_address(url: Secret) -> str:
    """Return the part of a URL that may be shown: scheme, host, port and path.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """
    allowed = "'redis://host:6379/0', 'rediss://...' (TLS) or 'unix:///path/to/socket'"
    try:
        parts = urlsplit(url.reveal())
        where = f"{parts.hostname or ''}{'' if parts.port is None else f':{parts.port}'}"
    except ValueError:
        raise ConfigurationError(f"RateLimit: store must be the URL of a Redis, such as {allowed}.") from None
    if parts.scheme not in _SCHEMES or not (where or parts.scheme == "unix"):
        raise ConfigurationError(f"RateLimit: store must be the URL of a Redis, such as {allowed}.")
    return (
        f"{parts.scheme}://{f'[{parts.hostname}]:{parts.port}' if ':' in (parts.hostname or '') else where}{parts.path}"
    )


def has_credentials(url: Secret) -> bool:
    """Return whether a URL holds more than an address."""
    parts = urlsplit(url.reveal())
    return "@" in parts.netloc or "password" in parts.query


def _client(url: Secret, timeout: float, address: str) -> Redis:
    if importlib.util.find_spec("redis") is None:
        raise ConfigurationError(
            "RateLimit: a limit shared through Redis needs the package redis: pip install 'oarlock[redis]'."
        )
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    once_more = Retry(NoBackoff(), 1, (redis.ConnectionError,))  # for a connection that Redis closed while it was idle
    try:
        return redis.Redis.from_url(
            url.reveal(), socket_timeout=timeout, socket_connect_timeout=timeout, retry=once_more
        )
    except (ValueError, TypeError):
        pass  # its words may hold the URL
    raise ConfigurationError(f"RateLimit: store is no URL that the package redis understands: {address}.")
