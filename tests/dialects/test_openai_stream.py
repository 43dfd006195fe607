"""A streamed answer, put together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON

from oarlock.contract.errors import (
    AuthenticationError,
    ContentFilterError,
    EmptyReply,
    LLMError,
    RateLimitError,
    RefusalError,
    ResponseFormatError,
    ServerError,
    TruncatedReply,
    TruncatedStream,
)
from oarlock.contract.reply import Delta, Reply, ToolCall, Usage
from oarlock.dialects.openai_chat import StreamAssembler
from oarlock.dialects.sse import SSEParser

DONE = "[DONE]"


def chunk(delta: Any = None, finish_reason: str | None = None, **fields: Any) -> str:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish_reason}
    return json.dumps({"id": "x", "model": "gpt", "choices": [choice], **fields})


def text(piece: str) -> str:
    return chunk({"content": piece})


def call(**piece: Any) -> str:
    function = {name: piece.pop(name) for name in ("name", "arguments") if name in piece}
    return chunk({"tool_calls": [{**piece, "function": function}]})


USAGE = json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
STOP = chunk(finish_reason="stop")


def assembled(*events: str) -> tuple[Reply, list[Delta]]:
    assembler = StreamAssembler("ChatLLM")
    deltas = [delta for event in events for delta in assembler.feed(event)]
    return assembler.finish(), deltas


def test_text_usage_and_reason_come_together() -> None:
    reply, deltas = assembled(chunk({"role": "assistant", "content": ""}), text("Hel"), text("lo"), STOP, USAGE, DONE)
    assert [str(delta) for delta in deltas] == ["Hel", "lo"]
    assert (reply.text, reply.finish_reason, reply.model, reply.id) == ("Hello", "stop", "gpt", "x")
    assert reply.usage == Usage(prompt_tokens=3, completion_tokens=2, requests=1)


@pytest.mark.parametrize(
    "events",
    [
        (text("Hello"), STOP),
        (text("Hello"), DONE),
        (text("Hello"), " [DONE]\n"),
        (USAGE, STOP, text("Hello"), DONE),
        (text("Hel"), STOP, text("lo")),
        ("", "  ", text("Hello"), DONE, text("more"), "garbage"),
        (chunk({"content": [{"type": "text", "text": "Hello"}]}, "stop"),),
        (json.dumps({"choices": [], "prompt_filter_results": []}), text("Hello"), DONE),
        (json.dumps({"object": "ping"}), text("Hello"), DONE),
        (json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}),),
        (text("Hello"), json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]})),
        (text("Hello"), json.dumps({"choices": [{"index": 1, "delta": {"content": "second"}}]}), DONE),
        (json.dumps({"choices": [{"index": "0", "delta": {"content": "Hello"}}]}), json.dumps({"choices": [{}]}), DONE),
    ],
)
def test_servers_differ(events: tuple[str, ...]) -> None:
    reply, deltas = assembled(*events)
    assert reply.text == "Hello" == "".join(map(str, deltas))


ADD = ToolCall(id="a", name="add", arguments='{"x": 1}')
SUB = ToolCall(id="b", name="sub", arguments='{"y": 2}')


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [call(index=0, id="a", name="add", arguments=""), call(index=0, arguments='{"x"'), call(index=0, arguments=": 1}"),
             call(index=1, id="b", name="sub", arguments='{"y": 2}')], id="as OpenAI does"),
        pytest.param(
            [call(index=1, id="b", name="sub"), call(index=0, id="a", name="add"), call(index=1, arguments='{"y":'),
             call(index=0, arguments='{"x": 1}'), call(index=1, arguments=" 2}")], id="out of order"),
        pytest.param(
            [call(id="a", name="add", arguments='{"x": 1}'), call(id="b", name="sub", arguments='{"y": 2}')], id="whole, no index"),
        pytest.param(
            [call(index=0, id="a", name="add", arguments='{"x": 1}'), call(index=0, id="b", name="sub", arguments='{"y": 2}')],
            id="whole, each with index 0"),
        pytest.param(
            [call(index=0, id="a", name="add", arguments='{"x"'), call(index=0, arguments=": 1}"),
             call(index=0, id="b", name="sub", arguments='{"y"'), call(index=0, arguments=": 2}")], id="pieces, each with index 0"),
        pytest.param(
            [call(id="a", name="add", arguments='{"x"'), call(arguments=": 1}"), call(id="b", name="sub"), call(arguments='{"y": 2}')],
            id="pieces, no index"),
        pytest.param(
            [call(id="a", name="add"), call(id="b", name="sub"), call(id="a", arguments='{"x": 1}'), call(id="b", arguments='{"y": 2}')],
            id="pieces known by their id"),
        pytest.param(
            [call(index=0, id="a", name="add", arguments='{"x"'), call(index=0, id="a", name="add", arguments=": 1}"),
             call(index=1, id="b", name="sub", arguments={"y": 2})], id="repeats, and arguments as an object"),
        pytest.param(
            [call(index=0, arguments='{"x"'), call(index=0, id="a", name="add", arguments=": 1}"),
             call(index=1, id="b", name="sub", arguments='{"y": 2}')], id="arguments before the name"),
    ],
)  # fmt: skip
def test_tool_calls_come_together(events: list[str]) -> None:
    reply, deltas = assembled(*events, chunk(finish_reason="tool_calls"), DONE)
    assert reply.tool_calls == (ADD, SUB)
    assert all(delta.tool_call is not None and not str(delta) for delta in deltas)


def test_whole_calls_without_index_and_id_are_told_apart() -> None:
    reply, _ = assembled(call(name="add", arguments="{}"), call(name="add", arguments="{}"), DONE)
    assert [(one.id, one.name) for one in reply.tool_calls] == [("call_0", "add"), ("call_1", "add")]


def test_the_older_function_call_comes_together() -> None:
    events = [chunk({"function_call": {"name": "add"}}), chunk({"function_call": {"arguments": '{"x": 1}'}}), DONE]
    assert assembled(*events)[0].tool_calls == (ToolCall(id="call_0", name="add", arguments='{"x": 1}'),)


@pytest.mark.parametrize(
    ("event", "type_", "kind"),
    [
        ('{"error": {"message": "Slow down", "type": "rate_limit_error"}}', "message", RateLimitError),
        ('{"error": {"message": "Oh", "code": 502}, "choices": []}', "message", ServerError),
        ('{"choices": [{"error": {"message": "Oh", "code": 401}}]}', "message", AuthenticationError),
        ('{"message": "Oh", "type": "rate_limit_error"}', "error", RateLimitError),
        ("overloaded", "error", ServerError),
        ("[1]", "error", ServerError),
    ],
)
def test_an_error_in_the_middle_is_raised(event: str, type_: str, kind: type) -> None:
    assembler = StreamAssembler("ChatLLM")
    assembler.feed(text("Hel"))
    with pytest.raises(LLMError, match="ChatLLM answered with an error: ") as caught:
        assembler.feed(event, type_)
    assert type(caught.value) is kind
    assert assembler.text == "Hel"


@pytest.mark.parametrize(
    "event",
    ["nonsense", "[1]", '"x"', "9" * 5000, "[" * 200_000, '{"choices": {"a": 1}}', '{"choices": ["x"]}', chunk(5), chunk({"content": 5}),
     chunk({"tool_calls": {"a": 1}}), chunk({"tool_calls": [5]}), chunk({"tool_calls": [{"function": 5}]})],
    ids=lambda event: event[:40],
)  # fmt: skip
def test_wrong_events_are_format_errors(event: str) -> None:
    with pytest.raises(ResponseFormatError, match="ChatLLM should have sent"):
        StreamAssembler("ChatLLM").feed(event)


@pytest.mark.parametrize(
    ("events", "had"),
    [([text("Hel"), text("lo")], "Hello"), ([chunk({"role": "assistant"})], ""), ([USAGE], ""), ([], ""), ([""], "")],
)
def test_a_stream_without_its_end_is_truncated(events: list[str], had: str) -> None:
    with pytest.raises(TruncatedStream, match=f"after {len(had)} characters") as caught:
        assembled(*events)
    assert caught.value.text == had


@pytest.mark.parametrize("events", [[DONE], [STOP], [USAGE, DONE], [text(" "), STOP]])
def test_a_stream_without_words_is_empty(events: list[str]) -> None:
    with pytest.raises(EmptyReply):
        assembled(*events)


def test_a_stream_of_another_format_is_no_answer() -> None:
    with pytest.raises(ResponseFormatError, match=r"events with 'choices', but sent \{'type': 'message_start'"):
        assembled('{"type": "message_start"}', '{"type": "content_block_delta"}', DONE)


def test_a_call_without_a_name_is_no_call() -> None:
    with pytest.raises(ResponseFormatError, match="as a tool call"):
        assembled(call(index=0, arguments="{}"), DONE)


def test_a_streamed_refusal_is_an_error() -> None:
    with pytest.raises(RefusalError, match="refused to answer: I cannot") as caught:
        assembled(chunk({"refusal": "I can"}), chunk({"refusal": "not"}), STOP)
    assert caught.value.code == "refusal"


def test_a_streamed_answer_that_is_cut_or_filtered_is_an_error() -> None:
    cut = [text("Once "), text("upon"), chunk(finish_reason="length"), USAGE, DONE]
    with pytest.raises(TruncatedReply, match="after 9 characters") as caught:
        assembled(*cut)
    assert caught.value.text == "Once upon"
    assert caught.value.usage == Usage(prompt_tokens=3, completion_tokens=2, requests=1)
    assembler = StreamAssembler("ChatLLM", "return")
    for event in cut:
        assembler.feed(event)
    assert assembler.finish().text == "Once upon"
    with pytest.raises(ContentFilterError):
        assembled(text("Once"), chunk(finish_reason="content_filter"), DONE)
    with pytest.raises(TruncatedReply, match="within its tool calls"):
        assembled(call(index=0, id="a", name="add", arguments='{"x'), chunk(finish_reason="length"), DONE)


def test_only_what_brings_something_counts_as_a_piece() -> None:
    assembler = StreamAssembler("ChatLLM")
    alive = (chunk(), text(""), chunk({"content": None}), '{"choices": []}', '{"type": "ping"}', USAGE)
    for event in alive:
        assembler.feed(event)
    assert assembler.pieces == 0
    for event in (text("a"), chunk({"reasoning_content": "hm"}), call(index=0, name="add"), STOP):
        assembler.feed(event)
    assert assembler.pieces == 4


def test_the_end_is_known() -> None:
    assembler = StreamAssembler("ChatLLM")
    assembler.feed(text("Hello"))
    assert not assembler.done
    assembler.feed(DONE)
    assert assembler.done


CHUNKS = JSON | st.builds(lambda delta: {"choices": [{"delta": delta}]}, JSON)
CHUNKS |= st.builds(lambda it: {"choices": [{"delta": {"tool_calls": [it]}, "finish_reason": "stop"}]}, JSON)


@given(st.lists(CHUNKS, max_size=4), st.booleans())
def test_no_events_raise_anything_but_our_errors(events: list[Any], ends: bool) -> None:
    try:
        reply, deltas = assembled(*map(json.dumps, events), *([DONE] if ends else []))
    except LLMError as error:
        assert str(error).isprintable()  # noqa: PT017  either way is fine
    else:
        assert reply.text == "".join(map(str, deltas))
        reply.text.encode()


@given(st.lists(st.text(max_size=5), max_size=8), st.integers(1, 30))
def test_any_split_of_the_bytes_gives_the_same_reply(pieces: list[str], size: int) -> None:
    stream = b"".join(f"data: {event}\r\n\r\n".encode() for event in [*map(text, [*pieces, "."]), STOP, USAGE, DONE])
    parser, assembler = SSEParser(), StreamAssembler("ChatLLM")
    for at in range(0, len(stream), size):
        for event in parser.feed(stream[at : at + size]):
            assembler.feed(event.data, event.event)
    assert assembler.finish().text == "".join(pieces) + "."
