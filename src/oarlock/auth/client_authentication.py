"""How an OAuth client proves itself to a token endpoint (RFC 6749, 2.3; RFC 7523, 2.2; RFC 8705)."""

from __future__ import annotations

import base64
from typing import Any, Final, Protocol
from urllib.parse import quote

from oarlock.auth.credentials import secret_of
from oarlock.auth.signed_jwt import Signer
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime

__all__ = ["ClientAuthentication", "PrivateKeyJWT", "client_authentication"]

Proof = tuple[tuple[tuple[str, str], ...], dict[str, str]]
"""Headers and form fields that a request to the token endpoint gets."""

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_METHODS: Final = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "tls_client_auth", "none")


class ClientAuthentication(Protocol):
    """Proves to a token endpoint which client asks."""

    alternative: str
    """Another method, which a server that refuses this one may want."""

    secret: Secret | None
    """What no message may quote."""

    def prove(self, runtime: Runtime, url: str) -> Proof:
        """Return what a request to this token endpoint must carry."""


class PrivateKeyJWT:
    """Proves the client with a JWT that its private key signs: `private_key_jwt` (RFC 7523, 2.2; OpenID Connect Core, 9).

    Args:
        key: the private key: PEM, a JWK as a dict or JSON, or the path of a file with either; with its password where it is encrypted.
        algorithm: such as `"RS256"`, `"ES256"`, `"EdDSA"`; default: what the key's kind suggests.
        key_id: the `kid` by which the server finds the public key.
        audience: whom the JWT is for; default: the token endpoint's URL. Some servers want the issuer's.
        password: of the key.
        lifetime: seconds for which one such JWT is good; a new one is made for each request.

    Raises:
        ConfigurationError: the key cannot be read, or `oarlock[oauth]` is not installed.

    Example:
        >>> PrivateKeyJWT("client.pem", key_id="2026-11")  # doctest: +SKIP
        PrivateKeyJWT(key_id='2026-11')
    """

    alternative = "client_secret_basic"

    def __init__(
        self,
        key: Any,
        *,
        algorithm: str | None = None,
        key_id: str | None = None,
        audience: str | None = None,
        password: str | Secret | None = None,
        lifetime: float = 300.0,
    ) -> None:
        self._signer = Signer(
            "PrivateKeyJWT", key, algorithm=algorithm, key_id=key_id, password=password, lifetime=lifetime
        )
        self.audience = audience

    def for_client(self, client_id: str) -> ClientAuthentication:
        """Return the proof for a client of this id."""
        return _Assertion(client_id, self._signer, self.audience)

    def __repr__(self) -> str:
        return f"PrivateKeyJWT(key_id={self._signer.key_id!r})"


class _Assertion:
    alternative = "client_secret_basic"

    def __init__(self, client_id: str, signer: Signer, audience: str | None, secret: Secret | None = None) -> None:
        self.secret = secret
        self._client_id = client_id
        self._signer = signer
        self._audience = audience

    def prove(self, runtime: Runtime, url: str) -> Proof:
        claims = {"iss": self._client_id, "sub": self._client_id, "aud": self._audience or url}
        assertion = self._signer.sign(runtime, claims)
        return (), {
            "client_id": self._client_id,
            "client_assertion_type": _ASSERTION,
            "client_assertion": assertion,
        }


class _Password:
    """A client secret, in the `Authorization` header or in the form."""

    def __init__(self, client_id: str, secret: Secret, *, in_form: bool) -> None:
        self._client_id = client_id
        self.secret: Secret | None = secret
        self._secret = secret
        self._in_form = in_form
        self.alternative = "client_secret_basic" if in_form else "client_secret_post"

    def prove(self, runtime: Runtime, url: str) -> Proof:
        if self._in_form:
            return (), {"client_id": self._client_id, "client_secret": self._secret.reveal()}
        # Both are form-encoded before they are joined (RFC 6749, 2.3.1), so that a colon in either does no harm; blanks
        # as "%20", since not every server reads "+" as one.
        pair = f"{quote(self._client_id, safe='')}:{quote(self._secret.reveal(), safe='')}"
        return (("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"),), {}


class _IdOnly:
    """A public client, or one whose certificate of the connection proves it."""

    alternative = "client_secret_basic"
    secret: Secret | None = None

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id

    def prove(self, runtime: Runtime, url: str) -> Proof:
        return (), {"client_id": self._client_id}


def client_authentication(
    owner: str, client_id: str, client_secret: str | Secret | None, method: str | PrivateKeyJWT | None
) -> ClientAuthentication:
    """Return how a client proves itself; by default with its secret in the header, or with its id alone if it has none.

    Raises:
        ConfigurationError: the method is not known, or does not go with what was given.
    """
    if not isinstance(client_id, str) or not client_id.strip():
        raise ConfigurationError(f"{owner}: client_id must be the client's id, not {client_id!r}.")
    if isinstance(method, PrivateKeyJWT):
        if client_secret is not None:
            raise ConfigurationError(f"{owner}: give client_secret or client_auth=PrivateKeyJWT(...), not both.")
        return method.for_client(client_id)
    if method is not None and method not in _METHODS:
        raise ConfigurationError(
            f"{owner}: client_auth must be PrivateKeyJWT(...) or one of {', '.join(map(repr, _METHODS))}, not {method!r}."
        )
    needs_secret = method is not None and method.startswith("client_secret")
    if needs_secret and client_secret is None:
        raise ConfigurationError(f"{owner}: client_auth={method!r} needs client_secret.")
    if client_secret is None:
        return _IdOnly(client_id)
    if method in ("none", "tls_client_auth"):
        raise ConfigurationError(f"{owner}: client_auth={method!r} uses no client_secret: leave it out.")
    secret = secret_of(f"{owner}: client_secret", client_secret)
    if method == "client_secret_jwt":
        return _Assertion(client_id, Signer(owner, secret, algorithm="HS256"), None, secret)
    return _Password(client_id, secret, in_form=method == "client_secret_post")
