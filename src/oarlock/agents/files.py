"""`output_file`: writing an answer into the working folder, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from oarlock.agents.inputs import fill
from oarlock.contract.errors import ConfigurationError, OutputError
from oarlock.contract.records import dataclass

__all__ = ["Place", "check_output_file", "place_of", "write"]

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: there these names mean devices, with any ending.
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\..*)?", re.IGNORECASE)
_LONGEST_NAME: Final = 255  # bytes of one name, on all common file systems
_BY_FOLDER: Final = {os.open, os.mkdir, os.stat, os.unlink} <= os.supports_dir_fd  # not on Windows
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_FOLDER: Final = getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an answer is to be written.

    Attributes:
        root: the working folder when the run began.
        parts: the names of the folders below it, and of the file.
        create: whether to make folders that are not there.
    """

    root: str
    parts: tuple[str, ...]
    create: bool

    def __str__(self) -> str:
        return "/".join(self.parts)


def check_output_file(owner: str, path: object) -> None:
    """Raise a ConfigurationError unless this is a path that can work; names in braces are not looked at yet."""
    if not isinstance(path, str) or not path.strip():
        raise ConfigurationError(f"{owner}: output_file must be a path such as 'reports/answer.md', not {path!r}.")
    _parts(owner, path, str(Path.cwd()))


def place_of(owner: str, path: str, inputs: Mapping[str, Any], create: bool) -> Place:
    """Return where the answer of a task goes, with the inputs filled in.

    Raises:
        ConfigurationError: an input is missing, or the path leads out of the working folder.
    """
    root = str(Path.cwd())
    return Place(root=root, parts=_parts(owner, fill(path, inputs, f"{owner}: output_file"), root), create=create)


def _parts(owner: str, path: str, root: str) -> tuple[str, ...]:
    """Return the names of a path below the working folder. A backslash divides names on every system."""
    below = path.strip()
    for prefix in {root, os.path.realpath(root)}:
        if below.startswith(prefix + os.sep):  # an absolute path into the working folder
            below = below[len(prefix) + 1 :]
    parts = tuple(part for part in re.split(r"[/\\]", below) if part != ".")
    problem = _problem(below, parts)
    if problem:
        raise ConfigurationError(
            f"{owner}: output_file {path!r} {problem}. Give a path below the working folder, such as 'reports/answer.md'."
        )
    return tuple(part for part in parts if part)


def _problem(path: str, parts: tuple[str, ...]) -> str | None:
    """Return what is wrong with a path, in words that follow on it."""
    if path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", path):
        return "leads out of the working folder"
    if re.search(r"[\x00-\x1f\x7f]", path):
        return "holds a control character"
    if not parts or not parts[-1]:
        return "names a folder, not a file"
    return next(filter(None, map(_problem_of_name, parts)), None)


def _problem_of_name(name: str) -> str | None:
    if name.strip() == "..":
        return "holds '..'"
    if _DEVICE.fullmatch(name):
        return f"holds {name!r}, which is a device on Windows"
    if name != name.rstrip(" ."):
        return f"holds {name!r}, whose last character Windows drops"
    if len(name.encode("utf-8", "replace")) > _LONGEST_NAME:
        return f"holds a name of more than {_LONGEST_NAME} bytes"
    return "holds ':'" if os.name == "nt" and ":" in name else None


def write(place: Place, text: str, unique: str) -> None:
    """Write a whole file, or leave what was there: nobody ever sees half of it. Its mode is the umask's.

    Links are not followed, neither those that were there before nor those that somebody makes meanwhile.

    Args:
        place: where to.
        text: what to write, as UTF-8.
        unique: makes the name of the file that it is written to first.

    Raises:
        OutputError: the file cannot be written, with the text.
    """
    data = text.encode("utf-8", "replace")
    writer = _write_by_folder if _BY_FOLDER else _write_by_path
    try:
        writer(place, data, f".{unique}.tmp")
    except (OSError, _LinkError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        hint = "" if place.create or not isinstance(error, FileNotFoundError) else " Set create_directory=True."
        raise OutputError(
            f"The answer could not be written to output_file {str(place)!r}: {why}.{hint} The error has the answer as .text.",
            text=text,
            errors=(why,),
        ) from error


class _LinkError(Exception):
    """A symbolic link, or something else that is no file, stands in the way."""


def _write_by_folder(place: Place, data: bytes, temporary: str) -> None:
    """Write below folders that are held open, so that nobody can put a link in their place."""
    with _opened(place) as folder:
        name = place.parts[-1]
        with contextlib.suppress(FileNotFoundError):
            _refuse_special(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode, name)
        try:
            _fill(os.open(temporary, _CREATE, 0o666, dir_fd=folder), data)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


@contextmanager
def _opened(place: Place) -> Iterator[int]:
    """Give the file's folder, open; each one on the way is opened inside the one before, and is no link."""
    folder = os.open(place.root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        for name in place.parts[:-1]:
            if place.create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode  # for a clear message; open() decides
            if stat.S_ISLNK(mode):
                raise _LinkError(f"{name!r} is a symbolic link, and links are not followed")
            inner = os.open(name, os.O_RDONLY | _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _write_by_path(place: Place, data: bytes, temporary: str) -> None:
    """Write where folders cannot be held open: the real path is looked at before and after."""
    folder = Path(place.root).resolve().joinpath(*place.parts[:-1])
    _refuse_detour(folder)
    if place.create:
        folder.mkdir(parents=True, exist_ok=True)
    target, draft = folder / place.parts[-1], folder / temporary
    with contextlib.suppress(FileNotFoundError):
        _refuse_special(target.lstat().st_mode, target.name)
    try:
        _fill(os.open(draft, _CREATE, 0o666), data)
        _refuse_detour(draft)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _refuse_detour(path: Path) -> None:
    if path.resolve() != path:
        raise _LinkError("a folder on the way is a symbolic link, and links are not followed")


def _refuse_special(mode: int, name: str) -> None:
    if stat.S_ISLNK(mode):
        raise _LinkError(f"{name!r} is a symbolic link, and links are not followed")
    if not stat.S_ISREG(mode):
        raise _LinkError(f"{name!r} is there already, and is no file")


def _fill(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb") as file:
        file.write(data)
