"""The base of every sign-in whose credential is fetched and good for a while."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from oarlock.auth.credentials import seconds
from oarlock.auth.renewal import MARGIN, Renewal, Token
from oarlock.contract.auth import Do, Flow, Send
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.runtime import Runtime

__all__ = ["TokenAuth"]

# What endpoints call a token that is no longer good where they do not answer 401 (RFC 6750, 3.1; AWS; gateways).
_EXPIRED = {"invalid_token", "token_expired", "expired_token", "expiredtoken", "expiredtokenexception", "invalidtoken"}


class TokenAuth(ABC):
    """Base for a sign-in of your own whose credential is fetched: write `fetch`, and perhaps `sign`.

    It is then fetched at first use, ahead of its expiry and once after it was refused (a 401, or a 400 or 403 that calls
    the token expired), once for all threads and tasks; the request is sent again with the new one.

    Args:
        margin: seconds before expiry from which on a new one is fetched; for short-lived tokens at most a fifth of
            their life.

    Raises:
        ConfigurationError: the margin is not a number of seconds.

    Example:
        >>> from oarlock.auth import Token
        >>> from oarlock.contract.secret import Secret
        >>> class Vault(TokenAuth):
        ...     async def fetch(self, runtime, send, deadline, old):
        ...         response = await send(HttpRequest(method="GET", url="https://vault.example.com/token", timeout=10))
        ...         return Token(secret=Secret(response.body.decode()), expires_at=runtime.time() + 300)
        >>> auth = Vault()
    """

    def __init__(self, *, margin: float = MARGIN) -> None:
        self._renewal = Renewal(type(self).__name__, seconds(type(self).__name__, "margin", margin))

    @abstractmethod
    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Return a new token.

        Args:
            runtime: what to wait with.
            send: sends a request of the sign-in's own; set its `timeout`.
            deadline: a `runtime.now()` at which whoever needs the token gives up.
            old: the token that is replaced, if there was one.

        Raises:
            AuthenticationError: none can be had.
        """

    def sign(self, request: HttpRequest, token: Token) -> HttpRequest:
        """Return the request with the token in it: `Authorization: Bearer ...`."""
        return request.with_headers(("Authorization", f"Bearer {token.secret.reveal()}"))

    def refuses(self, response: HttpResponse) -> bool:
        """Return whether a response says that the token is no longer good, so that another may help."""
        if response.status == 401:
            return True
        return response.status in (400, 403) and _calls_it_expired(response)

    def renewal(self) -> Renewal:
        """Return what holds the token for this call: one for all, unless tokens differ by end user."""
        return self._renewal

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request; once more with a new token if it is refused."""
        renewal = self.renewal()

        async def valid(runtime: Runtime, send: Send) -> Token:
            deadline = None if request.timeout is None else runtime.now() + request.timeout
            return await renewal.valid(runtime, self._fetching(runtime, send, deadline), deadline)

        async def other(runtime: Runtime, send: Send) -> Token | None:
            deadline = None if request.timeout is None else runtime.now() + request.timeout
            return await renewal.other_than(runtime, self._fetching(runtime, send, deadline), deadline, token)

        token: Token = yield Do(valid)
        response = yield self.sign(request, token)
        if self.refuses(response):
            newer: Token | None = yield Do(other)
            if newer is not None:
                yield self.sign(request, newer)

    def _fetching(self, runtime: Runtime, send: Send, deadline: float | None) -> Any:
        return lambda _why, old: self.fetch(runtime, send, deadline, old)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _calls_it_expired(response: HttpResponse) -> bool:
    if any(f'error="{word}"' in response.headers.get("www-authenticate", "").lower() for word in _EXPIRED):
        return True
    try:
        body = json.loads(response.body[:65536])
    except (ValueError, RecursionError):
        return False
    error = body.get("error", body) if isinstance(body, dict) else None
    words = [error] if isinstance(error, str) else []
    if isinstance(error, dict):
        words = [word for name in ("code", "type", "__type", "error") if isinstance(word := error.get(name), str)]
    return any(word.lower().rpartition("#")[2] in _EXPIRED for word in words)
