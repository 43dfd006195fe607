"""Pages of other sites stay out: a browser sends for them whatever they want, to any address that it reaches."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from oarlock.serve.errors import ApiError

__all__ = ["LOOPBACK_HOSTS", "refuse_foreign_origin", "refuse_other_hosts"]

LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
"""The names of this machine in a `Host` header."""


def refuse_other_hosts(request: Request, hosts: Collection[str]) -> None:
    """Refuse a request that names another host: a name of the attacker's that leads here (DNS rebinding).

    Raises:
        ApiError: 421.
    """
    if "*" in hosts:
        return
    named = request.headers.get("host", "").strip().lower()
    name = named if named.endswith("]") else named.rpartition(":")[0] or named
    if name not in hosts:
        message = "This server is not known by that name; it can be told more names (--allow-host)."
        raise ApiError(421, message, code="unknown_host")


def refuse_foreign_origin(request: Request) -> None:
    """Refuse what a browser sends on behalf of a page of another origin; there is no CORS that would allow it.

    Raises:
        ApiError: 403.
    """
    origin = request.headers.get("origin")
    same = origin is None or _netloc(origin) == request.headers.get("host", "").strip().lower()
    if not same or request.headers.get("sec-fetch-site", "none").lower() not in ("none", "same-origin"):
        raise ApiError(403, "Pages of other sites may not use this server.", code="foreign_origin")


def _netloc(origin: str) -> str | None:
    """Return host and port of an origin, `None` if it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
