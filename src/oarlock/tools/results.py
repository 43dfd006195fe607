"""From what a tool returned, or raised, to text for a model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from oarlock.contract.errors import ToolError
from oarlock.contract.secret import scrub

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["MOST_CHARACTERS", "as_text", "error_as_text", "fitted", "result_as_text"]

MOST_CHARACTERS = 100_000  # of one answer; about 25,000 tokens, more than most context windows have to spare
_MOST_ERROR_CHARACTERS = 1000
_STRUCTURES = (dict, list, tuple, AbstractSet)


def result_as_text(value: Any) -> str:
    """Return a tool's result as text: JSON for structures, at most 100,000 characters.

    Example:
        >>> result_as_text({"sum": 3}), result_as_text(None), result_as_text("as it is")
        ('{"sum": 3}', '(no output)', 'as it is')
    """
    text = _clean(as_text(value))
    if len(text) > MOST_CHARACTERS:
        left_out = len(text) - MOST_CHARACTERS
        text = f"{text[:MOST_CHARACTERS]}\n[cut: {left_out:,} more characters are not shown]"
    return text if text and not text.isspace() else "(no output)"


def fitted(model: type[BaseModel], result: Any) -> BaseModel:
    """Return a tool's result as an object of its `result_schema`.

    Raises:
        ToolError: it is none.
    """
    try:
        return model.model_validate(result, from_attributes=True)
    except ValueError as error:
        raise ToolError(
            f"the tool's result does not fit its result_schema {model.__name__}: {scrub(str(error))}"
        ) from error


def as_text(value: Any) -> str:
    """Return a tool's result as text, however long: JSON for structures."""
    if value is None or isinstance(value, (str, int, float)):
        return "" if value is None else str(value)
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if hasattr(value, "model_dump_json") and not isinstance(value, type):
        return str(value.model_dump_json())
    if isinstance(value, _STRUCTURES) or _is_dataclass(value):
        try:
            return json.dumps(value, ensure_ascii=False, default=_plain)
        except (TypeError, ValueError, RecursionError):  # keys that JSON does not have, a circle, too deep
            return str(value)
    return str(value)


def _plain(value: Any) -> Any:
    """Return something closer to JSON for what JSON does not have."""
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json")
    if _is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return list(value) if isinstance(value, AbstractSet) else str(value)


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _clean(text: str) -> str:
    """Return the text without lone surrogates, which no endpoint can be sent."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def error_as_text(error: BaseException) -> str:
    """Return an error in one line fit for a model: its kind and message, without credentials.

    Example:
        >>> error_as_text(KeyError("city"))
        "KeyError: 'city'"
    """
    name = type(error).__name__
    try:
        words = scrub(str(error), _MOST_ERROR_CHARACTERS)
    except Exception:  # noqa: BLE001  a foreign error's own __str__ may fail
        words = ""
    return f"{name}: {words}" if words else name
