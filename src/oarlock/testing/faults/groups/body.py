"""Faults of the body: how fast it comes, how large it is, how it is packed and in which letters."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

import gzip
import random
import zlib
from functools import partial

from oarlock.testing.faults import answers
from oarlock.testing.faults.bombs import deflate_bomb, gzip_bomb, nested_bomb
from oarlock.testing.faults.catalog import ANSWER
from oarlock.testing.faults.catalog import fault as _fault
from oarlock.testing.faults.connection import PAUSE, Connection

fault = partial(_fault, group="body")

LOST = "ConnectionFailedError"
LATE = "LLMTimeoutError"
LARGE = "ReplyTooLarge"
SHAPE = "ResponseFormatError"
_BODY = answers.encoded(answers.completion())
_GZIP = gzip.compress(_BODY, mtime=0)
_JSON = ("Content-Type", "application/json")
_BLOCK = b"x" * 65536


def _packed(connection: Connection, body: bytes, encoding: str) -> None:
    connection.answer(body, headers=[("Content-Encoding", encoding)])


@fault("Sends the body byte by byte, for ever.", expect=LATE)
def slow_body(connection: Connection) -> None:
    connection.begin()
    connection.repeat(b"1\r\n \r\n", pause=PAUSE)


@fault("Sends the body in six pieces over 0.2 s.")
def unhurried_body(connection: Connection) -> None:
    connection.begin()
    step = len(_BODY) // 5
    for at in range(0, len(_BODY), step):
        connection.chunk(_BODY[at : at + step])
        connection.wait(0.03)
    connection.end()


@fault("Stops in the middle of the body, and keeps the connection.", expect=LATE)
def body_hang(connection: Connection) -> None:
    connection.begin()
    connection.chunk(_BODY[:60])
    connection.hang()


@fault("Sends 64 MB of one text.", expect=LARGE)
def huge_body(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Content-Length", str(1024 * 65536))])
    for _ in range(1024):
        connection.send(_BLOCK)


@fault("Sends chunks without end, as fast as it can.", expect=LARGE)
def endless_body(connection: Connection) -> None:
    connection.begin()
    connection.repeat(b"10000\r\n" + _BLOCK + b"\r\n")


@fault("Sends a body without a length that never ends, as fast as it can.", expect=LARGE)
def endless_body_without_length(connection: Connection) -> None:
    connection.head(headers=[_JSON, ("Connection", "close")])
    connection.repeat(_BLOCK)


@fault("Sends blanks before its JSON without end, as fast as it can.", expect=LARGE)
def endless_whitespace(connection: Connection) -> None:
    connection.begin()
    connection.repeat(b"10000\r\n" + b" " * 65536 + b"\r\n")


@fault("Sends a good answer of 4 MB.")
def large_answer(connection: Connection) -> None:
    connection.answer(answers.completion(answers.message("word " * 800_000)))


@fault("Answers in gzip, unasked.")
def gzip_answer(connection: Connection) -> None:
    _packed(connection, _GZIP, "gzip")


@fault("Answers in deflate, unasked.")
def deflate_answer(connection: Connection) -> None:
    _packed(connection, zlib.compress(_BODY), "deflate")


@fault("Answers in raw deflate under the name of deflate, as some servers do.")
def raw_deflate_answer(connection: Connection) -> None:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    _packed(connection, engine.compress(_BODY) + engine.flush(), "deflate")


@fault("Answers in gzip of two members.")
def gzip_in_members(connection: Connection) -> None:
    _packed(connection, gzip.compress(_BODY[:50], mtime=0) + gzip.compress(_BODY[50:], mtime=0), "gzip")


@fault("Answers with 512 KB of gzip that unpack to 512 MB.", name="gzip_bomb", expect=LARGE)
def _gzip_bomb(connection: Connection) -> None:
    _packed(connection, gzip_bomb(), "gzip")


@fault("Answers with 512 KB of deflate that unpack to 512 MB.", name="deflate_bomb", expect=LARGE)
def _deflate_bomb(connection: Connection) -> None:
    _packed(connection, deflate_bomb(), "deflate")


@fault("Answers with a gzip bomb in gzip.", name="nested_bomb", expect=(LARGE, SHAPE))
def _nested_bomb(connection: Connection) -> None:
    _packed(connection, nested_bomb(), "gzip, gzip")


@fault("Says gzip a hundred times over.", expect=(LARGE, SHAPE))
def encoding_flood(connection: Connection) -> None:
    _packed(connection, nested_bomb(), ", ".join(["gzip"] * 100))


@fault("Says gzip, but sends plain JSON.", expect=SHAPE)
def gzip_not_applied(connection: Connection) -> None:
    _packed(connection, _BODY, "gzip")


@fault("Sends gzip, but does not say so.", expect=SHAPE)
def gzip_not_declared(connection: Connection) -> None:
    connection.answer(_GZIP)


@fault("Sends gzip with garbage in its middle.", expect=SHAPE)
def gzip_bad(connection: Connection) -> None:
    _packed(connection, _GZIP[:30] + b"\xff" * 20 + _GZIP[50:], "gzip")


@fault("Sends gzip with a wrong checksum.", expect=SHAPE)
def gzip_bad_checksum(connection: Connection) -> None:
    _packed(connection, _GZIP[:-8] + bytes(4) + _GZIP[-4:], "gzip")


@fault("Sends gzip that ends too early, though the body is whole.", expect=(LOST, SHAPE))
def gzip_truncated(connection: Connection) -> None:
    _packed(connection, _GZIP[:-20], "gzip")


@fault("Says gzip, and sends an empty body.", expect=SHAPE)
def gzip_of_nothing(connection: Connection) -> None:
    _packed(connection, b"", "gzip")


@fault("Sends garbage after the end of gzip.", expect=(ANSWER, SHAPE))
def gzip_with_garbage_after(connection: Connection) -> None:
    _packed(connection, _GZIP + b"\0\0garbage", "gzip")


@fault("Names an encoding that nobody knows.", expect=SHAPE)
def unknown_encoding(connection: Connection) -> None:
    _packed(connection, _BODY, "martian")


@fault("Answers in brotli, unasked.", expect=(ANSWER, SHAPE))
def brotli_unasked(connection: Connection) -> None:
    _packed(connection, b"\x0b\x02\x80{}\x03", "br")


@fault("Answers in zstandard, unasked.", expect=(ANSWER, SHAPE))
def zstd_unasked(connection: Connection) -> None:
    _packed(connection, b"\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00{}\x99\xe9\xd8\x51", "zstd")


@fault("Answers with a page of HTML and 200.", expect=SHAPE)
def html_with_200(connection: Connection) -> None:
    page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
    connection.answer(page, headers=[("Content-Type", "text/html")])


@fault("Answers with an empty body.", expect=SHAPE)
def empty_body(connection: Connection) -> None:
    connection.answer(b"")


@fault("Answers with blanks.", expect=SHAPE)
def blank_body(connection: Connection) -> None:
    connection.answer(b" \r\n\t ")


@fault("Begins the body with a byte order mark.")
def byte_order_mark(connection: Connection) -> None:
    connection.answer(b"\xef\xbb\xbf" + _BODY)


@fault("Answers in UTF-16.")
def utf_16(connection: Connection) -> None:
    connection.answer(_BODY.decode().encode("utf-16"))


@fault("Answers in UTF-32 without a byte order mark.", expect=(ANSWER, SHAPE))
def utf_32(connection: Connection) -> None:
    connection.answer(_BODY.decode().encode("utf-32-le"))


@fault("Answers in Latin-1.")
def latin_1(connection: Connection) -> None:
    connection.answer(answers.encoded(answers.completion()).replace(b"Hello", b"H\xe9llo"))


@fault("Puts bytes into the text that are no UTF-8.")
def bad_utf_8(connection: Connection) -> None:
    connection.answer(_BODY.replace(b"Hello", b"Hello \xff\xfe\xc0\xaf\xed\xa0\x80"))


@fault("Cuts a letter of UTF-8 in half at the end of the text.")
def half_a_letter(connection: Connection) -> None:
    connection.answer(_BODY.replace(b"there.", "there €".encode()[:-1]))


@fault("Sends JSON that is cut in its middle, though the body is whole.", expect=SHAPE)
def cut_json(connection: Connection) -> None:
    connection.answer(_BODY[:-30])


@fault("Sends something after its JSON.", expect=SHAPE)
def two_documents(connection: Connection) -> None:
    connection.answer(_BODY + _BODY)


@fault("Sends JSON as Python writes a dict.", expect=SHAPE)
def single_quotes(connection: Connection) -> None:
    connection.answer(str(answers.completion()))


@fault("Sends random bytes as JSON.", expect=SHAPE)
def random_bytes(connection: Connection) -> None:
    connection.answer(random.Random(1).randbytes(4096))  # noqa: S311  the same each time


@fault("Sends server-sent events, though none were asked for.", expect=(ANSWER, SHAPE))
def events_unasked(connection: Connection) -> None:
    connection.stream(answers.events(answers.deltas()))


@fault("Sends lines of JSON, each a piece of the answer.", expect=SHAPE)
def json_lines(connection: Connection) -> None:
    connection.answer(b"\n".join(answers.encoded(piece) for piece in answers.deltas()))
