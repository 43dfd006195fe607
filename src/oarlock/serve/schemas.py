"""The JSON of requests and answers, as OpenAPI 3.1 describes it."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["SCHEMAS"]

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_TIME: Final[Schema] = {"type": "number", "description": "Seconds since 1970."}
_ANYTHING: Final[Schema] = {"description": "Any JSON."}


def ref(name: str) -> Schema:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str, **properties: Schema) -> Schema:
    """Return the schema of an object that we write: of these properties, of which these are always there."""
    return {"type": "object", "properties": properties, "required": required.split()}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _page(item: str) -> Schema:
    return _object("object data", object={"const": "list"}, data=_list(ref(item)))


def _maybe(**properties: Schema) -> dict[str, Schema]:
    """Return fields of a request, in which `null` is as good as nothing."""
    return {name: _or_null(schema) for name, schema in properties.items()}


_CONTENT: Final[Schema] = {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": ref("Part")}]}
_CALLS: Final[Schema] = {"type": "array", "minItems": 1, "items": ref("ToolCall")}
_MESSAGE: Final[Schema] = {
    "anyOf": [
        _object("role content", role={"enum": ["system", "developer", "user"]}, content=_CONTENT),
        _object("role content tool_call_id", role={"const": "tool"}, content=_CONTENT, tool_call_id=_TEXT),
        _object("role content", role={"const": "assistant"}, content=_CONTENT, **_maybe(tool_calls=_CALLS)),
        _object("role tool_calls", role={"const": "assistant"}, tool_calls=_CALLS, **_maybe(content=_CONTENT)),
    ]
}
_TOOL: Final[Schema] = _object(
    "type function",
    type={"const": "function"},
    function=_object(
        "name",
        name={"type": "string", "minLength": 1, "maxLength": 200},
        **_maybe(parameters={"type": "object"}),
    ),
)
_FORMAT: Final[Schema] = _object(
    "type",
    type={"enum": ["text", "json_object", "json_schema"]},
    json_schema={"type": "object", "properties": {"schema": {"type": "object"}}},
)
_CHAT: Final[Schema] = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string", "minLength": 1},
        "messages": {"type": "array", "minItems": 1, "items": ref("Message")},
        **_maybe(
            stream={"type": "boolean"},
            stream_options={"type": "object", "properties": _maybe(include_usage={"type": "boolean"})},
            tools=_list(ref("Tool")),
            tool_choice=_ANYTHING,
            stop={"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 16}]},
            temperature={"type": "number", "minimum": 0, "maximum": 2},
            top_p={"type": "number", "minimum": 0, "maximum": 1},
            max_tokens={"type": "integer", "minimum": 1},
            max_completion_tokens={"type": "integer", "minimum": 1},
            response_format=_FORMAT,
            seed={"type": "integer"},
        ),
    },
}
_USAGE: Final[Schema] = _object(
    "prompt_tokens completion_tokens total_tokens",
    prompt_tokens=_COUNT,
    completion_tokens=_COUNT,
    total_tokens=_COUNT,
    requests=_COUNT,
    estimated={"type": "boolean", "description": "The model did not say; estimated from the texts' lengths."},
)
_COMPLETION: Final[Schema] = _object(
    "id object created model choices usage",
    id=_TEXT,
    object={"const": "chat.completion"},
    created=_COUNT,
    model=_TEXT,
    choices=_list(
        _object(
            "index message finish_reason",
            index=_COUNT,
            message=_object(
                "role content refusal",
                role={"const": "assistant"},
                content=_or_null(_TEXT),
                refusal=_or_null(_TEXT),
                tool_calls=_list(ref("ToolCall")),
            ),
            finish_reason={"enum": ["stop", "length", "tool_calls", "content_filter"]},
        )
    ),
    usage=ref("Usage"),
)
_QUESTION: Final[Schema] = _object(
    "id kind",
    id=_TEXT,
    kind={"enum": ["human_input", "approval"]},
    task=_or_null(_TEXT),
    agent=_or_null(_TEXT),
    answer=_TEXT,
    tool=_TEXT,
    arguments={"type": "object"},
)
_SUMMARY: Final[dict[str, Schema]] = {
    "id": _TEXT,
    "object": {"const": "run"},
    "crew": _TEXT,
    "status": {"enum": ["running", "waiting", "finished", "failed", "cancelled"]},
    "created": _TIME,
    "ended": _or_null(_TIME),
    "usage": ref("Usage"),
    "questions": _list(ref("Question")),
}
_RESULT: Final[Schema] = _object(
    "answer structure tasks",
    answer=_TEXT,
    structure=_ANYTHING,
    tasks=_list(
        _object(
            "name agent answer structure skipped",
            name=_or_null(_TEXT),
            agent=_TEXT,
            answer=_TEXT,
            structure=_ANYTHING,
            skipped={"type": "boolean"},
        )
    ),
)

SCHEMAS: Final[dict[str, Schema]] = {
    "ChatRequest": _CHAT,
    "Completion": _COMPLETION,
    "Message": _MESSAGE,
    "Part": {
        "anyOf": [
            _object("type text", type={"const": "text"}, text=_TEXT),
            _object("type", type={"type": "string", "not": {"const": "text"}}),
        ]
    },
    "Tool": _TOOL,
    "ToolCall": _object(
        "id function", id=_TEXT, type=_TEXT, function=_object("name arguments", name=_TEXT, arguments=_TEXT)
    ),
    "Usage": _USAGE,
    "Model": _object("id object", id=_TEXT, object={"const": "model"}, created=_COUNT, owned_by=_TEXT),
    "Models": _page("Model"),
    "Crew": _object(
        "id object inputs tasks agents",
        id=_TEXT,
        object={"const": "crew"},
        inputs=_list(_TEXT),
        tasks=_list(_or_null(_TEXT)),
        agents=_list(_TEXT),
    ),
    "Crews": _page("Crew"),
    "RunRequest": {
        "type": "object",
        "properties": _maybe(
            inputs={"type": "object", "description": "Values for the names that the crew's texts have in braces."},
            run_id={"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,64}$"},
        ),
        "additionalProperties": False,
    },
    "Answer": {
        "type": "object",
        "required": ["question"],
        "properties": {
            "question": {"type": "string", "description": "The question's id."},
            "answer": {"type": "string", "description": "What to change, or why not."},
            "approve": {"type": "boolean", "description": "Whether the tool may run."},
        },
        "additionalProperties": False,
    },
    "Question": _QUESTION,
    "RunSummary": _object(" ".join(_SUMMARY), **_SUMMARY),
    "RunSummaries": _page("RunSummary"),
    "Run": _object(
        f"{' '.join(_SUMMARY)} result error",
        **_SUMMARY,
        result=_or_null(_RESULT),
        error=_or_null(_object("type code message", type=_TEXT, code=_or_null(_TEXT), message=_TEXT)),
    ),
    "Health": _object("status", status={"const": "ok"}),
    "Error": _object(
        "error",
        error=_object(
            "message type param code", message=_TEXT, type=_TEXT, param=_or_null(_TEXT), code=_or_null(_TEXT)
        ),
    ),
}
"""All schemas by name."""
