"""Keeping secrets out of text that people or files may see."""

from __future__ import annotations

import functools
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


_NAMES = (
    r"api[-_ ]?key|(?:access|refresh|auth|id|security|session)[-_ ]?token"
    r"|secret|password|passwd|authorization|cookie|signature"
)


@functools.cache
def _credentials() -> tuple[re.Pattern[str], ...]:
    """Return the shapes of credentials that endpoints echo in their errors; compiled at the first error.

    What stands in group 1 stays; no value holds a "…", so that scrubbing twice changes nothing more. Prose about a "bearer
    token" may lose a word: better than the other way round.
    """
    patterns = (
        r"()\b(?:sk|pk|rk|key|hf|gsk|xai|ghp|gho|ghs|github_pat|xox[abp])[-_][-\w]{12,}",
        r"()\b(?-i:AKIA|ASIA|AIza)[-\w]{12,}",
        r"()\beyJ[\w-]{5,}(?:\.[\w-]*){1,4}",  # JSON Web Tokens
        r"(://)[^/\s@…]+(?=@)",
        rf"((?:{_NAMES})[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic|token|negotiate)\s+)?+)[^\s\"'&,;…]{{4,}}",
        r"((?:key|token|sig|session)=)[^\s\"'&,;…]{4,}",
        r"((?:key|token)(?: provided)?[\"']?(?:\s*:\s*|\s+)[\"']?)(?=[^\s\"']*\d)[\w.~+/=-]{12,}",
        r"(\bbearer(?::|%20|\s)\s*)[^\s\"',;…]{6,}",
        r"(\bbasic\s+)[A-Za-z0-9+/=]{8,}",
    )
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def scrub(text: str, limit: int = 300) -> str:
    """Return foreign text fit for an error message: no credentials, no control characters, at most `limit` long.

    Example:
        >>> scrub("Incorrect API key provided: sk-abcdefghijklmnop")
        'Incorrect API key provided: …'
    """
    clean = " ".join(_CONTROL.sub(" ", text[: limit * 4]).split())
    for credential in _credentials():
        clean = credential.sub(r"\1…", clean)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
