"""A real PostgreSQL for the tests: on a free port of loopback, as an ordinary user, with its files in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

__all__ = ["PostgresServer", "needs_postgres"]


def _programs() -> Path | None:
    """Return the folder with PostgreSQL's programs; Debian keeps them out of the PATH."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def _ordinary_user() -> pwd.struct_passwd | None:
    """Return whom to run it as, if this is root, which PostgreSQL refuses to be run as."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


PROGRAMS = _programs()
USER = _ordinary_user()
_MISSING = "PostgreSQL is not installed" if PROGRAMS is None else "there is no ordinary user to run PostgreSQL as"
needs_postgres = pytest.mark.skipif(PROGRAMS is None or (os.geteuid() == 0 and USER is None), reason=_MISSING)


class PostgresServer:
    """One PostgreSQL server; `stop` and `start` do to it what happens to servers.

    Args:
        fsync: it waits for the disk, as it does by default elsewhere; else it survives its own end, not the machine's.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        assert PROGRAMS is not None
        self._fsync = "on" if fsync else "off"
        self._folder = Path(tempfile.mkdtemp(prefix="oarlock-pg-", dir="/tmp"))
        self._as_user = {} if USER is None else {"user": USER.pw_uid, "group": USER.pw_gid, "extra_groups": []}
        if USER is not None:
            os.chown(self._folder, USER.pw_uid, USER.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._run("initdb", "-D", str(self._folder / "data"), "-U", "oarlock", "-A", "trust", "--no-sync", "-E", "UTF8")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self._databases = 0

    def _run(self, program: str, *arguments: str) -> None:
        assert PROGRAMS is not None
        subprocess.run(
            [str(PROGRAMS / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            **self._as_user,  # type: ignore[call-overload]
        )

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert PROGRAMS is not None
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": self._fsync,
            "full_page_writes": self._fsync,
            "max_connections": 200,
        }
        command = [str(PROGRAMS / "postgres"), "-D", str(self._folder / "data")]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder, **self._as_user
        )
        for _ in range(3000):
            try:
                with self._connected("postgres"):
                    return
            except OSError:
                time.sleep(0.01)
        raise AssertionError("PostgreSQL did not start")

    def _connected(self, name: str):
        import psycopg

        try:
            return psycopg.connect(self.url(name), autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            raise OSError(str(error)) from None

    def url(self, name: str) -> str:
        """Return the address of a database."""
        return f"postgresql://oarlock@127.0.0.1:{self.port}/{name}"

    def database(self) -> str:
        """Return the address of a new, empty database."""
        self._databases += 1
        name = f"runs{self._databases}"
        with self._connected("postgres") as connection:
            connection.execute(f"create database {name}")
        return self.url(name)

    def query(self, address: str, text: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        with self._connected(address.rpartition("/")[2]) as connection:
            return connection.execute(text).fetchall()

    def execute(self, address: str, text: str) -> None:
        """Do something in a database."""
        with self._connected(address.rpartition("/")[2]) as connection:
            connection.execute(text)

    def written(self) -> bytes:
        """Return all that it has written to its disk: tables, indexes, its log of transactions."""
        self.execute(self.url("postgres"), "checkpoint")
        return b"".join(file.read_bytes() for file in (self._folder / "data").rglob("*") if file.is_file())

    def stop(self) -> None:
        """Stop it at once, as when the machine fails."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        """Stop it, and remove its files."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
