"""Sign-in objects written for httpx2 or httpx, driven as a flow of ours.

Their flow yields the library's requests and receives its responses; ours yields `HttpRequest` and receives
`HttpResponse`. Only the messages are built with the library, and nothing is sent with it.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from typing import Any

from oarlock.contract.auth import Auth
from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.http import HttpRequest, HttpResponse

__all__ = ["ForeignAuth", "as_auth", "is_foreign_auth"]

LIBRARIES = ("httpx2", "httpx")
# The body is decoded and whole when the flow sees it; these fields describe how it travelled.
TRAVEL = {"content-encoding", "content-length", "transfer-encoding"}


def is_foreign_auth(obj: object) -> bool:
    """Whether an object is a `httpx2.Auth` or `httpx.Auth`; imports neither.

    Example:
        >>> import httpx
        >>> is_foreign_auth(httpx.BasicAuth("user", "password"))
        True
    """
    return _library(obj) is not None


def as_auth(auth: Any, what: str) -> Auth:
    """Return a sign-in of ours as it is, and one of httpx2 or httpx as one of ours.

    Args:
        auth: what the user gave.
        what: the argument, for the message.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(auth, Auth) and not isinstance(auth, type):
        return auth
    if is_foreign_auth(auth):
        return ForeignAuth(auth)
    given = "a text" if isinstance(auth, str) else f"of the type {type(auth).__name__}"
    raise ConfigurationError(
        f"{what} is {given}, which is no sign-in. For a key or token: oarlock.auth.ApiKey(...) or BearerToken(...)."
    )


def _library(obj: object) -> str | None:
    for cls in type(obj).__mro__:
        root = cls.__module__.partition(".")[0]
        if cls.__name__ == "Auth" and root in LIBRARIES:
            return root
    return None


class ForeignAuth:
    """A `httpx2.Auth` or `httpx.Auth` as one of our sign-in flows.

    `auth_flow` and `sync_auth_flow` are honoured, also in async use: the flow itself does no I/O, we send what it yields.
    A class that overrides only `async_auth_flow` cannot be driven this way.

    Args:
        auth: the library's sign-in object.

    Raises:
        ConfigurationError: it is no such object.

    Example:
        >>> import httpx
        >>> ForeignAuth(httpx.BasicAuth("user", "password"))
        ForeignAuth(BasicAuth)
    """

    def __init__(self, auth: Any) -> None:
        library = _library(auth)
        if library is None:
            raise ConfigurationError(f"{a_kind(auth)} is no httpx2.Auth or httpx.Auth.")
        self._auth = auth
        self._name = library

    def __repr__(self) -> str:
        return f"ForeignAuth({type(self._auth).__name__})"

    def __copy__(self) -> ForeignAuth:
        return self

    def __deepcopy__(self, memo: Any) -> ForeignAuth:
        return self  # as a `Secret` does: a copy of an LLM signs in as the same user

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self!r} cannot be pickled, since it may hold a secret: bind it again where the state is loaded."
        )

    def flow(self, request: HttpRequest) -> Generator[HttpRequest, HttpResponse, None]:
        """Yield the requests to send, the signed one among them; expects the response to each.

        Bodies are always there and whole, so `requires_request_body` and `requires_response_body` need nothing.
        """
        library = import_module(self._name)
        steps = self._auth.sync_auth_flow(_theirs(library, request))
        try:
            outgoing = next(steps)
            while True:
                response = yield _ours(outgoing, request)
                outgoing = steps.send(_their_response(library, outgoing, response))
        except StopIteration:
            return
        finally:
            steps.close()


def _theirs(library: Any, request: HttpRequest) -> Any:
    # A list of pairs keeps repeated fields; `content` of no bytes still sets what POST needs.
    return library.Request(request.method, request.url, headers=list(request.headers), content=request.body)


def _ours(outgoing: Any, request: HttpRequest) -> HttpRequest:
    """Return the library's request as ours; what its constructor added (host, length) is left to the transport."""
    host = outgoing.url.netloc.decode("ascii")
    headers = tuple(
        (name, value)
        for name, value in outgoing.headers.multi_items()
        if name != "content-length" and (name, value) != ("host", host)
    )
    return HttpRequest(
        method=outgoing.method,
        url=str(outgoing.url),
        headers=headers,
        body=outgoing.read(),
        timeout=request.timeout,
    )


def _their_response(library: Any, outgoing: Any, response: HttpResponse) -> Any:
    headers = [pair for pair in response.headers.pairs() if pair[0] not in TRAVEL]
    return library.Response(response.status, headers=headers, content=response.body, request=outgoing)
