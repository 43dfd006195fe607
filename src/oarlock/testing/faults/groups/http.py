"""Faults of HTTP's own form: status lines, headers, lengths and chunks."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

from functools import partial

from oarlock.testing.faults import answers
from oarlock.testing.faults.catalog import ANSWER
from oarlock.testing.faults.catalog import fault as _fault
from oarlock.testing.faults.connection import PAUSE, Connection

fault = partial(_fault, group="http")

LOST = "ConnectionFailedError"
LATE = "LLMTimeoutError"
LARGE = "ReplyTooLarge"
SHAPE = "ResponseFormatError"
_BODY = answers.encoded(answers.completion())
_JSON = ("Content-Type", "application/json")
_LENGTH = ("Content-Length", str(len(_BODY)))
_BLOCK = b"x" * 65536


@fault("Sends its headers byte by byte, for ever.", expect=LATE)
def drip_headers(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n")
    connection.drip(b"X-Slow: 1\r\n")


@fault("Sends its status line byte by byte, for ever.", expect=LATE)
def drip_status_line(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 ")
    connection.drip(b"OK ")


@fault("Sends headers without end.", expect=LARGE)
def endless_headers(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n")
    connection.repeat(b"X-More: 0123456789012345678901234567890123456789\r\n" * 100)


@fault("Sends one header without end.", expect=LARGE)
def endless_header(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    connection.repeat(_BLOCK)


@fault("Sends a header of 1 MB.", expect=LARGE)
def huge_header(connection: Connection) -> None:
    connection.answer(headers=[("X-Huge", "x" * 1_000_000)])


@fault("Sends 5,000 headers, 100 KB together.", expect=LARGE)
def many_headers(connection: Connection) -> None:
    connection.answer(headers=[(f"X-Header-{number:04}", "value") for number in range(5000)])


@fault("Sends 90 headers, 4 KB together.")
def ninety_headers(connection: Connection) -> None:
    connection.answer(headers=[(f"X-Header-{number}", "0123456789" * 3) for number in range(90)])


@fault("Sends a status line without end.", expect=(LARGE, SHAPE))
def endless_status_line(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 ")
    connection.repeat(_BLOCK)


@fault("Sends `100 Continue` once, then answers.")
def continue_once(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.answer()


@fault("Sends `103 Early Hints`, then answers.")
def early_hints(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    connection.answer()


@fault("Sends `100 Continue` again and again, for ever.", expect=LATE)
def continue_forever(connection: Connection) -> None:
    connection.repeat(b"HTTP/1.1 100 Continue\r\n\r\n", pause=PAUSE)


@fault("Sends `102 Processing` again and again, for ever.", expect=LATE)
def processing_forever(connection: Connection) -> None:
    connection.repeat(b"HTTP/1.1 102 Processing\r\n\r\n", pause=PAUSE)


@fault("Sends `100 Continue` as fast as it can, for ever.", expect=(LATE, LARGE, SHAPE, LOST))
def continue_flood(connection: Connection) -> None:
    connection.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 500)


@fault("Sends `103 Early Hints` of 1 KB as fast as it can, for ever.", expect=(LATE, LARGE, SHAPE, LOST))
def early_hints_flood(connection: Connection) -> None:
    connection.repeat((b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"x" * 1000 + b">\r\n\r\n") * 20)


@fault("Sends a status line whose parts are in the wrong order.", expect=(SHAPE, LOST))
def bad_status_line(connection: Connection) -> None:
    connection.send(b"200 OK HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    connection.wait(PAUSE)


@fault("Sends a status that is no number.", expect=(SHAPE, LOST))
def status_in_words(connection: Connection) -> None:
    connection.head("FINE and dandy", [_JSON, _LENGTH])
    connection.send(_BODY)


@fault("Sends a status line without a reason.")
def no_reason(connection: Connection) -> None:
    connection.head("200", [_JSON, _LENGTH])
    connection.send(_BODY)


@fault("Answers as HTTP/0.9 did: with a body and nothing else.", expect=(SHAPE, LOST))
def http_0_9(connection: Connection) -> None:
    connection.send(_BODY)


@fault("Answers in HTTP/1.0, with a body that ends with the connection.")
def http_1_0(connection: Connection) -> None:
    connection.head(headers=[_JSON], version="1.0")
    connection.send(_BODY)


@fault("Answers in HTTP/3.7.", expect=(ANSWER, SHAPE, LOST))
def http_3_7(connection: Connection) -> None:
    connection.head(headers=[_JSON, _LENGTH], version="3.7")
    connection.send(_BODY)


@fault("Answers with frames of HTTP/2.", expect=(SHAPE, LOST))
def http_2_frames(connection: Connection) -> None:
    connection.send(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64" + b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\0\0\0\0\x01")
    connection.wait(PAUSE)


@fault("Answers with bytes that are no HTTP at all.", expect=(SHAPE, LOST))
def garbage_bytes(connection: Connection) -> None:
    connection.send(bytes(range(255, 127, -1)) * 8)


@fault("Announces more bytes than it sends, and closes.", expect=LOST)
def content_length_too_long(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Content-Length", str(len(_BODY) + 100))])
    connection.send(_BODY)


@fault("Announces fewer bytes than it sends.", expect=SHAPE)
def content_length_too_short(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Content-Length", str(len(_BODY) - 100))])
    connection.send(_BODY)


@fault("Announces two different lengths.", expect=(SHAPE, LOST))
def two_content_lengths(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Content-Length", "50"), _LENGTH])
    connection.send(_BODY)


@fault("Announces the same length twice.", expect=(ANSWER, SHAPE, LOST))
def content_length_twice(connection: Connection) -> None:
    connection.head(headers=[_JSON, _LENGTH, _LENGTH])
    connection.send(_BODY)


@fault("Announces a negative length.", expect=(SHAPE, LOST))
def content_length_negative(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Content-Length", "-5")])
    connection.send(_BODY)


@fault("Announces a length that is no number.", expect=(SHAPE, LOST))
def content_length_in_words(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Content-Length", "many")])
    connection.send(_BODY)


@fault("Announces 10^18 bytes, sends a few, and waits.", expect=(LARGE, LATE))
def content_length_huge(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Content-Length", str(10**18))])
    connection.send(_BODY)
    connection.hang()


@fault("Announces a length of 40 digits.", expect=(SHAPE, LOST, LARGE))
def content_length_overflow(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Content-Length", "9" * 40)])
    connection.send(_BODY)
    connection.wait(PAUSE)


@fault("Announces a length and chunks, and sends chunks.", expect=(ANSWER, SHAPE, LOST))
def length_and_chunks(connection: Connection) -> None:
    connection.begin([("Content-Length", "10")])
    connection.chunk(_BODY)
    connection.end()
    connection.reusable = False


@fault("Sends chunks whose size is no number.", expect=(SHAPE, LOST))
def bad_chunk_size(connection: Connection) -> None:
    connection.begin()
    connection.send(b"zz\r\n" + _BODY + b"\r\n0\r\n\r\n")


@fault("Sends a chunk with a negative size.", expect=(SHAPE, LOST))
def negative_chunk_size(connection: Connection) -> None:
    connection.begin()
    connection.send(b"-5\r\n" + _BODY + b"\r\n0\r\n\r\n")


@fault("Sends a chunk of 2^64 bytes, as it says.", expect=(SHAPE, LOST, LARGE, LATE))
def huge_chunk_size(connection: Connection) -> None:
    connection.begin()
    connection.send(b"10000000000000000\r\n" + _BODY)
    connection.wait(PAUSE)


@fault("Sends a chunk that is longer than its size says.", expect=(SHAPE, LOST))
def chunk_too_long(connection: Connection) -> None:
    connection.begin()
    connection.send(b"10\r\n" + _BODY + b"\r\n0\r\n\r\n")


@fault("Begins a chunk and never ends it.", expect=LATE)
def chunk_never_ends(connection: Connection) -> None:
    connection.begin()
    connection.send(b"1000\r\n" + _BODY[:50])
    connection.hang()


@fault("Closes without the last chunk.", expect=LOST)
def missing_last_chunk(connection: Connection) -> None:
    connection.begin()
    connection.chunk(_BODY)


@fault("Sends the whole body but never the last chunk.", expect=LATE)
def last_chunk_never(connection: Connection) -> None:
    connection.begin()
    connection.chunk(_BODY)
    connection.hang()


@fault("Sends every byte as a chunk of its own.")
def tiny_chunks(connection: Connection) -> None:
    connection.begin()
    for at in range(len(_BODY)):
        connection.chunk(_BODY[at : at + 1])
    connection.end()


@fault("Sends a chunk with an extension that never ends.", expect=(SHAPE, LOST, LARGE, LATE))
def chunk_extension_flood(connection: Connection) -> None:
    connection.begin()
    connection.send(b"10;name=")
    connection.repeat(_BLOCK)


@fault("Sends a chunk size of zeros that never ends.", expect=(SHAPE, LOST, LARGE, LATE))
def chunk_size_flood(connection: Connection) -> None:
    connection.begin()
    connection.repeat(b"0" * 65536)


@fault("Sends trailers after the body.")
def trailers(connection: Connection) -> None:
    connection.begin([("Trailer", "X-Checksum")])
    connection.chunk(_BODY)
    connection.send(b"0\r\nX-Checksum: 1\r\n\r\n")
    connection.reusable = True


@fault("Sends trailers without end after the body.", expect=(ANSWER, LARGE, SHAPE, LOST, LATE))
def trailers_flood(connection: Connection) -> None:
    connection.begin()
    connection.chunk(_BODY)
    connection.send(b"0\r\n")
    connection.repeat(b"X-More: 0123456789\r\n" * 500)


@fault("Sends trailers byte by byte, for ever.", expect=(ANSWER, LATE))
def drip_trailers(connection: Connection) -> None:
    connection.begin()
    connection.chunk(_BODY)
    connection.send(b"0\r\n")
    connection.drip(b"X-Slow: 1\r\n")


@fault("Folds a header over two lines, as was once allowed.", expect=(ANSWER, SHAPE, LOST))
def folded_header(connection: Connection) -> None:
    connection.head(headers=[_JSON, _LENGTH, ("X-Folded", "one\r\n two")])
    connection.send(_BODY)


@fault("Puts a lone carriage return into a header.", expect=(ANSWER, SHAPE, LOST))
def header_injection(connection: Connection) -> None:
    connection.head(headers=[_JSON, _LENGTH, ("X-Request-Id", "one\rSet-Cookie: session=1")])
    connection.send(_BODY)


@fault("Puts a NUL into a header.", expect=(ANSWER, SHAPE, LOST))
def nul_in_header(connection: Connection) -> None:
    connection.head(headers=[_JSON, _LENGTH, ("X-Request-Id", "one\0two")])
    connection.send(_BODY)


@fault("Sends a header without a colon.", expect=(ANSWER, SHAPE, LOST))
def header_without_colon(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nwhat is this\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY)


@fault("Puts a space before a header's colon.", expect=(ANSWER, SHAPE, LOST))
def header_space_before_colon(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX-Odd : 1\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY)


@fault("Sends a header without a name.", expect=(ANSWER, SHAPE, LOST))
def header_without_name(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n: nothing\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY)


@fault("Sends headers with letters that are no ASCII.")
def header_not_ascii(connection: Connection) -> None:
    connection.answer(headers=[("X-Region", "Zürich"), ("X-Request-Id", "zür-1")])


@fault("Ends lines with LF instead of CRLF.", expect=(ANSWER, SHAPE, LOST))
def bare_line_feeds(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: %d\n\n" % len(_BODY) + _BODY)


@fault("Sends empty lines before the status line.", expect=(ANSWER, SHAPE, LOST))
def blank_lines_first(connection: Connection) -> None:
    connection.send(b"\r\n\r\n")
    connection.answer()
    connection.reusable = False


@fault("Says that the body is HTML, though it is a good answer.")
def wrong_content_type(connection: Connection) -> None:
    connection.answer(answers.completion(), headers=[("Content-Type", "text/html; charset=utf-8")])


@fault("Says nothing of the body's type.")
def no_content_type(connection: Connection) -> None:
    connection.head(headers=[_LENGTH])
    connection.send(_BODY)


@fault("Says that the body is in a character set that does not exist.")
def unknown_charset(connection: Connection) -> None:
    connection.answer(answers.completion(), headers=[("Content-Type", "application/json; charset=x-martian")])


@fault("Answers 204 with nothing.", expect=SHAPE)
def no_content(connection: Connection) -> None:
    connection.head(204)


@fault("Switches to another protocol (101), unasked.", expect=("BadRequestError", SHAPE, LOST))
def switching_protocols(connection: Connection) -> None:
    connection.head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade")])
    connection.wait(PAUSE)


@fault("Names a transfer coding that nobody knows.", expect=(ANSWER, SHAPE, LOST))
def unknown_transfer_encoding(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Transfer-Encoding", "martian")])
    connection.send(_BODY)
