"""MCP servers that are programs on this machine."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from oarlock.agents.definitions import checked
from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.secret import Secret, scrub
from oarlock.mcp.problems import Troubles
from oarlock.mcp.server import MCPServer
from oarlock.mcp.session import Session, connected
from oarlock.runtime import Promise, Runtime, ThreadPool

if TYPE_CHECKING:
    from mcp.client.stdio import StdioServerParameters

__all__ = ["MCPServerStdio"]

_READERS = ThreadPool(None, "oarlock-mcp-stderr")
_MOST_LINES = 50  # of what the program wrote to standard error
_LONGEST_LINE = 2000  # characters
_PATIENCE = 0.5  # seconds
_SHORTEST = 4  # characters of a variable's value that is taken out of messages
_SHOWN_LINES = 5
_FRAME = " \t\r\n│┃╭╮╰╯─━❱|"  # of tracebacks in boxes
_SHOWN = 300  # characters of them that a message shows


@checked(later={})
@dataclass(kw_only=True, eq=False, repr=False)
class MCPServerStdio(MCPServer):
    """An MCP server that is a program: started at first use, spoken to through its standard input and output.

    It gets `HOME`, `PATH` and the like, and besides that only the variables in `env`. What it writes to standard error is not
    shown, but the end of it stands in the error if the program fails. It is ended, with all that it started, by `close()`,
    at the end of a `with`, and when the interpreter ends; the next use starts it again.

    Args:
        command: the program, such as `"npx"`, `"uvx"`, `sys.executable`, or the program and its arguments as a list.
        args: further arguments.
        env: variables for it; values may be `Secret`s.
        cwd: the folder it runs in.

    The other arguments are those of `MCPServer`.

    Raises:
        ConfigurationError: a setting that cannot work, or `oarlock[mcp]` is not installed.

    Example:
        >>> MCPServerStdio(command="npx", args=["-y", "@modelcontextprotocol/server-filesystem", "/tmp"])
        MCPServerStdio('npx')
    """

    command: str | Sequence[str]
    args: Sequence[str] = ()
    env: Mapping[str, str | Secret] | None = field(default=None)
    cwd: str | Path | None = None

    def __post_init__(self) -> None:
        words = [self.command] if isinstance(self.command, str) else list(self.command)
        words += [self.args] if isinstance(self.args, str) else self.args
        if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0].strip():
            raise ConfigurationError(
                "MCPServerStdio: command must be a program, or a list of a program and its arguments, all of them texts."
            )
        if isinstance(self.command, str) and " " in words[0] and not self.args and not Path(words[0]).exists():
            raise ConfigurationError(
                f"MCPServerStdio: there is no program {words[0].split()[0]!r} with blanks in its name: give the arguments apart, "
                "as in command=['python', 'server.py']."
            )
        self._words = words
        self.env = _checked_env(self.env)
        super().__post_init__()

    def _renew(self) -> None:
        super()._renew()
        self._output = _ErrorOutput()

    def __repr__(self) -> str:
        return f"MCPServerStdio({self._words[0]!r})"

    def default_name(self) -> str:
        return Path(self._words[-1] if len(self._words) > 1 else self._words[0]).name or self._words[0]

    async def last_words(self, runtime: Runtime, *, over: bool) -> str:
        """Return the end of what the program wrote to standard error, without the values of its variables."""
        output = self._output
        if over:
            await runtime.invoke(output.wait, None, pool=_READERS)
        lines = [line for one in output.lines.copy() if (line := one.strip(_FRAME))]
        text = " ".join(lines[-_SHOWN_LINES:])
        for value in (self.env or {}).values():
            plain = value.reveal() if isinstance(value, Secret) else value
            text = text.replace(plain, "…") if len(plain) >= _SHORTEST else text
        return scrub(text, _SHOWN * 8)[-_SHOWN:]

    def connect(self, user: Any) -> AbstractAsyncContextManager[Session]:
        from mcp.client.stdio import StdioServerParameters

        env = {name: value.reveal() if isinstance(value, Secret) else value for name, value in (self.env or {}).items()}
        program = StdioServerParameters(command=self._words[0], args=self._words[1:], env=env, cwd=self.cwd)
        self._output = _ErrorOutput()
        return connected(
            functools.partial(_streams, program, self._output), Troubles(self.title), self.forgetter(), user
        )


class _ErrorOutput:
    """The end of what a program writes to standard error."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._silent: Promise[None] = Promise()

    def pipe(self) -> TextIO:
        """Return what a program is to write to."""
        reads, writes = os.pipe()
        _READERS.start(lambda: self._collect(reads))
        return io.TextIOWrapper(os.fdopen(writes, "wb"))

    def _collect(self, reads: int) -> None:
        with os.fdopen(reads, errors="replace") as source:
            while line := source.readline(_LONGEST_LINE):
                self.lines.append(line)
        self._silent.set_result(None)

    def wait(self) -> None:
        """Wait, blocking, until nothing more can come, but not for long: what it has started may go on."""
        with contextlib.suppress(TimeoutError):
            self._silent.result(_PATIENCE)


@asynccontextmanager
async def _streams(program: StdioServerParameters, output: _ErrorOutput) -> AsyncIterator[Any]:
    """Start the program, and end it."""
    from mcp.client.stdio import stdio_client

    ours = output.pipe()
    try:
        async with stdio_client(program, ours) as streams:
            ours.close()  # now only the program has it, so that its end is the end of it
            yield streams
    finally:
        ours.close()


def _checked_env(env: Any) -> dict[str, str | Secret] | None:
    if env is None:
        return None
    if not isinstance(env, Mapping) or not all(isinstance(name, str) for name in env):
        raise ConfigurationError("MCPServerStdio: env must be a mapping of names to texts.")
    for name, value in env.items():
        if not isinstance(value, str | Secret):
            raise ConfigurationError(f"MCPServerStdio: env[{name!r}] must be a text, not {a_kind(value)}.")
    return {name: Secret(value) for name, value in env.items()}
