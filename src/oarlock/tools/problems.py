"""From pydantic's validation errors to sentences that a model can act on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from oarlock.contract.secret import scrub

__all__ = ["problems_of"]

_MOST_PROBLEMS = 10


def problems_of(error: Exception) -> list[str]:
    """Return what is wrong, argument by argument; unknown top-level arguments are left to the caller.

    For an error that is not pydantic's: `[]`.
    """
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return []
    found = error.errors(include_url=False, include_context=False)
    wanted = [one for one in found if one["type"] != "extra_forbidden" or len(one["loc"]) > 1]
    more = [f"and {len(wanted) - _MOST_PROBLEMS} more"] if len(wanted) > _MOST_PROBLEMS else []
    return [_sentence(one) for one in wanted[:_MOST_PROBLEMS]] + more


def _sentence(problem: Any) -> str:
    place = _place(problem["loc"])
    if problem["type"] == "missing":
        return f"{place} is missing"
    words = scrub(str(problem["msg"]), 300)
    if problem["type"].endswith(("_type", "_parsing", "_from_float")):
        words += f", not {_kind(problem.get('input'))}"
    return f"{place}: {words}" if place else words


def _place(path: Iterable[int | str]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{scrub(part, 100)}" if text else scrub(part, 100)
    return repr(text[:200]) if text else ""


def _kind(value: Any) -> str:
    kinds = {
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        list: "an array",
        dict: "an object",
    }
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
