"""Keeping secrets out of text that people or files may see."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["Secret", "conceal", "is_secret_name", "scrub"]


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

_FIELD: Final = re.compile(rf"(?:.*[-_ ])?(?:{_NAMES})", re.IGNORECASE)

_MARKS: Final = (  # in lower case: one of them stands in whatever has the shape of a credential
    "k-", "k_", "hf-", "hf_", "xai-", "xai_", "ghp", "gho", "ghs", "_pat", "xox", "akia", "asia", "aiza", "eyj", "://", "key",
    "token", "secret", "passw", "authorization", "cookie", "signature", "sig=", "session=", "bearer", "basic",
)  # fmt: skip
_BEFORE: Final = 32  # characters: what of a credential's shape stands before its mark is shorter
_BEHIND: Final = 128  # likewise for what stands between the mark and the credential; that ends at white space
_SPACE: Final = re.compile(r"\s")


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
    clean = conceal(clean)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def conceal(text: str) -> str:
    """Return text without what looks like a credential, and otherwise as it was.

    Example:
        >>> conceal("curl -H 'Authorization: Bearer abcdefgh'\\n  https://ada:hunter2@example.com")
        "curl -H 'Authorization: Bearer …'\\n  https://…@example.com"
    """
    kept: list[str] = []
    done = 0
    for start, end in _suspect(text):
        piece = text[start:end]
        for credential in _credentials():
            piece = credential.sub(r"\1…", piece)
        kept += (text[done:start], piece)
        done = end
    return "".join((*kept, text[done:])) if kept else text


def _suspect(text: str) -> list[tuple[int, int]]:
    """Return the parts of a text around the marks of credentials: patterns take a thousand times as long as marks to look for."""
    low = text.lower()
    if len(low) != len(text):  # a few capitals have more characters when they are small
        return [(0, len(text))]
    found: list[tuple[int, int]] = []
    for start, stop in sorted(_marked(low)):
        if found and start <= found[-1][1]:
            start = found.pop()[0] if stop > found[-1][1] else -1  # noqa: PLW2901
        if start >= 0:
            space = _SPACE.search(text, stop)
            found.append((start, space.start() if space else len(text)))
    return found


def _marked(low: str) -> Iterator[tuple[int, int]]:
    for mark in _MARKS:
        at = low.find(mark)
        while at >= 0:
            yield max(0, at - _BEFORE), min(len(low), at + _BEHIND)
            at = low.find(mark, at + 1)


def is_secret_name(name: str) -> bool:
    """Return whether what has this name, such as an argument, is likely to be a credential.

    Example:
        >>> [is_secret_name(name) for name in ("api_key", "db_password", "max_tokens")]
        [True, True, False]
    """
    return _FIELD.fullmatch(name) is not None
