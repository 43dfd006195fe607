"""What telemetry says about an LLM, an error, a name: few words, none of them secret."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from oarlock.contract.errors import LLMError
from oarlock.contract.policed import PolicedLLM
from oarlock.contract.records import dataclass
from oarlock.contract.secret import scrub
from oarlock.telemetry.names import PROVIDERS

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["About", "Bounded", "about", "error_type", "error_words", "short", "shown_id"]

_LONGEST: Final = 120  # characters of a name
_PLAIN: Final = re.compile(r"[\w.-]{1,120}", re.ASCII)
# How credentials begin that need no sign of punctuation, in small letters; see `oarlock.contract.secret`. Of a pattern that
# ignores case the search took 20 µs, ten times as long.
_LIKE_A_KEY: Final = re.compile(r"(?:sk|pk|rk|key|hf|gsk|xai|ghp|gho|ghs|github_pat|xox[abp])[-_]|akia|asia|aiza|eyj")
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """An LLM, as telemetry knows it.

    Attributes:
        model: its name.
        provider: who serves it: a well-known name where the host tells, else `"custom"`.
        address: the host; `None` for an LLM that names no URL.
        port: likewise.
    """

    model: str
    provider: str
    address: str | None = None
    port: int | None = None


def about(llm: BaseLLM | None) -> About:
    """Return what is known of an LLM."""
    while isinstance(llm, PolicedLLM):  # which has the base's `base_url`, not that of the LLM inside
        llm = llm.inner
    if llm is None:
        return _about("custom", None)
    url = llm.base_url
    return _about(str(llm.model), url if isinstance(url, str) else None)


@functools.lru_cache(maxsize=256)
def _about(model: str, url: str | None) -> About:
    name = short(model) or "custom"
    try:
        parts = urlsplit(url or "")
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # no URL
        host = port = None
    if not host:
        return About(model=name, provider="custom")
    ends = (known for end, known in PROVIDERS.items() if host == end or host.endswith(f".{end}"))
    return About(model=name, provider=next(ends, "custom"), address=short(host), port=port)


def error_type(error: BaseException) -> str:
    """Return the class of an error, a value of which there are few."""
    return type(error).__name__


def error_words(error: BaseException) -> str:
    """Return an error in words that no model and no user wrote: its class, status and code.

    Example:
        >>> error_words(LLMError("The prompt was: ...", status=400, code="bad"))
        'LLMError (HTTP 400, bad)'
    """
    facts = []
    if isinstance(error, LLMError):
        facts = [f"HTTP {error.status}"] if error.status else []
        facts += [short(str(error.code))] if error.code else []
    return error_type(error) + (f" ({', '.join(facts)})" if facts else "")


@functools.lru_cache(maxsize=1024)
def short(name: str) -> str:
    """Return a name of which there are few, such as an agent's or a model's, fit to be seen."""
    return scrub(name, _LONGEST)


def shown_id(text: str) -> str:
    """Return an id of a server's, fit to be seen. There is a new one with every answer: the usual ones must cost little.

    Example:
        >>> shown_id("chatcmpl-12"), shown_id("sk-abcdefghijklmnop")
        ('chatcmpl-12', '…')
    """
    plain = _PLAIN.fullmatch(text) and not _LIKE_A_KEY.search(text.lower())
    return text if plain else scrub(text, _LONGEST)


class Bounded:
    """Names as labels of metrics, of which there must be few: after the first `most` each further one is `"other"`.

    Example:
        >>> label = Bounded(2)
        >>> [label(name) for name in ("a", "b", "c", "a")]
        ['a', 'b', 'other', 'a']
    """

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._known: dict[str, str] = {}

    def __call__(self, name: Any) -> str:
        name = str(name)
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= self._most:
                return "other"
            known = self._known.setdefault(name, short(name))
        return known
