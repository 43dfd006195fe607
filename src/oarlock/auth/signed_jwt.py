"""JSON Web Tokens that we sign ourselves, to prove a client or to be exchanged for a token (RFC 7519, RFC 7523)."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from oarlock.auth.credentials import seconds
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime

__all__ = ["Signer"]

_BY_CURVE: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA", "Ed448": "EdDSA"}
_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K"),
    *("EdDSA", "Ed25519", "Ed448", "HS256", "HS384", "HS512"),
)  # RFC 7518, 3.1, without "none", which signs nothing; RFC 8037; RFC 9864
_EARLIER: Final = 5  # seconds before now that `iat` says, for a server whose clock is behind


_QUIET = threading.Lock()  # filters of warnings belong to the whole process


class Signer:
    """Signs claims with a private key. A key in a file is read for each signature, so that it may be changed there.

    Args:
        owner: whose key it is, for messages.
        key: PEM or JWK, as text or dict, or the path of a file with either; for HS256 the shared secret as a `Secret`.
        algorithm: the `alg`; default: what suits the key (`RS256`, `ES256`, `EdDSA`, ...).
        key_id: the `kid`; default: the one in the JWK, if any.
        password: of an encrypted PEM key.
        lifetime: seconds from `iat` to `exp`.

    Raises:
        ConfigurationError: the key cannot be read or does not go with the algorithm, or `oarlock[oauth]` is missing.
    """

    def __init__(
        self,
        owner: str,
        key: Any,
        *,
        algorithm: str | None = None,
        key_id: str | None = None,
        password: str | Secret | None = None,
        lifetime: float = 300.0,
    ) -> None:
        self._owner = owner
        self._path: Path | None = None
        self._key: Secret | None = None
        self._password = None if password is None else Secret(password)
        self._lifetime = seconds(owner, "lifetime", lifetime)
        if algorithm is not None and algorithm not in _ALGORITHMS:
            raise ConfigurationError(f"{owner}: algorithm must be one of {', '.join(_ALGORITHMS)}, not {algorithm!r}.")
        if key_id is not None and (not isinstance(key_id, str) or not key_id):
            raise ConfigurationError(f"{owner}: key_id must be a text, not {key_id!r}; in YAML, put it into quotes.")
        self.algorithm = algorithm
        self.key_id = key_id
        self._take(key)
        self._checked()

    def _take(self, key: Any) -> None:
        if isinstance(key, Secret):
            self._key = key
        elif isinstance(key, Mapping):
            self._key = Secret(json.dumps(dict(key)))
        elif isinstance(key, str) and key.lstrip().startswith(("-----BEGIN", "{")):
            self._key = Secret(key)
        elif isinstance(key, bytes) and key.lstrip().startswith((b"-----BEGIN", b"{")):
            self._key = Secret(key.decode())
        elif isinstance(key, str | Path) and str(key):
            self._path = Path(key)
        else:
            raise ConfigurationError(
                f"{self._owner}: key must be a private key in PEM or as a JWK, or the path of a file with one, "
                f"not of the type {type(key).__name__}."
            )

    def _checked(self) -> None:
        """Sign something once, so that a wrong key is found when it is given."""
        key = self._load()
        if self.key_id is None and isinstance(key.dict_value.get("kid"), str):
            self.key_id = key.dict_value["kid"]
        if self.algorithm is None:
            self.algorithm = _algorithm_for(key)
        self._encode({"iss": "check"})

    def sign(self, runtime: Runtime, claims: Mapping[str, Any]) -> str:
        """Return a JWT of these claims with `iat`, `exp` and a `jti` that is never used twice."""
        now = int(runtime.time())
        times = {"iat": now - _EARLIER, "exp": now + int(self._lifetime), "jti": runtime.new_id()}
        return self._encode({**times, **claims})

    def _encode(self, claims: dict[str, Any]) -> str:
        from joserfc import jwt

        header = {"alg": self.algorithm, **({"kid": self.key_id} if self.key_id else {})}
        key = self._load()
        try:
            with _quiet() if self.algorithm == "EdDSA" else nullcontext():
                return jwt.encode(header, claims, key, algorithms=[str(self.algorithm)])
        except Exception as error:  # noqa: BLE001  the library has its own and its backend's errors; some quote the key
            problem = type(error).__name__
        raise ConfigurationError(
            f"{self._owner}: the key cannot sign with algorithm={self.algorithm!r} ({problem}): check that they belong together."
        )

    def _load(self) -> Any:
        key, problem = self._read()
        if problem is None:
            return key
        where = f" in {str(self._path)!r}" if self._path else ""
        raise ConfigurationError(
            f"{self._owner}: the key{where} cannot be read as a private key ({problem}): give PEM or a JWK, "
            "and password= if it is encrypted."
        )

    def _read(self) -> tuple[Any, str | None]:
        """Return the key, or what is wrong with it: an error raised here would carry the key's text in its frame."""
        try:
            from joserfc import jwk
        except ImportError:
            raise ConfigurationError(
                f"{self._owner} signs JSON Web Tokens, which needs joserfc: pip install 'oarlock[oauth]'."
            ) from None
        text = self._text()
        try:
            if self.algorithm is not None and self.algorithm.startswith("HS"):
                return jwk.OctKey.import_key(text), None
            if text.lstrip().startswith("{"):
                return jwk.import_key(json.loads(text)), None
            return _from_pem(text, self._password), None
        except Exception as error:  # noqa: BLE001  the libraries' errors, some of which quote the key
            return None, type(error).__name__

    def _text(self) -> str:
        if self._key is not None:
            return self._key.reveal()
        assert self._path is not None
        try:
            return self._path.read_text()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise ConfigurationError(
                f"{self._owner}: the key in {str(self._path)!r} cannot be read: {reason}."
            ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence joserfc's warning of "EdDSA", whose successor (RFC 9864) few servers know; one thread at a time."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _from_pem(text: str, password: Secret | None) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc import jwk

    key = load_pem_private_key(text.encode(), password=None if password is None else password.reveal().encode())
    if isinstance(key, rsa.RSAPrivateKey):
        return jwk.RSAKey.import_key(key)
    if isinstance(key, EllipticCurvePrivateKey):
        return jwk.ECKey.import_key(key)
    return jwk.OKPKey.import_key(key)  # type: ignore[arg-type]


def _algorithm_for(key: Any) -> str:
    if key.key_type == "RSA":
        return "RS256"
    return _BY_CURVE.get(key.dict_value.get("crv", ""), "HS256")
