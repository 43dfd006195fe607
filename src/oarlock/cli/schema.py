"""`oarlock schema`: what a crew file may hold, as a JSON schema for editors."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import Any, Final

from oarlock.agents.agent import Agent
from oarlock.agents.conditional import ConditionalTask
from oarlock.agents.crew import Crew, Process
from oarlock.agents.task import Task
from oarlock.llms.http import HttpLLM
from oarlock.project.crew_file import CODE, LLMS, MANY, NAMED
from oarlock.project.parts import POLICIES
from oarlock.project.servers import TRANSPORTS
from oarlock.tools.docstrings import parse_docstring

__all__ = ["crew_schema", "print_schema"]

_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_IMPORT: Final = {"type": "string", "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"}
_TOOL: Final = {
    "type": "string",
    "pattern": rf"{_IMPORT['pattern']}|^[\w-]+$",
    "description": "Such as my_tools:search, or the name of one of mcp_servers.",
}
_NOT_IN_FILES: Final = {"transport"}  # an object of the program
_OF_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "auth": {"type": "object"},
    "headers": {"type": "object"},
    "options": {"type": "object"},
    "policies": {"type": "array", "items": {"$ref": "#/$defs/policy"}},
    "stop": {"type": ["string", "array"], "items": {"type": "string"}},
    "transport_options": {"type": "object"},
}


def print_schema() -> None:
    """Print the schema."""
    print(json.dumps(crew_schema(), indent=2))


def crew_schema() -> dict[str, Any]:
    """Return the schema of a crew file, from the arguments of `Crew`, `Agent`, `Task` and the LLMs.

    Example:
        >>> crew_schema()["required"]
        ['agents', 'tasks']
    """
    llm = {"$ref": "#/$defs/llm"}
    properties = {
        **_properties(Crew),
        "agents": {"type": "object", "additionalProperties": _object(Agent, ["role", "goal"])},
        "tasks": {"type": "object", "additionalProperties": _object(ConditionalTask, ["description"])},
        "llm": {**llm, "description": "For all agents that have none of their own."},
        "mcp_servers": {
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/mcp_server"},
            "description": "MCP servers by name; an agent that has the name among its tools has the server's.",
        },
        "llms": {"type": "object", "additionalProperties": llm, "description": "Further LLMs by name."},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A crew of Oarlock's",
        "type": "object",
        "properties": properties,
        "required": ["agents", "tasks"],
        "additionalProperties": False,
        "$defs": {"llm": _llm(), "mcp_server": _mcp_server(), "policy": _policy()},
    }


def _object(cls: type[Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": _properties(cls), "required": required, "additionalProperties": False}


def _properties(cls: type[Any]) -> dict[str, Any]:
    """Return the schemas of a class's arguments, with what its docstring says of them."""
    said = {**parse_docstring(Task.__doc__ if issubclass(cls, Task) else None)[1], **parse_docstring(cls.__doc__)[1]}
    fields = [one for one in dataclasses.fields(cls) if one.init and not one.name.startswith("_")]
    return {one.name: {**_argument(one.name, str(one.type)), **_said(said, one.name)} for one in fields}


def _argument(name: str, annotation: str) -> dict[str, Any]:
    if name in LLMS:
        return {"$ref": "#/$defs/llm"}
    if name in MANY:
        return {"type": "array", "items": _argument(MANY[name], "")}
    if name in NAMED:
        return {"type": "string"}
    if name in CODE:
        return dict(_TOOL if name == "tool" else _IMPORT)
    if name == "process":
        return {"enum": [str(one) for one in Process]}
    return {"type": "object"} if name == "budget" else _plain(annotation)


def _plain(annotation: str) -> dict[str, Any]:
    """Return the schema of an annotation such as `int | None`; nothing for what is no plain value."""
    parts = [part.strip() for part in annotation.split("|")]
    types = [_TYPES[part] for part in parts if part in _TYPES]
    if not types or any(part not in _TYPES and part != "None" for part in parts):
        return {}
    types += ["null"] if "None" in parts else []
    return {"type": types[0] if len(types) == 1 else types}


def _said(said: Mapping[str, str], name: str) -> dict[str, str]:
    return {"description": said[name]} if name in said else {}


def _llm() -> dict[str, Any]:
    said = parse_docstring(HttpLLM.__doc__)[1]
    parameters = [one for one in inspect.signature(HttpLLM).parameters.values() if one.name not in _NOT_IN_FILES]
    settings: dict[str, Any] = {
        one.name: {**_OF_SETTINGS.get(one.name, _plain(str(one.annotation))), **_said(said, one.name)}
        for one in parameters
    }
    settings["model"] = {
        "type": "string",
        "description": "Such as openai/gpt-4o, local/model.gguf, or a name at base_url.",
    }
    settings["api_key"] = {"type": "string", "pattern": "^(env|file|command):", "description": "Where the key is."}
    local = {name: {"type": "integer"} for name in ("parallel", "seed", "threads")}
    return {
        "description": "A name such as openai/gpt-4o, one of llms, my_llms:gateway, a GGUF file, or a mapping of settings.",
        "anyOf": [
            {"type": ["string", "null"]},
            {"type": "object", "properties": {**settings, **local}, "additionalProperties": False},
        ],
    }


def _mcp_server() -> dict[str, Any]:
    texts = {"type": "object", "additionalProperties": {"type": ["string", "number", "object"]}}
    names = {"type": "array", "items": {"type": "string"}}
    settings: dict[str, Any] = {
        "allowed_tools": names,
        "args": names,
        "allow_http": {"type": "boolean"},
        "auth": {"type": "object"},
        "blocked_tools": names,
        "cache_tools_list": {"type": "boolean"},
        "command": {"type": ["string", "array"], "items": {"type": "string"}, "description": "The program."},
        "connect_timeout": {"type": "number"},
        "cwd": {"type": "string"},
        "dangerous": {"type": ["boolean", "array"], "items": {"type": "string"}},
        "env": {**texts, "description": "Variables; secrets as env:NAME or file:PATH."},
        "headers": {**texts, "description": "Sent with every request; secrets as env:NAME or file:PATH."},
        "name": {"type": "string"},
        "prefix": {"type": "string"},
        "timeout": {"type": "number"},
        "tool_filter": dict(_IMPORT),
        "transport": {"enum": list(TRANSPORTS)},
        "transport_options": {"type": "object"},
        "url": {"type": "string", "description": "Where the server is."},
    }
    return {"type": "object", "properties": settings, "additionalProperties": False}


def _policy() -> dict[str, Any]:
    names = sorted(POLICIES)
    by_name = {"type": "object", "properties": {name: {} for name in names}, "additionalProperties": False}
    return {"anyOf": [{"enum": names}, {**by_name, "minProperties": 1, "maxProperties": 1}]}
