"""Arguments described by a JSON schema that others wrote: shown to models, and checked as far as that is safe."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from oarlock.contract.errors import ToolError
from oarlock.contract.secret import scrub
from oarlock.tools.arguments import as_json
from oarlock.tools.names import nearest, shown
from oarlock.tools.schema import without_titles

__all__ = ["JsonArguments"]

_MOST_SCHEMA = 100_000  # characters; each of them is sent to the model with every call
_MOST_PROBLEMS = 10
_MOST_BRANCHES = 20  # of an `anyOf` that are looked at
_DEEPEST = 50  # levels of values that are looked into
_KINDS: Final[Mapping[str, tuple[str, tuple[type, ...]]]] = {
    "string": ("a string", (str,)),
    "integer": ("an integer", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("a boolean", (bool,)),
    "array": ("an array", (list,)),
    "object": ("an object", (dict,)),
    "null": ("null", (type(None),)),
}


class JsonArguments:
    """What a tool takes, by a JSON schema.

    Checked are types, missing and unknown names, fixed values and enumerations, level by level along what was given, so
    that a hostile schema (references to the network, patterns that take for ever, a thousandfold `anyOf`) costs nothing.
    Whatever else it asks for is for the tool itself to check.

    Args:
        schema: of an object.

    Attributes:
        parameters: the schema, as models are shown it.
        order: the names in order, to read positional arguments.
        wants_key: never: the schema says it all.

    Raises:
        ToolError: it is no schema of an object, or too long.

    Example:
        >>> takes = JsonArguments({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
        >>> takes.check({"n": 1})
        {'n': 1}
    """

    wants_key = False

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.parameters: Mapping[str, Any] = _checked(schema)
        self.order: tuple[str, ...] = tuple(self.parameters["properties"])

    def check(self, arguments: Mapping[str, Any], text: str | None = None) -> dict[str, Any]:
        """Return the arguments, if they fit.

        Raises:
            ToolError: they do not; the message is fit for the model.
        """
        if text is None:
            as_json(arguments)
        problems: list[str] = []
        self._look(dict(arguments), self.parameters, "", problems, 0)
        if problems:
            more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
            raise ToolError("wrong arguments: " + "; ".join(problems[:_MOST_PROBLEMS] + more) + ".")
        return dict(arguments)

    def _look(self, value: Any, schema: Any, place: str, problems: list[str], level: int) -> None:
        schema = self._resolved(schema)
        if level > _DEEPEST or not isinstance(schema, dict):
            return
        kinds = self._kinds(schema)
        if kinds and not any(_is(value, kind) for kind in kinds):
            wanted = " or ".join(_KINDS[kind][0] for kind in kinds)
            problems.append(f"{_named(place)} must be {wanted}, not {_kind_of(value)}")
        elif isinstance(schema.get("enum"), list) and value not in schema["enum"]:
            problems.append(f"{_named(place)} must be one of {shown(map(json.dumps, schema['enum']))}")
        elif "const" in schema and value != schema["const"]:
            problems.append(f"{_named(place)} must be {scrub(json.dumps(schema['const']), 100)}")
        elif isinstance(value, dict):
            self._look_into(value, schema, place, problems, level)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self._look(item, schema.get("items"), f"{place}[{number}]", problems, level + 1)

    def _look_into(
        self, value: dict[str, Any], schema: dict[str, Any], place: str, problems: list[str], level: int
    ) -> None:
        known = schema.get("properties")
        known = known if isinstance(known, dict) else {}
        required = schema.get("required")
        missing = [name for name in map(str, required) if name not in value] if isinstance(required, list) else []
        problems += [f"{_named(_inside(place, name))} is missing" for name in missing]
        closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
        for name, item in value.items():
            if name in known:
                self._look(item, known[name], _inside(place, name), problems, level + 1)
            elif closed:
                near = nearest(name, known)
                hint = f"did you mean {near!r}?" if near else f"they are: {shown(sorted(known))}"
                problems.append(f"there is no argument {scrub(_inside(place, name), 100)!r} ({hint})")

    def _kinds(self, schema: dict[str, Any]) -> tuple[str, ...]:
        """Return the types that a value may have; none if the schema does not say so in a simple way."""
        given = schema.get("type")
        if given is None and isinstance(schema.get("anyOf"), list) and len(schema["anyOf"]) <= _MOST_BRANCHES:
            parts = [self._resolved(part) for part in schema["anyOf"]]
            given = [part.get("type") if isinstance(part, dict) else None for part in parts]
        kinds = tuple(given) if isinstance(given, list) else (given,)
        return kinds if all(isinstance(kind, str) and kind in _KINDS for kind in kinds) else ()

    def _resolved(self, schema: Any) -> Any:
        """Return what a reference within the schema stands for, `None` for any other reference."""
        for _ in range(10):
            if not isinstance(schema, dict) or "$ref" not in schema:
                return schema
            schema = self._at(schema["$ref"])
        return None

    def _at(self, reference: object) -> Any:
        found: Any = self.parameters
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        for part in reference[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found


def _checked(given: object) -> dict[str, Any]:
    schema: Any = given
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        raise ToolError("its arguments are not described by a JSON schema of an object.")
    try:
        length = len(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ToolError("the schema of its arguments is not plain JSON.") from None
    if length > _MOST_SCHEMA:
        raise ToolError(
            f"the schema of its arguments is {length:,} characters long; at most {_MOST_SCHEMA:,} are allowed."
        )
    properties = schema.get("properties")
    if properties is not None and not isinstance(properties, Mapping):
        raise ToolError("the schema of its arguments has properties that are no object.")
    with contextlib.suppress(AttributeError, TypeError):  # a part of it is no schema: it stays as it is
        schema = without_titles(dict(schema))
    return {**schema, "type": "object", "properties": dict(schema.get("properties") or {})}


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()  # JSON Schema: 1.0 is an integer
    return isinstance(value, _KINDS[kind][1])


def _kind_of(value: Any) -> str:
    return next((words for words, types in _KINDS.values() if type(value) in types), type(value).__name__)


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _named(place: str) -> str:
    return repr(scrub(place, 200)) if place else "the whole"
