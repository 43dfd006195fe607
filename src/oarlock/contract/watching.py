"""Who watches every run and every model call of this process: telemetry, once a program switches it on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from oarlock.contract.events import Event
    from oarlock.contract.llm import BaseLLM
    from oarlock.contract.policy import Handler, Policy

__all__ = ["Watcher", "Watchers", "carried", "listening", "resuming"]

Listener = Callable[["Event"], None]

_NOTHING = nullcontext()


class Watcher:
    """What may watch everything. It sees the events of each run, and stands around each model call, outside its policies.

    None of its methods raises, whatever happens to it: what is watched must not fail for being watched.
    """

    def on_event(self, event: Event) -> None:
        """Take note of an event of a run, in the thread and context in which it happens."""

    def bind(self, llm: BaseLLM) -> Policy:
        """Return what stands around the calls of this LLM."""
        return self

    def __call__(self, handler: Handler, /) -> Handler:
        """Return what stands around the calls of an LLM that is not known."""
        return handler

    def carried(self) -> Mapping[str, str]:
        """Return what goes along with a run that is put aside, for whoever takes it up elsewhere. No secrets."""
        return {}

    def resuming(self, carried: Mapping[str, str]) -> AbstractContextManager[Any]:
        """Return a block in which a run is driven that was put aside with these."""
        return _NOTHING


class Watchers:
    """Those that watch this process.

    Attributes:
        all: Oarlock itself leaves it empty; `oarlock.telemetry.instrument()` fills it. The tuple is replaced, never changed.
    """

    all: ClassVar[tuple[Watcher, ...]] = ()


def listening(listener: Listener | None) -> Listener | None:
    """Return who is to listen to a run: the one given, after all that watch the process."""
    watchers = Watchers.all
    if not watchers:
        return listener
    hear: list[Listener] = [watcher.on_event for watcher in watchers]
    if listener is not None:
        hear.append(listener)
    return hear[0] if len(hear) == 1 else _to_all(hear)


def _to_all(hear: Iterable[Listener]) -> Listener:
    def listen(event: Event) -> None:
        for listener in hear:
            listener(event)

    return listen


def carried() -> dict[str, str]:
    """Return what all watchers let go along with a run that is put aside here."""
    found: dict[str, str] = {}
    for watcher in Watchers.all:
        found.update(watcher.carried())
    return found


def resuming(carried: Any) -> AbstractContextManager[Any]:
    """Return a block in which a run is driven that was put aside with these; anything else than texts is left out."""
    watchers = Watchers.all
    if not watchers or not isinstance(carried, Mapping):
        return _NOTHING
    texts = {name: value for name, value in carried.items() if isinstance(name, str) and isinstance(value, str)}
    with ExitStack() as stack:
        for watcher in watchers:
            stack.enter_context(watcher.resuming(texts))
        return stack.pop_all()
