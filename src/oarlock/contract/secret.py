"""Keeping secrets out of text that people or files may see."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["Secret", "scrub"]


class Secret:
    """A string that does not show itself: not in a repr, a format, a pickle or a copy of state.

    Example:
        >>> Secret("hunter2")
        Secret('…')
        >>> Secret("hunter2").reveal()
        'hunter2'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        self._value: Final[str] = value.reveal() if isinstance(value, Secret) else value

    def reveal(self) -> str:
        """Return the string itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> Any:
        raise TypeError("A Secret cannot be pickled: bind the credential again where the state is loaded.")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self


# Shapes of credentials that endpoints echo in their errors: OpenAI-like keys, JWTs, and anything after these words.
_CREDENTIALS = re.compile(
    r"""\b(?:sk|pk|rk|key|ghp|gho|xox[abp]|AKIA|ASIA)[-_A-Za-z0-9]{12,}
    |\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}
    |(?<=bearer\ )[^\s"',;]{6,}|(?<=basic\ )[A-Za-z0-9+/=]{8,}
    |(?:(?<=api_key=)|(?<=api-key:\ )|(?<=api\ key:\ )|(?<=key=)|(?<=token=)|(?<=password=)|(?<=secret=))[^\s"'&,;]{4,}
    |(?<=://)[^/\s:@]+:[^/\s@]+(?=@)""",
    re.IGNORECASE | re.VERBOSE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def scrub(text: str, limit: int = 300) -> str:
    """Return foreign text fit for an error message: no credentials, no control characters, at most `limit` long.

    Example:
        >>> scrub("Incorrect API key provided: sk-abcdefghijklmnop")
        'Incorrect API key provided: …'
    """
    clean = _CREDENTIALS.sub("…", text[: limit * 4])
    clean = " ".join(_CONTROL.sub(" ", clean).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
