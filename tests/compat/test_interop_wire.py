"""OpenAI's chat format from the server's side: what we write, we can read, and the other way round."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    RateLimitError,
    Reply,
    Request,
    ToolCall,
    Usage,
)
from oarlock.compat.interop.wire import request_of
from oarlock.compat.interop.wire_errors import error_body, error_headers, status_of
from oarlock.contract.reply import Delta
from oarlock.dialects.openai_chat import StreamAssembler, decode, encode
from oarlock.dialects.openai_chat.answering import Chunks, Envelope, completion
from oarlock.errors import (
    CircuitOpenError,
    ContextWindowExceededError,
    EmptyReply,
    PermissionDeniedError,
    QuotaExceededError,
    ServerError,
)

HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}
ENVELOPE = Envelope(id="id-1", created=7, model="m")
REQUEST = Request(messages=HI)

texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
calls = st.builds(ToolCall, id=st.uuids().map(str), name=names, arguments=st.dictionaries(names, texts).map(json.dumps))
usages = st.builds(
    lambda read, written, cached: Usage(
        prompt_tokens=read, completion_tokens=written, cached_prompt_tokens=min(read, cached), requests=1
    ),
    *[st.integers(1, 10**6)] * 3,
)
replies = st.one_of(
    st.builds(Reply, text=texts, usage=usages, finish_reason=st.just("stop"), model=names, id=names),
    st.builds(
        Reply,
        text=st.just("") | texts,
        tool_calls=st.lists(calls, min_size=1, max_size=4).map(tuple),
        usage=usages,
        finish_reason=st.just("tool_calls"),
        model=names,
        id=names,
    ),
)
requests = st.builds(
    Request,
    messages=st.lists(st.builds(lambda text: {"role": "user", "content": text}, texts), min_size=1),
    tools=st.lists(st.just(TOOL), max_size=2).map(tuple),
    stop=st.lists(texts, max_size=3).map(tuple),
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.none() | st.integers(1, 9999),
    json_schema=st.none() | st.just({"type": "object", "properties": {"a": {"type": "string"}}}),
    options=st.none() | st.fixed_dictionaries({"top_p": st.floats(0, 1), "seed": st.integers(0, 9)}),
)


@given(requests, st.sampled_from(["max_tokens", "max_completion_tokens"]))
def test_a_request_that_we_write_is_read_as_it_was(request: Request, most: str) -> None:
    body = encode(request, model="m", options=request.options, max_tokens_name=most)
    assert request_of(json.loads(body)) == request


@given(replies)
def test_a_reply_that_we_write_is_read_as_it_was(reply: Reply) -> None:
    read = decode(json.dumps(completion(ENVELOPE, reply, REQUEST)).encode(), "m")
    assert (read.text, read.tool_calls, read.usage, read.finish_reason) == _facts(reply)


@given(replies, st.booleans())
def test_a_stream_that_we_write_is_read_as_it_was(reply: Reply, whole_calls: bool) -> None:
    chunks, assembler = Chunks(envelope=ENVELOPE, request=REQUEST, include_usage=True), StreamAssembler("m")
    pieces = [Delta(letter) for letter in reply.text]
    for call in reply.tool_calls:
        split = [call.arguments] if whole_calls else [call.arguments[:3], call.arguments[3:]]
        pieces += [Delta(tool_call=ToolCall(id=call.id, name=call.name, arguments=part)) for part in split]
    for chunk in [chunks.first(), *filter(None, map(chunks.piece, pieces)), *chunks.last(reply)]:
        assembler.feed(json.dumps(chunk))
    assembler.feed("[DONE]")
    read = assembler.finish()
    assert (read.text, read.tool_calls, read.usage, read.finish_reason) == _facts(reply)


def _facts(reply: Reply) -> tuple[object, ...]:
    return reply.text, reply.tool_calls, reply.usage, reply.finish_reason


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"stop": "END"}, {"stop": ("END",)}),
        ({"stop": None}, {"stop": ()}),
        ({"tools": [TOOL], "tool_choice": "auto"}, {"tools": (TOOL,), "options": None}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"options": {"tool_choice": "required"}}),
        ({"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False}, {"tools": (), "options": None}),
        ({"tool_choice": "required"}, {"options": None}),
        ({"response_format": {"type": "text"}}, {"json_schema": None, "options": None}),
        ({"response_format": {"type": "json_object"}}, {"options": {"response_format": {"type": "json_object"}}}),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}}}}, {"json_schema": {"a": 1}}),
        ({"stream": True, "stream_options": {"include_usage": True}, "n": 1, "seed": None}, {"options": None}),
    ],
)
def test_fields_of_a_body(given: dict[str, Any], read: dict[str, Any]) -> None:
    request = request_of({"model": "m", "messages": HI, **given})
    assert {name: getattr(request, name) for name in read} == read


def test_bodies_that_cannot_be_answered() -> None:
    with pytest.raises(BadRequestError, match=r"One answer can be given to a question, not n=2\."):
        request_of({"messages": HI, "n": 2})
    with pytest.raises(ConfigurationError, match="nothing to answer"):
        request_of({})


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (AuthenticationError("No."), 401, None),
        (BudgetExceededError("Spent."), 402, None),
        (PermissionDeniedError("No."), 403, None),
        (BadRequestError("No such model.", status=404, code="model_not_found"), 404, "model_not_found"),
        (ContextWindowExceededError("Too long."), 400, "context_length_exceeded"),
        (RateLimitError("Slower."), 429, None),
        (QuotaExceededError("Empty."), 429, "insufficient_quota"),
        (ServerError("Broken.", status=529), 529, None),
        (ServerError("Broken inside of an answer.", status=200), 500, None),
        (EmptyReply("Nothing."), 502, None),
        (CircuitOpenError("Wait."), 503, None),
        (ConfigurationError("Wrong."), 400, None),
    ],
)
def test_errors(error: Any, status: int, code: str | None) -> None:
    assert status_of(error) == status
    told = error_body(error)["error"]
    assert (told["message"], told["type"], told["code"]) == (str(error), type(error).__name__, code)


def test_what_else_an_error_says() -> None:
    error = RateLimitError("Slower.", retry_after=2.5, request_id="req-1")
    assert error_headers(error) == {"x-should-retry": "false", "retry-after": "2.5", "x-request-id": "req-1"}
    assert error_headers(BudgetExceededError("Spent.")) == {"x-should-retry": "false"}
