"""Running a program for what it prints: never through a shell, for a limited time, with bounded output."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from oarlock.contract.errors import AuthenticationError, ConfigurationError, a_kind
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import ThreadPool

__all__ = ["Program"]

_MOST_OUTPUT: Final = 1024 * 1024  # bytes; a token is a few thousand
_SHOWN_OUTPUT: Final = 8000  # bytes of the error output's end that are looked at
_SHOWN: Final = 300  # characters of it that a message shows
_SHORTEST: Final = 4  # characters of a variable's value that is taken out of messages
_LAST_WORDS: Final = 1.0  # seconds for reading what a program said that was stopped


class Program:
    """A program and its arguments, to be run as often as its output is needed.

    It has no input, and its own process group: when its time is up it is ended together with what it started.

    Args:
        owner: for messages.
        command: the program and its arguments, as a list.
        env: variables added to its environment.
        cwd: the folder it runs in.

    Raises:
        ConfigurationError: the command is no list of texts, or a variable no text.
    """

    def __init__(
        self,
        owner: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str | Secret] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        self._owner = owner
        self._command = _checked_command(owner, command)
        self._env = {name: Secret(value) for name, value in _checked_env(owner, env or {}).items()}
        if cwd is not None and not isinstance(cwd, str | Path):
            raise ConfigurationError(f"{owner}: cwd must be the path of a folder, not {type(cwd).__name__}.")
        self._cwd = cwd
        self._readers = ThreadPool(name="oarlock-program")

    @property
    def name(self) -> str:
        """The program, without its arguments, which may be secret."""
        return self._command[0]

    def output(self, timeout: float) -> str:
        """Run it and return what it prints.

        Raises:
            AuthenticationError: it cannot be run, takes longer than `timeout` seconds, prints too much, or fails.
        """
        try:
            process = self._start()
        except (OSError, ValueError) as error:  # a ValueError: an argument holds a NUL
            problem: str | None = self._why_not(error)
        else:
            with process:
                try:
                    printed, said = self._read(process, timeout)
                finally:
                    _end(process)
            problem = self._problem(process.returncode, printed, said, timeout)
            if printed is not None and not problem:
                return printed.decode("utf-8", "replace")
        raise AuthenticationError(f"{self._owner}: {self.name!r} {problem}.")

    def _start(self) -> subprocess.Popen[bytes]:
        variables = {name: value.reveal() for name, value in self._env.items()}
        return subprocess.Popen(  # noqa: S603  a list, never a shell
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **variables},
            cwd=self._cwd,
            start_new_session=True,  # so that its children end with it, and nothing waits for a person at the terminal
        )

    def _why_not(self, error: OSError | ValueError) -> str:
        if isinstance(error, ValueError):
            return "cannot be run: an argument or variable holds a NUL character"
        where = f" in {str(self._cwd)!r}" if self._cwd is not None and str(error.filename) == str(self._cwd) else ""
        return f"cannot be run{where}: {error.strerror or type(error).__name__}"

    def _read(self, process: subprocess.Popen[bytes], timeout: float) -> tuple[bytes | None, bytes]:
        """Return what it printed (`None`: its time was up) and the end of what it said of errors."""
        until = time.monotonic() + timeout
        printing = self._readers.submit(_first, process.stdout)
        saying = self._readers.submit(_last, process.stderr)
        try:
            printed = printing.result(timeout)
            if len(printed) <= _MOST_OUTPUT:
                process.wait(max(0.0, until - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            printed = None
        _end(process)
        try:
            return printed, saying.result(_LAST_WORDS)
        except TimeoutError:  # something that left its process group has its error output still
            return printed, b""

    def _problem(self, code: int, printed: bytes | None, said: bytes, timeout: float) -> str | None:
        shown = self._shown(said)
        if printed is None:
            return f"did not end within {timeout:g} s, and was stopped{shown}"
        if len(printed) > _MOST_OUTPUT:
            return f"printed more than {_MOST_OUTPUT} bytes, and was stopped"
        return f"failed with exit code {code}{shown}" if code else None

    def _shown(self, said: bytes) -> str:
        text = said.decode("utf-8", "replace")
        for value in self._env.values():
            if len(value.reveal()) >= _SHORTEST:
                text = text.replace(value.reveal(), "…")
        text = scrub(text, _SHOWN_OUTPUT).rstrip(".")  # whole, since half a credential would not be known as one
        return f": {text if len(text) <= _SHOWN else '…' + text[-_SHOWN:]}" if text else ""


def _checked_command(owner: str, command: Any) -> list[str]:
    if isinstance(command, str | bytes):
        raise ConfigurationError(
            f'{owner}: command must be a list such as ["gcloud", "auth", "print-access-token"], '
            "not one text: no shell reads it."
        )
    if not isinstance(command, Sequence) or not command or not all(isinstance(one, str) for one in command):
        raise ConfigurationError(f"{owner}: command must be a list of texts, not {_kind(command)}.")
    if not command[0].strip():
        raise ConfigurationError(f"{owner}: command must begin with the program.")
    return list(command)


def _kind(command: Any) -> str:
    if isinstance(command, Sequence):
        wrong = [one for one in command if not isinstance(one, str)]
        return f"one with {a_kind(wrong[0])} in it" if wrong else "an empty one"
    return f"of the type {type(command).__name__}"


def _checked_env(owner: str, env: Any) -> Mapping[str, str | Secret]:
    if not isinstance(env, Mapping) or not all(
        isinstance(name, str) and name and isinstance(value, str | Secret) for name, value in env.items()
    ):
        raise ConfigurationError(f"{owner}: env must be a mapping of texts to texts.")
    return env


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and its process group, unless it has ended well; until it is waited for, its id is its own."""
    if process.returncode is None:
        if os.name == "posix":
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _first(pipe: Any) -> bytes:
    """Read to the end, or a little more than is allowed."""
    data = b""
    while len(data) <= _MOST_OUTPUT and (more := pipe.read(65536)):
        data += more
    return data


def _last(pipe: Any) -> bytes:
    """Read to the end, and keep the end."""
    data = b""
    while more := pipe.read(65536):
        data = (data + more)[-_SHOWN_OUTPUT:]
    return data
