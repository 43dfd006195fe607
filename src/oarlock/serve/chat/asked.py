"""What a client asks: the body of a chat completion, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from oarlock.contract.request import Request
from oarlock.serve.chat.messages import checked_messages
from oarlock.serve.errors import ApiError

__all__ = ["Asked", "asked", "parsed", "wrong"]

_MOST_STOPS: Final = 16  # OpenAI takes 4
_LONGEST_NAME: Final = 200
_MOST_TOOLS: Final = 512  # OpenAI takes 128
_DEEPEST: Final = 100  # levels of JSON; OpenAI's strict schemas have at most 10

# Settings that are passed on to LLMs that take them, and the value of each that says no more than leaving it out would.
_PASSED: Final[Mapping[str, Any]] = {
    "frequency_penalty": 0,
    "logit_bias": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "reasoning_effort": None,
    "seed": None,
    "top_p": 1,
    "verbosity": None,
}
# What changes nothing here: it is about the provider's books, or about how events are padded.
_NO_MATTER: Final = frozenset(
    {
        *("include_obfuscation", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
        *("store", "stream_options", "user"),
    }
)
# What there is in OpenAI's format and not here; with these values it is not wanted.
_NOT_HERE: Final[Mapping[str, tuple[Any, ...]]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "prediction": (),
    "service_tier": ("auto", "default"),
    "top_logprobs": (0,),
    "web_search_options": (),
}
_READ: Final = frozenset(
    {
        *(
            "max_completion_tokens",
            "max_tokens",
            "messages",
            "model",
            "response_format",
            "stop",
            "stream",
            "temperature",
        ),
        *("tool_choice", "tools"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A checked question.

    Attributes:
        model: the name that the client gave.
        request: what to ask of the model, with all settings that the client gave.
        stream: the answer is wanted piece by piece.
        include_usage: with the usage at the end of the stream.
        tool_choice: `"auto"`, `"none"`, `"required"`, or an object that names one tool or several.
        unknown: fields that are not in OpenAI's format.
    """

    model: str
    request: Request
    stream: bool = False
    include_usage: bool = False
    tool_choice: Any = "auto"
    unknown: tuple[str, ...] = ()


def parsed(body: bytes) -> dict[str, Any]:
    """Return a body's JSON object.

    Raises:
        ApiError: 400, it is none.
    """
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of more digits than Python reads
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ApiError(400, f"The body is not the JSON that it should be{where}.", code="invalid_json") from None
    if not isinstance(data, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    if _deeper_than(data, _DEEPEST):
        raise _too_deep()
    return data


def asked(data: Mapping[str, Any]) -> Asked:
    """Return the question in a body; fields that are `null` count as left out.

    Raises:
        ApiError: 400, and which field is wrong.
    """
    given = {name: value for name, value in data.items() if value is not None}
    tools = _tools(given)
    limit = _either(given, "max_completion_tokens", "max_tokens")
    json_schema, options = _format(given)
    _refuse_missing(given)
    request = Request(
        messages=checked_messages(given.get("messages")),
        tools=tools,
        stop=_stop(given),
        temperature=_number(given, "temperature", 0, 2),
        max_tokens=limit,
        json_schema=json_schema,
        options={**options, **_options(given)},
    )
    stream_options = _typed(given, "stream_options", dict, "an object") or {}
    return Asked(
        model=_model(given),
        request=request,
        stream=bool(_typed(given, "stream", bool, "true or false")),
        include_usage=bool(_typed(stream_options, "include_usage", bool, "true or false")),
        tool_choice=_tool_choice(given, tools),
        unknown=tuple(name for name in given if name not in _READ | _NO_MATTER | _NOT_HERE.keys() | _PASSED.keys()),
    )


def wrong(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """Return the error for a field."""
    return ApiError(400, message, code=code, param=param)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def _deeper_than(value: Any, levels: int) -> bool:
    """Return whether JSON is nested deeper; without recursion, of which it may be the end."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return False
    return True


def _too_deep() -> ApiError:
    return ApiError(400, "The body is JSON that is nested too deeply.", code="invalid_json")


def _model(given: Mapping[str, Any]) -> str:
    model = _typed(given, "model", str, "the name of a model")
    if not model:
        raise wrong("model", "You must provide a model parameter.", "missing_required_parameter")
    return str(model)


def _typed(given: Mapping[str, Any], name: str, kind: type, allowed: str) -> Any:
    value = given.get(name)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise wrong(name, f"'{name}' must be {allowed}.", "invalid_type")
    return value


def _number(given: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(name, f"'{name}' must be a number.", "invalid_type")
    if not (least <= value <= most) or not math.isfinite(value):
        raise wrong(name, f"'{name}' must be from {least} to {most}.")
    return value


def _either(given: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = _typed(given, name, int, "a whole number")
        if value is not None and value < 1:
            raise wrong(name, f"'{name}' must be at least 1.")
    return next((given[name] for name in names if name in given), None)


def _stop(given: Mapping[str, Any]) -> tuple[str, ...]:
    stop = given.get("stop")
    words = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise wrong("stop", "'stop' must be a text or a list of texts.", "invalid_type")
    if len(words) > _MOST_STOPS or not all(words):
        raise wrong("stop", f"'stop' must be at most {_MOST_STOPS} texts, none of them empty.")
    return tuple(words)


def _inside(value: Any, name: str, default: Any = None) -> Any:
    """Return a field of what should be an object."""
    found = value.get(name) if isinstance(value, dict) else None
    return default if found is None else found


def _tools(given: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    tools = _typed(given, "tools", list, "a list of tools") or []
    if len(tools) > _MOST_TOOLS:
        raise wrong("tools", f"'tools' must be at most {_MOST_TOOLS}.")
    for number, tool in enumerate(tools):
        where = f"tools[{number}]"
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise wrong(where, f"'{where}' must be an object whose 'type' is 'function'; there are no others here.")
        function = tool.get("function")
        name = _inside(function, "name")
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            raise wrong(f"{where}.function.name", f"'{where}.function' must be an object with a 'name'.")
        if not isinstance(_inside(function, "parameters", {}), dict):
            raise wrong(f"{where}.function.parameters", f"'{where}.function.parameters' must be a JSON schema.")
    return tuple(tools)


def _tool_choice(given: Mapping[str, Any], tools: tuple[Mapping[str, Any], ...]) -> Any:
    choice = given.get("tool_choice", "auto")
    if isinstance(choice, str) and choice in ("auto", "none"):
        return choice
    if not tools:
        raise wrong("tool_choice", "'tool_choice' is only allowed when 'tools' are specified.")
    if choice == "required":
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        name = _inside(choice.get("function"), "name")
        if name not in [tool["function"]["name"] for tool in tools]:
            raise wrong("tool_choice", "'tool_choice' names a function that is not among the tools.")
    elif kind != "allowed_tools":
        message = "'tool_choice' must be 'auto', 'none', 'required' or an object that names a function."
        raise wrong("tool_choice", message)
    return choice


def _format(given: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, dict[str, Any]]:
    """Return the JSON schema of the answer, and a format that is passed on as it is."""
    wanted = _typed(given, "response_format", dict, "an object") or {"type": "text"}
    match wanted.get("type"):
        case "text":
            return None, {}
        case "json_object":
            return None, {"response_format": {"type": "json_object"}}
        case "json_schema":
            schema = _inside(wanted.get("json_schema"), "schema")
            if not isinstance(schema, dict):
                where = "response_format.json_schema.schema"
                raise wrong(where, f"'{where}' must be a JSON schema.")
            return schema, {}
    raise wrong("response_format", "'response_format.type' must be 'text', 'json_object' or 'json_schema'.")


_OPTION_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "frequency_penalty": lambda given: _number(given, "frequency_penalty", -2, 2),
    "logit_bias": lambda given: _typed(given, "logit_bias", dict, "an object"),
    "parallel_tool_calls": lambda given: _typed(given, "parallel_tool_calls", bool, "true or false"),
    "presence_penalty": lambda given: _number(given, "presence_penalty", -2, 2),
    "reasoning_effort": lambda given: _typed(given, "reasoning_effort", str, "a text"),
    "seed": lambda given: _typed(given, "seed", int, "a whole number"),
    "top_p": lambda given: _number(given, "top_p", 0, 1),
    "verbosity": lambda given: _typed(given, "verbosity", str, "a text"),
}


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    checked = {name: _OPTION_CHECKS[name](given) for name in _PASSED if name in given}
    return {name: value for name, value in checked.items() if value != _PASSED[name]}


def _refuse_missing(given: Mapping[str, Any]) -> None:
    for name, unwanted in _NOT_HERE.items():
        if name in given and given[name] not in unwanted:
            hint = {"functions": " Use 'tools'.", "function_call": " Use 'tool_choice'."}.get(name, "")
            message = f"This server does not support '{name}'.{hint}"
            raise wrong(name, message, "unsupported_parameter")
