"""How errors name an endpoint: host and port, never credentials, path or query."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["endpoint"]

PORTS = {"http": 80, "https": 443}


def endpoint(url: str) -> str:
    """Return `host:port` of a URL, for messages.

    Example:
        >>> endpoint("https://user:secret@models.example/v1?key=secret")
        'models.example:443'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return "the endpoint"
    if not host:
        return "the endpoint"
    host = f"[{host}]" if ":" in host else host
    host = host.encode("ascii", "backslashreplace").decode()
    return f"{host}:{port}" if port else host
