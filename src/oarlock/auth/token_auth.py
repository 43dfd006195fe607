"""The base of every sign-in whose credential is fetched and good for a while."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod

from oarlock.auth.credentials import seconds
from oarlock.auth.renewal import MARGIN, Fetch, Renewal, Token
from oarlock.auth.store import StoredToken
from oarlock.contract.auth import Do, Flow, Send
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, LLMError, OarlockError
from oarlock.contract.frames import without_frames
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
        stored: the token's place in a store, where it outlives the program.

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

    def __init__(self, *, margin: float = MARGIN, stored: StoredToken | None = None) -> None:
        self._renewal = Renewal(type(self).__name__, seconds(type(self).__name__, "margin", margin))
        self._stored = stored

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

    def restore(self, token: Token) -> None:  # noqa: B027  most sign-ins have nothing to do here
        """Take over what came with a token from the store, such as a newer refresh token."""

    def renewal(self) -> Renewal:
        """Return what holds the token for this call: one for all, unless tokens differ by end user."""
        return self._renewal

    async def token(self, runtime: Runtime, send: Send, deadline: float | None = None) -> Token:
        """Return a token that is good now, fetched if need be; for whoever wants it without sending a request.

        Args:
            runtime: what to wait with.
            send: sends a request of the sign-in's own.
            deadline: a `runtime.now()` at which to give up.

        Raises:
            AuthenticationError: none can be had.
            LLMError: the same, for a reason that may heal by itself.
        """
        return await self.renewal().valid(runtime, self._fetching(runtime, send), deadline)

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request; once more with a new token if it is refused."""
        renewal = self.renewal()
        token: Token = (yield renewal.held) or (yield self.renewed(renewal, request))
        response = yield self.sign(request, token)
        if self.refuses(response):
            newer: Token | None = yield self.replaced(renewal, request, token)
            if newer is not None:
                yield self.sign(request, newer)

    def renewed(self, renewal: Renewal, request: HttpRequest) -> Do:
        """Return the work of getting a token that is good now, in no more time than the request has."""

        async def work(runtime: Runtime, send: Send) -> Token:
            return await renewal.valid(runtime, self._fetching(runtime, send), _deadline(request, runtime))

        return Do(work)

    def replaced(self, renewal: Renewal, request: HttpRequest, refused: Token) -> Do:
        """Return the work of getting a token in place of a refused one; it gives `None` where that would not help."""

        async def work(runtime: Runtime, send: Send) -> Token | None:
            fetching = self._fetching(runtime, send)
            return await renewal.other_than(runtime, fetching, _deadline(request, runtime), refused)

        return Do(work)

    def _fetching(self, runtime: Runtime, send: Send) -> Fetch:
        return lambda old, deadline: self._fetched(runtime, send, deadline, old)

    async def _fetched(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Return what is newer in the store, else fetch a token and store it before it is used."""
        newer = await self.from_store(runtime, deadline)
        if newer is not None and runtime.time() < newer.expires_at:
            return newer
        token = await self._fetch_anew(runtime, send, deadline, old)
        if self._stored is not None:
            await self._stored.save(runtime, deadline, token)
        return token

    async def from_store(self, runtime: Runtime, deadline: float | None) -> Token | None:
        """Return the token in the store, and take over what came with it, if somebody else has put a new one there."""
        newer = None if self._stored is None else await self._stored.news(runtime, deadline)
        if newer is not None:
            self.restore(newer)
        return newer

    async def _fetch_anew(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Fetch a token; its error leaves without the frames, which hold in the clear what was sent and received."""
        try:
            return await self.fetch(runtime, send, deadline, old)
        except OarlockError as error:
            failure = without_frames(error)
        except Exception as error:  # noqa: BLE001  the boundary to a sign-in of the user's own
            failure = _failed(type(self).__name__, error)
        raise failure

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _deadline(request: HttpRequest, runtime: Runtime) -> float | None:
    return None if request.timeout is None else runtime.now() + request.timeout


def _failed(owner: str, error: Exception) -> OarlockError:
    ours = classify(error, f"{owner}.fetch()")
    if isinstance(ours, LLMError) and not ours.retryable:
        ours = AuthenticationError(f"No token could be had: {ours}", status=ours.status)
        ours.__cause__ = error
    return ours


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
