"""OAuth 2 without a browser: the grants that a program uses to get an access token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from oarlock.auth.client_authentication import PrivateKeyJWT, client_authentication
from oarlock.auth.credentials import secret_of
from oarlock.auth.grant import Grant, scope_text, text_of
from oarlock.auth.refreshing import NewestRefreshToken
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.signed_jwt import Signer
from oarlock.auth.sources import SecretSource, secret_source
from oarlock.auth.store import TokenStore, stored_token
from oarlock.contract.auth import Send
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime

__all__ = ["ClientCredentials", "JWTBearer", "RefreshToken", "TokenExchange"]

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_TYPES: Final = "urn:ietf:params:oauth:token-type:"  # noqa: S105  a namespace


class ClientCredentials(Grant):
    """Signs in as the program itself, with a client id and a secret or a key (RFC 6749, 4.4).

    Args:
        token_url: the token endpoint, `https://...`.
        client_id: as the client is registered.
        client_secret: its secret, if it has one.
        scope: what is asked for, a text or a list.
        audience: for whom the token is meant, where the server wants that (Auth0, for one).
        resource: the same as a URL (RFC 8707).
        client_auth: how the client proves itself: `"client_secret_basic"` (default), `"client_secret_post"`,
            `"client_secret_jwt"`, `"tls_client_auth"` (a client certificate of the LLM's), `"none"`, or `PrivateKeyJWT(...)`.
        extra: further fields of the form.
        margin: seconds before expiry from which on a new token is fetched.
        timeout: seconds for one request to the token endpoint; it is sent three times at most.
        allow_http: allow a token endpoint over plain HTTP off this machine.
        store: where the token is kept for the next start of the program: a `KeyringStore` or `EncryptedFileStore`;
            default: in memory only.

    Raises:
        ConfigurationError: a setting that cannot work.
        AuthenticationError: from a call, when the token endpoint refuses, with the setting to look at.

    Example:
        >>> ClientCredentials("https://login.example.com/oauth/token", "my-app", "s3cret", scope="llm.use")
        ClientCredentials('https://login.example.com')
    """

    words = "client's credentials"

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str | Secret | None = None,
        *,
        scope: str | Sequence[str] | None = None,
        audience: str | None = None,
        resource: str | None = None,
        client_auth: str | PrivateKeyJWT | None = None,
        extra: Mapping[str, str] | None = None,
        margin: float = MARGIN,
        timeout: float = 10.0,
        allow_http: bool = False,
        store: TokenStore | None = None,
    ) -> None:
        client = client_authentication("ClientCredentials", client_id, client_secret, client_auth)
        if client_secret is None and client_auth is None:
            raise ConfigurationError(
                "ClientCredentials: give client_secret, or say how the client proves itself with client_auth."
            )
        super().__init__(
            token_url,
            client,
            scope=scope,
            audience=audience,
            resource=resource,
            extra=extra,
            margin=margin,
            timeout=timeout,
            allow_http=allow_http,
            stored=stored_token(
                "ClientCredentials",
                store,
                token_url,
                client_id,
                scope_text("ClientCredentials", scope),
                audience,
                resource,
            ),
        )

    async def grant(self, runtime: Runtime, deadline: float | None, old: Token | None) -> dict[str, str]:
        return {"grant_type": "client_credentials"}


class RefreshToken(Grant):
    """Signs in with a refresh token that a user's sign-in left behind (RFC 6749, 6).

    A server that gives a new refresh token with each access token has its wish: the newest is used, and handed to
    `on_rotation`, so that the program can keep it for its next start.

    Args:
        token_url: the token endpoint, `https://...`.
        client_id: as the client is registered.
        refresh_token: the token.
        client_secret: the client's secret, if it has one.
        on_rotation: a function that is given each new refresh token as a `Secret`; must be quick.
        store: keeps the newest tokens for the next start of the program, under a key made of the settings and of
            `refresh_token` (a digest of all of them): a new one begins anew.
        scope, audience, resource, client_auth, extra, margin, timeout, allow_http: see `ClientCredentials`.

    Raises:
        ConfigurationError: a setting that cannot work.
        AuthenticationError: from a call, when the token endpoint refuses.

    Example:
        >>> RefreshToken("https://login.example.com/token", "my-app", "refresh-me")
        RefreshToken('https://login.example.com')
    """

    words = "refresh token"

    def __init__(
        self,
        token_url: str,
        client_id: str,
        refresh_token: str | Secret,
        *,
        client_secret: str | Secret | None = None,
        on_rotation: Any = None,
        scope: str | Sequence[str] | None = None,
        audience: str | None = None,
        resource: str | None = None,
        client_auth: str | PrivateKeyJWT | None = None,
        extra: Mapping[str, str] | None = None,
        margin: float = MARGIN,
        timeout: float = 10.0,
        allow_http: bool = False,
        store: TokenStore | None = None,
    ) -> None:
        if on_rotation is not None and not callable(on_rotation):
            raise ConfigurationError(f"RefreshToken: on_rotation must be a function, not {type(on_rotation).__name__}.")
        first = secret_of("RefreshToken: refresh_token", refresh_token)
        self._newest = NewestRefreshToken("RefreshToken", first, on_rotation)
        super().__init__(
            token_url,
            client_authentication("RefreshToken", client_id, client_secret, client_auth),
            scope=scope,
            audience=audience,
            resource=resource,
            extra=extra,
            margin=margin,
            timeout=timeout,
            allow_http=allow_http,
            stored=stored_token(
                "RefreshToken",
                store,
                token_url,
                client_id,
                scope_text("RefreshToken", scope),
                audience,
                resource,
                first.reveal(),
            ),
        )

    async def grant(self, runtime: Runtime, deadline: float | None, old: Token | None) -> dict[str, str]:
        return self._newest.grant()

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Ask the token endpoint, and keep the new refresh token if it gives one."""
        try:
            return self._newest.kept(await super().fetch(runtime, send, deadline, old))
        except AuthenticationError as error:
            if error.code != "invalid_grant" or self._stored is None:
                raise
            if await self.from_store(runtime, deadline) is None:  # no other process has used it up just now
                await self._stored.forget(runtime, deadline)
                raise
        return self._newest.kept(await super().fetch(runtime, send, deadline, old))

    def restore(self, token: Token) -> None:
        """Take over the newer refresh token from the store."""
        self._newest.restore(token)


class TokenExchange(Grant):
    """Exchanges a token that the program has for one that the endpoint accepts (RFC 8693).

    Args:
        token_url: the token endpoint, `https://...`.
        subject_token: the token to exchange: a text, a `Secret`, the `Path` of a file (such as a Kubernetes service
            account's), or a function, blocking or `async def`; files and functions are read for each exchange.
        subject_token_type: `"jwt"`, `"access_token"`, `"id_token"`, `"refresh_token"`, `"saml2"`, or a URI.
        actor_token: the token of who acts for the subject, given likewise.
        actor_token_type: its type.
        requested_token_type: the type that is asked for; default: the server's choice.
        client_id, client_secret: of the client, if the server wants one.
        scope, audience, resource, client_auth, extra, margin, timeout, allow_http: see `ClientCredentials`.

    Raises:
        ConfigurationError: a setting that cannot work.
        AuthenticationError: from a call, when the token endpoint refuses or the token to exchange cannot be had.

    Example:
        >>> from pathlib import Path
        >>> TokenExchange("https://sts.example.com/token", Path("/var/run/secrets/token"), audience="llm")
        TokenExchange('https://sts.example.com')
    """

    words = "token to exchange"

    def __init__(
        self,
        token_url: str,
        subject_token: SecretSource,
        *,
        subject_token_type: str = "jwt",  # noqa: S107  a type, not a token
        actor_token: SecretSource | None = None,
        actor_token_type: str = "jwt",  # noqa: S107
        requested_token_type: str | None = None,
        client_id: str | None = None,
        client_secret: str | Secret | None = None,
        scope: str | Sequence[str] | None = None,
        audience: str | None = None,
        resource: str | None = None,
        client_auth: str | PrivateKeyJWT | None = None,
        extra: Mapping[str, str] | None = None,
        margin: float = MARGIN,
        timeout: float = 10.0,
        allow_http: bool = False,
    ) -> None:
        owner = "TokenExchange"
        if client_id is None and (client_secret is not None or client_auth is not None):
            raise ConfigurationError("TokenExchange: client_secret and client_auth need client_id.")
        self._subject = secret_source(owner, "subject_token", subject_token)
        self._actor = None if actor_token is None else secret_source(owner, "actor_token", actor_token)
        self._types = {"subject_token_type": _token_type(subject_token_type)}
        if actor_token is not None:
            self._types["actor_token_type"] = _token_type(actor_token_type)
        if requested_token_type is not None:
            self._types["requested_token_type"] = _token_type(requested_token_type)
        super().__init__(
            token_url,
            None if client_id is None else client_authentication(owner, client_id, client_secret, client_auth),
            scope=scope,
            audience=audience,
            resource=resource,
            extra=extra,
            margin=margin,
            timeout=timeout,
            allow_http=allow_http,
        )

    async def grant(self, runtime: Runtime, deadline: float | None, old: Token | None) -> dict[str, str]:
        form = {"grant_type": _EXCHANGE, **self._types}
        form["subject_token"] = (await self._subject.get(runtime, deadline)).reveal()
        if self._actor is not None:
            form["actor_token"] = (await self._actor.get(runtime, deadline)).reveal()
        return form


class JWTBearer(Grant):
    """Signs a JWT with a private key and exchanges it for a token (RFC 7523, 2.1), as service accounts do.

    To prove an OAuth *client* by a key, use `ClientCredentials(..., client_auth=PrivateKeyJWT(key))`.

    Args:
        token_url: the token endpoint, `https://...`.
        issuer: the `iss` of the JWT: who signs.
        key: the private key; see `PrivateKeyJWT`.
        subject: the `sub`: in whose name; default: the issuer.
        jwt_audience: the `aud` of the JWT; default: `token_url`.
        claims: further claims of the JWT, such as `{"scope": "..."}` for Google.
        algorithm, key_id, password, lifetime: see `PrivateKeyJWT`.
        client_id, client_secret: of the client, if the server wants one.
        scope, audience, resource, client_auth, extra, margin, timeout, allow_http: see `ClientCredentials`.

    Raises:
        ConfigurationError: a setting that cannot work, or `oarlock[oauth]` is not installed.
        AuthenticationError: from a call, when the token endpoint refuses.

    Example:
        >>> JWTBearer("https://login.example.com/token", "robot@example.com", "robot.pem")  # doctest: +SKIP
        JWTBearer('https://login.example.com')
    """

    words = "JWT"

    def __init__(
        self,
        token_url: str,
        issuer: str,
        key: Any,
        *,
        subject: str | None = None,
        jwt_audience: str | None = None,
        claims: Mapping[str, Any] | None = None,
        algorithm: str | None = None,
        key_id: str | None = None,
        password: str | Secret | None = None,
        lifetime: float = 300.0,
        client_id: str | None = None,
        client_secret: str | Secret | None = None,
        scope: str | Sequence[str] | None = None,
        audience: str | None = None,
        resource: str | None = None,
        client_auth: str | PrivateKeyJWT | None = None,
        extra: Mapping[str, str] | None = None,
        margin: float = MARGIN,
        timeout: float = 10.0,
        allow_http: bool = False,
    ) -> None:
        self._signer = Signer(
            "JWTBearer", key, algorithm=algorithm, key_id=key_id, password=password, lifetime=lifetime
        )
        self._claims = {
            **(claims or {}),
            "iss": text_of("JWTBearer", "issuer", issuer),
            "sub": subject or issuer,
            "aud": jwt_audience or token_url,
        }
        super().__init__(
            token_url,
            None if client_id is None else client_authentication("JWTBearer", client_id, client_secret, client_auth),
            scope=scope,
            audience=audience,
            resource=resource,
            extra=extra,
            margin=margin,
            timeout=timeout,
            allow_http=allow_http,
        )

    async def grant(self, runtime: Runtime, deadline: float | None, old: Token | None) -> dict[str, str]:
        return {"grant_type": _JWT_BEARER, "assertion": self._signer.sign(runtime, self._claims)}


def _token_type(name: str) -> str:
    return name if ":" in name else _TOKEN_TYPES + name
