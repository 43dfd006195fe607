"""Caps and decompression of response bodies, shared by the transports: pure functions over bytes."""

from __future__ import annotations

import zlib
from itertools import chain
from typing import Protocol

from oarlock.contract.errors import ConnectionFailedError, ReplyTooLarge, ResponseFormatError
from oarlock.contract.http import Headers
from oarlock.transport.naming import endpoint

__all__ = ["ERROR_BODY_SECONDS", "Body", "body_error", "check_headers", "content_decoder"]

ERROR_BODY_SECONDS = 1.0
"""How long the body of an error (a status of 400 or more) may take after its headers: the status tells enough."""

# One step of decompression: a bomb of 1:1000 yields at most this much before the cap is looked at again.
STEP = 64 * 1024
# RFC 9110 allows a list of encodings. Servers apply one; a longer chain multiplies bombs.
GZIP = 16 + zlib.MAX_WBITS


class _Decoder(Protocol):
    def feed(self, data: bytes, room: int) -> list[bytes]: ...

    def finish(self) -> None: ...


class _Inflate:
    """Incremental gzip or deflate that never produces more than it is asked for."""

    __slots__ = ("_encoding", "_engine", "_started", "_where")

    def __init__(self, encoding: str, where: str) -> None:
        self._encoding = encoding
        self._where = where
        self._started = False
        self._engine = zlib.decompressobj(GZIP if encoding == "gzip" else zlib.MAX_WBITS)

    def feed(self, data: bytes, room: int) -> list[bytes]:
        """Return what `data` unpacks to, in pieces, at most `room` bytes of it."""
        if not self._started and data:
            self._begin(data)
        pieces: list[bytes] = []
        while data and room > 0:
            if self._engine.eof:  # a further gzip member (RFC 1952 2.2); anything else after the end is padding
                if self._encoding != "gzip" or data[:2] != b"\x1f\x8b":
                    break
                self._engine = zlib.decompressobj(GZIP)
            piece = self._inflate(data, min(room, STEP))
            pieces.append(piece)
            room -= len(piece)
            data = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail
        return pieces

    def _begin(self, data: bytes) -> None:
        self._started = True
        # Some servers send raw deflate (RFC 1951) under a name that means zlib (RFC 1950), whose first byte is 0x?8.
        if self._encoding == "deflate" and data[0] & 0x0F != 8:
            self._engine = zlib.decompressobj(-zlib.MAX_WBITS)

    def _inflate(self, data: bytes, room: int) -> bytes:
        try:
            return self._engine.decompress(data, room)
        except zlib.error as error:
            message = f"{self._where} sent a body that is not valid {self._encoding}, although it says so."
            raise ResponseFormatError(message) from error

    def finish(self) -> None:
        """Check that the compressed data came to its own end."""
        if self._started and not self._engine.eof:
            raise ConnectionFailedError(f"{self._where} cut its {self._encoding} body before the end.")


def content_decoder(headers: Headers, where: str) -> _Decoder | None:
    """Return what undoes the response's `content-encoding`, `None` where there is nothing to undo.

    An encoding other than gzip and deflate, or several on top of each other, is a `ResponseFormatError` at the first data.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip"}:
        return _Inflate("gzip", where)
    if encoding == "deflate":
        return _Inflate("deflate", where)
    return _Unknown(encoding, where)


class _Unknown:
    """Refuses a body in an encoding that is not understood, if there is one."""

    __slots__ = ("_encoding", "_where")

    def __init__(self, encoding: str, where: str) -> None:
        self._encoding = encoding
        self._where = where

    def feed(self, data: bytes, room: int) -> list[bytes]:
        if not data:
            return []
        raise ResponseFormatError(
            f"{self._where} sent a body encoded as {self._encoding[:40]!r}; only gzip and deflate are understood."
        )

    def finish(self) -> None:
        """There was nothing."""


class Body:
    """Takes a body's raw pieces, gives decoded ones, and counts them against a cap.

    Args:
        headers: the response's.
        cap: bytes after decompression.
        cut: whether a body over the cap is cut there instead of refused.
        where: the endpoint, as `host:port`, for messages.
    """

    __slots__ = ("_cap", "_cut", "_decoder", "_room", "_where", "full")

    def __init__(self, headers: Headers, *, cap: int, cut: bool, where: str) -> None:
        self._decoder = content_decoder(headers, where)
        self._cap = cap
        self._room = cap
        self._cut = cut
        self._where = where
        self.full = False

    def feed(self, data: bytes) -> bytes:
        """Return the decoded piece; sets `full` once a body that may be cut has reached its cap.

        Raises:
            ReplyTooLarge: the body is over the cap.
            ResponseFormatError: the body is not in the encoding that it claims.
        """
        if self._decoder is None and len(data) <= self._room:  # most pieces
            self._room -= len(data)
            return data
        pieces = [data] if self._decoder is None else self._decoder.feed(data, self._room + 1)
        size = sum(map(len, pieces))
        if size <= self._room:
            self._room -= size
            return b"".join(pieces)  # of one piece, that piece itself
        if not self._cut:
            raise too_large(self._where, "body", "max_body", self._cap)  # before they are joined: a bomb is big enough
        self.full = True
        piece = b"".join(pieces)[: self._room]
        self._room = 0
        return piece

    def finish(self) -> None:
        """Check that a compressed body is whole; call it at the end of the raw body."""
        if self._decoder is not None and not self.full:
            self._decoder.finish()


def body_error(error: Exception) -> str:
    """Return in a sentence why the body of an error answer is not whole."""
    if isinstance(error, TimeoutError):
        return f"Its body had not ended {ERROR_BODY_SECONDS:g} s after its headers."
    return str(error)


def check_headers(headers: Headers, cap: int, url: str) -> None:
    """Refuse headers whose names and values add up to more than `cap` bytes."""
    if sum(map(len, chain.from_iterable(headers.pairs()))) > cap:
        raise too_large(endpoint(url), "headers", "max_headers", cap)


def too_large(where: str, what: str, setting: str, cap: int) -> ReplyTooLarge:
    """Return the error for an answer over one of the caps."""
    return ReplyTooLarge(
        f"{where} sent a response whose {what} exceed{'s' if what == 'body' else ''} {cap} bytes ({setting})."
    )
