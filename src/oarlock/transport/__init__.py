"""HTTP behind one narrow port: pyreqwest by default, httpx2 as the second. Imported nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarlock.transport.choose import make_transport
from oarlock.transport.options import TransportOptions
from oarlock.transport.port import ResponseStream, Transport

if TYPE_CHECKING:
    from oarlock.transport.httpx2_transport import Httpx2Transport
    from oarlock.transport.reqwest import ReqwestTransport

__all__ = [
    "Httpx2Transport",
    "ReqwestTransport",
    "ResponseStream",
    "Transport",
    "TransportOptions",
    "make_transport",
]

_LAZY = {
    "Httpx2Transport": "oarlock.transport.httpx2_transport",
    "ReqwestTransport": "oarlock.transport.reqwest",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
