"""What the core may await: everything that touches time, chance, threads or the outside goes through a `Runtime`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from oarlock.runtime.promise import Promise
from oarlock.runtime.threads import ThreadPool

T = TypeVar("T")

Job = Callable[[], Awaitable[T]]


class Runtime(Protocol):
    """The core's only way out. Policies, agent loops and crews are written once against it.

    The core awaits nothing else, so it runs on no event loop (`BlockingRuntime`), on the caller's (`AsyncRuntime`), on a
    virtual clock (`oarlock.testing.VirtualRuntime`) or inside a durable engine, without a second version of itself.
    """

    def now(self) -> float:
        """Return monotonic seconds; only differences mean anything."""

    def time(self) -> float:
        """Return seconds since the epoch."""

    def random(self) -> float:
        """Return a random number in [0, 1)."""

    def new_id(self) -> str:
        """Return a new unique id of 32 hexadecimal digits."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def invoke(
        self,
        sync: Callable[..., Any] | None,
        async_: Callable[..., Awaitable[Any]] | None,
        *args: Any,
        deadline: float | None = None,
        pool: ThreadPool | None = None,
    ) -> Awaitable[Any]:
        """Call something from outside the core, in the colour that suits, and return its result.

        Args:
            sync: the blocking form, if there is one.
            async_: the awaitable form, if there is one; at least one of the two is given.
            args: what to call it with.
            deadline: a `now()` at which to give up with `TimeoutError`, even if the call itself hangs.
            pool: the threads for a blocking form that must not block an event loop; `None` means that it is so quick
                that it may run in place.
        """

    async def wait(self, promise: Promise[T], deadline: float | None = None) -> T:
        """Wait for a result that another thread or task will give; `TimeoutError` past the deadline."""

    async def gather(self, *jobs: Job[T]) -> list[T]:
        """Run jobs side by side; return their results in order, or raise the first failure once all have ended."""

    def step(self, kind: str, name: str, job: Job[T], key: str = "", on_resume: str = "retry") -> Awaitable[T]:
        """Run one step that a durable engine may record and replay, such as a model call or a tool call.

        Args:
            kind: `"model"`, `"tool"`, `"hook"` or `"callback"`.
            name: of the model, the tool or the function, for people.
            job: does it.
            key: tells it from all other steps of its run, the same whenever the run is driven again; `""`: never recorded.
            on_resume: what to do where nobody knows whether it has happened: `"retry"`, `"skip"` or `"fail"`.
        """
