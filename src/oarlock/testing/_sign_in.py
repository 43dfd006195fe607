"""Sign-in checks for the loopback endpoint: a bearer token, any header, short-lived JSON Web Tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from oarlock.contract.http import Headers
from oarlock.testing._chat_format import error_body
from oarlock.testing._replies import Status

SignInCheck: TypeAlias = Callable[[Headers], Status | None]
"""Takes the headers of a request; returns the refusal, or `None` to let it pass."""


def require_bearer(token: str) -> SignInCheck:
    """Return a check that wants `Authorization: Bearer <token>` and answers 401 otherwise.

    Example:
        >>> require_bearer("k")(Headers([("Authorization", "Bearer k")])) is None
        True
    """

    def check(headers: Headers) -> Status | None:
        given = _bearer(headers)
        if given is None:
            return _refusal("No token was given")
        return None if _same(given, token) else _refusal("The token is wrong")

    return check


def require_header(name: str, value: str) -> SignInCheck:
    """Return a check that wants one header with this value, such as `X-Api-Key`, and answers 401 otherwise.

    Args:
        name: of the header; case does not count.
        value: what it must be.

    Example:
        >>> from oarlock.auth import ApiKey
        >>> from oarlock.testing import LoopbackEndpoint
        >>> with LoopbackEndpoint(auth=require_header("X-Api-Key", "k")) as endpoint:
        ...     print(ChatLLM("our-model", endpoint.url, auth=ApiKey("k", header="X-Api-Key")).call("Hi"))
        Hello.
    """

    def check(headers: Headers) -> Status | None:
        given = headers.get_all(name)
        if len(given) == 1 and _same(given[0], value):
            return None
        return Status(401, body=error_body(401, f"The header {name} is missing or wrong", code="invalid_api_key"))

    return check


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtIssuer:
    """Issues short-lived tokens (JWT, HS256) and checks them, as a company's sign-in service would.

    Attributes:
        secret: the signing key.
        lifetime: seconds that a token is good for.
        clock: tells the time in seconds since 1970.

    Example:
        >>> issuer = JwtIssuer(secret="s", clock=lambda: 1000.0)
        >>> issuer.check(Headers([("Authorization", "Bearer " + issuer.issue("ada"))])) is None
        True
        >>> issuer.check(Headers([("Authorization", "Bearer " + issuer.issue("ada", -1))])).status
        401
    """

    secret: str = field(repr=False)
    lifetime: float = 60.0
    clock: Callable[[], float] = time.time
    _numbers: Iterator[int] = field(default_factory=itertools.count, init=False, repr=False, compare=False)

    def issue(self, subject: str, lifetime: float | None = None) -> str:
        """Return a new token for `subject`, good for `lifetime` seconds; no two are alike."""
        now = self.clock()
        expiry = now + (self.lifetime if lifetime is None else lifetime)
        claims = {"sub": subject, "iat": now, "exp": expiry, "jti": str(next(self._numbers))}
        signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def check(self, headers: Headers) -> Status | None:
        """Return a 401 if the request's bearer token is missing, garbled, forged or expired."""
        token = _bearer(headers)
        if token is None:
            return _refusal("No token was given")
        fault = self._fault(token)
        return None if fault is None else _refusal(fault)

    def _fault(self, token: str) -> str | None:
        signed, _, signature = token.rpartition(".")
        # The text of the signature is compared, not its bytes: base64 has several spellings for some bytes.
        if not _same(signature, self._signature(signed)):
            return "The token is garbled or its signature is wrong"
        header, _, claims = signed.partition(".")
        if _decode(header).get("alg") != "HS256":
            return "The token's algorithm is not HS256"
        expiry = _decode(claims).get("exp")
        if isinstance(expiry, bool) or not isinstance(expiry, int | float) or not math.isfinite(expiry):
            return "The token has no expiry"
        return None if self.clock() < expiry else "The token expired"

    def _signature(self, signed: str) -> str:
        digest = hmac.new(self.secret.encode(), signed.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _refusal(reason: str) -> Status:
    challenge = f'Bearer error="invalid_token", error_description="{reason}"'
    return Status(401, headers={"WWW-Authenticate": challenge}, body=error_body(401, reason, code="invalid_token"))


def _bearer(headers: Headers) -> str | None:
    """Return the one bearer token of a request; two `Authorization` headers count as none."""
    given = headers.get_all("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode("utf-8", "surrogatepass"))


def _encode(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _decode(segment: str) -> dict[str, Any]:
    try:
        claims = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
