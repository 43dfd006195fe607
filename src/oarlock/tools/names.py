"""From a tool's name for people to the one that models can call."""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
import zlib
from collections.abc import Iterable

from oarlock.contract.secret import scrub

__all__ = ["function_name", "nearest", "shown"]

_VALID = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # what OpenAI's API accepts; others are no stricter
_MOST_NAMES = 50  # a list longer than this helps no model


@functools.lru_cache(maxsize=1024)
def function_name(name: str) -> str:
    """Return the name that models call: a valid one as it is, any other in lower case with underscores.

    Example:
        >>> function_name("Web Search"), function_name("get-weather"), function_name("Übersetzen (de)")
        ('web_search', 'get-weather', 'ubersetzen_de')
    """
    if _VALID.fullmatch(name):
        return name
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-zA-Z0-9_-]+", "_", ascii_only).strip("_").lower()
    if any(sign.isalnum() for sign in words):
        return words[:64].rstrip("_")
    return f"tool_{zlib.crc32(name.encode('utf-8', 'replace')):08x}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the nearest of the known names, if one is near.

    Example:
        >>> nearest("Serch", ["search", "add"])
        'search'
    """
    return next(iter(difflib.get_close_matches(name[:64].lower(), list(known), n=1)), None)


def shown(names: Iterable[str]) -> str:
    """Return names for a message, the first 50 of them.

    Example:
        >>> shown(["add", "search"])
        'add, search'
    """
    names = [scrub(name, 64) for name in names]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return (", ".join(names[:_MOST_NAMES]) or "none") + more
