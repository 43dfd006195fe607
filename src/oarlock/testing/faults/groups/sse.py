"""Faults of streams of server-sent events."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

import gzip
from functools import partial

from oarlock.testing.faults import answers
from oarlock.testing.faults.answers import delta, deltas, event, events, usage_delta
from oarlock.testing.faults.bombs import gzip_bomb
from oarlock.testing.faults.catalog import ANSWER
from oarlock.testing.faults.catalog import fault as _fault
from oarlock.testing.faults.connection import PAUSE, Connection

fault = partial(_fault, group="sse", stream=True)

LOST = "ConnectionFailedError"
LATE = "LLMTimeoutError"
LARGE = "ReplyTooLarge"
SHAPE = "ResponseFormatError"
CUT = "TruncatedStream"
BROKEN = "ServerError"
_WHOLE = events(deltas())
_HALF = deltas()[:3]  # the role, and two pieces of text


# Other ways to write the same stream.


@fault("Ends lines with CRLF.")
def stream_crlf(connection: Connection) -> None:
    connection.stream(_WHOLE.replace(b"\n", b"\r\n"))


@fault("Ends lines with CR.")
def stream_cr(connection: Connection) -> None:
    connection.stream(_WHOLE.replace(b"\n", b"\r"))


@fault("Ends each line in another way.")
def stream_mixed_line_ends(connection: Connection) -> None:
    ends = (b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\n\n", b"\r\n\n")
    connection.stream(b"".join(event(piece, ends[at % 5]) for at, piece in enumerate([*deltas(), "[DONE]"])))


@fault("Sends every byte as a chunk of its own, letters of UTF-8 split.")
def stream_byte_by_byte(connection: Connection) -> None:
    connection.begin_events()
    text = answers.encoded(delta(content="Hé€😀llo")).replace(b"\\u", b"\\u")
    plain = b'data: {"choices": [{"index": 0, "delta": {"content": "' + "né€😀".encode() + b'"}}]}\n\n'
    whole = b"data: " + text + b"\n\n" + plain + events([delta("stop")])
    for at in range(len(whole)):
        connection.chunk(whole[at : at + 1])
    connection.end()


@fault("Writes `data:` without a blank after it.")
def stream_without_blanks(connection: Connection) -> None:
    connection.stream(_WHOLE.replace(b"data: ", b"data:"))


@fault("Spreads the JSON of each event over several lines of data.")
def stream_data_in_lines(connection: Connection) -> None:
    pieces = [answers.encoded(piece).replace(b", ", b",\ndata: ") for piece in deltas()]
    connection.stream(events(pieces))


@fault("Begins with a byte order mark.")
def stream_byte_order_mark(connection: Connection) -> None:
    connection.stream(b"\xef\xbb\xbf" + _WHOLE)


@fault("Sends comments between the events.")
def stream_comments(connection: Connection) -> None:
    connection.stream(b": hello\n\n" + b":\n\n".join(event(piece) for piece in [*deltas(), "[DONE]"]))


@fault("Sends `id`, `retry`, `event` and fields that nobody knows.")
def stream_other_fields(connection: Connection) -> None:
    before = b"id: 7\nretry: 999999999999999999999\nevent: message\nmartian: yes\nnocolon\n"
    connection.stream(b"".join(before + event(piece) for piece in [*deltas(), "[DONE]"]))


@fault("Packs the stream in gzip, unasked.")
def stream_gzip(connection: Connection) -> None:
    connection.stream(gzip.compress(_WHOLE, mtime=0), [("Content-Encoding", "gzip")])


@fault("Sends the stream with a length instead of chunks.")
def stream_with_length(connection: Connection) -> None:
    connection.answer(_WHOLE, headers=[("Content-Type", "text/event-stream; charset=utf-8")])


@fault("Says that the stream is JSON.", expect=(ANSWER, SHAPE))
def stream_as_json(connection: Connection) -> None:
    connection.answer(_WHOLE)


@fault("Says `Text/Event-Stream`, in capitals.", expect=(ANSWER,))
def stream_type_in_capitals(connection: Connection) -> None:
    connection.answer(_WHOLE, headers=[("Content-Type", "Text/Event-Stream")])


@fault("Says nothing of the stream's type.", expect=(ANSWER, SHAPE))
def stream_without_type(connection: Connection) -> None:
    connection.head(headers=[("Content-Length", str(len(_WHOLE)))])
    connection.send(_WHOLE)


@fault("Sends the usage in an event of its own, without choices.")
def stream_usage_last(connection: Connection) -> None:
    connection.stream(events([*deltas(), usage_delta()]))


@fault("Sends the whole answer in one event, as a message.")
def stream_whole_in_one(connection: Connection) -> None:
    connection.stream(events([answers.completion()]))


@fault("Sends `[DONE]`, and something after it.")
def stream_after_done(connection: Connection) -> None:
    connection.stream(_WHOLE + event("[DONE]") + event(delta(content=" This is too late.")) + event("garbage"))


@fault("Sends `[DONE]`, and keeps the stream open.")
def stream_open_after_done(connection: Connection) -> None:
    connection.begin_events(*deltas(), "[DONE]")
    connection.hang()


@fault("Ends without `[DONE]`, after a finish reason.")
def stream_without_done(connection: Connection) -> None:
    connection.stream(events(deltas(), done=False))


@fault("Ends without the empty line after the last event.")
def stream_without_last_line(connection: Connection) -> None:
    connection.stream(_WHOLE.removesuffix(b"\n"))


@fault("Answers with a whole body, though a stream was asked for.")
def stream_json_instead(connection: Connection) -> None:
    connection.answer(answers.completion())


# Streams that do not end, or not in time.


@fault("Sends the headers of a stream, and never an event.", expect=LATE)
def stream_first_event_never(connection: Connection) -> None:
    connection.begin_events()
    connection.hang()


@fault("Sends comments again and again, and never an event.", expect=LATE)
def stream_comments_forever(connection: Connection) -> None:
    connection.begin_events()
    connection.repeat(b"6\r\n: hi\n\n\r\n", pause=PAUSE)


@fault("Sends comments as fast as it can, and never an event.", expect=(LATE, LARGE))
def stream_comments_flood(connection: Connection) -> None:
    connection.begin_events()
    connection.repeat(b"fa0\r\n" + b": hi\n\n\n\n" * 500 + b"\r\n")


@fault("Sends `ping` events again and again.", expect=(LATE, SHAPE))
def stream_pings_forever(connection: Connection) -> None:
    connection.begin_events()
    while True:
        connection.chunk(b'event: ping\ndata: {"type": "ping"}\n\n')
        connection.wait(PAUSE)


@fault("Sends events without a piece of the answer again and again.", expect=LATE)
def stream_empty_deltas_forever(connection: Connection) -> None:
    connection.begin_events()
    while True:
        connection.event(delta(content=""))
        connection.wait(PAUSE)


@fault("Sends an event byte by byte, for ever.", expect=LATE)
def stream_drip(connection: Connection) -> None:
    connection.begin_events()
    connection.chunk(b"data: ")
    connection.repeat(b"1\r\nx\r\n", pause=PAUSE)


@fault("Goes silent in the middle, and keeps the connection.", expect=LATE, requests=1)
def stream_idle_in_middle(connection: Connection) -> None:
    connection.begin_events(*_HALF)
    connection.hang()


@fault("Sends nothing but comments from the middle on.", expect=LATE, requests=1)
def stream_comments_in_middle(connection: Connection) -> None:
    connection.begin_events(*_HALF)
    connection.repeat(b"6\r\n: hi\n\n\r\n", pause=PAUSE)


@fault("Sends a word every 50 ms, for ever.", expect=(LATE, LARGE), requests=1)
def stream_words_forever(connection: Connection) -> None:
    connection.begin_events()
    while True:
        connection.event(delta(content=" word"))
        connection.wait(PAUSE)


@fault("Sends words as fast as it can, for ever.", expect=(LATE, LARGE), requests=1)
def stream_endless(connection: Connection) -> None:
    connection.begin_events()
    words = event(delta(content=" word" * 50)) * 50
    connection.repeat(b"%x\r\n%b\r\n" % (len(words), words))


# Streams that are cut.


@fault("Ends cleanly in the middle of the answer.", expect=CUT)
def stream_cut_cleanly(connection: Connection) -> None:
    connection.stream(events(_HALF, done=False))


@fault("Ends cleanly in the middle of an event.", expect=CUT)
def stream_cut_in_event(connection: Connection) -> None:
    connection.stream(events(_HALF, done=False) + event(delta(content=" there"))[:70])


@fault("Ends in the middle of an event whose text is whole, but for its last line end.", expect=(CUT, ANSWER))
def stream_cut_in_done(connection: Connection) -> None:
    connection.stream(events(deltas()[:-1], done=False) + b"data: [DO")


@fault("Closes the connection between two events.", expect=(LOST, CUT), requests=1)
def stream_closed_in_middle(connection: Connection) -> None:
    connection.begin_events(*_HALF)


@fault("Closes the connection in the middle of a chunk.", expect=(LOST, CUT), requests=1)
def stream_cut_in_chunk(connection: Connection) -> None:
    connection.begin_events(*_HALF)
    connection.send(b"100\r\n" + event(delta(content=" there"))[:70])


@fault("Resets the connection in the middle of the stream.", expect=(LOST, CUT), requests=1)
def stream_reset_in_middle(connection: Connection) -> None:
    connection.begin_events(*_HALF)
    connection.wait(PAUSE)
    connection.reset()


@fault("Resets the connection before the first event.", expect=(LOST, CUT))
def stream_reset_first(connection: Connection) -> None:
    connection.begin_events()
    connection.wait(0.02)
    connection.reset()


@fault("Resets the connection before the first event once, then streams.", requests=2)
def stream_reset_once(connection: Connection) -> None:
    if connection.turn:
        connection.answer()
    else:
        connection.begin_events()
        connection.wait(0.02)
        connection.reset()


@fault("Ends before the first event.", expect=SHAPE, requests=3)
def stream_empty(connection: Connection) -> None:
    connection.stream(b"")


@fault("Sends `[DONE]` alone.", expect=SHAPE, requests=3)
def stream_done_alone(connection: Connection) -> None:
    connection.stream(event("[DONE]"))


# Errors and other answers.


@fault("Answers 503 instead of a stream.", expect=BROKEN)
def stream_status_503(connection: Connection) -> None:
    connection.answer(answers.error("Not now."), status=503)


@fault("Answers 500 with a body that drips for ever, instead of a stream.", expect=(BROKEN, LATE))
def stream_error_drip(connection: Connection) -> None:
    connection.begin(status=500)
    connection.repeat(b"1\r\n \r\n", pause=PAUSE)


@fault("Redirects to another port instead of a stream.", expect="BadRequestError")
def stream_redirect(connection: Connection) -> None:
    connection.answer(b"", status=307, headers=[("Location", f"{connection.other_url}/chat/completions")])


@fault("Sends an error as the first event.", expect=BROKEN)
def stream_error_first(connection: Connection) -> None:
    connection.stream(event(answers.error("The model broke.")))


@fault("Sends an error in the middle of the stream.", expect=BROKEN, requests=1)
def stream_error_in_middle(connection: Connection) -> None:
    connection.stream(events([*_HALF, answers.error("The model broke.")], done=False))


@fault("Sends an event of the type `error` in the middle of the stream.", expect=BROKEN, requests=1)
def stream_error_event(connection: Connection) -> None:
    connection.stream(events(_HALF, done=False) + b'event: error\ndata: {"message": "overloaded"}\n\n')


@fault("Sends an error in words, not in JSON, in the middle.", expect=(BROKEN, SHAPE), requests=1)
def stream_error_in_words(connection: Connection) -> None:
    connection.stream(events(_HALF, done=False) + event("Internal Server Error"))


@fault("Throttles in the middle of the stream.", expect="RateLimitError", requests=1)
def stream_throttled_in_middle(connection: Connection) -> None:
    error = answers.error("Slow down.", code="rate_limit_exceeded", kind="rate_limit_error")
    connection.stream(events([*_HALF, error], done=False))


@fault("Sends a page of HTML instead of a stream.", expect=SHAPE)
def stream_html_instead(connection: Connection) -> None:
    connection.answer("<html><title>Sign in</title></html>", headers=[("Content-Type", "text/html")])


@fault("Sends a page of HTML under the name of a stream.", expect=SHAPE, requests=3)
def stream_html_as_events(connection: Connection) -> None:
    connection.stream(b"<html>\n\n<title>Sign in</title>\n\n</html>\n\n")


@fault("Sends an error as a JSON body with 200, instead of a stream.", expect=BROKEN)
def stream_json_error(connection: Connection) -> None:
    connection.answer(answers.error("The model broke."))


# Events too large, or of a wrong shape.


@fault("Sends a line of 4 MB.", expect=LARGE)
def stream_huge_line(connection: Connection) -> None:
    connection.stream(event(delta(content="x" * 4_000_000)))


@fault("Sends a line without end.", expect=LARGE)
def stream_endless_line(connection: Connection) -> None:
    connection.begin_events()
    connection.chunk(b"data: ")
    connection.repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n")


@fault("Sends one event of lines without end.", expect=LARGE)
def stream_endless_event(connection: Connection) -> None:
    connection.begin_events()
    line = b"data: " + b"x" * 250 + b"\n"
    connection.repeat(b"%x\r\n%b\r\n" % (len(line) * 250, line * 250))


@fault("Sends one event of empty lines of data without end.", expect=LARGE)
def stream_endless_empty_data(connection: Connection) -> None:
    connection.begin_events()
    connection.repeat(b"%x\r\n%b\r\n" % (60_000, b"data:\n" * 10_000))


@fault("Packs 512 MB of one line into 512 KB of gzip.", expect=LARGE)
def stream_gzip_bomb(connection: Connection) -> None:
    connection.stream(gzip_bomb(b"data: "), [("Content-Encoding", "gzip")])


@fault("Sends an event that is no JSON.", expect=SHAPE)
def stream_garbage_json(connection: Connection) -> None:
    connection.stream(event("{choices: oops}"))


@fault("Sends an event that is a list.", expect=SHAPE)
def stream_list_event(connection: Connection) -> None:
    connection.stream(events([[1, 2]]))


@fault("Sends an event of 100,000 lists in each other.", expect=SHAPE)
def stream_deep_json(connection: Connection) -> None:
    connection.stream(event(b"[" * 100_000 + b"]" * 100_000))


@fault("Sends a piece that is `null` among the others.")
def stream_null_delta(connection: Connection) -> None:
    null = {"choices": [{"index": 0, "delta": None, "finish_reason": None}]}
    connection.stream(events([*deltas()[:2], null, *deltas()[2:]]))


@fault("Sends `null` as the choices among the others.")
def stream_null_choices(connection: Connection) -> None:
    connection.stream(events([*deltas()[:2], {"choices": None}, *deltas()[2:]]))


@fault("Sends a choice that is `null`.", expect=(ANSWER, SHAPE))
def stream_null_choice(connection: Connection) -> None:
    connection.stream(events([{"choices": [None]}, *deltas()]))


@fault("Sends an object as the choices.", expect=SHAPE)
def stream_choices_object(connection: Connection) -> None:
    connection.stream(events([{"choices": {"0": {}}}]))


@fault("Sends a number as the text of a piece.", expect=SHAPE)
def stream_content_number(connection: Connection) -> None:
    connection.stream(events([delta(content=42), delta("stop")]))


@fault("Sends bytes that are no UTF-8 in a piece.")
def stream_bad_utf_8(connection: Connection) -> None:
    connection.stream(_WHOLE.replace(b"Hello", b"Hello \xff\xc0\xaf"))


@fault("Sends half a surrogate pair in each of two pieces.")
def stream_surrogates(connection: Connection) -> None:
    connection.stream(events([delta(content="Hello \ud83d"), delta(content="\ude00 there"), delta("stop")]))


@fault("Sends pieces after the finish reason.")
def stream_out_of_order(connection: Connection) -> None:
    connection.stream(events([delta("stop"), *deltas()[:-1]]))


@fault("Sends two choices, their pieces in turns.")
def stream_two_choices(connection: Connection) -> None:
    both = [piece for text in answers.PIECES for piece in (delta(content=text), delta(content="NO", index=1))]
    connection.stream(events([*both, delta("stop", index=1), delta("stop")]))


@fault("Sends garbage as the usage.")
def stream_usage_garbage(connection: Connection) -> None:
    usage = {"prompt_tokens": -9, "completion_tokens": "many", "prompt_tokens_details": 7}
    connection.stream(events([*deltas(), {**usage_delta(), "usage": usage}]))


@fault("Ends at the limit of tokens.", expect="TruncatedReply", requests=1)
def stream_finish_length(connection: Connection) -> None:
    connection.stream(events([*deltas()[:-1], delta("length")]))


@fault("Ends since a filter took the rest.", expect="ContentFilterError", requests=1)
def stream_content_filter(connection: Connection) -> None:
    connection.stream(events([*_HALF, delta("content_filter")]))


@fault("Streams a refusal.", expect="RefusalError")
def stream_refusal(connection: Connection) -> None:
    connection.stream(events([delta(refusal="I cannot "), delta(refusal="do that."), delta("stop")]))


@fault("Streams no text at all, and a finish reason.", expect="EmptyReply", requests=3)
def stream_no_text(connection: Connection) -> None:
    connection.stream(events([delta(role="assistant", content=""), delta("stop")]))


# Tool calls in pieces.


def _piece(arguments: str, index: int | None = 0, **fields: str) -> dict[str, object]:
    name = fields.pop("name", None)
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    call = {**fields, "function": function} if index is None else {"index": index, **fields, "function": function}
    return delta(tool_calls=[call])


_END = delta("tool_calls")


@fault("Streams two tool calls, their pieces in turns and the second first.")
def stream_tools_in_turns(connection: Connection) -> None:
    first, second = _piece('{"a"', 0, id="call_a", name="add"), _piece('{"a"', 1, id="call_b", name="add")
    rest = [_piece(': 1, "b": 2}', 0), _piece(': 3, "b": 4}', 1)]
    connection.stream(events([second, first, *rest, _END]))


@fault("Streams a tool call without an index.")
def stream_tools_without_index(connection: Connection) -> None:
    pieces = [_piece('{"a": 1,', None, id="call_a", name="add"), _piece(' "b": 2}', None)]
    connection.stream(events([*pieces, _END]))


@fault("Streams two tool calls under the index 0.")
def stream_tools_same_index(connection: Connection) -> None:
    whole = '{"a": 1, "b": 2}'
    connection.stream(
        events([_piece(whole, 0, id="call_a", name="add"), _piece(whole, 0, id="call_b", name="add"), _END])
    )


@fault("Streams a tool call with the index 10^9.")
def stream_tools_huge_index(connection: Connection) -> None:
    connection.stream(events([_piece('{"a": 1, "b": 2}', 10**9, id="call_a", name="add"), _END]))


@fault("Streams the arguments of a tool that is never named.", expect=SHAPE, requests=1)
def stream_tools_without_name(connection: Connection) -> None:
    connection.stream(events([_piece('{"a": 1}', 0, id="call_a"), _END]))


@fault("Cuts the stream in the middle of a tool call's arguments.", expect=CUT, requests=1)
def stream_tools_cut(connection: Connection) -> None:
    connection.stream(events([_piece('{"a": 1,', 0, id="call_a", name="add")], done=False))


@fault("Streams the arguments of a tool call without end.", expect=(LATE, LARGE), requests=1)
def stream_tools_endless(connection: Connection) -> None:
    connection.begin_events(_piece('{"a": "', 0, id="call_a", name="add"))
    more = event(_piece("x" * 250)) * 50
    connection.repeat(b"%x\r\n%b\r\n" % (len(more), more))


@fault("Sends a text as the tool calls of a piece.", expect=SHAPE)
def stream_tools_text(connection: Connection) -> None:
    connection.stream(events([delta(tool_calls="add"), _END]))
