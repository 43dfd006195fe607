"""Certificates for the faults of TLS, made by `trustme`: one good authority, and everything that may be wrong."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from oarlock.contract.errors import ConfigurationError

if TYPE_CHECKING:
    import trustme

__all__ = ["Certificates", "Kind"]

HOST = "127.0.0.1"

Kind = Literal[
    "good", "self_signed", "expired", "not_yet_valid", "wrong_host", "unknown_authority", "no_intermediate", "client"
]


class Certificates:
    """An authority of its own, whose certificate lies in a file for clients to trust, and contexts for a server.

    Raises:
        ConfigurationError: `trustme` is not installed.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise ConfigurationError(
                "faults over TLS make their certificates with trustme, which is not installed: pip install 'oarlock[testing]'."
            ) from None
        self._trustme = trustme
        self._authority = trustme.CA()
        self._folder = TemporaryDirectory(prefix="oarlock-faults-")
        self.ca_pem = str(Path(self._folder.name) / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_pem)

    def context(self, kind: Kind = "good") -> ssl.SSLContext:
        """Return what a server needs to show a certificate of this kind."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if kind == "self_signed":
            self._load(context, self._trustme.CA())
        elif kind == "no_intermediate":
            self._load(context, self._authority.create_child_ca().issue_cert(HOST))
        else:
            self._leaf(kind).configure_cert(context)
        if kind == "client":
            context.verify_mode = ssl.CERT_REQUIRED
            self._authority.configure_trust(context)
        return context

    def _leaf(self, kind: Kind) -> trustme.LeafCert:
        authority = self._trustme.CA() if kind == "unknown_authority" else self._authority
        now = datetime.now(UTC)  # a certificate is read by the wall clock
        day = timedelta(days=1)
        begin, end = {"expired": (now - 30 * day, now - day), "not_yet_valid": (now + day, now + 30 * day)}.get(
            kind, (now - day, now + 30 * day)
        )
        host = "models.example" if kind == "wrong_host" else HOST
        return authority.issue_cert(host, not_before=begin, not_after=end)

    def _load(self, context: ssl.SSLContext, one: trustme.CA | trustme.LeafCert) -> None:
        """Show this certificate alone, without those that vouch for it."""
        certificate = one.cert_chain_pems[0] if isinstance(one, self._trustme.LeafCert) else one.cert_pem
        path = Path(self._folder.name) / "one.pem"
        path.write_bytes(one.private_key_pem.bytes() + certificate.bytes())
        context.load_cert_chain(path)

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()
