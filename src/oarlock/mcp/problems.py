"""What can be wrong with an MCP server, in words."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from typing import Any, Final

from oarlock.contract.classify import error_for_status
from oarlock.contract.errors import AuthenticationError, LLMError, OarlockError, PermissionDeniedError, ToolError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import scrub
from oarlock.llms.redaction import credentials_of, redact

__all__ = ["MCPServerError", "Troubles", "translated"]

_REDIRECTS: Final = (301, 302, 303, 307, 308)


class MCPServerError(ToolError):
    """An MCP server could not be started or reached, has ended, or did not do what was asked.

    Where it happens in a tool call, it is told to the model; at the beginning of a run it ends the run.

    Attributes:
        server: the server's name.
        over: the connection has ended with it.
    """

    def __init__(self, message: str = "", *, server: str = "", over: bool = False) -> None:
        super().__init__(message)
        self.server = server
        self.over = over


class Troubles:
    """What happened below the SDK, which only says that something did: noted where it happens, told where it matters.

    A call's own troubles come first, then the connection's last one.
    """

    _mine: ContextVar[list[HttpResponse | LLMError] | None] = ContextVar("oarlock_mcp_troubles", default=None)

    def __init__(self, name: str, auth: object = None) -> None:
        self._name = name
        self._auth = auth
        self._last: HttpResponse | LLMError | None = None
        self._requests: deque[HttpRequest] = deque(maxlen=8)  # the latest, to know what an answer must not show

    def sent(self, request: HttpRequest) -> None:
        """Take note of a request: its credentials do not show in an error."""
        self._requests.append(request)

    def note(self, trouble: HttpResponse | LLMError) -> None:
        """Take note."""
        self._last = trouble
        mine = self._mine.get()
        if mine is not None:
            mine.append(trouble)

    def begin(self) -> None:
        """Begin a call in this context."""
        self._mine.set([])

    def error_for(self, error: BaseException) -> Exception:
        """Return what to raise in place of an error of the SDK's."""
        ours = self._error_for(error)
        redact(ours, credentials_of(self._requests, ()))
        return ours

    def _error_for(self, error: BaseException) -> Exception:
        mine = self._mine.get()
        trouble = mine[-1] if mine else self._last
        if isinstance(trouble, HttpResponse):
            return self._refused(trouble)
        if isinstance(trouble, AuthenticationError | PermissionDeniedError):
            return trouble
        if trouble is not None:
            return MCPServerError(f"The MCP server {self._name!r} could not be asked: {trouble}", server=self._name)
        over = type(error).__name__ == "ResidentGoneError" or "connection closed" in str(error).lower()
        why = "has ended, or closed the connection." if over else _why(error)
        return MCPServerError(f"The MCP server {self._name!r} {why}", server=self._name, over=over)

    def _refused(self, response: HttpResponse) -> Exception:
        status, words = response.status, scrub(response.body.decode("utf-8", "replace"), 300)
        message = f"The MCP server {self._name!r} answered HTTP {status}{f': {words}' if words else ''}."
        if status in (401, 403):
            how = f"The sign-in was {self._auth!r}." if self._auth else "No sign-in was given: pass auth=..."
            return error_for_status(status, f"{message} {how}")
        if status in _REDIRECTS:
            message += (
                " Redirects are not followed, so that credentials stay where they belong: give the final address."
            )
        elif status in (404, 405):
            message += " Is the URL right? Servers of the older kind, with events at /sse, are MCPServerSSE."
        return MCPServerError(message, server=self._name)


def _why(error: BaseException) -> str:
    """Return the end of a sentence."""
    if isinstance(error, FileNotFoundError):
        return "could not be started: there is no such program or folder."
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return f"could not be started: {error.strerror or type(error).__name__}."
    return f"failed: {scrub(str(error), 1000).rstrip('.') or type(error).__name__}."


def translated(error: Exception, troubles: Troubles) -> Exception:
    """Return an error of ours for whatever the SDK, or the loop that it runs on, raised."""
    found: Any = error
    while isinstance(found, BaseExceptionGroup):  # anyio puts what happens in its task groups into groups
        found = found.exceptions[0]
    return found if isinstance(found, OarlockError) else troubles.error_for(found)
