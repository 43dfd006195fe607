"""Who asks: API keys, told apart in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from oarlock.auth.references import reference
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.policy import Policy
from oarlock.contract.secret import Secret
from oarlock.serve.errors import ApiError

__all__ = ["ANYBODY", "ApiKey", "Caller", "KeyRing", "TokenCheck"]

_SHORTEST: Final = 16  # characters; fewer can be tried out
_KEY: Final = re.compile(r"[\x21-\x7e]+")  # what a header carries as it is, without spaces
_NAME: Final = re.compile(r"[\w.@-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        name: for the log and for limits.
        policies: around each model call of this caller's.
        claims: of the caller's JSON Web Token.
        token: that token, for sign-ins that exchange it (`OnBehalfOf`).

    Example:
        >>> Caller(name="alice").name
        'alice'
    """

    name: str
    policies: tuple[Policy, ...] = field(default=(), repr=False, compare=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    token: Secret | None = field(default=None, repr=False)  # compared, so that no sign-in is kept beyond its token

    @property
    def user(self) -> Any:
        """The end user of what is asked: with a token this caller itself, with a key its name, without either nobody."""
        if self.token is not None:
            return self
        return None if self is ANYBODY else self.name


ANYBODY: Final = Caller(name="-")
"""Who asks where no keys are asked for."""


class TokenCheck(Protocol):
    """Reads what callers show when it is none of the keys."""

    def caller(self, token: str) -> Caller | None:
        """Return who shows this token, `None` if it is not good."""


class ApiKey:
    """A key that a client shows as `Authorization: Bearer KEY`.

    Args:
        name: whose it is; it stands in the log.
        secret: where the key is, as `env:NAME`, `file:PATH` or `command:[...]`, or the key itself as a `Secret`.
        policies: limits of this key, such as `[RateLimit(requests_per_minute=60, max_wait=0), Budget(tokens=1_000_000)]`.

    Raises:
        ConfigurationError: there is no key there, or one that cannot be sent or is shorter than 16 characters.

    Example:
        >>> from oarlock.contract.secret import Secret
        >>> ApiKey("alice", Secret("a-key-of-24-characters.."))
        ApiKey('alice')
    """

    def __init__(self, name: str, secret: str | Secret, policies: Sequence[Policy] = ()) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(f"ApiKey: name must be 1 to 64 letters, digits or . _ - @, not {name!r}.")
        self.name = name
        self.policies = tuple(policies)
        self.digest = _digest(_checked(name, secret))

    def __repr__(self) -> str:
        return f"ApiKey({self.name!r})"


class KeyRing:
    """All that lets a client in. The keys themselves are not kept, only their digests."""

    def __init__(self, keys: Sequence[ApiKey], tokens: TokenCheck | None = None) -> None:
        names = [key.name for key in keys]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigurationError(f"There are two API keys of the name {twice!r}.")
        if len({key.digest for key in keys}) < len(keys):
            raise ConfigurationError("Two API keys of different names are the same.")
        self._callers = [(key.digest, Caller(name=key.name, policies=key.policies)) for key in keys]
        self._tokens = tokens

    @property
    def asked_for(self) -> bool:
        """Whether a client needs a key or token at all."""
        return bool(self._callers) or self._tokens is not None

    def caller(self, authorization: str | None) -> Caller:
        """Return who sends this header.

        Raises:
            ApiError: 401, nobody that is known.
        """
        if not self.asked_for:
            return ANYBODY
        scheme, _, shown = (authorization or "").partition(" ")
        shown = shown.strip()
        if scheme.lower() != "bearer" or not shown:
            raise _not_let_in("You didn't provide an API key: send it as the header 'Authorization: Bearer KEY'.")
        found = self._of_key(shown) or (self._tokens.caller(shown) if self._tokens is not None else None)
        if found is None:
            raise _not_let_in("Incorrect API key provided.")
        return found

    def _of_key(self, shown: str) -> Caller | None:
        """Return whose key this is; it takes the same time whichever it is, and if it is none."""
        digest, found = _digest(shown), None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _not_let_in(message: str) -> ApiError:
    return ApiError(
        401,
        message,
        type="authentication_error",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


def _checked(name: str, secret: str | Secret) -> str:
    if not isinstance(secret, Secret):
        found = reference(secret, f"API key {name!r}")
        if found is None:
            raise ConfigurationError(
                f"API key {name!r}: say where the key is, as env:NAME or file:PATH, not the key itself."
            )
        secret = found.now()
    key = secret.reveal()
    if not _KEY.fullmatch(key):
        raise ConfigurationError(f"API key {name!r} has characters that a header cannot carry.")
    if len(key) < _SHORTEST:
        raise ConfigurationError(
            f"API key {name!r} has {len(key)} characters, so that it can be guessed: take at least {_SHORTEST}, such as "
            "those of `openssl rand -hex 24`."
        )
    return key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
