"""Callers that show a JSON Web Token (RFC 7519, RFC 8725)."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from oarlock.auth.references import reference
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.policy import Policy
from oarlock.contract.secret import Secret
from oarlock.serve.callers import Caller

if TYPE_CHECKING:
    from joserfc.jwk import KeySet, OctKey

__all__ = ["JwtCheck"]

# Which algorithms a key set may be used with: only public keys, so that nobody signs with what everybody can read.
_PUBLIC: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_SECRET: Final = ("HS256", "HS384", "HS512")
_LEEWAY: Final = 30  # seconds by which clocks may differ
_LONGEST: Final = 16_384  # characters of a token that is looked at
_MOST_CALLERS: Final = 10_000  # whose limits are kept
_SHORTEST_SECRET: Final = 32  # bytes: RFC 7518, section 3.2, for HS256


class JwtCheck:
    """Lets in who shows a good JSON Web Token. Needs `oarlock[oauth]`.

    A token must be signed by one of the keys, be meant for `audience`, not be expired (it must say until when it is good),
    and name its subject, which is then the caller's name.

    Args:
        audience: what `aud` must name: this server.
        jwks: a file with the issuer's public keys (RFC 7517); read again when it has changed.
        secret: or a secret shared with the issuer, as `env:NAME`, `file:PATH` or a `Secret`, of at least 32 bytes.
        issuer: what `iss` must be; `None` takes any, since the keys are the issuer's.
        policies: makes the limits of a caller, given its name: `lambda name: [RateLimit(requests_per_minute=60, max_wait=0)]`.

    Raises:
        ConfigurationError: neither or both of `jwks` and `secret`, or they cannot be read.

    Example:
        >>> from oarlock.contract.secret import Secret
        >>> JwtCheck("our-llms", secret=Secret("a secret of thirty-two bytes or more"))
        JwtCheck('our-llms')
    """

    def __init__(
        self,
        audience: str,
        *,
        jwks: str | Path | None = None,
        secret: str | Secret | None = None,
        issuer: str | None = None,
        policies: Callable[[str], Sequence[Policy]] | None = None,
    ) -> None:
        if not isinstance(audience, str) or not audience:
            raise ConfigurationError(
                f"JwtCheck: audience must name this server, as tokens do in aud, not {audience!r}."
            )
        if (jwks is None) == (secret is None):
            raise ConfigurationError("JwtCheck: give either jwks, a file with public keys, or secret.")
        _import_joserfc()
        self.audience = audience
        self.issuer = issuer
        self._policies = policies or _none
        self._path = None if jwks is None else Path(jwks).expanduser()
        self._read: tuple[int, int] | None = None  # when the file was changed, and its size, as read last
        self._key: KeySet | OctKey = self._from_file() if secret is None else _shared(secret)
        self._lock = threading.Lock()
        self._callers: OrderedDict[str, tuple[Policy, ...]] = OrderedDict()

    def caller(self, token: str) -> Caller | None:
        """Return who shows this token, `None` if it is not good."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if token.count(".") != 2 or len(token) > _LONGEST:
            return None
        needed: Any = {"exp": {"essential": True}, "aud": {"essential": True, "value": self.audience}}
        needed["sub"] = {"essential": True}
        if self.issuer is not None:
            needed["iss"] = {"essential": True, "value": self.issuer}
        try:
            claims = jwt.decode(token, self._current(), algorithms=self._algorithms).claims
            jwt.JWTClaimsRegistry(leeway=_LEEWAY, **needed).validate(claims)
        except (JoseError, ValueError, TypeError, RecursionError):  # whatever is wrong with it, it is not good
            return None
        name = claims["sub"]
        if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
            return None
        return Caller(name=name, policies=self._limits_of(name), claims=claims, token=Secret(token))

    @property
    def _algorithms(self) -> list[str]:
        return list(_SECRET if self._path is None else _PUBLIC)

    def _limits_of(self, name: str) -> tuple[Policy, ...]:
        """Return a caller's limits: the same objects each time, since they count."""
        with self._lock:
            if name not in self._callers:
                self._callers[name] = tuple(self._policies(name))
            self._callers.move_to_end(name)
            if len(self._callers) > _MOST_CALLERS:
                self._callers.popitem(last=False)
            return self._callers[name]

    def _current(self) -> KeySet | OctKey:
        """Return the keys as the file has them now; while it cannot be read, those it had."""
        if self._path is not None:
            try:
                state = self._path.stat()
                if (state.st_mtime_ns, state.st_size) != self._read:
                    self._key = self._from_file()
            except (OSError, ConfigurationError):
                pass
        return self._key

    def _from_file(self) -> KeySet:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        assert self._path is not None
        try:
            state = self._path.stat()
            self._read = (state.st_mtime_ns, state.st_size)
            keys = KeySet.import_key_set(json.loads(self._path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigurationError(f"JwtCheck: {self._path} cannot be read: {error.strerror}.") from error
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigurationError(f"JwtCheck: {self._path} is no set of keys as RFC 7517 has it.") from error
        if not keys.keys or any(key.key_type == "oct" for key in keys.keys):
            raise ConfigurationError(f"JwtCheck: {self._path} must have public keys, and no secret ones.")
        return keys

    def __repr__(self) -> str:
        return f"JwtCheck({self.audience!r})"


def _shared(secret: str | Secret) -> OctKey:
    from joserfc.jwk import OctKey

    if not isinstance(secret, Secret):
        found = reference(secret, "JwtCheck: secret")
        if found is None:
            raise ConfigurationError(
                "JwtCheck: say where the secret is, as env:NAME or file:PATH, not the secret itself."
            )
        secret = found.now()
    raw = secret.reveal().encode()
    if len(raw) < _SHORTEST_SECRET:
        raise ConfigurationError(f"JwtCheck: the secret has {len(raw)} bytes; HS256 needs at least {_SHORTEST_SECRET}.")
    return OctKey.import_key(raw)


def _import_joserfc() -> None:
    try:
        import joserfc  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigurationError("JwtCheck needs joserfc: pip install 'oarlock[oauth]'.") from None


def _none(_: str) -> Sequence[Policy]:
    return ()
