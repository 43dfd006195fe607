"""Answers that are given again, without asking."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.estimates import with_usage
from oarlock.contract.events import CacheHit, Event, FellBack
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies.cache_key import key_of
from oarlock.policies.cache_memory import MemoryStore
from oarlock.policies.checks import positive, whole
from oarlock.policies.flights import Flights
from oarlock.runtime import Runtime, ThreadPool

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["Cache"]

_SIZE = 1000  # answers in memory; of 10 KB each, about 10 MB
_THREADS = 4  # for files, so that no event loop waits for a disk
_WHOLE = frozenset(  # reasons to finish that leave an answer whole, in the words of the common endpoints
    {
        "stop",
        "tool_calls",
        "function_call",
        "end_turn",
        "tool_use",
        "stop_sequence",
        "eos",
        "eos_token",
        "complete",
        "completed",
    }
)


class _Store(Protocol):
    def get(self, key: str, since: float, now: float) -> Reply | None: ...
    def put(self, key: str, reply: Reply, since: float, now: float) -> None: ...
    def clear(self) -> None: ...
    def count(self) -> int: ...


class Cache:
    """Gives the answer that an equal question had before, without asking, waiting or paying.

    Equal are questions to LLMs of one class, model, URL and settings (temperature, `max_tokens`, stop words, options,
    headers), with the same messages, tools, stop words, schema and end user (`current_call().user`). Sign-ins do not count.
    Settings that the library cannot see, such as attributes of your own class, belong into `namespace` or `key`. Also
    answers at a high temperature are repeated: who asks for a cache asks for that.

    Equal questions at once are asked once: the others wait for the answer; if it does not come, one of them asks next.
    (Only within a process; and a stream asks for itself.)

    Kept are whole answers in text and tool calls: no failures, nothing cut off, no objects of a `call()`'s own, none
    of a `Fallback`'s other LLMs; `raw` is dropped. Not looked at are questions that cannot be compared (what is not JSON, an object as the end user), and those
    where an LLM runs the tools itself. A repeated answer has `cached=True` and no usage, and a stream gives it in one piece.

    Args:
        path: of an SQLite file on a local disk, to keep answers from run to run and share them between processes. It has
            the answers in the clear, the questions only as SHA-256, and is readable by its owner alone. Default: in
            memory. A file that stops working is logged, and calls go on without it.
        size: most answers; the least recently used go first, in a file the oldest. Default: 1,000 in memory, any number
            in a file.
        ttl: seconds for which an answer is good; default: for ever.
        namespace: keeps answers apart from those of other namespaces.
        key: a function of the `Request`; what it returns, which must be JSON, has to be equal too.

    Raises:
        ConfigurationError: a setting that cannot work, or a file that cannot be used.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> llm = ScriptedLLM(["Hello"]).with_policies(cache := Cache())
        >>> llm.call("Hi"), llm.call("Hi")
        ('Hello', 'Hello')
        >>> cache.stats()["hits"]
        1
    """

    rank: ClassVar[int] = 24

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        size: int | None = None,
        ttl: float | None = None,
        namespace: str = "",
        key: Callable[[Request], Any] | None = None,
    ) -> None:
        self.size = None if size is None else whole("Cache", "size", size)
        self.ttl = None if ttl is None else positive("Cache", "ttl", ttl)
        if not isinstance(namespace, str):
            raise ConfigurationError(f"Cache: namespace must be a text, not {namespace!r}.")
        if key is not None and not callable(key):
            raise ConfigurationError(f"Cache: key must be a function of a request, not {key!r}.")
        self.namespace = namespace
        self.key = key
        self.path = None if path is None else _checked_path(path)
        self._store: _Store = MemoryStore(self.size or _SIZE) if self.path is None else _in_file(self.path, self.size)
        self._threads = None if self.path is None else ThreadPool(_THREADS, "oarlock-cache")
        self._flights = Flights()
        self._lock = threading.Lock()
        self._hits = self._misses = self._saved = 0

    def __call__(self, handler: Handler) -> Handler:
        return self._around(handler, None)

    def bind(self, llm: BaseLLM) -> _Bound:
        """Return this cache for one LLM."""
        return _Bound(self, llm)

    def clear(self) -> None:
        """Forget all answers; of a file, those of every process."""
        self._store.clear()

    def stats(self) -> dict[str, int]:
        """Return `hits`, `misses`, `tokens_saved` (what the hits had cost when they were asked), and `entries`."""
        entries = self._store.count()
        with self._lock:
            return {"hits": self._hits, "misses": self._misses, "tokens_saved": self._saved, "entries": entries}

    def explain(self) -> str:
        """Return in a sentence what it does."""
        size = self.size or (_SIZE if self.path is None else None)
        where = "in memory" if self.path is None else f"in {str(self.path)!r}"
        amount = "any number of answers" if size is None else f"up to {size:,} answers"
        time = "" if self.ttl is None else f" for {self.ttl:g} s"
        return (
            f"Keeps {amount} {where}{time}, and gives them again to equal questions; equal ones at once are asked once."
        )

    # One call.

    def _around(self, handler: Handler, llm: BaseLLM | None) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            key = key_of(llm, request, self.namespace, self._own_key(request))
            if key is None:
                return await handler(runtime, request)
            return await self._answer(runtime, request, handler, key, "" if llm is None else llm.model)

        return handle

    def _own_key(self, request: Request) -> Any:
        try:
            return None if self.key is None else self.key(request)
        except Exception as error:  # the boundary to the user's own code
            raise ConfigurationError(f"Cache: key failed for a request: {type(error).__name__}.") from error

    async def _answer(self, runtime: Runtime, request: Request, handler: Handler, key: str, model: str) -> Reply:
        found = await self._look(runtime, key)
        if found is not None:
            return self._again(request, found, model)

        if request.deltas is not None:  # whoever reads the stream sets its pace: nobody shall wait for that
            return (await self._ask(runtime, request, handler, key))[0]

        async def ask() -> tuple[Reply, bool]:
            found = await self._look(runtime, key)  # another call's answer may have come in between
            if found is not None:
                return self._again(request, found, model), True
            return await self._ask(runtime, request, handler, key)

        reply, shared = await self._flights.share(runtime, key, request.deadline, ask)
        return self._again(request, reply, model) if shared else reply

    async def _ask(self, runtime: Runtime, request: Request, handler: Handler, key: str) -> tuple[Reply, bool]:
        """Return the answer, and whether it may be given to others."""
        with self._lock:
            self._misses += 1
        instead: list[Event] = []

        def observe(event: Event) -> None:
            if isinstance(event, FellBack):
                instead.append(event)

        reply = await handler(runtime, request.replace(observers=(*request.observers, observe)))
        whole = _is_whole(reply)
        if whole and not instead:  # an answer of another LLM is for now, not for later
            now, kept = runtime.time(), dataclasses.replace(with_usage(reply, request), raw=None)
            await self._reach(runtime, self._store.put, key, kept, self._since(now), now)
        return reply, whole

    async def _look(self, runtime: Runtime, key: str) -> Reply | None:
        now = runtime.time()
        found: Reply | None = await self._reach(runtime, self._store.get, key, self._since(now), now)
        return found

    async def _reach(self, runtime: Runtime, work: Callable[..., Any], *args: Any) -> Any:
        if self._threads is None:
            return work(*args)
        return await runtime.invoke(work, None, *args, pool=self._threads)

    def _since(self, now: float) -> float:
        return float("-inf") if self.ttl is None else now - self.ttl

    def _again(self, request: Request, found: Reply, model: str) -> Reply:
        with self._lock:
            self._hits += 1
            self._saved += max(0, found.usage.total_tokens)
        request.emit(CacheHit(model=model, saved=found.usage))
        return dataclasses.replace(found, usage=Usage(), raw=None, cached=True)

    def __repr__(self) -> str:
        given = [] if self.path is None else [repr(str(self.path))]
        given += [f"{name}={value!r}" for name in ("size", "ttl") if (value := getattr(self, name)) is not None]
        return f"Cache({', '.join(given)})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # the copy of an LLM gives the same answers

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.path, self.size, self.ttl, self.namespace, self.key)


class _Bound:
    """A cache around one LLM."""

    def __init__(self, cache: Cache, llm: BaseLLM) -> None:
        self._cache = cache
        self._llm = llm

    def __call__(self, handler: Handler) -> Handler:
        return self._cache._around(handler, self._llm)  # noqa: SLF001  a part of it


def _restored(path: Path | None, size: int | None, ttl: float | None, namespace: str, key: Any) -> Cache:
    return Cache(path, size=size, ttl=ttl, namespace=namespace, key=key)


def _checked_path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike) or str(path) in ("", ":memory:"):
        raise ConfigurationError(
            f"Cache: path must be the path of a file, not {path!r}; Cache() keeps answers in memory."
        )
    return Path(path)


def _in_file(path: Path, size: int | None) -> _Store:
    from oarlock.policies.cache_sqlite import SqliteStore  # SQLite takes a while to load, and not every Python has it

    return SqliteStore(path, size)


def _is_whole(reply: Reply) -> bool:
    if reply.value is not None or not (reply.text or reply.tool_calls):
        return False
    reason = reply.finish_reason
    return reason is None or (isinstance(reason, str) and reason.casefold() in _WHOLE)
