"""The terminal, where people are asked."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

__all__ = ["alone_on_terminal", "is_terminal", "shown"]

_ONE_AT_A_TIME: Final = threading.Lock()  # the process has one terminal; two questions at once could not be told apart
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # could change the terminal


@contextmanager
def alone_on_terminal() -> Iterator[None]:
    """Ask in a block: no other question is asked meanwhile, and nothing moves."""
    views = sys.modules.get("oarlock.views.console")  # where nothing was ever shown nothing moves
    with _ONE_AT_A_TIME, nullcontext() if views is None else views.paused():
        yield


def is_terminal() -> bool:
    """Return whether somebody can be asked on standard input."""
    try:
        return sys.stdin.isatty()
    except (AttributeError, ValueError):  # none, or closed
        return False


def shown(text: str) -> str:
    """Return foreign text as a terminal may be given it.

    Example:
        >>> shown("a\\x1b[2Jb")
        'a[2Jb'
    """
    return _CONTROL.sub("", text)
