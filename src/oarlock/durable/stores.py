"""Opening a database of runs to look at it and to steer it, without driving anything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from oarlock.contract.errors import ConfigurationError, RunError
from oarlock.durable.address import Address, address_of
from oarlock.durable.liveness import liveness
from oarlock.durable.port import RunInfo, State, Store
from oarlock.durable.sealing import sealer_of

__all__ = ["found", "left_by_all", "open_store"]


def open_store(database: object, *, make: bool = False) -> Store:
    """Open a database of runs.

    Args:
        database: its address.
        make: make it, or bring its tables up to date, if need be.

    Raises:
        ConfigurationError: no address, the extra is missing, or there is no such file.
        RunStoreError: it cannot be reached, or is none of runs.
    """
    address = database if isinstance(database, Address) else address_of(database)
    try:
        from oarlock.durable.dbos_store import DbosStore, migrate
    except ImportError as error:
        raise ConfigurationError("Durable runs need an extra: pip install 'oarlock[durable]'.") from error
    if make:
        migrate(address)
    elif address.file is not None and not address.file.exists():
        raise ConfigurationError(f"There is no database of runs at {address.shown}.")
    return DbosStore(address, sealer_of(address))


def left_by_all(database: str, runs: Sequence[RunInfo]) -> set[str]:
    """Return which of these runs, by their ids, nobody seems to drive though they have not ended: their processes have.

    Raises:
        RunStoreError: the database cannot be reached.
    """
    drivers = {run.run_id: _driver_of(run) for run in runs}
    if not any(drivers.values()):
        return set()
    with closing(liveness(address_of(database), None)) as signs:
        gone = {one for one in set(drivers.values()) if one and not signs.is_alive(one)}
    return {run_id for run_id, driver in drivers.items() if driver in gone}


def _driver_of(run: RunInfo) -> str | None:
    if run.state is State.running:
        return run.executor
    own = f"{run.queue or ''}".partition("here.")[2]
    return own if own and run.state is State.queued else None


def found(store: Store, run_id: str, *, content: bool = True) -> RunInfo:
    """Return a run.

    Raises:
        RunError: there is none of this id.
    """
    info = store.look(run_id, content=content)
    if info is None:
        raise RunError(f"There is no run {run_id!r:.80} in this database.", run_id=run_id)
    return info
