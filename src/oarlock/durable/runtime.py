"""`DurableRuntime`: the same core, each of whose steps is recorded, and not done again when the run is driven again."""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from random import Random
from typing import Any, Final, TypeVar

from oarlock.contract.context import current_call
from oarlock.contract.errors import EffectUnknownError, RunError
from oarlock.durable.codec import Models, from_json, to_json
from oarlock.durable.failures import error_from_json, error_to_json
from oarlock.durable.listening import Listening
from oarlock.durable.log import BEGAN, RunLog
from oarlock.durable.port import Entry, Journal
from oarlock.durable.spending import recall, spending
from oarlock.runtime import Job, Promise, Runtime, ThreadPool
from oarlock.tools import ToolAnswer

__all__ = ["DurableRuntime", "RunInterrupted", "RunLeftError", "RunTakenError", "current_step", "inside_step"]

T = TypeVar("T")

_inside: ContextVar[str] = ContextVar("oarlock_inside_step", default="")  # the key of the step that this is a part of
_SKIPPED: Final = (
    "Error: the run was cut off while {name!r} ran. Nobody knows whether it did its work; it was not run again."
)


class RunLeftError(RunError):
    """Nobody drives a run any more: its process has ended, or whoever wanted it there has left."""


class RunTakenError(RunError):
    """Somebody else drives the run now."""


class RunInterrupted(BaseException):
    """Ends the work on a run without an outcome: somebody else has it, it was cancelled, or the database fails.

    A `BaseException`, so that neither a user's code nor the engine takes it for the run's own failure.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def inside_step() -> bool:
    """Return whether this code is part of a step of a durable run."""
    return bool(_inside.get())


def current_step() -> str:
    """Return the key of the step of a durable run that this code is part of."""
    return _inside.get()


class DurableRuntime:
    """Drives the core on an ordinary runtime, and lets a journal record its steps.

    Inside of a step everything is as on the ordinary runtime. Between steps time, chance and ids are the same whenever
    the run is driven: the time is that at which the last step ended.

    Args:
        inner: the ordinary runtime; `run` on it is what makes this one blocking.
        journal: where steps are recorded.
        entries: those that were recorded before.
        models: of the crew's tasks, by name.
        is_async: steps are recorded on the running event loop.
    """

    def __init__(
        self, inner: Runtime, journal: Journal, entries: Sequence[Entry], models: Models, *, is_async: bool
    ) -> None:
        self._inner = inner
        self._journal = journal
        self._models = models
        self._is_async = is_async
        self._prefix = f"{journal.run_id}:"
        self._lock = threading.Lock()
        self._drawn: dict[str, Random] = {}
        self._log = RunLog(entries)
        self._time: ContextVar[float] = ContextVar("oarlock_run_time", default=self._log.began or inner.time())
        self.listening = Listening(is_resumed=bool(self._log))
        self.stopped: RunInterrupted | None = None

    # What is as on the ordinary runtime.

    def now(self) -> float:
        return self._inner.now()

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    def invoke(
        self,
        sync: Callable[..., Any] | None,
        async_: Callable[..., Awaitable[Any]] | None,
        *args: Any,
        deadline: float | None = None,
        pool: ThreadPool | None = None,
    ) -> Awaitable[Any]:
        return self._inner.invoke(sync, async_, *args, deadline=deadline, pool=pool)

    async def wait(self, promise: Promise[T], deadline: float | None = None) -> T:
        return await self._inner.wait(promise, deadline)

    async def gather(self, *jobs: Job[T]) -> list[T]:
        return await self._inner.gather(*jobs)

    # What is the same whenever the run is driven.

    def time(self) -> float:
        return self._inner.time() if _inside.get() else self._time.get()

    def random(self) -> float:
        return self._inner.random() if _inside.get() else self._chance().random()

    def new_id(self) -> str:
        return self._inner.new_id() if _inside.get() else f"{self._chance().getrandbits(128):032x}"

    def _chance(self) -> Random:
        """Return the dice of this task and agent: others that run beside it must not change what they show."""
        here = current_call()
        place = f"{self._prefix}{here.task}:{here.agent}"
        with self._lock:
            return self._drawn.setdefault(place, Random(place))  # noqa: S311  not a secret

    # Steps.

    def step(self, kind: str, name: str, job: Job[T], key: str = "", on_resume: str = "retry") -> Awaitable[T]:
        if not key or _inside.get():
            return job()
        return self._step(kind, name, job, key.removeprefix(self._prefix), on_resume)

    async def _step(self, kind: str, name: str, job: Job[T], key: str, on_resume: str) -> T:
        if self.stopped is not None:
            raise self.stopped
        label = f"{kind}:{key}"
        entry = self._log.outcome(label)
        if entry is not None:
            replayed: T = self._replayed(entry)
            return replayed
        self.listening.goes_on()
        if on_resume != "retry":
            job = await self._begun(name, job, key, on_resume)
        held: list[Any] = []
        record = await self._write(label, functools.partial(self._done, label, name, job, held))
        self._time.set(record["at"])
        if isinstance(held[0], BaseException):
            raise held[0]
        return held[0]  # type: ignore[no-any-return]

    def _replayed(self, entry: Entry) -> Any:
        self.listening.replays()
        record = entry.value
        self._time.set(record["at"])
        if "spent" in record:
            recall(current_call().budgets, record["spent"])
        if "error" in record:
            raise error_from_json(record["error"])
        return from_json(record["value"], self._models)

    async def _begun(self, name: str, job: Job[Any], key: str, on_resume: str) -> Job[Any]:
        """Return what to do of a tool that may not simply be run twice, having recorded that it begins."""
        if self._log.may_have_happened(key):
            decided = self._log.decision(key) or on_resume
            if decided == "skip":
                return functools.partial(_told, ToolAnswer(text=_SKIPPED.format(name=name), failed=True, tool=name))
            if decided == "fail":
                raise self._unknown(name)
        await self._write(f"{BEGAN}:{key}", _nothing)
        return job

    def _unknown(self, name: str) -> EffectUnknownError:
        return EffectUnknownError(
            f"Run {self._journal.run_id!r} was cut off while the tool {name!r} ran: nobody knows whether it did its work. "
            "Look, and then: `oarlock runs resume --retry-tools` or `--skip-tools`. A tool that may simply be run again is "
            '`@tool(idempotent=True)`, takes an `idempotency_key`, or has on_resume="retry".',
            run_id=self._journal.run_id,
        )

    async def _done(self, label: str, name: str, job: Job[Any], held: list[Any]) -> dict[str, Any]:
        """Do the step, and return what to record of it; what it really gave goes into `held`."""
        here = current_call()
        token = _inside.set(label.partition(":")[2])
        record: dict[str, Any] = {"name": name, "agent": here.agent, "task": here.task}
        try:
            value = await (spending(here.budgets, job, record) if here.budgets else job())
            record["value"] = to_json(value, f"What step {label!r} ({name}) gave")
        except Exception as error:  # a step's failure is an outcome, whatever it is
            if self.stopped is not None:  # but not where its run was left: what it needs may have been taken from it
                raise self.stopped from error
            record["error"], value = error_to_json(error), error
        finally:
            _inside.reset(token)
        held.append(value)
        record["at"] = self._inner.time()
        return record

    async def _write(self, name: str, act: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        try:
            if self._is_async:
                return await self._journal.awrite(name, act)
            inner: Any = self._inner
            return self._journal.write(name, lambda: inner.run(act()))
        except RunError as error:
            self.stopped = RunInterrupted(error)
            raise self.stopped from error


async def _nothing() -> None:
    return None


async def _told(answer: ToolAnswer) -> ToolAnswer:
    return answer
