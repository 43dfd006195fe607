"""What a client shows of itself in TLS: a certificate and its private key, which may be replaced while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from oarlock.contract.records import dataclass
from oarlock.contract.secret import Secret

if TYPE_CHECKING:
    import ssl

__all__ = ["ClientIdentity", "IdentitySource"]

_OPEN_FILES = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClientIdentity:
    """A certificate and its key, as they are at the moment.

    Attributes:
        pem: the key, not encrypted, and the chain of certificates that begins with the client's own.
        name: whose the certificate is, for messages.
        expires_at: seconds since the epoch; `None` where that is not known.
    """

    pem: Secret
    name: str
    expires_at: float | None = None

    def describe(self, wall_time: float) -> str:
        """Return whose certificate this is, and until when it is or was good.

        Example:
            >>> ClientIdentity(pem=Secret("..."), name="CN=crew", expires_at=0).describe(wall_time=1)
            'the client certificate of CN=crew, which expired on 1970-01-01 00:00 UTC'
        """
        who = f"the client certificate of {self.name}"
        if self.expires_at is None:
            return who
        when = datetime.fromtimestamp(self.expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{who}, {'which expired on' if self.expires_at <= wall_time else 'good until'} {when}"

    def show_in(self, context: ssl.SSLContext) -> None:
        """Let connections of this context show the certificate.

        Raises:
            ssl.SSLError: it is no certificate with its key.
        """
        with _as_file(self.pem) as path:
            context.load_cert_chain(path, password="")  # else OpenSSL asks for an encrypted key's on the terminal


@contextmanager
def _as_file(pem: Secret) -> Iterator[str]:
    """Give a path at which `ssl`, which takes nothing else, can read a text: in memory, where the system has such files.

    Elsewhere it is a file that only this user may read, for the moment.
    """
    data = pem.reveal().encode("latin-1")
    if hasattr(os, "memfd_create") and _OPEN_FILES.is_dir():
        descriptor = os.memfd_create("oarlock")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            yield str(_OPEN_FILES / str(descriptor))
        finally:
            os.close(descriptor)
        return
    from tempfile import TemporaryDirectory  # 6 ms to import, which only such systems need

    with TemporaryDirectory(prefix="oarlock-") as folder:  # for this user alone, as `mkdtemp` makes them
        path = Path(folder, "identity.pem")
        path.touch(0o600)
        path.write_bytes(data)
        yield str(path)


@runtime_checkable
class IdentitySource(Protocol):
    """Where a transport gets the client's certificate from, each time it may need it."""

    @property
    def present(self) -> ClientIdentity:
        """The certificate as it was when last looked at: the same object as long as nothing has changed."""

    def latest(self) -> ClientIdentity:
        """Return the certificate after a look at where it comes from. Never fails: an old one is better than none."""
