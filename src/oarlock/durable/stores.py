"""Opening a database of runs to look at it and to steer it, without driving anything."""

from __future__ import annotations

from oarlock.contract.errors import ConfigurationError, RunError
from oarlock.durable.address import Address, address_of
from oarlock.durable.port import RunInfo, Store
from oarlock.durable.sealing import sealer_of

__all__ = ["found", "open_store"]


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


def found(store: Store, run_id: str, *, content: bool = True) -> RunInfo:
    """Return a run.

    Raises:
        RunError: there is none of this id.
    """
    info = store.look(run_id, content=content)
    if info is None:
        raise RunError(f"There is no run {run_id!r:.80} in this database.", run_id=run_id)
    return info
