from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.errors import LLMError, ReplyTooLarge
from oarlock.contract.http import Headers
from oarlock.transport.body import Body
from oarlock.transport.naming import endpoint

WHERE = "models.example:443"


def cuts(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


SIZES = st.lists(st.integers(0, 50), max_size=20)
PACK = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}


@given(st.binary(max_size=5000), SIZES, st.sampled_from(sorted(PACK)))
def test_any_cutting_of_the_raw_body_gives_the_same_bytes(data, sizes, encoding):
    body = Body(Headers([("content-encoding", encoding)]), cap=5000, cut=False, where=WHERE)
    assert b"".join(body.feed(piece) for piece in cuts(PACK[encoding](data), sizes)) == data
    body.finish()


@given(st.binary(min_size=2, max_size=2000), SIZES, st.sampled_from(sorted(PACK)), st.data())
def test_the_cap_is_exact(data, sizes, encoding, draw):
    cap = draw.draw(st.integers(1, len(data) - 1))
    pieces = cuts(PACK[encoding](data), sizes)
    headers = Headers([("content-encoding", encoding)])
    with pytest.raises(ReplyTooLarge):
        _feed(Body(headers, cap=cap, cut=False, where=WHERE), pieces)
    body = Body(headers, cap=cap, cut=True, where=WHERE)
    assert _feed(body, pieces) == data[:cap]
    assert body.full


def _feed(body: Body, pieces: list[bytes]) -> bytes:
    out = b""
    for piece in pieces:
        if body.full:
            break
        out += body.feed(piece)
    return out


@given(st.binary(max_size=500), st.sampled_from(["gzip", "deflate"]))
def test_garbage_gives_only_our_errors(data, encoding):
    body = Body(Headers([("content-encoding", encoding)]), cap=1000, cut=False, where=WHERE)
    with contextlib.suppress(LLMError):
        body.feed(data)
        body.finish()


def test_several_gzip_members_are_one_body():
    body = Body(Headers([("content-encoding", "gzip")]), cap=100, cut=False, where=WHERE)
    assert body.feed(gzip.compress(b"one ") + gzip.compress(b"two") + b"\0\0padding") == b"one two"
    body.finish()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://user:secret@models.example/v1?key=secret", "models.example:443"),
        ("http://[::1]:8000/", "[::1]:8000"),
        ("http://a:99999/", "the endpoint"),
        ("http://h\u00e9.example", "h\\xe9.example:80"),
        ("nonsense", "the endpoint"),
        ("x://host", "host"),
    ],
)
def test_how_an_endpoint_is_named(url, name):
    assert endpoint(url) == name
