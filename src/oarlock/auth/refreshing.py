"""The newest refresh token, where a server gives a new one with each access token (RFC 6749, 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from oarlock.auth.renewal import Token
from oarlock.contract.secret import Secret

__all__ = ["NewestRefreshToken"]


class NewestRefreshToken:
    """Knows which refresh token to use next.

    Args:
        owner: the sign-in's name.
        first: the one that was given, if any.
        tell: is given each newer one.
    """

    def __init__(self, owner: str, first: Secret | None, tell: Callable[[Secret], Any] | None) -> None:
        self._owner = owner
        self._newest = first
        self._tell = tell

    def __bool__(self) -> bool:
        return self._newest is not None

    def grant(self) -> dict[str, str]:
        """Return the fields that a token endpoint wants."""
        assert self._newest is not None
        return {"grant_type": "refresh_token", "refresh_token": self._newest.reveal()}

    def kept(self, token: Token) -> Token:
        """Take the newer refresh token that came with a token; return the token with the newest, for a store."""
        newer = token.extras.get("refresh_token")
        if isinstance(newer, Secret) and newer != self._newest:
            self._newest = newer
            if self._tell is not None:
                self._tell(newer)
        if self._newest is None:
            return token
        return dataclasses.replace(token, extras={**token.extras, "refresh_token": self._newest})

    def restore(self, token: Token) -> None:
        """Take the one that stands in a store: it is newer, as it was put there by whoever used the one before."""
        stored = token.extras.get("refresh_token")
        if isinstance(stored, Secret):
            self._newest = stored

    def forget(self) -> None:
        """Drop it: it is used up or withdrawn."""
        self._newest = None
