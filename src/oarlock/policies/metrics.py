"""Counting calls, errors, tokens, waits and latency."""

from __future__ import annotations

import copy
import math
import threading
from collections import Counter
from typing import Any, ClassVar

from oarlock.contract.events import CacheHit, Event, FellBack, Waited, Waiting
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.runtime import Runtime

__all__ = ["Metrics"]

_GROWTH = 1.1  # each bucket of the histogram is a tenth wider than the one before, so percentiles are within 5 %
_BUCKETS_PER_E = 1 / math.log(_GROWTH)
_SMALLEST = 1e-5  # seconds; what is shorter counts as zero to it


class Metrics:
    """Keeps figures of all calls through it; safe to share between LLMs, threads and event loops.

    A copy or a pickle begins with the figures so far and goes on by itself.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> metrics = Metrics()
        >>> ScriptedLLM(["Hello"]).with_policies(metrics).call("Hi")
        'Hello'
        >>> metrics.get_metrics()["total_calls"]
        1
    """

    rank: ClassVar[int] = 20

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._errors: Counter[str] = Counter()
            self._waits: Counter[str] = Counter()
            self._waited: dict[str, float] = {}
            self._calls = self._cancelled = self._prompt = self._completion = 0
            self._fallbacks = self._cache_hits = 0
            self._latency = _Histogram()

    def __call__(self, handler: Handler) -> Handler:
        observe = self._observe

        async def handle(runtime: Runtime, request: Request) -> Reply:
            started = runtime.now()
            try:
                reply = await handler(runtime, request.replace(observers=(*request.observers, observe)))
            except Exception as error:
                self._failed(runtime.now() - started, error)
                raise
            except BaseException:  # cancelled, or a stream that its reader left: nobody's fault
                with self._lock:
                    self._calls += 1
                    self._cancelled += 1
                raise
            self._answered(runtime.now() - started, reply.usage)
            return reply

        return handle

    def get_metrics(self) -> dict[str, Any]:
        """Return the figures so far.

        `total_calls`, of which `errors`, `errors_by_class` and `cancelled`; `total_tokens`, `prompt_tokens`,
        `completion_tokens`; `retries`, `fallbacks` (how often another LLM was asked) and `cache_hits`; `avg_latency` and
        `latency` (`p50`, `p90`, `p95`, `p99` within 5 %, `max`) in seconds, over whole calls with their waits, cancelled
        ones left out; `waits` and `waiting` (seconds) by cause, such as `retry`, `rate_limit` and `concurrency`.
        """
        with self._lock:
            return {
                "total_calls": self._calls,
                "errors": self._errors.total(),
                "errors_by_class": dict(self._errors),
                "cancelled": self._cancelled,
                "total_tokens": self._prompt + self._completion,
                "prompt_tokens": self._prompt,
                "completion_tokens": self._completion,
                "retries": self._waits["retry"],  # each retry begins with a wait, be it of no length
                "fallbacks": self._fallbacks,
                "cache_hits": self._cache_hits,
                "avg_latency": self._latency.mean(),
                "latency": self._latency.percentiles(),
                "waits": dict(self._waits),
                "waiting": dict(self._waited),
            }

    def _answered(self, seconds: float, usage: Usage) -> None:
        with self._lock:
            self._calls += 1
            self._prompt += usage.prompt_tokens
            self._completion += usage.completion_tokens
            self._latency.add(seconds)

    def _failed(self, seconds: float, error: Exception) -> None:
        with self._lock:
            self._calls += 1
            self._errors[type(error).__name__] += 1
            self._latency.add(seconds)

    def _observe(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Waiting):
                self._waits[event.cause] += 1
            elif isinstance(event, Waited):
                self._waited[event.cause] = self._waited.get(event.cause, 0.0) + event.seconds
            elif isinstance(event, FellBack):
                self._fallbacks += 1
            elif isinstance(event, CacheHit):
                self._cache_hits += 1

    def explain(self) -> str:
        """Say in words what it does."""
        return "Counts calls, errors, tokens, retries, fallbacks, waits and latencies: get_metrics() has the figures."

    def __repr__(self) -> str:
        return "Metrics()"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: copy.copy(value) for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()


class _Histogram:
    """Latencies in buckets that grow geometrically: fixed memory, whatever the number of calls."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._sum = self._max = 0.0

    def add(self, seconds: float) -> None:
        bucket = math.ceil(math.log(seconds / _SMALLEST) * _BUCKETS_PER_E) if seconds > _SMALLEST else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._count += 1
        self._sum += seconds
        self._max = max(self._max, seconds)

    def mean(self) -> float:
        return self._sum / max(1, self._count)

    def percentiles(self) -> dict[str, float]:
        return {f"p{percent}": self._percentile(percent) for percent in (50, 90, 95, 99)} | {"max": self._max}

    def _percentile(self, percent: int) -> float:
        """Return the latency that so many percent of the calls did not exceed (nearest rank)."""
        wanted, seen = -(-percent * self._count // 100), 0  # rounded up
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(self._max, _SMALLEST * math.pow(_GROWTH, bucket - 0.5))
        return 0.0

    def __copy__(self) -> _Histogram:
        twin = _Histogram()
        vars(twin).update(vars(self), _buckets=dict(self._buckets))
        return twin
