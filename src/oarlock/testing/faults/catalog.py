"""What a fault is, and the list of all that are known by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from oarlock.contract import errors
from oarlock.contract.errors import ConfigurationError, LLMError

if TYPE_CHECKING:
    from oarlock.testing.faults.connection import Connection

__all__ = ["ANSWER", "Fault", "fault", "get", "names"]

ANSWER = "answer"
"""The outcome of a fault that a good client survives with the answer."""

_GROUPS = ("none", "connection", "tls", "http", "body", "shape", "status", "retry", "leak", "tools", "sse")

Moment = Literal["accept", "request", "never"]

_ATTEMPTS = 3  # how often a client of ours sends a request at most, unless told otherwise

# Mutable and of the module, since a fault of one's own is declared once, like a class, and then served by its name.
_known: dict[str, Fault] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which an endpoint misbehaves, and what a good client makes of it.

    Attributes:
        name: by which it is served.
        group: such as `"http"` or `"sse"`.
        does: what the endpoint does, in one sentence.
        expect: the sound outcomes: `"answer"`, or names of classes of `oarlock.contract.errors`.
        requests: most requests that one call of a good client with three attempts sends.
        at: when it begins: `"request"`, once a request has been read; `"accept"`, once a connection has been made, before
            anything is read; `"never"`, where not even a connection is taken.
        stream: it is about answers that stream, so ask for one.
        tls: the endpoint's URL begins with `https://`.
        takes: seconds that a client must be willing to wait beyond its usual deadline.
        behave: does it, on one connection.

    Example:
        >>> from oarlock.testing import faults
        >>> faults.get("status_503").group, faults.get("status_503").does
        ('status', 'Answers HTTP 503, always.')
    """

    name: str
    group: str
    does: str
    expect: tuple[str, ...]
    requests: int
    behave: Callable[[Connection], None] = field(repr=False)
    at: Moment = "request"
    stream: bool = False
    tls: bool = False
    takes: float = 0.0

    def is_met_by(self, outcome: BaseException | None) -> bool:
        """Return whether this outcome, `None` for an answer, is one that is expected."""
        if outcome is None:
            return ANSWER in self.expect
        return any(kind.__name__ in self.expect for kind in type(outcome).__mro__)

    @property
    def good_client(self) -> str:
        """What a good client does, in a few words."""
        ends = [_WORDS.get(outcome) or f"raises {outcome}" for outcome in self.expect]
        sent = "1 request" if self.requests == 1 else f"at most {self.requests} requests"
        return f"{' or '.join(ends)}; {sent}"


_WORDS = {
    ANSWER: "returns the answer",
    "LLMTimeoutError": "gives up in time (LLMTimeoutError)",
    "ReplyTooLarge": "stops reading (ReplyTooLarge)",
}


def fault(
    does: str,
    *,
    group: str = "own",
    expect: str | tuple[str, ...] = ANSWER,
    requests: int | None = None,
    at: Moment = "request",
    stream: bool = False,
    tls: bool = False,
    takes: float = 0.0,
    name: str | None = None,
) -> Callable[[Callable[[Connection], None]], Fault]:
    """Make a fault of a function that misbehaves on a connection, and let it be served by the function's name.

    Args:
        does: what the endpoint does, in one sentence.
        group: where it is listed.
        expect: the sound outcome, or several: `"answer"`, or names of classes of `oarlock.contract.errors`.
        requests: most requests of a good client; default: 3 where the expected error is one that may heal, else 1.
        at: when it begins: see `Fault`.
        stream: it is about answers that stream.
        tls: it is served over `https://`.
        takes: seconds that a client must be willing to wait beyond its usual deadline.
        name: by which it is served; default: the function's.

    Raises:
        ConfigurationError: the name is taken, is no plain name, or an expected outcome is no error of ours.

    Example:
        >>> @fault("Answers that it is lunch time.", expect="ServerError", name="lunch")
        ... def lunch(connection):
        ...     connection.answer("Back at two.", status=503)
        >>> lunch.requests, lunch.good_client
        (3, 'raises ServerError; at most 3 requests')
    """
    expected = (expect,) if isinstance(expect, str) else expect

    def declare(behave: Callable[[Connection], None]) -> Fault:
        made = Fault(
            name=name or behave.__name__,
            group=group,
            does=does,
            expect=expected,
            requests=max(map(_usual_requests, expected)) if requests is None else requests,
            behave=behave,
            at=at,
            stream=stream,
            tls=tls,
            takes=takes,
        )
        _add(made)
        return made

    return declare


def _usual_requests(outcome: str) -> int:
    if outcome == ANSWER:
        return 1
    kind = getattr(errors, outcome, None)
    if not (isinstance(kind, type) and issubclass(kind, LLMError)):
        raise ConfigurationError(
            f"fault: expect names 'answer' or errors of oarlock, such as 'ServerError', not {outcome!r}."
        )
    return _ATTEMPTS if kind.default_retryable else 1


def _add(made: Fault) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", made.name):
        raise ConfigurationError(f"fault: name is lower-case letters, digits and '_', not {made.name!r}.")
    known = _known.get(made.name)
    if known is not None and known.behave.__module__ != made.behave.__module__:  # a reloaded module may say it again
        raise ConfigurationError(f"fault: the name {made.name!r} is taken.")
    _known[made.name] = made


def get(name: str) -> Fault:
    """Return the fault of this name.

    Raises:
        ConfigurationError: there is none.

    Example:
        >>> from oarlock.testing import faults
        >>> faults.get("gzip_bomb").does
        'Answers with 512 KB of gzip that unpack to 512 MB.'
    """
    if name not in _known:
        near = difflib.get_close_matches(str(name), _known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "They are listed by `oarlock faults` and by faults.names()."
        raise ConfigurationError(f"There is no fault {name!r}. {hint}")
    return _known[name]


def names(group: str | None = None) -> list[str]:
    """Return the names of all faults, or of those of one group, in the order in which they are best read.

    Raises:
        ConfigurationError: there is no such group.

    Example:
        >>> from oarlock.testing import faults
        >>> faults.names("connection")[:3]
        ['refused', 'reset_at_accept', 'close_at_accept']
    """
    declared = dict.fromkeys(known.group for known in _known.values())
    groups = [*_GROUPS, *(other for other in declared if other not in _GROUPS)]
    if group is not None and group not in groups:
        raise ConfigurationError(f"faults: there is no group {group!r}. There are: {', '.join(groups)}.")
    chosen = sorted(_known.values(), key=lambda known: groups.index(known.group))  # within a group: as declared
    return [known.name for known in chosen if group in (None, known.group)]
