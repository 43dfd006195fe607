"""`MCPServer`: what all MCP servers have in common."""

from __future__ import annotations

import functools
import logging
import weakref
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from oarlock.auth.single_flight import SingleFlight
from oarlock.contract.checks import flag, seconds
from oarlock.contract.context import current_call
from oarlock.contract.errors import ConfigurationError, ToolError
from oarlock.contract.secret import scrub
from oarlock.mcp.problems import MCPServerError, Troubles, translated
from oarlock.mcp.results import text_of
from oarlock.mcp.session import ConnectionLostError, Session, SessionOverError, require_sdk
from oarlock.mcp.tool import MCPTool
from oarlock.runtime import Runtime, drive
from oarlock.runtime.ambient import drive_async
from oarlock.tools.json_schema import JsonArguments
from oarlock.tools.names import nearest, shown

if TYPE_CHECKING:
    from mcp_types import Tool

    from oarlock.runtime.resident import Resident
    from oarlock.tools import BaseTool

__all__ = ["MCPServer"]

_log = logging.getLogger("oarlock.mcp")
_FRESH = 10.0  # seconds for which a list of tools is not asked for again, though a run begins: thousands may at once
_PREFIX = "_-"

R = TypeVar("R")


@dataclass(kw_only=True, eq=False, repr=False)
class MCPServer:
    """An MCP server, whose tools agents may use: `Agent(tools=[server])`. Use `MCPServerStdio` or `MCPServerHTTP`.

    Building one starts nothing and connects to nothing: that happens when the first run that needs it begins, or at the
    first use of `tools`. One connection serves all runs, blocking and async, on any event loop; one that has ended is made
    anew by the next call. `close()` ends it, and so does `with server:` or `async with server:` around the work.

    The list of tools is asked for when a run begins (at most every ten seconds) and when the server says that it changed.

    Args:
        name: for messages; default: from the program or the host.
        allowed_tools: the names of the tools to offer; default: all.
        blocked_tools: the names of tools that are not offered.
        tool_filter: a function that takes a tool's description, `{"name", "description", "inputSchema", "annotations"}`, and
            returns whether to offer it.
        prefix: put before the names of the tools, with an underscore, so that two servers may have tools of one name.
        dangerous: `True`, or names of tools: each call of these needs an approval; see `Agent(on_approval=...)`.
        timeout: seconds for one call of a tool.
        connect_timeout: seconds for starting or connecting, and for listing the tools.
        cache_tools_list: ask for the list of tools only once for each connection, and when the server says that it changed.

    Raises:
        ConfigurationError: a setting that cannot work, or `oarlock[mcp]` is not installed.
    """

    name: str | None = None
    allowed_tools: Collection[str] | None = None
    blocked_tools: Collection[str] = ()
    tool_filter: Callable[[dict[str, Any]], bool] | None = None
    prefix: str = ""
    dangerous: bool | Collection[str] = False
    timeout: float = 60.0
    connect_timeout: float = 30.0
    cache_tools_list: bool = False

    def __post_init__(self) -> None:
        who = type(self).__name__
        require_sdk()
        self.title = self.name or self.default_name()
        seconds(who, "timeout", self.timeout)
        seconds(who, "connect_timeout", self.connect_timeout)
        flag(who, "cache_tools_list", self.cache_tools_list)
        if self.allowed_tools is not None:
            self.allowed_tools = _names(who, "allowed_tools", self.allowed_tools)
        self.blocked_tools = _names(who, "blocked_tools", self.blocked_tools)
        if not isinstance(self.dangerous, bool):
            self.dangerous = _names(who, "dangerous", self.dangerous)
        if self.tool_filter is not None and not callable(self.tool_filter):
            raise ConfigurationError(f"{who}: tool_filter must be a function of a tool's description.")
        if not isinstance(self.prefix, str) or not all(sign.isalnum() or sign in _PREFIX for sign in self.prefix):
            raise ConfigurationError(f"{who}: prefix must be made of letters, digits, _ and -, not {self.prefix!r}.")
        self._renew()

    def _renew(self) -> None:
        from oarlock.runtime.resident import Resident  # brings asyncio

        self._connection: Resident[Session] = Resident(lambda: self.connect(current_call().user))
        self._flight: SingleFlight[tuple[MCPTool, ...]] = SingleFlight()
        self._known: tuple[MCPTool, ...] = ()
        self._listed: float | None = None  # when; `None`: not at all, or it has changed since

    # What the kinds of servers write.

    @abstractmethod
    def default_name(self) -> str:
        """Return what to call it in messages."""

    @abstractmethod
    def connect(self, user: Any) -> AbstractAsyncContextManager[Session]:
        """Connect, signing in for this end user, and disconnect at the end."""

    # For users.

    @property
    def tools(self) -> list[BaseTool]:
        """The tools that it offers; connects, blocking, if they are not known yet.

        Raises:
            MCPServerError: it could not be started or reached.
            AuthenticationError: it refuses the sign-in.
        """
        return list(self._known if self._is_known() else drive(self.offered))

    def __enter__(self) -> Self:
        drive(self.offered)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await drive_async(self.offered)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """End the connection, and the program, if it is one; blocking, at most ten seconds. A later use connects again."""
        self._connection.close()
        self.forget()

    async def aclose(self) -> None:
        """End the connection from a coroutine; the same as `close`."""
        await self._connection.aclose()
        self.forget()

    # For runs.

    def forgetter(self) -> Callable[[], None]:
        """Return what lets the list be forgotten, but does not keep this server alive: its connection is to end with it."""
        reference = weakref.ref(self)

        def forget() -> None:
            server = reference()
            if server is not None:
                server.forget()

        return forget

    def forget(self) -> None:
        """Let the list of tools be asked for before it is used again."""
        self._listed = None

    async def refresh(self, runtime: Runtime) -> None:
        """Connect, if need be, and know which tools there are now."""
        if not (self._is_known() and (self.cache_tools_list or self._is_fresh(runtime))):
            self.forget()
            await self.offered(runtime)

    async def offered(self, runtime: Runtime) -> tuple[MCPTool, ...]:
        """Return the tools that it offers.

        Raises:
            MCPServerError: it could not be started or reached.
            AuthenticationError: it refuses the sign-in.
            ConfigurationError: a name in `allowed_tools` or `dangerous` is none of its tools.
        """
        return await self._flight.run(
            runtime, functools.partial(self._list, runtime), lambda: self._known if self._is_known() else None
        )

    def _is_known(self) -> bool:
        return self._listed is not None and self._connection.alive

    def _is_fresh(self, runtime: Runtime) -> bool:
        return self._listed is not None and 0 <= runtime.now() - self._listed < _FRESH

    async def _list(self, runtime: Runtime) -> tuple[MCPTool, ...]:
        self._listed = runtime.now()  # before asking: what changes from now on tells anew
        try:
            found = await self._use(runtime, Session.list_tools, self.connect_timeout)
            self._known = self._tools_from(found)
        except BaseException:
            self.forget()
            raise
        return self._known

    async def ask(
        self, runtime: Runtime, name: str, arguments: Mapping[str, Any], deadline: float | None = None
    ) -> str:
        """Call a tool by the server's own name for it, and return its answer as text.

        Raises:
            ToolError: the server says that it failed, or did not answer; the text is for the model.
            AuthenticationError: it refuses the sign-in.
            TimeoutError: the deadline passed.
        """

        async def call(session: Session) -> Any:
            return await session.call_tool(name, arguments)

        deadline = current_call().deadline if deadline is None else deadline
        return text_of(await self._use(runtime, call, self.timeout, deadline))

    async def _use(
        self, runtime: Runtime, call: Callable[[Session], Awaitable[R]], limit: float, deadline: float | None = None
    ) -> R:
        """Return what comes of a call on the connection, on a new one if it had ended before."""
        try:
            return await self._use_once(runtime, call, limit, deadline)
        except SessionOverError:
            self._connection.retire()
        except ConnectionLostError:
            self._connection.retire()
            raise
        return await self._use_once(runtime, call, limit, deadline)

    async def _use_once(
        self, runtime: Runtime, call: Callable[[Session], Awaitable[R]], limit: float, deadline: float | None
    ) -> R:
        """Return what comes of a call on the connection, within its limit and the deadline."""
        until = limit if deadline is None else min(limit, deadline - runtime.now())
        blocking = functools.partial(self._connection.use, call, max(0.0, until))
        awaitable = functools.partial(self._connection.ause, call, max(0.0, until))
        try:
            result: R = await runtime.invoke(blocking, awaitable)
        except TimeoutError:
            if until < limit:
                raise
            late = f"The MCP server {self.title!r} gave no answer within {limit:g} s."
            failure: Exception = MCPServerError(late, server=self.title)
        except Exception as error:  # noqa: BLE001  of the loop that holds the connection
            failure = self._failure(error)
        else:
            return result
        if isinstance(failure, MCPServerError) and (words := await self.last_words(runtime, over=failure.over)):
            failure.args = (f"{failure} Its last words: {words}",)
        raise failure

    async def last_words(self, runtime: Runtime, *, over: bool) -> str:
        """Return what the server has said aside, where there is such a thing."""
        return ""

    def _failure(self, error: Exception) -> Exception:
        return translated(error, Troubles(self.title))

    # From what the server says of its tools to ours.

    def _tools_from(self, found: list[Tool]) -> tuple[MCPTool, ...]:
        offered = {tool.name for tool in found}
        for setting, names in (("allowed_tools", self.allowed_tools), ("dangerous", self.dangerous)):
            unknown = sorted(set(names) - offered) if names and not isinstance(names, bool) else []
            if unknown:
                near = nearest(unknown[0], offered)
                hint = f"Did you mean {near!r}?" if near else f"Its tools are: {shown(sorted(offered))}."
                raise ConfigurationError(
                    f"{type(self).__name__} {self.title!r}: {setting} names {unknown[0]!r}, which the server does not have. {hint}"
                )
        before = {tool.remote_name: tool for tool in self._known}
        made: dict[str, MCPTool] = {}
        for one in found:
            tool = self._tool_from(one) if self._wants(one) else None
            if tool is None:
                continue
            if tool.function_name in made:
                _log.warning("MCP server %r: %r is not offered: another tool has that name", self.title, one.name)
                continue
            earlier = before.get(one.name)
            made[tool.function_name] = earlier if earlier is not None and earlier.is_like(tool) else tool
        return tuple(made.values())

    def _wants(self, tool: Tool) -> bool:
        if tool.name in self.blocked_tools or (self.allowed_tools is not None and tool.name not in self.allowed_tools):
            return False
        return self.tool_filter is None or bool(self.tool_filter(tool.model_dump(mode="json", by_alias=True)))

    def _tool_from(self, tool: Tool) -> MCPTool | None:
        dangerous = self.dangerous if isinstance(self.dangerous, bool) else tool.name in self.dangerous
        try:
            arguments = JsonArguments(tool.input_schema)
            return MCPTool(
                self,
                tool.name,
                tool.description or "",
                arguments,
                dangerous=dangerous,
                idempotent=_may_be_repeated(tool),
            )
        except ToolError as error:
            _log.warning("MCP server %r: %r is not offered: %s", self.title, scrub(tool.name, 64), error)
            return None

    # A copy of an agent uses the same connection; a pickled one makes its own.

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        own = {"_connection", "_flight", "_known", "_listed", "_output", "_transport"}
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._renew()


def _may_be_repeated(tool: Tool) -> bool:
    """Return whether the server says that twice is as good as once: for a durable run that was cut off in the middle of it."""
    said = tool.annotations
    return said is not None and (said.read_only_hint is True or said.idempotent_hint is True)


def _names(who: str, setting: str, given: Any) -> frozenset[str]:
    if isinstance(given, str) or not isinstance(given, Collection) or not all(isinstance(one, str) for one in given):
        raise ConfigurationError(f"{who}: {setting} must be a list of names of tools, not {given!r}.")
    return frozenset(given)
