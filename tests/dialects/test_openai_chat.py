"""OpenAI's chat format: what goes out, what comes in, and all the wrong shapes."""

from __future__ import annotations

import dataclasses
import json
import pickle
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON

from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    ContextWindowExceededError,
    EmptyReply,
    LLMError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RefusalError,
    ResponseFormatError,
    ServerError,
    TruncatedReply,
)
from oarlock.contract.reply import ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.dialects.openai_chat import decode, encode, error_message

HI = ({"role": "user", "content": "Hi"},)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def sent(request: Request | None = None, **settings: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(request or Request(messages=HI), **{"model": "m", **settings}))
    return body


def body(message: Any = None, **fields: Any) -> bytes:
    message = {"role": "assistant", "content": "Hello"} if message is None else message
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], **fields}).encode()


# Requests.


def test_a_plain_request_has_nothing_that_was_not_asked_for() -> None:
    assert encode(Request(messages=HI), model="m") == b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'


def test_every_field_has_its_place() -> None:
    request = Request(
        messages=HI, tools=(TOOL,), stop=("\nEnd",), temperature=0.0, max_tokens=5, json_schema={"type": "object"}
    )
    assert sent(request, stream=True) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [TOOL],
        "stop": ["\nEnd"],
        "temperature": 0.0,
        "max_tokens": 5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": False, "schema": {"type": "object"}},
        },
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, True),
        ({"type": "object", "additionalProperties": {"type": "string"}}, False),
        ({"type": "array", "items": {"anyOf": [{"type": "object", "properties": {}}]}}, False),
        ({"type": "string"}, True),
    ],
)
def test_a_schema_is_strict_if_its_objects_are_closed(schema: dict[str, Any], strict: bool) -> None:
    assert sent(Request(messages=HI, json_schema=schema))["response_format"]["json_schema"]["strict"] is strict


def test_the_limit_of_tokens_can_have_its_newer_name() -> None:
    got = sent(Request(messages=HI, max_tokens=5), max_tokens_name="max_completion_tokens")
    assert got["max_completion_tokens"] == 5
    assert "max_tokens" not in got


def test_options_are_further_fields_below_the_requests_own() -> None:
    request = Request(messages=HI, temperature=0.5, stop=("a",), tools=(TOOL,))
    got = sent(request, options={"top_p": 0.1, "temperature": 1, "stop": ["b", "a"], "tools": [{"type": "web"}]})
    assert (got["top_p"], got["temperature"], got["stop"], got["tools"]) == (
        0.1,
        0.5,
        ["b", "a"],
        [{"type": "web"}, TOOL],
    )
    assert sent(request, options={"stop": "b"})["stop"] == ["b", "a"]
    assert sent(options={"stop": "b"})["stop"] == "b"


def test_an_option_of_none_leaves_a_field_out() -> None:
    assert "stream_options" not in sent(stream=True, options={"stream_options": None})
    assert "model" not in sent(options={"model": None})
    got = sent(stream=True, options={"stream_options": {"include_obfuscation": False}})
    assert got["stream_options"] == {"include_usage": True, "include_obfuscation": False}


@pytest.mark.parametrize("name", ["messages", "stream", "model"])
def test_options_may_not_replace_what_the_library_sets(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        encode(Request(messages=HI), model="m", options={name: []})


@pytest.mark.parametrize(
    "content", [object(), float("nan"), float("inf"), b"bytes", {1, 2}, "deep"], ids=lambda value: type(value).__name__
)
def test_what_is_no_json_is_a_clear_error(content: Any) -> None:
    if content == "deep":
        content = []
        for _ in range(200_000):
            content = [content]
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        encode(Request(messages=[{"role": "user", "content": content}]), model="m")


def test_frozen_schemas_can_be_sent() -> None:
    schema = MappingProxyType({"type": "object", "properties": MappingProxyType({})})
    assert (
        sent(Request(messages=HI, json_schema=schema))["response_format"]["json_schema"]["schema"]["properties"] == {}
    )


def test_lone_surrogates_are_replaced_and_pairs_are_joined() -> None:
    got = sent(Request(messages=[{"role": "user", "content": "a\ud800b \ud83d\ude00 c\udc00"}]))
    assert got["messages"][0]["content"] == "a\ufffdb \U0001f600 c\ufffd"


def test_text_goes_out_as_utf8() -> None:
    assert "Grüße €".encode() in encode(Request(messages=[{"role": "user", "content": "Grüße €"}]), model="m")


# Replies.


def test_a_usual_answer_is_read_in_full() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    reply = decode(body(id="x", model="gpt", usage=usage), "ChatLLM")
    assert (reply.text, reply.finish_reason, reply.model, reply.id) == ("Hello", "stop", "gpt", "x")
    assert reply.usage == Usage(prompt_tokens=9, completion_tokens=2, cached_prompt_tokens=4, requests=1)
    assert reply.raw["id"] == "x"


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + body(),
        b"\r\n " + body() + b"\n\n",
        body().decode().encode("utf-16"),
        body() + b" ",
        body(extra="\xff").replace(b"\\u00ff", b"\xff"),
        body([1]).replace(b"[1]", b'{"content": "Hello", "note": "a\nb"}'),
        body({"content": [{"type": "text", "text": "Hel"}, {"type": "thinking"}, "lo"]}),
        body(error=None),
        body(id=7, model=[], usage="much"),
    ],
)
def test_harmless_mistakes_are_forgiven(data: bytes) -> None:
    reply = decode(data, "ChatLLM")
    assert reply.text == "Hello"
    assert reply.usage == Usage(requests=1)


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        (3, 3),
        (3.0, 3),
        (0, 0),
        (-3, 0),
        (3.5, 0),
        (True, 0),
        ("3", 0),
        (None, 0),
        ([], 0),
        (10**30, 0),
        (float("nan"), 0),
    ],
)
def test_garbage_in_the_usage_counts_as_zero(given: Any, tokens: int) -> None:
    usage = {"prompt_tokens": given, "completion_tokens": given, "prompt_tokens_details": {"cached_tokens": given}}
    reply = decode(body(usage=usage), "ChatLLM")
    assert reply.usage == Usage(prompt_tokens=tokens, completion_tokens=tokens, cached_prompt_tokens=tokens, requests=1)


def test_tool_calls_in_all_their_shapes() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}},
        {"function": {"name": " sub ", "arguments": {"x": "é"}}},
        {"id": None, "function": {"name": "none"}},
        {"id": "", "function": {"name": "broken", "arguments": "{not json"}},
    ]
    reply = decode(body({"content": None, "tool_calls": calls}), "ChatLLM")
    assert reply.tool_calls == (
        ToolCall(id="a", name="add", arguments='{"x": 1}'),
        ToolCall(id="call_1", name="sub", arguments='{"x": "é"}'),
        ToolCall(id="call_2", name="none", arguments="{}"),
        ToolCall(id="call_3", name="broken", arguments="{not json"),
    )


def test_the_older_function_call_is_a_tool_call() -> None:
    reply = decode(body({"content": None, "function_call": {"name": "add", "arguments": ""}}), "ChatLLM")
    assert reply.tool_calls == (ToolCall(id="call_0", name="add", arguments="{}"),)


def test_lone_surrogates_in_an_answer_cannot_break_a_print_or_a_file() -> None:
    message = {
        "content": "a\ud800",
        "tool_calls": [{"id": "\udc00", "function": {"name": "f\ud800", "arguments": "\ud83d\ude00"}}],
    }
    reply = decode(body(message), "ChatLLM")
    assert reply.text == "a\ufffd"
    assert reply.tool_calls == (ToolCall(id="\ufffd", name="f\ufffd", arguments="\U0001f600"),)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "an empty body"),
        (b"  \n", "an empty body"),
        (
            b"<!DOCTYPE html><html><head><title>Sign in to ACME</title>",
            r"page of HTML \(Sign in to ACME\). Check base_url",
        ),
        (b"<html><body>", "page of HTML. Check base_url"),
        (b'data: {"choices": []}\n\n', "a stream of events"),
        (b"upstream connect error", "'upstream connect error' .*character 0"),
        (b'{"choices": [', "character"),
        (b'{"choices": ["Hel', r"\(Unterminated string starting at character 13\)"),
        (b'{"choices": "\\q"}', r"\(Invalid \\escape at character 13\)"),
        (body() + b"x", "Extra data"),
        (b'{"n": ' + b"9" * 5000 + b"}", "digits"),
        (b"[" * 200_000, "nested too deeply"),
        (b"\x00\x01\x02\x03", "should have answered with a JSON object"),
        (b"null", r"a JSON object, but sent null\."),
        (b'"Hello"', "a JSON object, but sent 'Hello'"),
        (b"[]", r"a JSON object, but sent \[\]"),
        (b"{}", "a list 'choices' .* nothing there in {}"),
        (b'{"choices": null}', "a list 'choices' .* sent null in "),
        (b'{"choices": [{"message": null}]}', r"choices\[0\].message, but sent null in "),
        (b'{"choices": [{}]}', r"choices\[0\].message, but sent nothing there in "),
        (b'{"choices": []}', r"a list 'choices' .* sent \[\]"),
        (b'{"choices": {"message": {}}}', "a list 'choices'"),
        (b'{"choices": ["Hello"]}', "a list 'choices' with an object"),
        (b'{"choices": [{"text": "Hello"}]}', r"choices\[0\].message"),
        (b'{"choices": [{"message": "Hello"}]}', r"choices\[0\].message, but sent 'Hello'"),
        (b'{"type": "message", "content": [{"type": "text", "text": "Hello"}]}', "'choices'.*'type': 'message'"),
        (body({"content": 5}), "as the message's content, but sent 5"),
        (body({"content": {"text": "Hello"}}), "as the message's content"),
        (body({"content": [5]}), "parts such as"),
        (body({"content": [{"text": 5}]}), "parts such as"),
        (body({"tool_calls": {"name": "add"}}), "a list of tool calls"),
        (body({"tool_calls": "add"}), "a list of tool calls"),
        (body({"tool_calls": [None]}), "as a tool call, but sent null"),
        (body({"tool_calls": [{"name": "add"}]}), "as a tool call"),
        (body({"tool_calls": [{"function": {"name": 5}}]}), "as a tool call"),
        (body({"tool_calls": [{"function": {"name": " "}}]}), "as a tool call"),
        (body({"tool_calls": [{"function": "add"}]}), "as a tool call"),
        (body({"function_call": "add"}), "as a tool call"),
    ],
)
def test_wrong_shapes_say_what_was_expected_and_what_came(data: bytes, says: str) -> None:
    with pytest.raises(ResponseFormatError, match=says) as caught:
        decode(data, "ChatLLM")
    assert str(caught.value).startswith("ChatLLM ")
    assert len(str(caught.value)) < 800
    assert not caught.value.retryable


def test_what_is_shown_of_an_answer_holds_no_secret_and_no_control_characters() -> None:
    with pytest.raises(ResponseFormatError) as caught:
        decode(b"token=hunter2hunter2 \x1b[31m sk-abcdefghijklmnopqrstuv", "ChatLLM")
    assert not any(secret in str(caught.value) for secret in ("hunter2", "\x1b", "sk-abc"))


@pytest.mark.parametrize(
    "message", [{"content": ""}, {"content": None}, {"content": "  \n"}, {}, {"content": []}, {"tool_calls": []}]
)
def test_an_answer_without_words_is_empty(message: dict[str, Any]) -> None:
    data = json.dumps({"id": "x", "choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    with pytest.raises(EmptyReply, match="finish reason: stop") as caught:
        decode(data, "ChatLLM")
    assert caught.value.request_id == "x"


def test_a_refusal_is_an_error_that_quotes_it() -> None:
    for message in (
        {"content": None, "refusal": "I cannot"},
        {"content": [{"type": "refusal", "refusal": "I cannot"}]},
    ):
        with pytest.raises(RefusalError, match="refused to answer: I cannot") as caught:
            decode(body(message, usage=USAGE), "ChatLLM")
        assert caught.value.code == "refusal"
        assert caught.value.usage == Usage(prompt_tokens=3, completion_tokens=2, requests=1)
    assert decode(body({"content": "Hello", "refusal": "But"}), "ChatLLM").text == "Hello"


def ended(reason: str, message: dict[str, Any]) -> bytes:
    return json.dumps({"id": "x", "choices": [{"message": message, "finish_reason": reason}], "usage": USAGE}).encode()


@pytest.mark.parametrize("reason", ["length", "LENGTH", "max_tokens", "MAX_TOKENS", "model_length"])
def test_a_cut_answer_is_an_error_unless_it_is_wanted(reason: str) -> None:
    data = ended(reason, {"content": "Once upon a"})
    with pytest.raises(
        TruncatedReply, match=r"after 11 characters\. Raise max_tokens, or .*on_length='return'"
    ) as caught:
        decode(data, "ChatLLM")
    error = caught.value
    assert (error.text, error.code, error.request_id, error.retryable) == ("Once upon a", "length", "x", False)
    assert error.usage == Usage(prompt_tokens=3, completion_tokens=2, requests=1)
    assert pickle.loads(pickle.dumps(error)).usage == error.usage
    reply = decode(data, "ChatLLM", "return")
    assert (reply.text, reply.finish_reason) == ("Once upon a", reason)


@pytest.mark.parametrize("on_length", ["error", "return"])
def test_cut_tool_calls_and_cut_nothings_are_always_errors(on_length: Any) -> None:
    calls = {"content": "Let me", "tool_calls": [{"id": "a", "function": {"name": "add", "arguments": '{"x": '}}]}
    with pytest.raises(TruncatedReply, match=r"within its tool calls.* Raise max_tokens\.$") as caught:
        decode(ended("length", calls), "ChatLLM", on_length)
    assert caught.value.text == "Let me"
    with pytest.raises(TruncatedReply, match="before there was any text"):
        decode(ended("length", {"content": " "}), "ChatLLM", on_length)


@pytest.mark.parametrize("message", [{"content": ""}, {"content": "Once upon"}, {"content": None, "refusal": "no"}])
@pytest.mark.parametrize("reason", ["content_filter", "SAFETY"])
def test_a_filtered_answer_is_an_error(reason: str, message: dict[str, Any]) -> None:
    with pytest.raises(ContentFilterError, match=f"stopped by a content filter.*{reason}") as caught:
        decode(ended(reason, message), "ChatLLM", "return")
    assert (caught.value.code, caught.value.usage and caught.value.usage.requests) == ("content_filter", 1)


def test_other_endings_that_are_none() -> None:
    with pytest.raises(RefusalError, match="I will not"):
        decode(ended("refusal", {"content": "I will not"}), "ChatLLM")
    with pytest.raises(RefusalError, match="did not say why"):
        decode(ended("refusal", {"content": None}), "ChatLLM")
    with pytest.raises(
        ServerError, match=r"broke off its answer after 4 characters \(finish_reason: abort\)"
    ) as caught:
        decode(ended("abort", {"content": "Once"}), "ChatLLM")
    assert caught.value.retryable


def test_azures_content_filter_is_its_own_error() -> None:
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}}
    for error in (
        {"message": "The prompt was filtered", "code": "content_filter", "status": 400, "innererror": inner},
        {"message": "The prompt was filtered", "code": None, "innererror": inner},
    ):
        with pytest.raises(ContentFilterError, match="The prompt was filtered") as caught:
            decode(json.dumps({"error": error}).encode(), "ChatLLM")
        assert caught.value.code == "content_filter"
        assert error_message(400, json.dumps({"error": error}).encode()) == (
            "The prompt was filtered",
            "content_filter",
        )


def test_more_cached_tokens_than_were_read_cannot_make_it_cheaper() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10_000}}
    assert decode(body(usage=usage), "ChatLLM").usage.cached_prompt_tokens == 10


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        ({"message": "no", "type": "invalid_request_error", "code": "invalid_api_key"}, AuthenticationError, 401, "invalid_api_key"),
        ({"message": "no", "code": 401}, AuthenticationError, 401, None),
        ({"message": "no", "code": "403"}, PermissionDeniedError, 403, None),
        ({"message": "no", "status": "PERMISSION_DENIED"}, PermissionDeniedError, 403, "PERMISSION_DENIED"),
        ({"message": "no", "code": 429, "status": "RESOURCE_EXHAUSTED"}, RateLimitError, 429, "RESOURCE_EXHAUSTED"),
        ({"message": "no", "type": "rate_limit_error"}, RateLimitError, 429, "rate_limit_error"),
        ({"message": "no", "type": "insufficient_quota", "code": None}, QuotaExceededError, 429, "insufficient_quota"),
        ({"message": "no", "type": "overloaded_error"}, ServerError, 503, "overloaded_error"),
        ({"message": "no", "type": "invalid_request_error"}, BadRequestError, 400, "invalid_request_error"),
        ({"message": "no", "code": "context_length_exceeded"}, ContextWindowExceededError, 400, "context_length_exceeded"),
        ({"message": "This model's maximum context length is 8 tokens"}, ContextWindowExceededError, 400, None),
        ({"message": "no"}, ServerError, 500, None),
        ({"weird": True}, ServerError, 500, None),
        ("no", ServerError, 500, None),
        (True, ServerError, 500, None),
        ([{"message": "no", "code": 503}], ServerError, 503, None),
        ([[[]]], ServerError, 500, None),
    ],
)  # fmt: skip
def test_an_error_inside_a_good_answer_is_an_error(error: Any, kind: type, status: int, code: str | None) -> None:
    for data in (
        {"error": error},
        {"error": error, "choices": [{"message": {"content": "Hello"}}]},
        {"choices": [{"error": error}]},
    ):
        with pytest.raises(LLMError, match="answered with an error: ") as caught:
            decode(json.dumps(data).encode(), "ChatLLM")
        assert type(caught.value) is kind
        assert (caught.value.status, caught.value.code) == (status, code)


def test_vllms_older_error_is_one_too() -> None:
    with pytest.raises(BadRequestError, match="too bad"):
        decode(b'{"object": "error", "message": "too bad", "type": "BadRequestError", "code": 400}', "ChatLLM")


# Error responses.


@pytest.mark.parametrize(
    ("data", "message", "code"),
    [
        (b'{"error": {"message": "Slow down", "type": "t", "code": "c"}}', "Slow down", "c"),
        (b'{"error": {"message": "Slow down", "type": "t", "code": null}}', "Slow down", "t"),
        (b'{"error": {"message": "Slow down", "code": 429, "status": "EXHAUSTED"}}', "Slow down", "EXHAUSTED"),
        (b'{"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}', "Busy", "overloaded_error"),
        (b'[{"error": {"code": 400, "message": "In a list", "status": "INVALID"}}]', "In a list", "INVALID"),
        (b'{"errors": [{"message": "First"}, {"message": "Second"}]}', "First", None),
        (b'{"error": "Just text"}', "Just text", None),
        (b'{"error": "invalid_client", "error_description": "Unknown"}', "Unknown", "invalid_client"),
        (b'{"message": "Forbidden"}', "Forbidden", None),
        (b'{"Message": "Denied", "__type": "AccessDenied"}', "Denied", "AccessDenied"),
        (b'{"detail": "Not Found"}', "Not Found", None),
        (b'{"detail": [{"loc": ["body", 0, "x"], "msg": "required"}, {"msg": "wrong"}, 5]}', "body.0.x: required; wrong", None),
        (b'{"title": "Gone", "status": 410}', "Gone", None),
        (b'{"odd": 1}', '{"odd": 1}', None),
        (b'"A text"', "A text", None),
        (b"\xef\xbb\xbfupstream \x1b connect  error", "upstream connect error", None),
        (b"<html><head><title>502 Bad\nGateway</title></head>", "502 Bad Gateway", None),
        (b"<html><body><h1 class='x'>Blocked</h1>", "Blocked", None),
        (b"<html>", "a page of HTML", None),
        (b"", "Bad Gateway (no explanation was given)", None),
        (b"null", "Bad Gateway (no explanation was given)", None),
        (b"{}", "Bad Gateway (no explanation was given)", None),
        (b'{"error": null}', '{"error": null}', None),
    ],
)  # fmt: skip
def test_error_bodies_are_understood(data: bytes, message: str, code: str | None) -> None:
    assert error_message(502, data) == (message, code)


def test_an_error_without_a_body_tells_its_challenge() -> None:
    assert error_message(401, b"", {"www-authenticate": "Negotiate"}) == ("Negotiate", None)
    assert error_message(599, b"") == ("no explanation was given", None)


def test_error_messages_are_cut_and_scrubbed() -> None:
    message, _ = error_message(
        400, b'{"message": "Incorrect API key provided: sk-abcdefghijklmnop ' + b"x" * 5000 + b'"}'
    )
    assert len(message) <= 300
    assert "sk-abc" not in message


ANSWERS = (
    JSON
    | st.builds(lambda choice: {"choices": [choice]}, JSON)
    | st.builds(lambda it: {"choices": [{"message": it}]}, JSON)
)
ANSWERS |= st.builds(lambda it: {"choices": [{"message": {"content": "", "tool_calls": [{"function": it}]}}]}, JSON)


@given(ANSWERS)
def test_no_json_raises_anything_but_our_errors(data: Any) -> None:
    try:
        reply = decode(json.dumps(data).encode(), "ChatLLM")
    except LLMError as error:
        assert str(error).isprintable()  # noqa: PT017  either way is fine
    else:
        str(reply).encode()
        encode(Request(messages=[reply.as_message()]), model="m")


@given(st.binary(max_size=60), ANSWERS)
def test_no_bytes_raise_anything_but_our_errors(noise: bytes, data: Any) -> None:
    for some in (noise, json.dumps(data).encode(), json.dumps(data).encode() + noise):
        message, code = error_message(500, some)
        assert 0 < len(message) <= 300
        assert code is None or len(code) <= 100
    with pytest.raises(LLMError):
        decode(noise, "ChatLLM")


@given(
    st.text(min_size=1).filter(str.strip),
    st.lists(st.tuples(st.text(min_size=1).filter(str.strip), st.text()), max_size=3),
)
def test_what_was_answered_can_be_sent_back(text: str, calls: list[tuple[str, str]]) -> None:
    message = {
        "content": text,
        "tool_calls": [
            {"id": f"c{n}", "function": {"name": name, "arguments": args}} for n, (name, args) in enumerate(calls)
        ],
    }
    reply = decode(body(message), "ChatLLM")
    again = json.loads(encode(Request(messages=[reply.as_message()]), model="m"))["messages"][0]
    assert dataclasses.replace(decode(body(again), "ChatLLM"), raw=None) == reply


@pytest.mark.parametrize("depth", [50, 300, 600, 900, 950, 990, 1100, 5000, 50_000])
def test_arguments_nested_to_any_depth_are_read_or_refused(depth: int) -> None:
    data = body({"tool_calls": [{"function": {"name": "f", "arguments": 0}}]}).replace(
        b'"arguments": 0', b'"arguments": ' + b"[" * depth + b"]" * depth
    )
    try:
        assert decode(data, "ChatLLM").tool_calls[0].arguments == "[" * depth + "]" * depth
    except ResponseFormatError:
        assert depth > 500
