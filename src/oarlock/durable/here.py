"""`crew.kickoff(durable=...)`: a durable run in this very process."""

from __future__ import annotations

import atexit
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from oarlock.agents.outputs import CrewOutput
from oarlock.contract.errors import ConfigurationError, RunCancelledError, RunError
from oarlock.contract.events import Event
from oarlock.durable.address import Address, address_of
from oarlock.durable.codec import from_json
from oarlock.durable.driving import Bound, CrewRunner, interrupted
from oarlock.durable.failures import error_from_json
from oarlock.durable.port import RunInfo, State
from oarlock.durable.runtime import RunLeftError, RunTakenError, inside_step
from oarlock.durable.sealing import sealer_of
from oarlock.durable.spec import SCHEMA, Spec, models_of
from oarlock.runtime import ThreadPool
from oarlock.runtime.elsewhere import home

if TYPE_CHECKING:
    from oarlock.agents.crew import Crew
    from oarlock.durable.dbos_engine import DbosEngine

__all__ = ["HERE", "Here", "akickoff", "check_run_id", "kickoff"]

_log = logging.getLogger("oarlock.durable")
_RUN_ID: Final = re.compile(r"[\w.@:+=-]{1,200}")

Listener = Callable[[Event], None]


def kickoff(
    crew: Crew,
    inputs: Mapping[str, Any] | None,
    *,
    user: Any,
    on_event: Listener | None,
    durable: str | None,
    run_id: str | None,
    record: Any = None,
) -> CrewOutput:
    """Run a crew durably, blocking; see `Crew.kickoff`.

    Example:
        >>> crew.kickoff({"topic": "oars"}, durable="sqlite:///runs.db", run_id="oars-1").raw  # doctest: +SKIP
        'Oars are old.'
    """
    run_id, spec = _checked(crew, inputs, durable, run_id)
    bound = Bound(crew=crew, user=user, on_event=on_event, record=record)
    with HERE.binding(run_id, bound):
        # In another thread, as the engine's library refuses to block in one that has an event loop.
        result = HERE.threads.submit(_driven, durable, run_id, spec, bound).result()
    return _output(result, crew)


async def akickoff(
    crew: Crew,
    inputs: Mapping[str, Any] | None,
    *,
    user: Any,
    on_event: Listener | None,
    durable: str | None,
    run_id: str | None,
    record: Any = None,
) -> CrewOutput:
    """Run a crew durably on the running event loop; see `Crew.akickoff`."""
    from oarlock.runtime.aio import ASYNC

    run_id, spec = _checked(crew, inputs, durable, run_id)
    bound = Bound(crew=crew, user=user, on_event=on_event, record=record, home=home())
    with HERE.binding(run_id, bound):
        engine = await ASYNC.invoke(HERE.engine, None, durable, pool=HERE.threads)
        wait = None
        if await ASYNC.invoke(engine.store.look, None, run_id, pool=HERE.threads) is None:
            wait = await engine.astart(run_id, spec.as_json(), {**spec.facts_of_new(), "here": True})
        if wait is not None:  # else it was there, or somebody else was faster
            # It may be left by somebody else here, for whom it was driven, or be taken by another process.
            with suppress(RunLeftError, RunTakenError):
                return _output(await wait(), crew)
        result = await ASYNC.invoke(_driven, None, durable, run_id, spec, bound, pool=HERE.threads)
    return _output(result, crew)


def _driven(durable: str | None, run_id: str, spec: Spec, bound: Bound) -> Any:
    while True:
        try:
            return _begun(HERE.engine(durable), run_id, spec)()
        except (RunLeftError, RunTakenError):  # then we drive it, or wait for whoever does
            if bound.left is not None:
                raise


def _checked(crew: Crew, inputs: Mapping[str, Any] | None, durable: str | None, run_id: str | None) -> tuple[str, Spec]:
    if durable is None:
        raise ConfigurationError('run_id= is that of a durable run: pass durable="sqlite:///runs.db", too.')
    if inside_step():
        raise ConfigurationError(
            "A durable run cannot be begun inside a step of another one: that step is recorded as a whole. Leave durable= "
            "out here, or make the inner crew's tasks part of the outer crew."
        )
    if run_id is None:
        run_id = uuid.uuid4().hex
        _log.info("This run of crew %r is %r", crew.name, run_id)
    return check_run_id(run_id), Spec.of(crew.name, crew, inputs)


def check_run_id(run_id: object) -> str:
    """Return the id of a run.

    Raises:
        ConfigurationError: it cannot be one.
    """
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise ConfigurationError(
            f"run_id must be 1 to 200 letters, digits and any of _ . @ : + = -, not {run_id!r:.60}."
        )
    return run_id


def _begun(engine: DbosEngine, run_id: str, spec: Spec) -> Callable[[], Any]:
    known = engine.store.look(run_id)
    if known is None:
        return engine.start(run_id, spec.as_json(), {**spec.facts_of_new(), "here": True})
    return _goes_on(engine, known, spec)


def _goes_on(engine: DbosEngine, known: RunInfo, spec: Spec) -> Callable[[], Any]:
    """Return a function that waits for the end of a run that is there already, having seen to it that it comes."""
    run_id = known.run_id
    if known.schema not in (None, SCHEMA):
        raise RunError(
            f"Run {run_id!r} was begun by another version of Oarlock, whose records ({known.schema}) this one does not read.",
            run_id=run_id,
        )
    before = Spec.from_json(known.spec, known.facts)
    spec.check_same(before, run_id, finished=known.state is State.finished)
    if known.state is State.finished:
        return lambda: known.result
    if known.state is State.cancelled:
        raise RunCancelledError(
            f"Run {run_id!r} was cancelled. `oarlock runs resume {run_id}` lets it go on; or choose another run_id.",
            run_id=run_id,
        )
    if known.state is State.failed:
        _log.info("Run %r had failed (%s), and goes on", run_id, type(error_from_json(known.error)).__name__)
        engine.store.note(run_id, {"marks": [*known.facts.get("marks", ()), f"again:{uuid.uuid4().hex[:8]}"]})
        return engine.again(run_id)
    if engine.is_left(known):
        return engine.take_over(known)
    _log.info("Run %r is in the hands of %s; waiting for its end", run_id, known.executor or f"queue {known.queue!r}")
    return lambda: engine.await_end(run_id)


def _output(result: Any, crew: Crew) -> CrewOutput:
    output: CrewOutput = from_json(result, models_of(crew))
    return output


class Here:
    """The engine of this process, and the crews of runs that it drives. The engine's library allows one a process."""

    def __init__(self) -> None:
        self.threads = ThreadPool(None, "oarlock-durable")
        self._lock = threading.Lock()
        self._binding = threading.Lock()
        self._engine: DbosEngine | None = None
        self._bound: dict[str, list[Bound]] = {}

    def engine(self, durable: object) -> DbosEngine:
        """Return the engine for a database, launched.

        Raises:
            ConfigurationError: no address, runs in another database go on in this process, or the extra is missing.
            RunStoreError: the database cannot be reached.
        """
        address = address_of(durable)
        with self._lock:
            if self._engine is not None and self._engine.address.url == address.url:
                return self._engine
            if self._engine is not None:
                if self._bound.keys() & self._engine.driven():
                    raise ConfigurationError(
                        f"Runs in {self._engine.address.shown} go on in this process, which can have one database of runs "
                        "at a time. Wait for their end, or use the same one."
                    )
                self._close()
            self._engine = _made(address, CrewRunner(self._find))
            atexit.register(self.close)
            return self._engine

    @contextmanager
    def binding(self, run_id: str, bound: Bound) -> Iterator[None]:
        """Let a run find its crew, as long as somebody waits for it.

        Who leaves early, by Ctrl-C or because their task was cancelled, cannot end work in another thread, nor should they lose
        the answer that is on its way: the run goes no further than that.
        """
        with self._binding:
            self._bound.setdefault(run_id, []).append(bound)
        try:
            yield
        except BaseException:
            bound.leave(run_id)
            raise
        finally:
            with self._binding:
                self._bound[run_id].remove(bound)
                if not self._bound[run_id]:
                    del self._bound[run_id]

    def _find(self, run_id: str, _spec: Spec) -> Bound:
        with self._binding:
            waiting = self._bound.get(run_id, ())
            if not waiting:
                raise interrupted(
                    run_id, RunLeftError(f"Nobody waits for run {run_id!r} here any more.", run_id=run_id)
                )
            return waiting[0]

    def close(self) -> None:
        """Stop the engine; runs that go on are cut off, and go on when they are next asked for."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            atexit.unregister(self.close)
            engine.close()


def _made(address: Address, runner: CrewRunner) -> DbosEngine:
    try:
        from oarlock.durable.dbos_engine import DbosEngine
    except ImportError as error:
        raise ConfigurationError("Durable runs need an extra: pip install 'oarlock[durable]'.") from error
    return DbosEngine(address, runner, sealer=sealer_of(address))


HERE: Final = Here()
