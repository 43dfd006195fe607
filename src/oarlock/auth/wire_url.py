"""A URL as it will stand on the wire, so that what is signed is what is sent, whatever sends it."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

__all__ = ["path_and_query", "wire_url"]

# What no HTTP client encodes (RFC 3986, 3.3 and 3.4); the apostrophe is encoded by some in a query.
_PATH: Final = "/:@!$&'()*+,;=%~"
_QUERY: Final = "/?:@!$&()*+,;=%~"


def wire_url(url: str) -> str:
    """Return a URL with each character in it that clients encode encoded, and without `.` and `..` in its path.

    Example:
        >>> wire_url("https://llm.example.com/a b/../model:0?q=ü")
        'https://llm.example.com/model:0?q=%C3%BC'
    """
    parts = urlsplit(url)
    path = quote(_resolved(parts.path), safe=_PATH)
    return urlunsplit((parts.scheme, parts.netloc, path, quote(parts.query, safe=_QUERY), ""))


def path_and_query(url: str) -> str:
    """Return what follows the host.

    Example:
        >>> path_and_query("https://llm.example.com/v1?x=1")
        '/v1?x=1'
    """
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _resolved(path: str) -> str:
    """Resolve dot segments (RFC 3986, 5.2.4), encoded ones too, as the WHATWG's URL standard has it."""
    resolved: list[str] = []
    segments = path.split("/")[1:] or [""]
    for number, segment in enumerate(segments):
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            del resolved[-1:]
        elif plain != ".":
            resolved.append(segment)
        if plain in (".", "..") and number == len(segments) - 1:
            resolved.append("")
    return "/" + "/".join(resolved)
