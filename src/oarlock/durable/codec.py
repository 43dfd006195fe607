"""What a run records, as JSON: known shapes only, checked by schema on the way back, never pickle."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from oarlock.agents.hooks_at_work import Said
from oarlock.agents.outputs import CrewOutput, TaskOutput
from oarlock.contract.errors import RunError
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.secret import Secret, scrub
from oarlock.tools import ToolAnswer

__all__ = ["Models", "from_json", "plain", "to_json"]

Models = Mapping[str, type[BaseModel]]
"""The pydantic models that a crew's tasks answer with, by name."""

_KIND: Final = "$"  # the key under which a shape has its name; no plain mapping may have it
_SHAPES: Final[Mapping[str, type[Any]]] = {
    shape.__name__: shape for shape in (CrewOutput, Reply, TaskOutput, ToolAnswer, ToolCall, Usage)
}
# What is not kept: the provider's whole answer, and objects that nothing in a run reads again.
_LEFT_OUT: Final[Mapping[type[Any], frozenset[str]]] = {
    Reply: frozenset({"raw", "value", "limits"}),
    ToolAnswer: frozenset({"value"}),
    TaskOutput: frozenset({"pydantic"}),
    CrewOutput: frozenset({"pydantic", "tasks_output"}),
}


def to_json(value: Any, where: str) -> Any:
    """Return a step's result as values that JSON has.

    Args:
        value: a `Reply`, a `ToolAnswer`, an output, a pydantic object, or plain values, also in lists and mappings.
        where: what the value is, for the error.

    Raises:
        RunError: there is something in it that cannot be kept.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return plain(value, where)
    shape = type(value)
    if shape.__name__ in _SHAPES and _SHAPES[shape.__name__] is shape:
        return _shape_to_json(shape, value, where)
    if isinstance(value, BaseModel):
        return {_KIND: "model", "name": shape.__name__, "fields": _dumped(value, where)}
    if isinstance(value, Said):
        messages = None if value.messages is None else plain(value.messages, f"{where}.messages")
        return {_KIND: "Said", "reply": to_json(value.reply, f"{where}.reply"), "messages": messages}
    if isinstance(value, list | tuple):
        return [to_json(item, f"{where}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, Mapping) and _KIND not in value:
        return {_name(key, where): to_json(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise _unknown(value, where)


def from_json(value: Any, models: Models, *, strict: bool = True) -> Any:
    """Return what `to_json` was given, as far as it is kept.

    Args:
        value: from the database; anything may be wrong with it.
        models: to make pydantic objects of.
        strict: an unknown model is an error; else its fields are given as a mapping.

    Raises:
        RunError: it has not the shape that it should have.
    """
    if isinstance(value, list):
        return [from_json(item, models, strict=strict) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind is None:
        return {key: from_json(item, models, strict=strict) for key, item in value.items()}
    if kind == "model":
        return _model_from_json(value, models, strict=strict)
    if kind == "Said":
        return _said_from_json(value)
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise RunError(f"The database holds a {scrub(repr(kind), 60)}, which this version does not know.")
    return _shape_from_json(shape, value, models, strict=strict)


def plain(value: Any, where: str) -> Any:
    """Return a copy of plain values: texts, numbers, booleans, nothing, and lists and mappings of them.

    Raises:
        RunError: there is something else in it; the message says where.
    """
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124  NaN
        raise RunError(f"{where} is {value}, which JSON does not have.")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, str):  # a StrEnum
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, Mapping) and _KIND not in value:
        return {_name(key, where): plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise _unknown(value, where)


def _shape_to_json(shape: type[Any], value: Any, where: str) -> dict[str, Any]:
    made: dict[str, Any] = {_KIND: shape.__name__, **_dumped(value, where)}
    if shape in (TaskOutput, CrewOutput) and value.pydantic is not None:
        made["pydantic"] = to_json(value.pydantic, f"{where}.pydantic")
    if shape is CrewOutput:
        made["tasks_output"] = [to_json(one, f"{where}.tasks_output") for one in value.tasks_output]
    return made


def _dumped(value: Any, where: str) -> dict[str, Any]:
    shape = type(value)
    try:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        made: dict[str, Any] = _adapters()[shape].dump_python(
            value, mode="json", exclude=set(_LEFT_OUT.get(shape, ())), exclude_defaults=True
        )
    except (PydanticSerializationError, ValueError) as error:
        raise RunError(f"{where} cannot be kept: {scrub(str(error), 200)}") from None
    else:
        return made


def _shape_from_json(shape: type[Any], value: dict[str, Any], models: Models, *, strict: bool) -> Any:
    fields = {name: field for name, field in value.items() if name not in (_KIND, *_LEFT_OUT.get(shape, ()))}
    try:
        made = _adapters()[shape].validate_python(fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise RunError(f"The database holds a {shape.__name__} that is none: {scrub(problems, 200)}") from None
    extra: dict[str, Any] = {}
    if value.get("pydantic") is not None and shape in (TaskOutput, CrewOutput):
        extra["pydantic"] = from_json(value["pydantic"], models, strict=strict)
    if shape is CrewOutput:
        outputs = from_json(value.get("tasks_output", []), models, strict=strict)
        if not isinstance(outputs, list) or not all(isinstance(one, TaskOutput) for one in outputs):
            raise RunError("The database holds a CrewOutput whose tasks_output are none.")
        extra["tasks_output"] = tuple(outputs)
    return dataclasses.replace(made, **extra) if extra else made


def _said_from_json(value: dict[str, Any]) -> Said:
    reply, messages = from_json(value.get("reply"), {}), value.get("messages")
    if not isinstance(reply, Reply | None) or not isinstance(messages, list | None):
        raise RunError("The database does not hold what hooks said.")
    if messages is not None and not all(isinstance(message, dict) and "role" in message for message in messages):
        raise RunError("The database holds messages that are none.")
    return Said(reply=reply, messages=None if messages is None else tuple(messages))


def _model_from_json(value: dict[str, Any], models: Models, *, strict: bool) -> Any:
    name = value.get("name")
    model = models.get(name) if isinstance(name, str) else None
    if model is None:
        if strict:
            raise RunError(f"No task of this crew answers with a {scrub(str(name), 60)!r}, as this run did.")
        return value.get("fields")
    try:
        return model.model_validate(value.get("fields"))
    except ValidationError as error:
        raise RunError(
            f"The {model.__name__} in the database does not fit the model: {scrub(str(error), 200)}"
        ) from None


@functools.cache
def _adapters() -> Mapping[type[Any], TypeAdapter[Any]]:
    return {shape: TypeAdapter(shape) for shape in _SHAPES.values()}


def _name(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise RunError(f"{where} has the key {scrub(repr(key), 60)}; JSON's keys are texts.")
    return key


def _unknown(value: object, where: str) -> RunError:
    if isinstance(value, Secret):
        return RunError(f"{where} is a Secret, and secrets are never stored. Bind it again where the run goes on.")
    shown = type(value).__name__
    try:
        hint = " Pass its values instead." if to_jsonable_python(value) is not None else ""
    except (PydanticSerializationError, ValueError):
        hint = ""
    return RunError(
        f"{where} is of the type {shown}; only texts, numbers, booleans, lists and mappings are stored.{hint}"
    )
