"""Tokens that outlive the program: what a store is, and a sign-in's own place in one."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from oarlock.auth.renewal import Token
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMTimeoutError, OarlockError
from oarlock.contract.frames import without_frames
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["StoredToken", "TokenStore", "stored_token"]

_THREADS = ThreadPool(4, "oarlock-store")
_LOG = logging.getLogger("oarlock.auth")


@runtime_checkable
class TokenStore(Protocol):
    """Keeps tokens for the next start of the program: `KeyringStore`, `EncryptedFileStore`, or one of your own.

    What it is given holds an access token and perhaps a refresh token: it must never write that in the clear. Its methods
    are blocking, may be called from any thread, and are called only when a token is needed or new.

    Example:
        >>> class InMemory(dict):
        ...     def load(self, key):
        ...         return self.get(key)
        ...     def save(self, key, value):
        ...         self[key] = value
        ...     def delete(self, key):
        ...         self.pop(key, None)
        >>> isinstance(InMemory(), TokenStore)
        True
    """

    def load(self, key: str) -> Secret | None:
        """Return what was saved under a key, `None` if there is nothing."""

    def save(self, key: str, value: Secret) -> None:
        """Keep a value in place of the one before; when it returns, a crash loses nothing."""

    def delete(self, key: str) -> None:
        """Forget what was saved under a key, if there is anything."""


class StoredToken:
    """One sign-in's place in a store.

    Args:
        owner: the sign-in's name, for messages.
        store: the store.
        key: tells this sign-in from all others; holds no secret.
    """

    def __init__(self, owner: str, store: TokenStore, key: str) -> None:
        self._owner = owner
        self._store = store
        self._key = key
        self._seen: Secret | None = None

    async def news(self, runtime: Runtime, deadline: float | None) -> Token | None:
        """Return the stored token if it is another than at the last look: of an earlier start, or of another process.

        Raises:
            AuthenticationError: the store cannot be read, or holds something else.
        """
        text: Secret | None = await self._do(runtime, deadline, "read", self._store.load, self._key)
        if text is None or text == self._seen:
            return None
        token = _read(text)
        if token is None:
            raise AuthenticationError(
                f"{self._owner}: what the token store holds under {self._key!r} is no token: delete it and sign in again."
            )
        self._seen = text
        return token

    async def save(self, runtime: Runtime, deadline: float | None, token: Token) -> None:
        """Store a token; where that fails, log it: the token is good, and a used-up refresh token does not come back."""
        text = _written(token)
        try:
            await self._do(runtime, deadline, "written", self._store.save, self._key, text)
        except OarlockError as error:
            _LOG.warning("%s The new token is kept in memory only.", error)
        else:
            self._seen = text

    async def forget(self, runtime: Runtime, deadline: float | None) -> None:
        """Delete a token that no longer helps anybody."""
        try:
            await self._do(runtime, deadline, "written", self._store.delete, self._key)
        except OarlockError as error:
            _LOG.warning("%s A token that is no longer good stays there.", error)
        self._seen = None

    async def _do(
        self, runtime: Runtime, deadline: float | None, what: str, method: Callable[..., Any], *args: Any
    ) -> Any:
        try:
            return await runtime.invoke(method, None, *args, deadline=deadline, pool=_THREADS)
        except OarlockError as error:
            failure: OarlockError = without_frames(error)
        except TimeoutError:
            failure = LLMTimeoutError(f"{self._owner}: the token store could not be {what} in time.")
        except Exception as error:  # noqa: BLE001  the boundary to a keyring, or to a store of the user's own
            # Without the error itself: its frames, and its words when something is saved, may hold the token.
            said = f": {scrub(str(error), 120)}" if what == "read" and str(error) else ""
            failure = AuthenticationError(
                f"{self._owner}: the token store could not be {what} ({type(error).__name__}{said})."
            )
        raise failure

    def __repr__(self) -> str:
        return f"StoredToken({self._key!r})"


def stored_token(owner: str, store: TokenStore | None, url: str, *identity: str | None) -> StoredToken | None:
    """Return a sign-in's place in a store.

    Args:
        owner: the sign-in's name.
        store: the store, if there is one.
        url: where it signs in.
        identity: what else tells it from others; only a digest of it is stored.

    Raises:
        ConfigurationError: this is no store.
    """
    if store is None:
        return None
    if isinstance(store, type) or not isinstance(store, TokenStore):
        raise ConfigurationError(
            f"{owner}: store must be a KeyringStore, an EncryptedFileStore or an object with load, save and delete, "
            f"not {store.__name__ if isinstance(store, type) else f'of the type {type(store).__name__}'}."
        )
    digest = hashlib.sha256(json.dumps([owner, url, *identity]).encode()).hexdigest()[:32]
    return StoredToken(owner, store, f"{owner} {urlsplit(url).hostname} {digest}")


def _written(token: Token) -> Secret:
    secrets = {name: value.reveal() for name, value in token.extras.items() if isinstance(value, Secret)}
    texts = {name: value for name, value in token.extras.items() if isinstance(value, str)}
    expires_at = None if token.expires_at == math.inf else token.expires_at
    return Secret(
        json.dumps({"token": token.secret.reveal(), "expires_at": expires_at, "secrets": secrets, "texts": texts})
    )


def _read(text: Any) -> Token | None:
    try:
        value = json.loads(text.reveal())
        expires_at = math.inf if value["expires_at"] is None else float(value["expires_at"])
        secrets = {str(name): Secret(_text(one)) for name, one in value["secrets"].items()}
        texts = {str(name): _text(one) for name, one in value["texts"].items()}
        return Token(secret=Secret(_text(value["token"])), expires_at=expires_at, extras={**texts, **secrets})
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("no text")
    return value
