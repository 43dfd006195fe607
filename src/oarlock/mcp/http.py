"""MCP servers behind HTTP."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from oarlock.agents.definitions import checked
from oarlock.auth.foreign import as_auth
from oarlock.contract.auth import Auth
from oarlock.contract.checks import flag
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import Secret
from oarlock.llms.settings import checked_headers, checked_mapping, client_certificate_of, sends_in_clear
from oarlock.mcp.problems import Troubles
from oarlock.mcp.server import MCPServer
from oarlock.mcp.session import Session, connected
from oarlock.runtime.ambient import current_async
from oarlock.transport import Transport, make_transport

if TYPE_CHECKING:
    from oarlock.transport.httpx2_bridge import Bridge

__all__ = ["MCPServerHTTP", "MCPServerSSE"]


@checked(later={"streamable": True})
@dataclass(kw_only=True, eq=False, repr=False)
class MCPServerHTTP(MCPServer):
    """An MCP server behind streamable HTTP, with any sign-in of `oarlock.auth`.

    The credential is renewed as for an LLM, replayed once after a 401, and sent to the URL's origin only; redirects are not
    followed. What the server sends is bounded as what an LLM sends.

    Args:
        url: of the server, such as `"https://mcp.example.com/mcp"`.
        auth: how to sign in. Each request is signed for the run it serves, so `OnBehalfOf` works too.
        headers: sent with every request; their values are not shown.
        allow_http: send a credential over plain `http://` to another machine.
        transport: as for `ChatLLM`: `"pyreqwest"`, `"httpx2"`, or an object of your own.
        transport_options: as for `ChatLLM`, such as `{"verify": "company-ca.pem"}`.

    The other arguments are those of `MCPServer`.

    Raises:
        ConfigurationError: a setting that cannot work, or `oarlock[mcp]` is not installed.

    Example:
        >>> from oarlock.auth import BearerToken
        >>> MCPServerHTTP(url="https://mcp.example.com/mcp?key=s3cret", auth=BearerToken("token"))
        MCPServerHTTP('https://mcp.example.com/mcp')
    """

    url: str
    auth: Any = None
    headers: Mapping[str, str] | None = field(default=None)
    allow_http: bool = False
    transport: Any = None
    transport_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        who = type(self).__name__
        url = _checked_url(who, self.url)
        self.url, _, query = url.partition("?")  # shown without its query, which may hold a key
        self._query = Secret(query) if query else None
        self.auth = None if self.auth is None else as_auth(self.auth, f"{who}: auth")
        given = self.headers or {}
        plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in dict(given).items()}
        self._headers = [(name, Secret(value)) for name, value in checked_headers(who, plain)]
        self.headers = None  # kept as secrets only
        if not flag(who, "allow_http", self.allow_http) and (self.auth or given) and sends_in_clear(self.url):
            raise ConfigurationError(
                f"{who}: url is http://, so that everybody on the way could read the credential: use https://, or say "
                "allow_http=True. Without auth and headers, http:// is taken as it is."
            )
        options = checked_mapping(who, "transport_options", self.transport_options)
        if (certificate := client_certificate_of(who, self.auth, self.url, options)) is not None:
            options["client_certificate"] = certificate
        self._options = options
        super().__post_init__()

    def _renew(self) -> None:
        super()._renew()
        self._transport: Transport = make_transport(self.transport, **self._options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def default_name(self) -> str:
        return urlsplit(self.url).hostname or "server"

    def connect(self, user: Any) -> AbstractAsyncContextManager[Session]:
        from oarlock.transport.httpx2_bridge import Bridge

        auth: Auth | None = self.auth
        troubles = Troubles(self.title, auth)
        bridge = Bridge(
            transport=self._transport,
            runtime=current_async(),
            url=f"{self.url}?{self._query.reveal()}" if self._query else self.url,
            auth=auth,
            headers=tuple((name, value.reveal()) for name, value in self._headers),
            timeout=self.timeout,
            sent=troubles.sent,
            failed=troubles.note,
        )
        return connected(functools.partial(self._streams, bridge), troubles, self.forgetter(), user)

    @staticmethod
    @asynccontextmanager
    async def _streams(bridge: Bridge) -> AsyncIterator[Any]:
        from mcp.client.streamable_http import streamable_http_client

        from oarlock.transport.httpx2_bridge import bridged_client

        async with (
            bridged_client(bridge) as client,
            streamable_http_client(bridge.shown_url, http_client=client) as streams,
        ):
            yield streams


@checked(later={})
@dataclass(kw_only=True, eq=False, repr=False)
class MCPServerSSE(MCPServerHTTP):
    """An MCP server of the older kind: events at a URL of their own, often ending in `/sse`. As `MCPServerHTTP` in all else.

    Example:
        >>> MCPServerSSE(url="https://mcp.example.com/sse")
        MCPServerSSE('https://mcp.example.com/sse')
    """

    @staticmethod
    @asynccontextmanager
    async def _streams(bridge: Bridge) -> AsyncIterator[Any]:
        from mcp.client.sse import sse_client

        from oarlock.transport.httpx2_bridge import bridged_client

        def ours(headers: object = None, timeout: object = None, auth: object = None) -> Any:  # noqa: ARG001  as it is called
            return bridged_client(bridge)

        async with sse_client(bridge.shown_url, httpx_client_factory=ours) as streams:
            yield streams


def _checked_url(who: str, url: object) -> str:
    try:
        parts = urlsplit(url.strip()) if isinstance(url, str) else urlsplit("")
        parts.port  # noqa: B018  raises for a wrong port
    except ValueError as error:
        raise ConfigurationError(f"{who}: url is no valid URL: {error}.") from None
    if parts.username or parts.password:
        raise ConfigurationError(f"{who}: url holds a user name or password: give them through auth= instead.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"{who}: url must begin with http:// or https:// and a host, such as 'https://mcp.example.com/mcp'."
        )
    return parts._replace(fragment="").geturl()
