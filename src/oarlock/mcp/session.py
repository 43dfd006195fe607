"""One connection to an MCP server, through the official SDK."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from oarlock.contract.context import scope
from oarlock.contract.errors import ConfigurationError
from oarlock.mcp.problems import MCPServerError, Troubles, translated

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool

__all__ = ["ConnectionLostError", "Session", "SessionOverError", "connected", "require_sdk"]

_MOST_PAGES = 100
_MOST_TOOLS = 1000
_SESSION_TERMINATED = "Session terminated"  # the SDK's words for a 404 within a session

R = TypeVar("R")
Streams = AbstractAsyncContextManager[Any]


class SessionOverError(MCPServerError):
    """The connection had ended, or the server has forgotten the session, before it was asked: a new one will do."""


class ConnectionLostError(MCPServerError):
    """The connection ended while the server was asked; nobody knows whether it did what was asked of it."""


class Reading:
    """The SDK's transport, watched for the end of what can be read from it."""

    def __init__(self, streams: Streams) -> None:
        self.ended = False
        self._streams = streams
        self._inner: Any = None

    async def __aenter__(self) -> tuple[Any, Any]:
        self._inner, writes = await self._streams.__aenter__()
        return _Watched(self._inner, self), writes

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._streams.__aexit__(kind, error, traceback)


class _Watched:
    """A stream of the SDK's that tells when it ends."""

    def __init__(self, inner: Any, reading: Reading) -> None:
        self._inner = inner
        self._reading = reading

    async def receive(self) -> Any:
        try:
            return await self._inner.receive()
        except Exception:
            self._reading.ended = True
            raise

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except Exception:  # StopAsyncIteration among them
            self._reading.ended = True
            raise

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self._inner.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """An initialised connection. Everything here runs on the loop that holds it.

    Attributes:
        client: the SDK's.
        troubles: what happens below it.
        reading: notices when nothing more can come.
    """

    client: Client
    troubles: Troubles
    reading: Reading

    async def list_tools(self) -> list[Tool]:
        """Return what the server offers: at most 1,000 tools."""
        return await self._watched(self._list_tools)

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Return what a tool gave."""
        return await self._watched(lambda: self.client.call_tool(name, dict(arguments)))

    async def _list_tools(self) -> list[Tool]:
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self.client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or len(found) > _MOST_TOOLS:
                break
        return found[:_MOST_TOOLS]

    async def _watched(self, work: Callable[[], Awaitable[R]]) -> R:
        if self.reading.ended:
            raise SessionOverError("The connection has ended.")
        self.troubles.begin()
        try:
            return await work()
        except Exception as error:  # noqa: BLE001  the SDK's errors, and those of whatever the server made it do
            failure = error
        if str(failure) == _SESSION_TERMINATED:
            raise SessionOverError("The server has forgotten the session.")
        ours = translated(failure, self.troubles)
        if self.reading.ended and isinstance(ours, MCPServerError):
            raise ConnectionLostError(str(ours), server=ours.server, over=True)
        raise ours


@asynccontextmanager
async def connected(
    streams: Callable[[], Streams], troubles: Troubles, changed: Callable[[], None], user: Any
) -> AsyncIterator[Session]:
    """Connect, and disconnect at the end.

    Args:
        streams: makes the SDK's transport.
        troubles: what happens below the SDK.
        changed: called when the server says that its tools have changed.
        user: for whom to sign in.
    """
    from mcp import Client
    from mcp_types import Implementation, ServerNotification, ToolListChangedNotification

    from oarlock import __version__

    logging.getLogger("mcp").addHandler(logging.NullHandler())  # it logs with tracebacks what we say in a sentence

    async def heard(message: Any) -> None:
        if isinstance(message, ServerNotification) and isinstance(
            getattr(message, "root", message), ToolListChangedNotification
        ):
            changed()

    with scope(user=user):  # all that it knows of the run that opened it
        troubles.begin()
        reading = Reading(streams())
        client = Client(
            reading,
            cache=None,
            message_handler=heard,
            client_info=Implementation(name="oarlock", version=__version__),
        )
        try:
            await client.__aenter__()
        except Exception as error:  # noqa: BLE001  see above
            failure: Exception | None = translated(error, troubles)
        else:
            failure = None
        if failure is not None:
            raise failure
        try:
            yield Session(client, troubles, reading)
        finally:
            await client.__aexit__(None, None, None)


def require_sdk() -> None:
    """Refuse to go on without the official SDK.

    Raises:
        ConfigurationError: it is not installed, or too old.
    """
    try:
        from mcp import Client  # noqa: F401
        from mcp_types import CallToolResult  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "MCP servers need the official SDK, version 2 or newer: pip install 'oarlock[mcp]'."
        ) from None
