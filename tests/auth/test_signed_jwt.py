"""JSON Web Tokens that we sign: every kind of key, files that change, and keys that cannot work."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from oarlock.auth import PrivateKeyJWT
from oarlock.auth.client_authentication import client_authentication
from oarlock.auth.signed_jwt import Signer
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import Secret
from oarlock.testing import VirtualRuntime
from oarlock.testing.virtual import EPOCH

RSA = RSAKey.generate_key(2048)
KEYS = {
    "RS256": RSA,
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "ES512": ECKey.generate_key("P-521"),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}
CANARY = "canary0123456789canary0123456789"


def pem(key: Any, password: str | None = None) -> str:
    return key.as_pem(private=True, password=password).decode()


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("form", ["pem", "pem bytes", "jwk", "jwk text", "file", "jwk file", "encrypted"])
@pytest.mark.parametrize("algorithm", KEYS)
def test_every_kind_of_key_in_every_form(algorithm: str, form: str, tmp_path: Path) -> None:
    key, path, settings = KEYS[algorithm], tmp_path / "key", {}
    given: Any = path
    if form == "pem":
        given = pem(key)
    elif form == "pem bytes":
        given = pem(key).encode()
    elif form == "jwk":
        given = key.as_dict(private=True)
    elif form == "jwk text":
        given = json.dumps(key.as_dict(private=True))
    elif form == "encrypted":
        given, settings = pem(key, "open sesame"), {"password": "open sesame"}
    else:
        path.write_text(pem(key) if form == "file" else json.dumps(key.as_dict(private=True)))
    signer = Signer("X", given, key_id="k1", **settings)
    assert signer.algorithm == algorithm
    token = jwt.decode(signer.sign(VirtualRuntime(), {"iss": "me"}), key, algorithms=[algorithm])
    assert token.header["kid"] == "k1"
    assert token.claims == {"iss": "me", "iat": EPOCH - 5, "exp": EPOCH + 300, "jti": f"{1:032x}"}


def test_no_two_are_alike() -> None:
    signer, runtime = Signer("X", pem(RSA)), VirtualRuntime()
    assert signer.sign(runtime, {}) != signer.sign(runtime, {})


@pytest.mark.parametrize("algorithm", ["PS256", "RS512"])
def test_another_algorithm(algorithm: str) -> None:
    signer = Signer("X", pem(RSA), algorithm=algorithm, lifetime=60)
    claims = jwt.decode(signer.sign(VirtualRuntime(), {}), RSA, algorithms=[algorithm]).claims
    assert claims["exp"] == EPOCH + 60


def test_the_id_in_a_jwk_is_taken() -> None:
    key = RSAKey.import_key(RSA.as_dict(private=True), {"kid": "from-the-key"})
    assert repr(PrivateKeyJWT(key.as_dict(private=True))) == "PrivateKeyJWT(key_id='from-the-key')"


def test_a_key_that_was_changed_in_its_file(tmp_path: Path) -> None:
    path, runtime = tmp_path / "key.pem", VirtualRuntime()
    path.write_text(pem(RSA))
    signer = Signer("X", path)
    newer = RSAKey.generate_key(2048)
    path.write_text(pem(newer))
    assert jwt.decode(signer.sign(runtime, {"a": 1}), newer).claims["a"] == 1
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"X: the key in '.*key\.pem' cannot be read: No such file"):
        signer.sign(runtime, {})


def test_a_shared_secret() -> None:
    secret = Secret(CANARY)
    proof = client_authentication("X", "app", secret, "client_secret_jwt")
    headers, fields = proof.prove(VirtualRuntime(), "https://login.example.com/token")
    assert headers == ()
    claims = jwt.decode(fields["client_assertion"], OctKey.import_key(CANARY), algorithms=["HS256"]).claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("app", "app", "https://login.example.com/token")


@pytest.mark.parametrize(
    ("key", "settings", "words"),
    [
        ("", {}, "key must be a private key in PEM or as a JWK, or the path of a file"),
        (None, {}, "not of the type NoneType"),
        (5, {}, "not of the type int"),
        ("no/such/file", {}, "cannot be read: No such file"),
        ("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", {}, "cannot be read as a private key"),
        ('{"kty": "nothing"}', {}, "cannot be read as a private key"),
        (pem(RSA, "open sesame"), {}, r"cannot be read as a private key \(TypeError\): .*password="),
        (pem(RSA, "open sesame"), {"password": "wrong"}, "cannot be read as a private key"),
        (RSA.as_pem(private=False).decode(), {}, "cannot be read as a private key"),
        (pem(RSA), {"algorithm": "ES256"}, "cannot sign with algorithm='ES256'"),
        (pem(RSA), {"algorithm": "none"}, "algorithm must be one of RS256, .*, not 'none'"),
        (RSA.as_dict(private=False), {}, "cannot sign with algorithm='RS256'"),
        (pem(RSA), {"lifetime": -1}, "lifetime must be"),
    ],
)
def test_keys_that_cannot_work(key: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Signer("X", key, **settings)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(ConfigurationError, match=r"needs joserfc: pip install 'oarlock\[oauth\]'"):
        PrivateKeyJWT(pem(RSA))


def test_no_key_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("-----BEGIN PRIVATE KEY-----\n" + CANARY)
    jwk = RSA.as_dict(private=True)
    good = PrivateKeyJWT(jwk, password=CANARY)
    texts = [repr(good), repr(vars(good)), repr(vars(good._signer)), repr(vars(copy.deepcopy(good)._signer))]
    signer = Signer("X", pem(RSA))
    signer._key, signer._path = None, path
    with pytest.raises(ConfigurationError) as caught:
        signer.sign(VirtualRuntime(), {})
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    texts += [str(caught.value), *(text for text in shown if "test_signed_jwt" not in text)]
    assert CANARY not in "\n".join(texts)
    assert str(jwk["d"]) not in "\n".join(texts)
    with pytest.raises(TypeError):
        pickle.dumps(good)
