"""The parser of server-sent events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.errors import ReplyTooLarge
from oarlock.dialects.sse import MAX_LINE, ServerSentEvent, SSEParser


def parsed(*chunks: bytes) -> list[ServerSentEvent]:
    parser = SSEParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("a", "message", "", None)]),
        (b"data:a\n\n", [("a", "message", "", None)]),
        (b"data:  a\n\n", [(" a", "message", "", None)]),
        (b"data: a\r\n\r\n", [("a", "message", "", None)]),
        (b"data: a\r\r", [("a", "message", "", None)]),
        (b"data: a\r\n\ndata: b\r\r\n", [("a", "message", "", None), ("b", "message", "", None)]),
        (b"\xef\xbb\xbfdata: a\n\n", [("a", "message", "", None)]),
        (b"data: \xef\xbb\xbfa\n\n", [("\ufeffa", "message", "", None)]),
        (b"data: a\ndata: b\ndata\n\n", [("a\nb\n", "message", "", None)]),
        (b"data\n\n", [("", "message", "", None)]),
        (b"data: \n\n", [("", "message", "", None)]),
        (b"event: x\n\ndata: a\n\n", [("a", "message", "", None)]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("a", "x", "", None), ("b", "message", "", None)]),
        (b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", [("a", "message", "1", None), ("b", "message", "1", None), ("c", "message", "", None)]),
        (b"id: 1\nid: 2\x00\ndata: a\n\n", [("a", "message", "1", None)]),
        (b"retry: 50\ndata: a\n\ndata: b\n\n", [("a", "message", "", 50), ("b", "message", "", None)]),
        ("retry: ٣\nretry: -1\nretry: 1s\ndata: a\n\n".encode(), [("a", "message", "", None)]),
        (b": a comment\n:\ndata: a\n\n", [("a", "message", "", None)]),
        (b"unknown: x\ndata : x\n\n", []),
        (b"data: \xff\xe2\x82\n\n", [("\ufffd\ufffd", "message", "", None)]),
        ("data: \u2028\x0b\x85\n\n".encode(), [("\u2028\x0b\x85", "message", "", None)]),  # no line ends here
        (b"data: never ended", []),
        (b"data: never ended\n", []),
        (b"\n\n\r\n", []),
        (b"", []),
    ],
)  # fmt: skip
def test_reads_the_standards_streams(stream: bytes, events: list[tuple[str, str, str, int | None]]) -> None:
    assert parsed(stream) == events
    assert parsed(*(bytes([byte]) for byte in stream)) == events


PIECES = [b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"x", b"7", b"\x00", b"\xff"]
STREAMS = st.lists(st.sampled_from([*PIECES, b"\xef\xbb\xbf", "€".encode(), b"data: {}\n\n"]), max_size=40).map(
    b"".join
)


@given(STREAMS, st.data())
def test_any_split_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, split = SSEParser(), SSEParser()
    assert [event for chunk in chunks for event in split.feed(chunk)] == whole.feed(stream)
    assert (split.comments, split.end()) == (whole.comments, whole.end())


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n\ufeff", blacklist_categories=("Cs",)))))
def test_what_is_written_is_read(texts: list[str]) -> None:
    stream = b"".join(f"data: {text}\n\n".encode() for text in texts)
    assert [event.data for event in parsed(stream)] == texts


def test_comments_are_counted() -> None:
    parser = SSEParser()
    assert parser.feed(b": keep\n\n: alive\n\ndata: a\n\n") == [ServerSentEvent("a")]
    assert parser.comments == 2


def test_an_event_without_its_empty_line_can_be_had_at_the_end() -> None:
    parser = SSEParser()
    assert parser.feed(b"event: x\ndata: a\ndata: unfini") == []
    assert parser.end() == [ServerSentEvent("a", "x")]
    assert parser.end() == []


@pytest.mark.parametrize("size", [1, 1000, 10_000])
def test_a_line_may_be_as_long_as_the_limit_and_no_longer(size: int) -> None:
    fits = b"data: " + b"x" * 994 + b"\n\n"
    too_long = b"data: " + b"x" * 995 + b"\n\n"
    parser = SSEParser(max_line=1000)
    assert sum(len(parser.feed(fits[at : at + size])) for at in range(0, len(fits), size)) == 1
    with pytest.raises(ReplyTooLarge, match="line of the event stream is longer than 1000 bytes"):
        for at in range(0, len(too_long), size):
            parser.feed(too_long[at : at + size])


def test_many_short_lines_may_not_pile_up_either() -> None:
    parser = SSEParser(max_line=1000)
    with pytest.raises(ReplyTooLarge, match="event"):
        for _ in range(1000):
            parser.feed(b"data: 0123456789\n")


def test_the_default_limit_is_one_megabyte() -> None:
    parser = SSEParser()
    piece = b"x" * (MAX_LINE // 4)
    for _ in range(4):
        parser.feed(piece)
    with pytest.raises(ReplyTooLarge):
        parser.feed(b"x")
