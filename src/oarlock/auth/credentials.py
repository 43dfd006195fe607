"""Checks of credentials before they are put into a header."""

from __future__ import annotations

import sys
from typing import Any

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import Secret


def secret_of(owner: str, value: str | Secret) -> Secret:
    """Return a credential, without blanks around it, fit for an HTTP header.

    Raises:
        ConfigurationError: it is empty, no text, or holds characters that no header may hold. Never shows it.
    """
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str) or not text.strip():
        kind = "empty" if isinstance(text, str) else f"of the type {type(text).__name__}"
        raise ConfigurationError(f"{owner}: the credential is {kind}. It must be a non-empty text.")
    text = text.strip()
    if not printable(text):
        raise ConfigurationError(
            f"{owner}: the credential holds a line break or a character that HTTP headers cannot carry. "
            "Was it copied together with something else?"
        )
    return Secret(text)


def text_of(owner: str, value: str | Secret) -> Secret:
    """Return a credential that stands in a body, as it is: blanks and all characters are its own.

    Raises:
        ConfigurationError: it is empty, or no text. Never shows it.
    """
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str) or not text:
        kind = "empty" if isinstance(text, str) else f"of the type {type(text).__name__}"
        raise ConfigurationError(f"{owner}: the credential is {kind}. It must be a non-empty text.")
    return Secret(text)


def without_foreign(auth: object, name: str, *, given: bool) -> dict[str, Any]:
    """Return what a pickle of a sign-in may hold: all but another library's object, which may hold keys in the clear.

    Raises:
        TypeError: the user gave that object, so that the sign-in is nothing without it.
    """
    if given:
        raise TypeError(
            f"{auth!r} cannot be pickled, since it may hold a secret: bind it again where the state is loaded."
        )
    return {**vars(auth), name: None}


def header_name(owner: str, name: str) -> str:
    """Return a header's name.

    Raises:
        ConfigurationError: no header may be called so (RFC 9110, section 5.1).
    """
    allowed = "!#$%&'*+-.^_`|~"
    if (
        not isinstance(name, str)
        or not name
        or not all(character.isascii() and (character.isalnum() or character in allowed) for character in name)
    ):
        raise ConfigurationError(f"{owner}: {name!r} is no valid name of a header.")
    return name


def printable(text: str) -> bool:
    """Return whether a header can carry this text as it stands: visible ASCII and blanks, no line breaks."""
    return all(0x20 <= ord(character) <= 0x7E for character in text)


def seconds(owner: str, name: str, value: float) -> float:
    """Return a finite number of seconds, zero or more.

    Raises:
        ConfigurationError: it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise ConfigurationError(f"{owner}: {name} must be a finite number of seconds, zero or more, not {value!r}.")
    return float(value)
