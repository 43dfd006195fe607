"""Addresses of databases of runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from oarlock.contract.errors import ConfigurationError

__all__ = ["Address", "address_of"]

_POSTGRES: Final = re.compile(r"postgres(?:ql)?(?:\+psycopg)?://", re.IGNORECASE)
_ALLOWED: Final = 'a file, "sqlite:///runs.db", or a server, "postgresql://user@host/database"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where runs are kept.

    Attributes:
        url: with everything that is needed to connect.
        shown: without a password.
        file: of an SQLite database; `None` for PostgreSQL.
        key: where the key is that seals what is written there, such as `"env:RUNS_KEY"`.
    """

    url: str = field(repr=False)
    shown: str
    file: Path | None = None
    key: str | None = None


def address_of(given: object) -> Address:
    """Read an address; a relative file is one in the working folder. `?key=env:NAME` or `file:PATH` names a key.

    Raises:
        ConfigurationError: it is none.

    Example:
        >>> address_of("postgresql://me:hunter2@db.example/runs").shown
        'postgresql://db.example/runs'
    """
    if not isinstance(given, str):
        raise ConfigurationError(f"durable must be the address of a database: {_ALLOWED}; not {type(given).__name__}.")
    given, key = _without_key(given)
    if given.startswith("sqlite://"):
        name = given.removeprefix("sqlite://").removeprefix("/")
        if not name or name == ":memory:":
            raise ConfigurationError('An SQLite database of runs needs a file, such as "sqlite:///runs.db".')
        file = Path(name).absolute()
        if not file.parent.is_dir():
            raise ConfigurationError(f"There is no folder {file.parent} for the database of runs.")
        return Address(url=f"sqlite:///{file}", shown=f"sqlite:///{name}", file=file, key=key)
    scheme = _POSTGRES.match(given)
    if scheme is None:
        raise ConfigurationError(f"durable must be the address of a database: {_ALLOWED}.")
    rest = given[scheme.end() :]
    try:
        parts = urlsplit(f"postgresql://{rest}")
        where = f"{parts.hostname or 'localhost'}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        raise ConfigurationError(f"The address of the database cannot be read; it must be {_ALLOWED}.") from None
    return Address(url=f"postgresql://{rest}", shown=f"postgresql://{where}", key=key)


def _without_key(given: str) -> tuple[str, str | None]:
    """Return the address for the database, and what it says of the key."""
    before, _, query = given.partition("?")
    settings = [setting for setting in query.split("&") if setting]
    keys = [setting.removeprefix("key=") for setting in settings if setting.startswith("key=")]
    rest = "&".join(setting for setting in settings if not setting.startswith("key="))
    return f"{before}?{rest}" if rest else before, unquote(keys[-1]) if keys else None
