"""`crewai_tools`' tools for files, held to the working folder: what a model asks for is never outside it."""

from __future__ import annotations

import os
import uuid
from itertools import islice
from pathlib import Path
from typing import Any

from oarlock.agents.files import place_of, write
from oarlock.contract.errors import ConfigurationError, OutputError, ToolError
from oarlock.tools import BaseTool

__all__ = ["DirectoryReadTool", "FileReadTool", "FileWriterTool"]

_MOST_FILES = 1000  # names in one answer: a model has no use for more


class FileReadTool(BaseTool):
    """Read a text file, or some lines of it.

    Args:
        file_path: the file that it reads unless the model names another; this one may lie anywhere.
        base_dir: the folder that paths begin at, and that what a model names must lie in; default: the working folder.
        settings: those of `BaseTool`, such as description.

    Example:
        >>> FileReadTool().run(file_path="no-such-file.txt")
        Traceback (most recent call last):
        oarlock.contract.errors.ToolError: 'no-such-file.txt' cannot be read: No such file or directory.
    """

    file_path: str | None = None
    base_dir: str | None = None
    idempotent = True  # it only reads

    def __init__(self, file_path: str | os.PathLike[str] | None = None, **settings: Any) -> None:
        super().__init__(file_path=None if file_path is None else os.fspath(file_path), **settings)

    def _run(self, file_path: str | None = None, start_line: int = 1, line_count: int | None = None) -> str:
        """Read a text file, or some lines of it.

        Args:
            file_path: the file's path below the working folder.
            start_line: the first line to read, from 1.
            line_count: how many lines to read; all by default.
        """
        asked = file_path or self.file_path
        if asked is None:
            raise ToolError("there is no file to read: give file_path.")
        path = Path(self.base_dir or "", asked) if asked == self.file_path else _inside(asked, self.base_dir or ".")
        first = max(start_line, 1) - 1
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                return "".join(islice(lines, first, None if line_count is None else first + line_count))
        except OSError as error:
            raise ToolError(f"{asked!r} cannot be read: {error.strerror}.") from error


class DirectoryReadTool(BaseTool):
    """List the files in a folder and in all folders below it.

    Args:
        directory: the folder that it lists unless the model names another; this one may lie anywhere.
        settings: those of `BaseTool`, such as description.

    Example:
        >>> DirectoryReadTool(directory="no-such-folder").run()
        ''
    """

    directory: str | None = None
    idempotent = True  # it only reads

    def __init__(self, directory: str | os.PathLike[str] | None = None, **settings: Any) -> None:
        super().__init__(directory=None if directory is None else os.fspath(directory), **settings)

    def _run(self, directory: str | None = None) -> str:
        """List the files in a folder and in all folders below it.

        Args:
            directory: the folder's path below the working folder.
        """
        asked = directory or self.directory or "."
        folder = Path(asked) if asked == self.directory else _inside(asked)
        files = (path for path in folder.rglob("*") if path.is_file())
        return "\n".join(sorted(str(path) for path in islice(files, _MOST_FILES)))


class FileWriterTool(BaseTool):
    """Write a text into a file below the working folder.

    Args:
        directory: the folder that files go to unless the model names another.
        base_dir: the folder below the working folder that all paths begin at; default: that itself.
        settings: those of `BaseTool`, such as description.

    Example:
        >>> FileWriterTool().run(filename="../escape.txt", content="")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        oarlock.contract.errors.ToolError: the file '../escape.txt' holds '..'. Give a path below the working folder, ...
    """

    directory: str = "."
    base_dir: str = "."

    def __init__(self, directory: str | os.PathLike[str] = ".", **settings: Any) -> None:
        super().__init__(directory=os.fspath(directory), **settings)

    def _run(self, filename: str, content: str, directory: str | None = None, overwrite: bool = False) -> str:
        """Write a text into a file below the working folder.

        Args:
            filename: the file's name.
            content: the text.
            directory: the folder's path below the working folder.
            overwrite: whether to write over a file that is there.
        """
        path = str(Path(self.base_dir, directory or self.directory, filename))
        if not overwrite and Path(path).exists():
            raise ToolError(f"there is a file {path!r} already: give overwrite=true, or another name.")
        try:
            write(place_of("FileWriterTool", path, {}, create=True), content, uuid.uuid4().hex)
        except (ConfigurationError, OutputError) as error:
            raise ToolError(_why(error)) from error
        return f"The text is in {path}."


def _inside(path: str, base: str = ".") -> Path:
    """Return a path that a model named, if it leads below its folder."""
    found, root = Path(base, path).resolve(), Path(base).resolve()
    if found != root and root not in found.parents:
        shown = "the working folder" if base == "." else base
        raise ToolError(f"{path!r} leads out of {shown}: name one below it.")
    return Path(base, path)


def _why(error: Exception) -> str:
    return str(error).removeprefix("FileWriterTool: ").partition(" The error has")[0].replace("output_file", "the file")
