"""Reading a client's certificate and key: PEM or PKCS#12 (RFC 7292), encrypted or not, from files or memory."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, Final

from oarlock.contract.client_identity import ClientIdentity
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.frames import without_frames
from oarlock.contract.secret import Secret, scrub

__all__ = ["read_identity"]

_BLOCK: Final = re.compile(
    r"-----BEGIN (?P<kind>CERTIFICATE|(?:[A-Z]+ )?PRIVATE KEY)-----\s.*?-----END (?P=kind)-----", re.DOTALL
)
_LONGEST: Final = 1024 * 1024  # bytes of a file; a chain of certificates with its key has some ten thousand
_NEEDS: Final = "needs the package cryptography: pip install 'oarlock[oauth]'."


def read_identity(cert: Path | Secret, key: Path | Secret | None, password: Secret | None) -> ClientIdentity:
    """Return what is in the files (or texts, of which each character stands for a byte).

    Raises:
        ConfigurationError: they cannot be read, or do not belong together; it says which, and never what is in them.
    """
    try:
        return _read(cert, key, password)
    except ConfigurationError as error:
        failure = without_frames(error)  # the frames hold the key
    raise failure


def _read(cert: Path | Secret, key: Path | Secret | None, password: Secret | None) -> ClientIdentity:
    data = _bytes("cert", cert)
    if b"-----BEGIN " not in data:
        if key is not None:
            raise _wrong(f"{_where('cert', cert)} is not in PEM. A PKCS#12 file has its key inside: leave key out.")
        pem = _from_pkcs12(data, _where("cert", cert), password)
    else:
        holder, name = (cert, "cert") if key is None else (key, "key")
        pem = _certificates(data, cert) + _private_key(_bytes(name, holder), name, holder, password)
    name, expires_at = _subject(pem, cert)
    identity = ClientIdentity(pem=Secret(pem), name=name, expires_at=expires_at)
    _check(identity, key is not None)
    return identity


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError(f"ClientCertificate: {problem}")


def _where(name: str, source: Path | Secret) -> str:
    return f"{name} in {str(source)!r}" if isinstance(source, Path) else name


def _bytes(name: str, source: Path | Secret) -> bytes:
    if isinstance(source, Secret):
        return source.reveal().encode("latin-1", "replace")
    try:
        with source.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _wrong(f"{_where(name, source)} cannot be read: {reason}.") from None
    if not data or len(data) > _LONGEST:
        raise _wrong(f"{_where(name, source)} is {'empty' if not data else f'longer than {_LONGEST} bytes'}.")
    return data


def _blocks(data: bytes) -> list[tuple[str, str]]:
    text = data.decode("latin-1").replace("\r\n", "\n")
    return [(found["kind"], found[0] + "\n") for found in _BLOCK.finditer(text)]


def _certificates(data: bytes, cert: Path | Secret) -> str:
    chain = "".join(block for kind, block in _blocks(data) if kind == "CERTIFICATE")
    if not chain:
        raise _wrong(f"{_where('cert', cert)} has no whole certificate (-----BEGIN CERTIFICATE-----).")
    return chain


def _private_key(data: bytes, name: str, source: Path | Secret, password: Secret | None) -> str:
    kind, block = next(((kind, block) for kind, block in _blocks(data) if kind != "CERTIFICATE"), ("", ""))
    if not block:
        cure = "give key=, or a file with both" if name == "cert" else "give the file with the private key"
        raise _wrong(f"{_where(name, source)} has no whole private key (-----BEGIN PRIVATE KEY-----): {cure}.")
    if kind != "ENCRYPTED PRIVATE KEY" and "Proc-Type: 4,ENCRYPTED" not in block:
        return block
    if password is None:
        raise _wrong(f"the key of {_where(name, source)} is encrypted: give password=.")
    return _decrypted(block, _where(name, source), password)


def _decrypted(block: str, where: str, password: Secret) -> str:
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise _wrong(f"an encrypted key {_NEEDS}") from None
    try:
        return _in_the_clear(load_pem_private_key(block.encode(), password.reveal().encode()))
    except Exception as error:  # noqa: BLE001  the library's errors, and those of what is below it
        problem = type(error).__name__
    raise _wrong(f"the key of {where} cannot be decrypted ({problem}): check password.")


def _from_pkcs12(data: bytes, where: str, password: Secret | None) -> str:
    if data[:1] != b"\x30":  # a SEQUENCE of DER, as every PKCS#12 file begins
        raise _wrong(f"{where} is neither PEM (-----BEGIN CERTIFICATE-----) nor PKCS#12 (.p12, .pfx).")
    try:
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
    except ImportError:
        raise _wrong(f"a PKCS#12 file {_NEEDS}") from None
    problem = ""
    try:
        store = load_pkcs12(data, None if password is None else password.reveal().encode())
    except Exception as error:  # noqa: BLE001  the library's errors, and those of what is below it
        problem = type(error).__name__
    if problem:
        cure = "check password" if password is not None else "give password= if it has one"
        raise _wrong(f"{where} cannot be read as PKCS#12 ({problem}): {cure}; a single certificate must be in PEM.")
    if store.cert is None or store.key is None:
        raise _wrong(f"{where} is a PKCS#12 file without a certificate and its private key.")
    chain = [store.cert, *store.additional_certs]
    return "".join(one.certificate.public_bytes(Encoding.PEM).decode() for one in chain) + _in_the_clear(store.key)


def _in_the_clear(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def _subject(pem: str, cert: Path | Secret) -> tuple[str, float | None]:
    """Return whose the first certificate is, and when it expires, as far as that can be read."""
    try:
        from cryptography.x509 import load_pem_x509_certificate
    except ImportError:
        return str(cert) if isinstance(cert, Path) else "the given text", None
    problem = ""
    try:
        certificate = load_pem_x509_certificate(pem.encode())
        name = certificate.subject.rfc4514_string() or "no name"
        return scrub(name, 120), certificate.not_valid_after_utc.timestamp()
    except Exception as error:  # noqa: BLE001  the library's errors, and those of what is below it
        problem = type(error).__name__
    raise _wrong(f"{_where('cert', cert)} has no certificate that can be read ({problem}).")


def _check(identity: ClientIdentity, key_apart: bool) -> None:
    """Have OpenSSL take the certificate and its key, as a connection would."""
    try:
        identity.show_in(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except ssl.SSLError as error:
        reason = error.reason or "unknown"
    else:
        return
    if reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
        first = "cert" if key_apart else "the file"
        raise _wrong(f"the key does not belong to the first certificate in {first}, that of {identity.name}.")
    raise _wrong(f"the certificate of {identity.name} and its key cannot be used by TLS ({reason}).")
