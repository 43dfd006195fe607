"""What a durable engine has to do for us. Another engine is one module that does the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

__all__ = ["Engine", "Entry", "Journal", "RunInfo", "Runner", "State", "Store"]


class State(StrEnum):
    """Where a run stands.

    Example:
        >>> [state.value for state in State]
        ['queued', 'running', 'finished', 'failed', 'waiting', 'cancelled']
    """

    queued = "queued"
    running = "running"
    finished = "finished"
    failed = "failed"
    waiting = "waiting"
    cancelled = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recorded step.

    Attributes:
        position: among the run's steps, in the order in which they began; 1 is the first.
        name: what it was, such as `"model:1:2"`.
        value: what came of it, in plain values.
        began: seconds since the epoch.
        ended: likewise.
    """

    position: int
    name: str
    value: Any = field(default=None, repr=False)
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What is known of a run.

    Attributes:
        run_id: its id.
        state: where it stands.
        spec: what was submitted, in plain values; `None` if it was not asked for.
        result: what came of it, in plain values.
        error: why it failed, in plain values.
        queue: where it waits, or was taken from; `None` if it was begun where it was wanted.
        executor: the process that has it, or had it last.
        facts: small plain values beside it: why it waits, for example. Never encrypted, so never content.
        created: seconds since the epoch; likewise `updated`.
        forked_from: the run that it began as a copy of.
        schema: of its state.
    """

    run_id: str
    state: State
    spec: Any = field(default=None, repr=False)
    result: Any = field(default=None, repr=False)
    error: Any = field(default=None, repr=False)
    queue: str | None = None
    executor: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    created: float | None = None
    updated: float | None = None
    forked_from: str | None = None
    schema: str | None = None


class Journal(Protocol):
    """The steps of one run, for whoever drives it. What is written is safe once the call returns."""

    run_id: str
    facts: Mapping[str, Any]

    def entries(self) -> Sequence[Entry]:
        """Return what was recorded before; further steps count on from there. Called once, at the beginning."""

    def write(self, name: str, act: Callable[[], Any]) -> Any:
        """Call `act()` and record the plain values that it returns, blocking; from any thread.

        Raises:
            RunCancelledError: the run was cancelled, or somebody else has it now.
            RunStoreError: the database takes no more.
        """

    async def awrite(self, name: str, act: Callable[[], Awaitable[Any]]) -> Any:
        """Do the same on the running event loop."""


class Runner(Protocol):
    """How a run is driven, in both colours; returns the result in plain values."""

    store: Store | None

    def __call__(self, journal: Journal, spec: Any) -> Any:
        """Drive it, blocking."""

    async def drive(self, journal: Journal, spec: Any) -> Any:
        """Drive it on the running event loop."""


class Store(Protocol):
    """All runs of one database, from any process: to look at and to steer."""

    def look(self, run_id: str, *, content: bool = True) -> RunInfo | None:
        """Return a run; with its spec, result and error if `content`."""

    def runs(self, states: Sequence[State] = (), *, limit: int | None = None) -> list[RunInfo]:
        """Return runs without their content, the newest first."""

    def entries(self, run_id: str, *, after: int = 0, content: bool = True) -> list[Entry]:
        """Return a run's recorded steps, those at the first `after` places left out."""

    def enqueue(self, run_id: str, queue: str, spec: Any, facts: Mapping[str, Any]) -> None:
        """Put a new run into a queue; one that is there already stays as it is."""

    def resume(self, run_id: str, queue: str) -> None:
        """Put a run that has not ended, or was cancelled, into a queue; whoever drove it loses it."""

    def again(self, run_id: str, queue: str) -> None:
        """Put a run that failed into a queue; its steps stay."""

    def cancel(self, run_id: str) -> None:
        """Stop a run at its next step."""

    def fork(self, run_id: str, position: int, queue: str) -> str:
        """Begin a new run with a copy of the steps before a position; return its id."""

    def note(self, run_id: str, facts: Mapping[str, Any]) -> None:
        """Change facts of a run."""

    def seal(self, text: str) -> str:
        """Return content as it may stand among a run's facts."""

    def unseal(self, text: str) -> str:
        """Return it readable again."""

    def close(self) -> None:
        """Let go of connections."""


class Engine(Protocol):
    """What drives runs in this process; there is one at a time."""

    executor: str
    store: Store

    def start(self, run_id: str, spec: Any, facts: Mapping[str, Any]) -> Callable[[], Any]:
        """Begin a run here, blocking; return a function that waits for its end."""

    def astart(
        self, run_id: str, spec: Any, facts: Mapping[str, Any]
    ) -> Awaitable[Callable[[], Awaitable[Any]] | None]:
        """Begin a run on the running event loop; return what waits for its end, nothing if somebody else was faster."""

    def take_over(self, info: RunInfo) -> Callable[[], Any]:
        """Drive a run here that nobody drives; return a function that waits for its end.

        Raises:
            RunLeftError: it is no longer as it was looked at.
        """

    def await_end(self, run_id: str) -> Any:
        """Wait for the end of a run that is driven anywhere, blocking, and return its result.

        Raises:
            RunLeftError: nobody drives it any more.
        """

    def again(self, run_id: str) -> Callable[[], Any]:
        """Drive a run here that failed; its steps stay."""

    def driven(self) -> set[str]:
        """Return the runs that are being driven here."""

    def is_left(self, info: RunInfo) -> bool:
        """Return whether nobody drives a run, and nobody will unless asked to."""

    def close(self) -> None:
        """Stop."""
