"""What a transport is told once: limits, certificates, proxy."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oarlock.contract.checks import flag, seconds, whole
from oarlock.contract.client_identity import ClientIdentity, IdentitySource
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import Secret
from oarlock.transport.proxies import checked_proxy

__all__ = ["TransportOptions"]

_OWNER = "transport_options"  # as an LLM's argument is called


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """How a transport connects, and how much it takes from an endpoint. Equal options may share one transport.

    Each cap is far above what a model endpoint sends, and low enough that a thousand hostile answers at once do not fill a
    machine.

    Attributes:
        connect_timeout: seconds to open one connection, TLS included. Ten, since under CPU starvation 5 s failed up to
            62 % of a thousand simultaneous runs.
        max_body: bytes of a body after decompression; more is `ReplyTooLarge`.
        max_headers: bytes of a response's header names and values; more is `ReplyTooLarge`.
        max_error_body: bytes that are kept of a body with status 400 or above; the rest is cut, which is no error.
        verify: `True` trusts the system's certificate store (on Linux its usual files), where companies put their own; a path adds the PEM bundle's certificates to it; `False`
            accepts any certificate, which lets anyone on the way read the credentials.
        proxy: `http://host:port` of a proxy for every request, or `"env"`: what the variables `http_proxy`, `https_proxy`,
            `all_proxy` and `no_proxy` say. They are read only then.
        client_certificate: paths of a PEM certificate chain and its unencrypted key, for mutual TLS; or an
            `oarlock.auth.ClientCertificate`, which may be encrypted and is read again when its files change.
        idle_connections: unused connections that are kept open for each host.
        http2: speak HTTP/2 over TLS where the server offers it, which carries many requests over one connection. For
            `httpx2` that needs the extra `oarlock[http2]`, and its blocking calls keep to HTTP/1.1: there they would wait
            for each other, and past their timeouts.

    Raises:
        ConfigurationError: a value is out of range.

    Example:
        >>> TransportOptions(connect_timeout=5, proxy="env").max_body
        16777216
    """

    connect_timeout: float = 10.0
    max_body: int = 16 * 1024 * 1024
    max_headers: int = 64 * 1024
    max_error_body: int = 64 * 1024
    verify: bool | str = True
    proxy: str | Secret | None = field(default=None, repr=False)  # may hold the proxy's password
    client_certificate: tuple[str, str] | IdentitySource | None = None
    idle_connections: int = 256
    http2: bool = False

    def __post_init__(self) -> None:
        seconds(_OWNER, "connect_timeout", self.connect_timeout)
        for name in ("max_body", "max_headers", "max_error_body"):
            whole(_OWNER, name, getattr(self, name))
        whole(_OWNER, "idle_connections", self.idle_connections, least=0)
        flag(_OWNER, "http2", self.http2)
        if not (isinstance(self.verify, bool) or _is_path(self.verify)):
            raise ConfigurationError(
                f"{_OWNER}: verify must be True, False or the path of a PEM file, not {self.verify!r}."
            )
        object.__setattr__(self, "client_certificate", _checked_certificate(self.client_certificate))
        object.__setattr__(self, "proxy", checked_proxy(self.proxy))

    def ca_bundle(self) -> bytes | None:
        """Return the extra certificates' PEM text, or `None` where `verify` names no file."""
        return None if isinstance(self.verify, bool) else read_pem(self.verify, "verify")

    def identity(self) -> ClientIdentity | None:
        """Return the client certificate and its key, as they are now.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        given = self.client_certificate
        if given is None or isinstance(given, IdentitySource):
            return None if given is None else given.present
        cert, key = (read_pem(path, "client_certificate").decode("latin-1") for path in given)
        return ClientIdentity(pem=Secret(f"{cert}\n{key}"), name=str(given[0]))


def _checked_certificate(given: Any) -> tuple[str, str] | IdentitySource | None:
    if given is None or (isinstance(given, IdentitySource) and not isinstance(given, type)):
        return given
    if isinstance(given, list | tuple) and len(given) == 2 and all(map(_is_path, given)):
        return given[0], given[1]
    raise ConfigurationError(
        f"{_OWNER}: client_certificate must be two paths, (certificate, key), or an oarlock.auth.ClientCertificate, "
        f"not {given!r}."
    )


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike) and bool(str(value))


def read_pem(path: str, setting: str) -> bytes:
    """Return a PEM file's bytes; `setting` is named where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{setting}: cannot read {path!r}: {reason}") from error
