"""Whatever a body holds, the answer is a completion or an error in OpenAI's format, and never a 500."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serve_helpers import HELLO, body, events, send

from oarlock import BaseLLM, ChatLLM, ToolCall
from oarlock.serve import Limits, create_app
from oarlock.testing import FunctionLLM, LoopbackEndpoint

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
texts = st.text(st.characters(exclude_categories=()), max_size=6)
names = st.sampled_from(["add", "a" * 201, ""]) | texts
parts = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url"])}, optional={"text": json_values | texts})
calls = st.fixed_dictionaries(
    {"id": texts, "function": st.fixed_dictionaries({"name": names, "arguments": texts | json_values})}
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={
        "content": texts | st.lists(parts, max_size=2) | json_values,
        "tool_calls": st.lists(calls, max_size=2) | json_values,
        "tool_call_id": texts | json_values,
        "name": texts,
        "refusal": texts,
    },
)
tools = st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "custom"]), "function": st.fixed_dictionaries({"name": names})}
)
choices = st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "add"}}])
formats = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "json_object", "json_schema"])},
    optional={"json_schema": st.fixed_dictionaries({}, optional={"schema": json_values})},
)
FIELDS = {
    "messages": st.lists(messages, max_size=3),
    "stream": st.booleans(),
    "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}),
    "tools": st.lists(tools, max_size=2),
    "tool_choice": choices,
    "response_format": formats,
    "stop": texts | st.lists(texts, max_size=3),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "max_tokens": st.integers(-1, 10),
    "max_completion_tokens": st.integers(-1, 10),
    "n": st.integers(0, 2),
    "seed": st.integers(),
    "logit_bias": st.dictionaries(texts, st.integers(), max_size=2),
    "logprobs": st.booleans(),
    "parallel_tool_calls": st.booleans(),
    "functions": st.lists(st.none(), max_size=1),
    "user": texts,
    "unknown": json_values,
}
bodies = st.fixed_dictionaries(
    {"model": st.sampled_from(["mine", "called", "other"]) | json_values},
    optional={name: values | json_values for name, values in FIELDS.items()},
)


class Called(BaseLLM):
    def call(self, messages, tools=None, temperature=None, tool_choice=None):
        return "Hello END there"

    def supports_function_calling(self):
        return True


def answer(messages: Any, tools: Any) -> Any:
    return [ToolCall(id="", name="add"), ToolCall(id="x", name="add")] if tools else "Hello there"


MODELS = {"mine": FunctionLLM(answer, supports_function_calling=True), "called": Called()}
STRICT = create_app(MODELS)
LAX = create_app(MODELS, unsupported="ignore")


def check(response: Any) -> None:
    assert response.status_code in (200, 400, 404, 415)
    assert response.headers["x-request-id"]
    if response.status_code != 200:
        error = response.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert isinstance(error["code"], str)
    elif response.headers["content-type"].startswith("text/event-stream"):
        items = events(response.text)
        assert items[-1] == "[DONE]"
        assert items[-2]["object"] == "chat.completion.chunk"
    else:
        assert response.json()["choices"][0]["finish_reason"] in ("stop", "tool_calls")


@pytest.mark.parametrize("app", [STRICT, LAX], ids=["strict", "lax"])
@settings(max_examples=100)
@given(asked=bodies)
def test_any_object(app, asked):
    check(send(app, content=json.dumps(asked), headers={"content-type": "application/json"}))


@settings(max_examples=40)
@given(raw=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(raw):
    response = send(STRICT, content=raw, headers={"content-type": "application/json"})
    check(response)
    assert response.status_code == 400


@settings(max_examples=40)
@given(asked=bodies)
def test_any_object_for_an_endpoint(endpoint, asked):
    asked = {**asked, "model": "upstream", "messages": asked.get("messages", HELLO)}
    check(send(endpoint, content=json.dumps(asked), headers={"content-type": "application/json"}))


@pytest.fixture(scope="module")
def endpoint():
    with LoopbackEndpoint(lambda request: "Hello there") as server:
        yield create_app({"upstream": ChatLLM("m", server.url, policies=[])})


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not the JSON"),
        (b"{", "not the JSON that it should be at character 1"),
        (b"[]", "must be a JSON object"),
        (b'{"model": NaN}', "not the JSON"),
        (b'{"model": 1e999}', "not the JSON"),
        (b"\xff", "not the JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * 150 + b"]" * 150 + b"}", "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not the JSON"),
    ],
)
def test_what_is_no_json_is_told(raw, says):
    response = send(STRICT, content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert says in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 5}, "model", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "Hi"}, "messages", "invalid_type"),
        ({"messages": ["Hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_value"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "invalid_value",
        ),
        ({"messages": [{"role": "tool", "content": "5"}]}, "messages[0].tool_call_id", "invalid_value"),
        ({"messages": [{"role": "assistant", "tool_calls": []}]}, "messages[0].tool_calls", "invalid_type"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0]", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"stream": 1}, "stream", "invalid_type"),
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"functions": [{"name": "add"}]}, "functions", "unsupported_parameter"),
        ({"tools": [5]}, "tools[0]", "invalid_value"),
        ({"tools": [{"type": "custom"}]}, "tools[0]", "invalid_value"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "invalid_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "add", "parameters": 5}}]},
            "tools[0].function.parameters",
            "invalid_value",
        ),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"response_format": {"type": "xml"}}, "response_format", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema", "invalid_value"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format",
            "unsupported_parameter",
        ),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"seed": 1}, "seed", "unsupported_parameter"),
        ({"top_k": 1}, "top_k", "unknown_parameter"),
    ],
)
def test_the_field_that_is_wrong_is_named(fields, param, code):
    response = send(STRICT, json={**body(), **fields})
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)


TOOL = {"type": "function", "function": {"name": "add"}}


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ("required", "cannot be told which tool"),
        ({"type": "function", "function": {"name": "sub"}}, "not among the tools"),
        ({"type": "function"}, "not among the tools"),
        ({"type": "king"}, "must be 'auto'"),
        (5, "must be 'auto'"),
        ("king", "must be 'auto'"),
    ],
)
def test_a_choice_of_tools_that_cannot_be(choice, says):
    response = send(STRICT, json=body(tools=[TOOL], tool_choice=choice))
    assert response.status_code == 400
    assert says in response.json()["error"]["message"]


def test_what_says_no_more_than_nothing_is_taken_by_every_llm():
    neutral = {
        "n": 1,
        "top_p": 1,
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "logprobs": False,
        "parallel_tool_calls": True,
        "logit_bias": {},
        "response_format": {"type": "text"},
        "service_tier": "auto",
        "store": False,
        "metadata": {"a": "b"},
        "user": "u",
        "seed": None,
        "audio": None,
        "unknown": None,
        "tool_choice": "auto",
    }
    assert send(STRICT, json=body(**neutral)).status_code == 200


def test_settings_can_be_left_out_and_that_is_told():
    response = send(LAX, json=body(temperature=0.5, seed=1, top_k=5, **{"ä\n": 1}))
    assert response.status_code == 200
    assert response.headers["x-oarlock-ignored"] == "seed, top_k, ??"


def test_a_format_is_never_left_out():
    response = send(LAX, json=body(response_format={"type": "json_object"}))
    assert response.json()["error"]["code"] == "unsupported_parameter"


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_only_json(kind):
    response = send(STRICT, content=json.dumps(body()), headers={"content-type": kind})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "not_json")


def test_nothing_is_unpacked():
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    response = send(STRICT, content=b"x", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "compressed_body")


async def chunks(*pieces: bytes):
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_capped(chunked):
    app = create_app(MODELS, limits=Limits(body_bytes=1000))
    content = chunks(b" " * 600, b" " * 600) if chunked else b" " * 1200
    response = send(app, content=content, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/completions", 404, "unknown_url"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("GET", "/%00/../etc", 404, "unknown_url"),
    ],
)
def test_what_is_not_there(method, path, status, code):
    response = send(STRICT, method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert not any(name.startswith("access-control") for name in response.headers)


def test_health():
    assert send(STRICT, "GET", "/health").json() == {"status": "ok"}
