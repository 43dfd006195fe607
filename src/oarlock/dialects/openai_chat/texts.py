"""Texts that can be written anywhere."""

from __future__ import annotations

__all__ = ["clean", "mended"]


def clean(text: str) -> str:
    """Return a text that can be written anywhere: JSON's escapes can smuggle in lone surrogates, which no file takes."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return mended(text)
    return text


def mended(text: str) -> str:
    """Return the text with surrogate pairs joined, and lone surrogates as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
