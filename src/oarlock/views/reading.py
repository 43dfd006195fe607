"""Events as the tree reads them: objects as they happen, or the dictionaries that `to_dict` made of them, from wherever."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from oarlock.contract.errors import LLMError
from oarlock.contract.events import Event
from oarlock.contract.records import dataclass
from oarlock.contract.reply import Usage
from oarlock.contract.secret import scrub

__all__ = ["Facts", "Problem", "Told"]

Told: TypeAlias = Event | Mapping[str, Any]
"""An event, or what `oarlock.events.to_dict` made of one. A dictionary may lack anything, and hold nonsense."""

_MOST_MESSAGE: Final = 1000  # characters, as in `to_dict`
_LARGEST: Final = 2**53  # what any JSON reader takes for a whole number


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error, in words that may be shown.

    Attributes:
        type: the name of its class.
        message: without credentials and control characters.
        status: of the HTTP answer, if it was one.
    """

    type: str
    message: str
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class Facts:
    """The fields of an event, each of the type that is asked for, else as if it were not there."""

    __slots__ = ("_get", "event", "kind")

    def __init__(self, event: Told) -> None:
        self.event = event
        if isinstance(event, Event):
            self.kind = type(event).__name__
            self._get: Callable[[str], Any] = lambda name: getattr(event, name, None)
        else:
            self.kind = str(event.get("event", ""))
            self._get = event.get

    def text(self, name: str) -> str:
        """Return a text, empty where there is none."""
        return _text(self._get(name))

    def id(self, name: str) -> str | None:
        """Return an id."""
        return _text(self._get(name)) or None

    def number(self, name: str) -> float | None:
        """Return a finite number, not below zero."""
        return _number(self._get(name))

    def whole(self, name: str) -> int:
        """Return a whole number, 0 where there is none."""
        return _whole(self._get(name))

    def flag(self, name: str) -> bool:
        """Return whether it is so."""
        return self._get(name) is True

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return a mapping."""
        value = self._get(name)
        return value if isinstance(value, Mapping) else None

    def usage(self, name: str) -> Usage:
        """Return what was used."""
        return _usage(self._get(name))

    def problem(self) -> Problem | None:
        """Return the event's error."""
        return _problem(self._get("error"))

    def of_reply(self, name: str) -> Any:
        """Return a field of the event's reply."""
        reply = self._get("reply")
        return reply.get(name) if isinstance(reply, Mapping) else getattr(reply, name, None)

    def reply_text(self, name: str) -> str:
        """Return a text of the event's reply."""
        return _text(self.of_reply(name))

    def reply_usage(self) -> Usage:
        """Return what the event's reply cost."""
        return _usage(self.of_reply("usage"))

    def reply_tool_calls(self) -> int:
        """Return for how many tools the event's reply asks."""
        calls = self.of_reply("tool_calls")
        return len(calls) if isinstance(calls, list | tuple) else _whole(calls)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LARGEST and math.isfinite(value) else None


def _whole(value: object) -> int:
    number = _number(value)
    return 0 if number is None else int(number)


def _usage(value: object) -> Usage:
    if isinstance(value, Usage):
        return value
    if not isinstance(value, Mapping):
        return Usage()
    names = ("prompt_tokens", "completion_tokens", "cached_prompt_tokens", "requests")
    return Usage(**{name: _whole(value.get(name)) for name in names}, estimated=value.get("estimated") is True)


def _problem(value: object) -> Problem | None:
    if isinstance(value, BaseException):
        status = value.status if isinstance(value, LLMError) else None
        return Problem(type=type(value).__name__, message=scrub(str(value), _MOST_MESSAGE), status=status)
    if not isinstance(value, Mapping):
        return None
    message = scrub(_text(value.get("message")), _MOST_MESSAGE)
    return Problem(
        type=_text(value.get("type")) or "Error", message=message, status=_whole(value.get("status")) or None
    )
