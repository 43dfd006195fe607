"""Errors as JSON and back: our own classes, redacted; of foreign ones the name and the words."""

from __future__ import annotations

import builtins
from typing import Any, Final

from oarlock.contract import errors as tree
from oarlock.contract.errors import LLMError, OarlockError, RunError
from oarlock.contract.secret import scrub
from oarlock.tools.calls import ToolTimeoutError

__all__ = ["error_from_json", "error_to_json"]

_MOST = 2000  # characters of a message
_FACTS: Final = ("status", "code", "request_id", "attempts", "elapsed", "retry_after", "retryable")
_TEXTS: Final = ("text", "run_id")
_LISTS: Final = ("reasons", "errors")
_OURS: Final[dict[str, type[OarlockError]]] = {
    **{name: getattr(tree, name) for name in tree.__all__ if isinstance(getattr(tree, name), type)},
    "ToolTimeoutError": ToolTimeoutError,
}


def error_to_json(error: BaseException) -> dict[str, Any]:
    """Return an error without its cause, its traceback or a secret.

    Example:
        >>> error_to_json(KeyError("city"))
        {'type': 'KeyError', 'message': "'city'"}
    """
    try:
        message = scrub(str(error), _MOST)
    except Exception:  # noqa: BLE001  a foreign error's own __str__ may fail
        message = ""
    made: dict[str, Any] = {"type": _known_type(error), "message": message}
    if isinstance(error, LLMError):
        facts = {name: getattr(error, name) for name in _FACTS}
        made |= {name: scrub(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
    if isinstance(error, OarlockError):
        made |= {name: value for name in _TEXTS if isinstance(value := getattr(error, name, None), str)}
        lists = {name: getattr(error, name, ()) for name in _LISTS}
        made |= {name: [scrub(str(one), _MOST) for one in some] for name, some in lists.items() if some}
    notes = [scrub(str(note), _MOST) for note in getattr(error, "__notes__", ())]
    return {**made, "notes": notes} if notes else made


def _known_type(error: BaseException) -> str:
    """Return the name of the nearest class of an error that can be restored."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((name for name in names if name in _OURS), names[0])


def error_from_json(value: object) -> Exception:
    """Return the error that was stored: one of ours, a builtin one, or a `RunError` that tells its name.

    Example:
        >>> error_from_json({"type": "KeyError", "message": "'city'"})
        KeyError("'city'")
        >>> error_from_json({"type": "DriverError", "message": "gone"})
        RunError('DriverError: gone')
    """
    facts = value if isinstance(value, dict) else {}
    name, message = str(facts.get("type", "Exception")), str(facts.get("message", ""))
    error = _made(name, message)
    if isinstance(error, OarlockError):
        for fact in (*_FACTS, *_TEXTS):
            if fact in facts and hasattr(error, fact):
                setattr(error, fact, facts[fact])
        for fact in _LISTS:
            if hasattr(error, fact):
                setattr(error, fact, tuple(_texts(facts.get(fact))))
    for note in _texts(facts.get("notes")):
        error.add_note(note)
    return error


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _made(name: str, message: str) -> Exception:
    if name in _OURS:
        return _OURS[name](message)
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # UnicodeDecodeError and its like want more
            pass
    return RunError(f"{name}: {message}")
