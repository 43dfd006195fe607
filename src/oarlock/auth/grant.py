"""What the OAuth grants have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from oarlock.auth.client_authentication import ClientAuthentication
from oarlock.auth.renewal import Token
from oarlock.auth.store import StoredToken
from oarlock.auth.token_auth import TokenAuth
from oarlock.auth.token_endpoint import TokenEndpoint, origin
from oarlock.contract.auth import Send
from oarlock.contract.errors import ConfigurationError
from oarlock.runtime import Runtime

__all__ = ["Grant", "scope_text", "text_of"]

_OURS: Final = frozenset(
    {"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "assertion"}
    | {"refresh_token", "subject_token", "actor_token", "scope", "audience", "resource"}
)


class Grant(TokenAuth):
    """What the grants have in common: where they ask, as which client, and for what."""

    def __init__(
        self,
        token_url: str,
        client: ClientAuthentication | None,
        *,
        scope: str | Sequence[str] | None,
        audience: str | None,
        resource: str | None,
        extra: Mapping[str, str] | None,
        margin: float,
        timeout: float,
        allow_http: bool,
        stored: StoredToken | None = None,
    ) -> None:
        super().__init__(margin=margin, stored=stored)
        owner = type(self).__name__
        self._endpoint = TokenEndpoint(
            owner=owner, url=token_url, client=client, timeout=timeout, allow_http=allow_http
        )
        wanted = {"scope": scope_text(owner, scope), "audience": audience, "resource": resource}
        self._wanted = {name: text_of(owner, name, value) for name, value in wanted.items() if value is not None}
        if taken := sorted(_OURS & set(extra or {})):
            raise ConfigurationError(f"{owner}: extra must not hold {', '.join(taken)}: it is set by other arguments.")
        self._extra = {name: text_of(owner, f"extra[{name!r}]", value) for name, value in (extra or {}).items()}

    @abstractmethod
    async def grant(self, runtime: Runtime, deadline: float | None, old: Token | None) -> dict[str, str]:
        """Return the fields of this grant."""

    words = "grant"

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Ask the token endpoint."""
        form = {**await self.grant(runtime, deadline, old), **self._wanted, **self._extra}
        return await self._endpoint.token(runtime, send, deadline, form, self.words)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({origin(self._endpoint.url)!r})"


def scope_text(owner: str, scope: str | Sequence[str] | None) -> str | None:
    """Return scopes as OAuth sends them: a text with blanks between them."""
    if scope is None or isinstance(scope, str):
        return scope
    if not isinstance(scope, Sequence) or not all(isinstance(one, str) and one for one in scope):
        raise ConfigurationError(f"{owner}: scope must be a text or a list of texts, not {scope!r}.")
    return " ".join(scope)


def text_of(owner: str, name: str, value: Any) -> str:
    """Return a setting that must be a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{owner}: {name} must be a text, not of the type {type(value).__name__}.")
    return value
