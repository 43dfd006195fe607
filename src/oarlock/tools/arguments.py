"""Reading the arguments of a tool call, as a model wrote them: JSON without its traps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from oarlock.contract.errors import ToolError

__all__ = ["MOST_ARGUMENTS", "as_json", "parse_arguments"]

MOST_ARGUMENTS = 1_000_000  # characters of JSON


def parse_arguments(text: str) -> dict[str, Any]:
    """Return a call's arguments; an empty text counts as `{}`.

    Raises:
        ToolError: no JSON object; over 1,000,000 characters; `NaN` or an infinity; a key twice; nested too deeply.

    Example:
        >>> parse_arguments('{"city": "Oslo"}')
        {'city': 'Oslo'}
    """
    check_size(text)
    try:
        arguments = _DECODER.decode(text) if text and not text.isspace() else {}
    except ToolError:
        raise
    except RecursionError:
        raise ToolError("the arguments are nested too deeply.") from None
    except ValueError as error:
        raise ToolError(f"the arguments are not valid JSON ({error}). Send one JSON object.") from None
    if not isinstance(arguments, dict):
        raise ToolError(f"the arguments must be a JSON object, not {_KINDS.get(type(arguments), 'a number')}.")
    return arguments


def as_json(arguments: Mapping[str, Any]) -> str:
    """Return arguments as JSON text.

    Raises:
        ToolError: they are not JSON, or over 1,000,000 characters.

    Example:
        >>> as_json({"city": "Oslo"})
        '{"city": "Oslo"}'
    """
    try:
        text = _ENCODER.encode(arguments)
    except (TypeError, ValueError, RecursionError):
        raise ToolError("the arguments must be plain JSON values.") from None
    check_size(text)
    return text


def check_size(text: str) -> None:
    """Refuse arguments that are too long to be meant."""
    if len(text) > MOST_ARGUMENTS:
        raise ToolError(f"the arguments are {len(text):,} characters long; at most {MOST_ARGUMENTS:,} are allowed.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ToolError(f"the key {twice[:100]!r} stands twice in one object.")
    return made


def _constant(name: str) -> NoReturn:
    raise ToolError(f"{name} is not valid JSON.")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ToolError(f"the number {text[:40]} is too large.")
    return number


_KINDS = {list: "a list", str: "a text", type(None): "null", bool: "true or false"}
_ENCODER = json.JSONEncoder(allow_nan=False)
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
