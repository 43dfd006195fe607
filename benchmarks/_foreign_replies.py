"""What the scripted model answers: whatever the request asks for, in the plainest form that fits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from oarlock.testing.endpoint import RecordedRequest, Scripted, ToolCalls

TEXT = """# Report

- AI agents help with research: they gather sources, weigh them and write them up (score: 8 of 10).
- Conclusion: start small, measure, and grow from there. See https://example.com/report for data.
"""

_SCHEMA = re.compile(r"JSON schema[^\n]*:\n(\{.*\})\s*$", re.MULTILINE)
_VERDICT = '"valid": true or false'
_ACTION = "Action Input:"
_REACT_TOOL = re.compile(r"^(\w+): .*\n(?:.*\n)*?  arguments: (\{.*\})$", re.MULTILINE)


def answer(request: RecordedRequest) -> Scripted:
    """Return what a willing model would: one tool call where there are tools, then an answer of the form asked for."""
    asked: Mapping[str, Any] = request.json
    messages = asked["messages"]
    said = "\n".join(str(message.get("content") or "") for message in messages)
    if asked.get("tools") and not any(message["role"] == "tool" for message in messages):
        function = asked["tools"][0]["function"]
        return ToolCalls([(function["name"], example(function.get("parameters") or {}))])
    if schema := _schema(asked, said):
        return json.dumps(example(schema))
    if _VERDICT in said:
        return '{"valid": true, "reason": ""}'
    if _ACTION in said and "\nObservation:" not in said and (tool := _REACT_TOOL.search(said)):
        given = {name: example(schema) for name, schema in json.loads(tool[2]).items()}
        return f"Thought: a tool may help\nAction: {tool[1]}\nAction Input: {json.dumps(given)}"
    return f"Thought: I know the answer\nFinal Answer: {TEXT}" if _ACTION in said else TEXT


def _schema(asked: Mapping[str, Any], said: str) -> Mapping[str, Any] | None:
    wanted = asked.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema: Mapping[str, Any] = wanted["json_schema"]["schema"]
        return schema
    if wanted.get("type") == "json_object":
        return {"type": "object"}
    found = _SCHEMA.findall(said)
    return json.loads(found[-1]) if found else None


def example(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> Any:
    """Return a small value that fits a JSON schema, as pydantic writes them.

    Example:
        >>> example({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}})
        {'n': 3}
    """
    definitions = schema.get("$defs", definitions or {})
    if "$ref" in schema:
        return example(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for fixed in ("const", "default"):
        if schema.get(fixed) is not None:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    for parts in ("anyOf", "oneOf", "allOf"):
        if schema.get(parts):
            return example(schema[parts][0], definitions)
    return _plain(schema, definitions)


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    match schema.get("type"):
        case "object":
            return dict(_properties(schema, definitions))
        case "array":
            return [example(schema.get("items") or {"type": "string"}, definitions)] * max(1, schema.get("minItems", 1))
        case "integer" | "number":
            return schema.get("minimum", schema.get("maximum", 1))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(schema)


def _properties(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, part in schema.get("properties", {}).items():
        yield name, example(part, definitions)


def _text(schema: Mapping[str, Any]) -> str:
    formats = {
        "date": "2025-01-01",
        "date-time": "2025-01-01T00:00:00Z",
        "uri": "https://example.com/",
        "email": "a@b.de",
    }
    return formats.get(schema.get("format", ""), "A scripted text.".ljust(schema.get("minLength", 0), "."))
