"""Mutual TLS: the client shows a certificate (RFC 8446, 4.4.2; for OAuth clients RFC 8705)."""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from oarlock.auth.certificate_files import read_identity
from oarlock.contract.auth import Do, Flow, Send
from oarlock.contract.classify import classify
from oarlock.contract.client_identity import ClientIdentity
from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.frames import without_frames
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime

__all__ = ["ClientCertificate"]

_LOG: Final = logging.getLogger("oarlock.auth")

Password = str | Secret | Path | Callable[[], str | Secret]


class ClientCertificate:
    """Shows a client certificate in TLS (mTLS), alone or in a `Chain` with a token.

    It is shown to the servers that ask for one: the endpoint's, and in a `Chain` the token endpoint's too, as OAuth's
    `client_auth="tls_client_auth"` needs. When its files change, connections made from then on show the new certificate;
    a transport looks at most once a second, and after a server refused the old one. Until new files are whole and belong
    together the old certificate stays in use, and the logger `oarlock.auth` warns, as it does of one that has expired.

    Equal certificates (the same files, the same password) share their connections; others never do.

    Args:
        cert: the path of a PEM file with the certificate, then those between it and the authority, and perhaps the key;
            or of a PKCS#12 file (`.p12`, `.pfx`), which has it all. Or what stands in such a file, as text or bytes.
        key: the path of a PEM file with the private key, or its text or bytes; default: the key is in `cert`.
        password: of an encrypted key or PKCS#12 file: a text, a `Secret`, the `Path` of a file or a quick function. It is
            read again with each new certificate.

    Raises:
        ConfigurationError: a file is missing or unreadable, the password is wrong, key and certificate do not belong
            together, or `oarlock[oauth]` is needed (for PKCS#12 and encrypted keys) and not installed.

    Example:
        >>> from oarlock.auth import BearerToken, Chain
        >>> certificate = ClientCertificate("client.pem", "client.key")  # doctest: +SKIP
        >>> auth = Chain(certificate, BearerToken("t0ken"))  # doctest: +SKIP
    """

    def __init__(
        self,
        cert: str | Path | bytes | Secret,
        key: str | Path | bytes | Secret | None = None,
        *,
        password: Password | None = None,
    ) -> None:
        failure = None
        try:
            self._cert = _source("cert", cert)
            self._key = None if key is None else _source("key", key)
            self._password = _password_source(password)
        except ConfigurationError as error:
            failure = without_frames(error)
        del cert, key, password  # tools that report errors show the variables of this frame
        if failure is not None:
            raise failure
        self._begin()

    def _begin(self) -> None:
        self._locks: dict[int, threading.Lock] = {}  # one for each process: a fork may copy a held lock
        self._seen = self._state()
        self._present = self._read()
        self._warned: ClientIdentity | None = None
        self._unusable: list[Any] | None = None  # files that were warned of already

    def flow(self, request: HttpRequest) -> Flow:
        """Send the request: it is the connection that is signed."""
        if not request.url.lower().startswith("https:"):
            raise ConfigurationError("ClientCertificate: certificates are shown over https:// only: check base_url.")
        yield Do(self._mind_expiry)
        yield request

    def client_identity(self) -> ClientCertificate:
        """Return what a transport is to show: this certificate."""
        return self

    @property
    def present(self) -> ClientIdentity:
        """The certificate as it was when last looked at: the same object as long as nothing has changed."""
        return self._present

    def latest(self) -> ClientIdentity:
        """Return the certificate after a look at its files; the old one if the new files cannot be used (yet)."""
        state = self._state()
        lock = self._locks.setdefault(os.getpid(), threading.Lock())
        if state == self._seen or not lock.acquire(blocking=False):  # another thread reads already
            return self._present
        try:
            self._present = self._read()
            self._seen = state
        except ConfigurationError as error:
            if state != self._unusable:
                _LOG.warning("%s The files have changed; %s stays in use.", error, self._present.name)
            self._unusable = state
        finally:
            lock.release()
        return self._present

    def explain_refusal(self, wall_time: float) -> str | None:
        """Return which certificate was shown to an endpoint that refuses."""
        return f"It was shown {self._present.describe(wall_time)}."

    async def _mind_expiry(self, runtime: Runtime, _send: Send) -> None:
        identity = self._present
        if identity.expires_at is None or self._warned is identity or runtime.time() < identity.expires_at:
            return
        self._warned = identity
        _LOG.warning("ClientCertificate: %s: servers will refuse it.", identity.describe(runtime.time()))

    def _read(self) -> ClientIdentity:
        return read_identity(self._cert, self._key, _revealed(self._password))

    def _state(self) -> list[tuple[int, int, int] | None]:
        """Return what changes when a file is written or replaced."""
        return [_stat(one) for one in (self._cert, self._key, self._password) if isinstance(one, Path)]

    def _sources(self) -> tuple[Any, ...]:
        return self._cert, self._key, self._password

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientCertificate) and other._sources() == self._sources()

    def __hash__(self) -> int:
        return hash(("ClientCertificate", *self._sources()))

    def __repr__(self) -> str:
        present = getattr(self, "_present", None)  # there is none while it is built, where an error's report shows it
        return f"ClientCertificate({'' if present is None else repr(present.name)})"

    def __getstate__(self) -> dict[str, Any]:
        """Only where the certificate comes from: copies for elsewhere read it there. A key or password in memory refuses."""
        return {"_cert": self._cert, "_key": self._key, "_password": self._password}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __deepcopy__(self, memo: Any) -> ClientCertificate:
        return self  # the copy of an LLM shows the same certificate, over the same connections


def _source(name: str, given: Any) -> Path | Secret:
    """Return a path, or a text whose characters stand for bytes."""
    if isinstance(given, Secret):
        return given
    if isinstance(given, bytes) and given:
        return Secret(given.decode("latin-1"))
    if isinstance(given, str) and "-----BEGIN " in given:
        return Secret(given)
    if isinstance(given, str | Path) and str(given).strip():
        return Path(given).absolute()  # the folder in which the program runs may change
    raise ConfigurationError(
        f"ClientCertificate: {name} must be the path of a file, or its PEM text or bytes, "
        f"not {'empty' if given in ('', b'') else f'of the type {type(given).__name__}'}."
    )


def _password_source(given: Any) -> Secret | Path | Callable[[], Any] | None:
    if given is None or isinstance(given, Secret):
        return given
    if isinstance(given, str):
        return Secret(given)
    if isinstance(given, Path):
        return given.absolute()
    if callable(given) and not inspect.iscoroutinefunction(given):
        function: Callable[[], Any] = given
        return function
    kind = "an async function" if callable(given) else f"of the type {type(given).__name__}"
    raise ConfigurationError(f"ClientCertificate: password must be a text, a Path or a function, not {kind}.")


def _revealed(password: Secret | Path | Callable[[], Any] | None) -> Secret | None:
    if password is None or isinstance(password, Secret):
        return password
    problem = ""
    try:
        if isinstance(password, Path):
            return Secret(password.read_text().rstrip("\r\n"))
        answer = password()
        if isinstance(answer, str | Secret):
            return Secret(answer)
        problem = f"the function returned {a_kind(answer)}, not a text"
    except (OSError, ValueError) as error:
        problem = f"{getattr(error, 'strerror', None) or type(error).__name__}"
    except Exception as error:  # noqa: BLE001  the boundary to the user's function
        problem = str(classify(error, "The function"))
    where = f" in {str(password)!r}" if isinstance(password, Path) else ""
    raise without_frames(
        ConfigurationError(f"ClientCertificate: password{where} cannot be had: {problem.rstrip('.')}.")
    )


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
