"""From a function to a pydantic model of its arguments, to the JSON schema that models are shown, and to checked arguments.

Checking is strict, with the rules of JSON: `"3"` is no number, `1` is no boolean, `3` is a good float; dates, enums, UUIDs
and the like are read from text. Whoever wants more leniency says so in the type: `Annotated[int, BeforeValidator(int)]`.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from oarlock.contract.errors import OarlockError, ToolError
from oarlock.contract.records import dataclass, field
from oarlock.tools.arguments import as_json
from oarlock.tools.docstrings import parse_docstring
from oarlock.tools.names import nearest, shown
from oarlock.tools.problems import problems_of
from oarlock.tools.results import error_as_text

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["KEY", "Arguments", "Takes", "arguments_of", "check_parameters", "check_signature", "names_around"]

KEY = "idempotency_key"  # a parameter of this name is filled by the library and not shown to the model
_Parameter = inspect.Parameter
_VARIABLE = (_Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD)


class Takes(Protocol):
    """What a tool takes, wherever that is written: in Python (`Arguments`), or in a JSON schema (`JsonArguments`)."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON schema that models are shown; shared, not to be changed."""

    @property
    def order(self) -> tuple[str, ...]:
        """The names in order, to read positional arguments."""

    @property
    def wants_key(self) -> bool:
        """Whether it takes an `idempotency_key` from the library."""

    def check(self, arguments: Mapping[str, Any], text: str | None = None) -> dict[str, Any]:
        """Return arguments for the tool, or raise `ToolError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments that a function takes.

    Attributes:
        model: the pydantic model that checks them.
        parameters: their JSON schema; shared, not to be changed.
        fields: from the model's field names to the function's parameter names, where they differ.
        names: those that a model may send; `None`: any.
        order: the function's parameters in order, to read positional arguments.
        wants_key: whether the function declares `idempotency_key`.
    """

    model: type[BaseModel]
    parameters: Mapping[str, Any]
    fields: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[str] | None = None
    order: tuple[str, ...] = ()
    wants_key: bool = False

    def check(self, arguments: Mapping[str, Any], text: str | None = None) -> dict[str, Any]:
        """Return arguments for the function, with defaults and with pydantic objects where it wants them.

        Args:
            arguments: JSON values; also Python objects of exactly the right types.
            text: the same as JSON text, where it is at hand.

        Raises:
            ToolError: a wrong type, a missing or an unknown argument; the message is fit for the model.
        """
        unknown = [] if self.names is None else [name for name in arguments if name not in self.names]
        problems = [self._unknown(name) for name in unknown[:10]]
        try:
            made = self._validate(arguments, text)
        except OarlockError:
            raise
        except Exception as error:  # noqa: BLE001  validators may be the user's own code, and raise anything
            problems += problems_of(error) or ([] if problems else [error_as_text(error)])
        if problems:
            raise ToolError("wrong arguments: " + "; ".join(problems) + ".")
        values = {**made.__dict__, **(made.__pydantic_extra__ or {})}
        return {self.fields.get(name, name): value for name, value in values.items()} if self.fields else values

    def _validate(self, arguments: Mapping[str, Any], text: str | None) -> BaseModel:
        if text is None:
            try:
                text = as_json(arguments)
            except ToolError:  # Python objects
                return self.model.model_validate(dict(arguments), strict=True)
        return self.model.model_validate_json(text or "{}", strict=True)

    def _unknown(self, name: str) -> str:
        known = sorted(self.names or ())
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"they are: {shown(known)}"
        return f"there is no argument {name[:100]!r} ({hint})"


def check_signature(function: Callable[..., Any], who: str) -> inspect.Signature:
    """Return the signature of a function that can be a tool.

    Raises:
        ToolError: it yields, or hides its signature.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolError(f"{who} yields its result; a tool must return it.")
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        raise ToolError(f"{who} has no readable signature: wrap it in a function of your own.") from None


def check_parameters(signature: inspect.Signature, who: str) -> None:
    """Refuse parameters that a model cannot fill by name. Beside some that it can, `*args` and `**kwargs` may stay empty."""
    some_named = any(one.kind not in _VARIABLE for one in signature.parameters.values())
    for number, one in enumerate(signature.parameters.values()):
        if one.kind in _VARIABLE and not some_named:
            stars = "*" if one.kind is _Parameter.VAR_POSITIONAL else "**"
            raise ToolError(
                f"{who} takes {stars}{one.name}, which a model cannot be told about: name each parameter, or give args_schema."
            )
        if one.kind is _Parameter.POSITIONAL_ONLY:
            raise ToolError(f"{who} has the positional-only parameter {one.name!r}: a model gives arguments by name.")
        if number == 0 and one.name in ("self", "cls") and one.annotation is one.empty:
            raise ToolError(f"{who} is a method without its object: make the tool from one, as in tool(obj.method).")


def names_around(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what the annotations of a function written inside another one mean there (they are text by then)."""
    try:
        annotations = inspect.unwrap(function).__annotations__.values()
    except (AttributeError, NameError):
        return {}
    words = {word for text in annotations if isinstance(text, str) for word in re.findall(r"[^\W\d]\w*", text)}
    frame = inspect.currentframe() if words and "<locals>" in getattr(function, "__qualname__", "") else None
    while frame and str(frame.f_globals.get("__name__", "")).startswith("oarlock.tools"):
        frame = frame.f_back
    return {word: frame.f_locals[word] for word in words if word in frame.f_locals} if frame else {}


def arguments_of(
    function: Callable[..., Any],
    who: str,
    *,
    args_schema: type[BaseModel] | None = None,
    docstring: str | None = None,
    around: Mapping[str, Any] | None = None,
) -> Arguments:
    """Return what a function takes, from its signature and docstring, or from `args_schema`.

    Raises:
        ToolError: a model cannot be told about these parameters.

    Example:
        >>> def add(a: int, b: int = 1): ...
        >>> arguments_of(add, "add").check({"a": 2})
        {'a': 2, 'b': 1}
    """
    signature = check_signature(function, who)
    if args_schema is not None:
        return _from_model(args_schema, signature, who)
    check_parameters(signature, who)
    hints = _hints(function, who, around or {})
    described = parse_docstring(docstring or inspect.getdoc(function))[1]
    definitions: dict[str, Any] = {}
    fields: dict[str, str] = {}
    for name, one in signature.parameters.items():
        if name != KEY and one.kind not in _VARIABLE:
            safe = _safe(name)
            fields.update({safe: name} if safe != name else {})
            definitions[safe] = _definition(
                one, hints.get(name, Any), described.get(name), alias=name if safe != name else None
            )
    model = _make_model(definitions, who)
    return _arguments(model, signature, fields=fields, who=who, strict_names=True)


def _safe(name: str) -> str:
    """Return a field name for a parameter: pydantic refuses underscores in front, and names of its own methods."""
    from pydantic import BaseModel

    return f"p_{name}" if name.startswith("_") or hasattr(BaseModel, name) else name


def _definition(one: inspect.Parameter, hint: Any, description: str | None, *, alias: str | None) -> tuple[Any, Any]:
    from pydantic import Field

    metadata: list[Any] = [Field(description=description)] if description else []
    if typing.get_origin(hint) is Annotated:
        hint, *own = typing.get_args(hint)
        metadata += [Field(description=item) if isinstance(item, str) else item for item in own]
    if one.default is None and hint is not Any:  # `x: int = None` is written often
        hint = hint | None if not isinstance(hint, str) else hint
    if alias:
        metadata.append(Field(alias=alias))
    annotated = Annotated[(hint, *metadata)] if metadata else hint
    return annotated, (... if one.default is one.empty else one.default)


def _make_model(definitions: Mapping[str, Any], who: str) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model
    from pydantic.errors import PydanticUserError

    config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)
    try:
        return create_model(re.sub(r"\W", "_", who), __config__=config, **definitions)
    except (PydanticUserError, TypeError, NameError) as error:
        raise ToolError(f"{who} has a parameter of a type that a model cannot send: {error_as_text(error)}") from error


def _hints(function: Callable[..., Any], who: str, around: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(function, functools.partial):
        function = function.func
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, localns=dict(around) or None, include_extras=True)
    except (NameError, TypeError) as error:
        raise ToolError(
            f"the type hints of {who} cannot be read: {error}. Define the types at the module's top."
        ) from error


def _from_model(model: type[BaseModel], signature: inspect.Signature, who: str) -> Arguments:
    from pydantic import BaseModel, RootModel

    given: object = model
    if not isinstance(given, type) or not issubclass(given, BaseModel) or issubclass(given, RootModel):
        raise ToolError(f"args_schema of {who} must be a class derived from pydantic.BaseModel with fields.")
    made = _arguments(model, signature, who=who, strict_names=model.model_config.get("extra") != "allow")
    parameters = signature.parameters.values()
    anything = any(one.kind is _Parameter.VAR_KEYWORD for one in parameters)
    taken = {one.name for one in parameters if one.kind in (_Parameter.POSITIONAL_OR_KEYWORD, _Parameter.KEYWORD_ONLY)}
    needed = {one.name for one in parameters if one.name in taken and one.default is one.empty and one.name != KEY}
    odd = ({*model.model_fields} - taken if not anything else set()) or needed - {*model.model_fields}
    if odd:
        raise ToolError(f"args_schema of {who} and its function do not agree on: {', '.join(sorted(odd))}.")
    return made


def _arguments(
    model: type[BaseModel],
    signature: inspect.Signature,
    *,
    who: str,
    strict_names: bool,
    fields: Mapping[str, str] | None = None,
) -> Arguments:
    parameters = _json_schema(model, who)
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    names = {*parameters["properties"], *(model.model_fields if by_name else ())}
    if strict_names:
        parameters["additionalProperties"] = False
    return Arguments(
        model=model,
        parameters=parameters,
        fields=fields or {},
        names=frozenset(names) if strict_names else None,
        order=tuple(
            name
            for name, one in signature.parameters.items()
            if name != KEY and one.kind is _Parameter.POSITIONAL_OR_KEYWORD
        ),
        wants_key=KEY in signature.parameters and KEY not in model.model_fields,
    )


def _json_schema(model: type[BaseModel], who: str) -> dict[str, Any]:
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  pydantic's own declaration

    try:
        schema: dict[str, Any] = without_titles(model.model_json_schema(schema_generator=Quiet))
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        raise ToolError(f"{who} has a parameter of a type that a model cannot send: {error_as_text(error)}") from error
    schema.setdefault("properties", {})
    schema.pop("description", None)  # the model's docstring; the tool has its own description
    return schema


def without_titles(schema: Any) -> Any:
    """Return a JSON schema without pydantic's titles: they say nothing and cost tokens.

    Example:
        >>> without_titles({"title": "Args", "properties": {"title": {"title": "Title", "type": "string"}}})
        {'properties': {'title': {'type': 'string'}}}
    """
    if isinstance(schema, list):
        return [without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "patternProperties", "dependentSchemas"):
            cleaned[key] = {name: without_titles(part) for name, part in value.items()}
        elif key in ("default", "examples", "const", "enum"):
            cleaned[key] = value
        elif key != "title":
            cleaned[key] = without_titles(value)
    return cleaned
