"""Where configuration says that a secret is: `env:NAME`, `file:PATH` or `command:[...]`, never the secret itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oarlock.auth.program import Program
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.secret import Secret

__all__ = ["Reference", "reference"]

_KINDS: Final = ("env", "file", "command")
_COMMAND_TIME: Final = 30.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a secret is.

    Attributes:
        kind: `"env"`, `"file"` or `"command"`.
        place: the variable's name, the file's path, or the program.
        where: the setting, for messages.
    """

    kind: str
    place: Any
    where: str

    def now(self) -> Secret:
        """Return the secret as it is now.

        Raises:
            ConfigurationError: it is not there.
        """
        if self.kind == "env":
            text = os.environ.get(self.place)
            if text is None:
                raise ConfigurationError(f"{self.where}: the environment variable {self.place} is not set.")
        elif self.kind == "file":
            text = self._content()
        else:
            text = self._printed()
        text = text.rstrip("\r\n")
        if not text:
            raise ConfigurationError(f"{self.where}: {self._shown()} is empty.")
        return Secret(text)

    def later(self) -> Secret | Path | Callable[[], str]:
        """Return the secret, or what reads it whenever it is needed, where it may change."""
        if self.kind == "env":
            return self.now()
        if self.kind == "file":
            return Path(self.place).expanduser()
        return lambda: self._printed().strip()

    def _content(self) -> str:
        try:
            return Path(self.place).expanduser().read_text(encoding="utf-8")
        except UnicodeDecodeError:
            problem = "it is no text in UTF-8"
        except OSError as error:
            problem = error.strerror or type(error).__name__
        raise ConfigurationError(f"{self.where}: the file {self.place} cannot be read: {problem}.")

    def _printed(self) -> str:
        try:
            return Program(self.where, self.place).output(_COMMAND_TIME)
        except AuthenticationError as error:
            problem = str(error)
        raise ConfigurationError(problem)

    def _shown(self) -> str:
        return f"command {self.place[0]!r}" if self.kind == "command" else f"{self.kind}:{self.place}"


def reference(value: Any, where: str) -> Reference | None:
    """Return where a secret is, `None` if this is no reference.

    Raises:
        ConfigurationError: it is one, and badly written.
    """
    if isinstance(value, Mapping):
        kind, place = next(iter(value.items()), ("", None)) if len(value) == 1 else ("", None)
    elif isinstance(value, str):
        kind, _, place = value.partition(":")
    else:
        return None
    if kind not in _KINDS:
        return None
    if kind == "command":
        return Reference(kind=kind, place=_command(place, where), where=where)
    if not isinstance(place, str) or not place.strip():
        raise ConfigurationError(f"{where}: say which, as {'env:NAME' if kind == 'env' else 'file:PATH'}.")
    return Reference(kind=kind, place=place.strip(), where=where)


def _command(command: Any, where: str) -> list[str]:
    if isinstance(command, str):
        try:
            command = json.loads(command)
        except ValueError:
            command = None
    if not isinstance(command, list) or not command or not all(isinstance(one, str) for one in command):
        raise ConfigurationError(f'{where}: a command is a list, as in command:["pass", "show", "llm"].')
    return command
