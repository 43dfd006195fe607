"""Files that any number of runs add lines to: a file is open once, however many runs of this process write to it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import IO, Final

from oarlock.contract.errors import ConfigurationError

__all__ = ["FILES", "MARK", "RecordFile", "RecordFiles", "open_privately"]

MARK: Final = b'{"oarlock_record":'
"""What every record begins with."""

_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(
    os, "O_NONBLOCK", 0
)  # to open a pipe would wait for its reader


class RecordFile:
    """An open file of records. Every line is written at once, behind whatever others have written."""

    __slots__ = ("_file", "_is_cut", "_lock", "path", "users")

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self._lock = threading.Lock()
        self._is_cut = False
        self._file: IO[bytes] = open(path, "a+b", buffering=0, opener=open_privately)  # noqa: SIM115  as long as it has users
        try:
            self._check()
        except BaseException:
            self._file.close()
            raise

    def _check(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise ConfigurationError(f"record={self.path!r} is there already, and is no file.")
        self._file.seek(0)
        head = self._file.read(len(MARK))
        if head != MARK[: len(head)]:
            raise ConfigurationError(
                f"record={self.path!r} is there already, and is no record of runs, to which this one could be added. "
                "Name another file."
            )
        if head and self._file.seek(-1, os.SEEK_END) >= 0 and self._file.read(1) != b"\n":
            self._file.write(b"\n")  # a crash has cut the last line; or another run is at it: then this is an empty one

    def write(self, line: bytes) -> None:
        """Add a line.

        Raises:
            OSError: it could not be written, or not all of it.
        """
        with self._lock:
            whole = b"\n" + line if self._is_cut else line
            self._is_cut = True
            if self._file.write(whole) != len(whole):
                raise OSError(0, "only a part of a line could be written")
            self._is_cut = False

    def is_at(self, path: str) -> bool:
        """Return whether this is still the file at a path: it may have been moved or deleted."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), Path(path).lstat())
        except OSError:
            return False

    def close(self) -> None:
        """Close it."""
        self._file.close()


class RecordFiles:
    """The open files of this process. Thousands of runs at once would need more than a process may have open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, RecordFile] = {}

    def enter(self, path: str) -> RecordFile:
        """Return the file at a path, opened if it is not.

        Raises:
            ConfigurationError: it is there already, and no record.
            OSError: it cannot be opened.
            ValueError: there is a NUL in its path.
        """
        whole = os.path.abspath(path)  # noqa: PTH100  `Path.absolute` keeps ".."
        with self._lock:
            file = self._open.get(whole)
            if file is None or not file.is_at(whole):
                file = self._open[whole] = RecordFile(path)
            file.users += 1
            return file

    def leave(self, file: RecordFile) -> None:
        """A run is over; after the last one the file is closed."""
        with self._lock:
            file.users -= 1
            if file.users:
                return
            for whole, known in self._open.items():
                if known is file:
                    del self._open[whole]
                    break
            file.close()


FILES: Final = RecordFiles()


def open_privately(path: str, flags: int) -> int:
    """Open a file for whoever runs this program alone, if it is made; links are not followed."""
    return os.open(path, flags | _NO_LINK, 0o600)
