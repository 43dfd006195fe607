"""Which transport an LLM sends through, and who shares it."""

from __future__ import annotations

import os
import threading
from dataclasses import fields
from typing import Any, cast
from weakref import WeakValueDictionary

from oarlock.contract.client_identity import IdentitySource
from oarlock.contract.errors import ConfigurationError, a_kind, misspelt
from oarlock.transport.options import TransportOptions
from oarlock.transport.port import Transport

__all__ = ["make_transport"]

VERBS = ("send", "asend", "open", "aopen", "close", "aclose")

# The one shared state of this package: a thousand LLMs with equal options must not open a thousand connection pools.
# Values are weak: the last LLM takes its pool along. One lock for each process, since a fork may copy a held lock.
_shared: WeakValueDictionary[tuple[str, TransportOptions], Any] = WeakValueDictionary()
_locks: dict[int, threading.Lock] = {}


def make_transport(spec: object = None, **options: Any) -> Transport:
    """Return the transport that `spec` asks for.

    Args:
        spec: `None` or `"pyreqwest"`, `"httpx2"` (the extra of that name), a `httpx2.Client` or `httpx2.AsyncClient` of
            your own, or an object with the verbs of `Transport`, which is taken as it is.
        options: those of `TransportOptions`. Named transports with equal options are one object, as long as anyone
            uses it.

    Raises:
        ConfigurationError: the name, an option or the combination is not known, or the extra is not installed.

    Example:
        >>> make_transport() is make_transport("pyreqwest")
        True
    """
    known = [option.name for option in fields(TransportOptions)]
    if unknown := [name for name in options if name not in known]:
        raise misspelt("make_transport", unknown, known)
    if isinstance(options.get("client_certificate"), IdentitySource) and not (isinstance(spec, str) or spec is None):
        raise ConfigurationError(
            f"a ClientCertificate is shown by transport='pyreqwest' or 'httpx2', and not by {a_kind(spec)} of your "
            "own: give the certificate to that, or leave transport out."
        )
    if isinstance(spec, str) or spec is None:
        return _named(spec or "pyreqwest", TransportOptions(**options))
    if _is_httpx2_client(spec):
        from oarlock.transport.httpx2_transport import Httpx2Transport

        return Httpx2Transport(TransportOptions(**options), client=spec)
    if not isinstance(spec, type) and all(callable(getattr(spec, verb, None)) for verb in VERBS):
        if options:
            raise ConfigurationError("options cannot be given along with a transport object: give them to the object.")
        return cast("Transport", spec)
    raise _unknown(spec)


def _named(name: str, options: TransportOptions) -> Transport:
    if name not in {"pyreqwest", "httpx2"}:
        raise _unknown(name)
    with _locks.setdefault(os.getpid(), threading.Lock()):
        transport = _shared.get((name, options))
        if transport is None:
            transport = _shared[name, options] = _new(name, options)
    return cast("Transport", transport)


def _new(name: str, options: TransportOptions) -> Transport:
    if name == "httpx2":
        from oarlock.transport.httpx2_transport import Httpx2Transport

        return Httpx2Transport(options)
    from oarlock.transport.reqwest import ReqwestTransport

    return ReqwestTransport(options)


def _is_httpx2_client(spec: object) -> bool:
    """Whether it is a `httpx2.Client` or `AsyncClient`, found without importing httpx2."""
    return any(
        cls.__name__ in {"Client", "AsyncClient"} and cls.__module__.partition(".")[0] == "httpx2"
        for cls in type(spec).__mro__
    )


def _unknown(spec: object) -> ConfigurationError:
    given = repr(spec) if isinstance(spec, str) else a_kind(spec)
    return ConfigurationError(
        f"transport must be 'pyreqwest', 'httpx2', a httpx2.Client or AsyncClient, or an object with the methods "
        f"{', '.join(VERBS)}: not {given}."
    )
