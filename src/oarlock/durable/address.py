"""Addresses of databases of runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

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
    """

    url: str = field(repr=False)
    shown: str
    file: Path | None = None


def address_of(given: object) -> Address:
    """Read an address; a relative file is one in the working folder.

    Raises:
        ConfigurationError: it is none.

    Example:
        >>> address_of("postgresql://me:hunter2@db.example/runs").shown
        'postgresql://db.example/runs'
    """
    if not isinstance(given, str):
        raise ConfigurationError(f"durable must be the address of a database: {_ALLOWED}; not {type(given).__name__}.")
    if given.startswith("sqlite://"):
        name = given.removeprefix("sqlite://").removeprefix("/")
        if not name or name == ":memory:":
            raise ConfigurationError('An SQLite database of runs needs a file, such as "sqlite:///runs.db".')
        file = Path(name).absolute()
        if not file.parent.is_dir():
            raise ConfigurationError(f"There is no folder {file.parent} for the database of runs.")
        return Address(url=f"sqlite:///{file}", shown=f"sqlite:///{name}", file=file)
    scheme = _POSTGRES.match(given)
    if scheme is None:
        raise ConfigurationError(f"durable must be the address of a database: {_ALLOWED}.")
    rest = given[scheme.end() :]
    try:
        parts = urlsplit(f"postgresql://{rest}")
        where = f"{parts.hostname or 'localhost'}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        raise ConfigurationError(f"The address of the database cannot be read; it must be {_ALLOWED}.") from None
    return Address(url=f"postgresql://{rest}", shown=f"postgresql://{where}")
