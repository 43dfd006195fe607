from __future__ import annotations

import gzip
import re
import tracemalloc
import zlib

import pytest

from oarlock.contract.errors import (
    ConfigurationError,
    ConnectionFailedError,
    LLMTimeoutError,
    ReplyTooLarge,
    ResponseFormatError,
)
from oarlock.contract.http import HttpRequest
from oarlock.transport import TransportOptions

MIB = 1024 * 1024


def test_an_exchange_carries_method_path_fields_and_body(caller, serve):
    server = serve(lambda peer: peer.answer(b"hello", b"X-One: 1", b"x-one: 2", b"Set-Cookie: a=b"))
    response = caller.send(
        server.request(headers=(("X-A", "1"), ("x-a", "2"), ("Authorization", "Bearer é")), body=b"hi")
    )
    assert (response.status, response.body) == (200, b"hello")
    assert response.headers.get_all("X-ONE") == ["1", "2"]
    head = server.heads[0].lower()
    assert head.startswith(b"post /v1?key=canary http/1.1\r\n")
    assert [line for line in head.split(b"\r\n") if line.startswith(b"x-a:")] == [b"x-a: 1", b"x-a: 2"]
    assert "bearer é".encode() in head
    assert server.bodies == [b"hi"]


def test_connections_are_kept_and_nothing_is_remembered(caller, serve):
    server = serve(lambda peer: peer.answer(b"x", b"set-cookie: session=secret"))
    for _ in range(10):
        caller.send(server.request())
    assert server.connections < 5  # one, but that a client may take a moment to have it back
    assert not any(word in head.lower() for head in server.heads for word in (b"cookie", b"referer"))


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"303 See Other", b"307 Temporary", b"308 Permanent"])
def test_a_redirect_is_an_answer(caller, serve, status):
    other = serve()
    server = serve(lambda peer: peer.answer(b"", b"location: " + other.url.encode(), status=status))
    response = caller.send(server.request(headers=(("authorization", "canary"),)))
    assert str(response.status).encode() == status[:3]
    assert response.headers["location"] == other.url
    assert other.connections == 0


def test_the_environments_proxy_is_not_used(caller, serve, monkeypatch):
    server, proxy = serve(), serve()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.setenv("no_proxy", "")
    caller.send(server.request())
    assert (server.connections, proxy.connections) == (1, 0)


def test_a_proxy_that_was_asked_for_is_used(caller, serve):
    proxy = serve(lambda peer: peer.answer(b"through the proxy"))
    caller.configure(proxy=proxy.url)
    request = proxy.request()
    assert (
        caller.send(type(request)(method="GET", url="http://models.invalid/v1", timeout=5)).body == b"through the proxy"
    )
    assert b"models.invalid/v1" in proxy.heads[0]


def _raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [(b"gzip", gzip.compress), (b"X-GZip", gzip.compress), (b"deflate", zlib.compress), (b"deflate", _raw_deflate)],
)
def test_compressed_bodies_are_undone(caller, serve, encoding, pack):
    text = b"a long answer " * 50_000
    server = serve(lambda peer: peer.answer(pack(text), b"content-encoding: " + encoding))
    assert caller.send(server.request()).body == text
    assert caller.read_all(caller.open(server.request())) == text


def test_an_encoding_that_was_not_offered_is_refused(caller, serve):
    server = serve(lambda peer: peer.answer(b"xx", b"content-encoding: br"))
    with pytest.raises(ResponseFormatError, match="'br'"):
        caller.send(server.request())


def test_compressed_garbage_is_a_format_error(caller, serve):
    server = serve(lambda peer: peer.answer(b"not gzip", b"content-encoding: gzip"))
    with pytest.raises(ResponseFormatError, match="not valid gzip"):
        caller.send(server.request())


def test_an_unfinished_compressed_body_is_a_cut_one(caller, serve):
    server = serve(lambda peer: peer.answer(gzip.compress(bytes(1000))[:-9], b"content-encoding: gzip"))
    with pytest.raises(ConnectionFailedError, match="cut its gzip body"):
        caller.send(server.request())


BROKEN = {
    "in no encoding that was offered": (b"xx", b"br", b"", "encoded as 'br'"),
    "garbage": (b"not gzip", b"gzip", b"", "not valid gzip"),
    "cut within": (gzip.compress(b"Slow down")[:-8], b"gzip", b"Slow down", "cut its gzip body"),
    "cut": (b"Slow down", b"identity", b"Slow down", "cut its answer|before the end|closed or broke"),
}


@pytest.mark.parametrize(("data", "encoding", "came", "why"), BROKEN.values(), ids=BROKEN)
def test_an_error_keeps_its_status_whatever_its_body_is(caller, serve, data, encoding, came, why):
    if (caller.kind, encoding) == ("reqwest", b"identity"):
        pytest.skip("pyreqwest gives headers and a small body in one step")

    def script(peer):
        length = len(data) + 5 * (encoding == b"identity")
        peer.send(b"HTTP/1.1 503 No\r\ncontent-length: %d\r\ncontent-encoding: %s\r\n\r\n" % (length, encoding))
        peer.send(data)
        peer.cut()

    answer = caller.send(serve(script).request())
    assert (answer.status, answer.body) == (503, came)
    assert re.search(why, answer.body_error)


def test_an_encoding_of_nothing_is_no_matter(caller, serve):
    answer = caller.send(serve(lambda peer: peer.answer(b"", b"content-encoding: br", status=b"503 No")).request())
    assert (answer.status, answer.body, answer.body_error) == (503, b"", "")


def test_the_body_of_an_error_is_not_waited_for_long(caller, serve):
    caller.send(serve().request())  # imports and pools
    server = serve(lambda peer: (peer.send(b"HTTP/1.1 503 No\r\ncontent-length: 100000\r\n\r\n"), peer.drip(b"x")))
    if caller.kind == "reqwest":  # gives headers and a small body in one step, but for streams
        with pytest.raises(LLMTimeoutError, match=r"within 0\.3 s"):
            caller.send(server.request(timeout=0.3))
        return
    answer = caller.send(server.request())
    assert answer.status == 503
    assert set(answer.body) == set(b"x")
    assert answer.body_error == "Its body had not ended 1 s after its headers."


@pytest.mark.parametrize("status", [b"200 OK", b"500 Oops"])
def test_a_gzip_bomb_stays_small(caller, serve, status):
    bomb = gzip.compress(bytes(100 * MIB), 1)
    server = serve(lambda peer: peer.answer(bomb, b"content-encoding: gzip", status=status))
    caller.configure(max_body=MIB)
    caller.send(serve().request())  # imports and pools
    tracemalloc.start()
    try:
        if status.startswith(b"2"):
            with pytest.raises(ReplyTooLarge, match="max_body"):
                caller.send(server.request())
        else:
            assert len(caller.send(server.request()).body) == 64 * 1024
        assert tracemalloc.get_traced_memory()[1] < 6 * MIB
    finally:
        tracemalloc.stop()


def test_a_body_over_the_cap_is_refused_by_its_length(caller, serve):
    start = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + bytes(100_000)
    server = serve(lambda peer: (peer.send(start), peer.hang()))
    with pytest.raises(ReplyTooLarge, match="max_body"):
        caller.send(server.request())
    assert server.gone.acquire(timeout=30)


def test_a_chunked_body_over_the_cap_is_refused(caller, serve):
    def endless(peer):
        peer.begin()
        while True:
            peer.chunk(bytes(65536))

    server = serve(endless)
    with pytest.raises(ReplyTooLarge, match="max_body"):
        caller.send(server.request())
    assert server.gone.acquire(timeout=30)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3 * MIB])
def test_bodies_of_all_sizes_are_whole(caller, serve, size):
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)

    def chunked(peer):
        peer.begin()
        for start in range(0, size, 100_000):
            peer.chunk(body[start : start + 100_000])
        peer.chunk(b"")

    for server in (serve(lambda peer: peer.answer(body)), serve(chunked)):
        for _ in range(2):
            assert caller.send(server.request()).body == body


def test_a_body_at_the_cap_is_let_through(caller, serve):
    caller.configure(max_body=100_000)
    server = serve(lambda peer: peer.answer(bytes(100_000)))
    assert len(caller.send(server.request()).body) == 100_000


def test_an_error_body_is_cut_and_no_error(caller, serve):
    def endless(peer):
        peer.send(b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\nretry-after: 2\r\n\r\n")
        while True:
            peer.chunk(b"x" * 50_000)

    server = serve(endless)
    response = caller.send(server.request())
    assert (response.status, response.headers["retry-after"], len(response.body)) == (503, "2", 64 * 1024)
    assert server.gone.acquire(timeout=30)


@pytest.mark.parametrize("size", [70_000, 2 * MIB])
def test_huge_headers_are_refused(caller, serve, size):
    server = serve(lambda peer: peer.answer(b"ok", b"x-a: " + b"a" * size))
    for use in (caller.send, caller.open):
        with pytest.raises(ReplyTooLarge, match="headers exceed 65536 bytes"):
            use(server.request())


def test_the_environments_proxy_is_used_where_asked_for(caller, serve, monkeypatch):
    proxy, direct = serve(lambda peer: peer.answer(b"by proxy")), serve(lambda peer: peer.answer(b"direct"))
    monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.delenv("NO_PROXY", raising=False)
    caller.configure(proxy="env")
    for use in (caller.send, caller.open):
        use(HttpRequest(method="POST", url="http://llm.invalid/v1", body=b"{}", timeout=30))
    assert [head.split(b"\r\n")[0] for head in proxy.heads] == [b"POST http://llm.invalid/v1 HTTP/1.1"] * 2
    assert all(b"proxy-authorization: basic dxnlcjpwyxnz" in head.lower() for head in proxy.heads)
    by_name = HttpRequest(method="POST", url=f"http://localhost:{direct.port}/", body=b"{}", timeout=30)
    assert caller.send(by_name).body == b"direct"
    monkeypatch.setenv("http_proxy", "socks9://nowhere")
    with pytest.raises((ConfigurationError, ConnectionFailedError)):
        caller.send(HttpRequest(method="POST", url="http://llm.invalid/v2", timeout=30))


def test_a_proxy_that_wants_a_sign_in_says_so(caller, serve):
    server = serve(lambda peer: peer.answer(b"", status=b"407 Proxy Authentication Required"))
    caller.configure(proxy=f"http://127.0.0.1:{server.port}")
    with pytest.raises(ConnectionFailedError, match="wants a sign-in: put user and password") as caught:
        caller.send(HttpRequest(method="POST", url="https://llm.invalid/v1", timeout=30))
    assert not caught.value.retryable


@pytest.mark.parametrize("proxy", ["nowhere", "socks5://h:1", "http://", "http://h:99999", "", 5])
def test_a_wrong_proxy_is_told_at_once(proxy):
    with pytest.raises(ConfigurationError, match="proxy must be the URL of an HTTP proxy"):
        TransportOptions(proxy=proxy)


@pytest.mark.parametrize(
    "end",
    [
        b"0\r\n" + b"".join(b"x-%d: %s\r\n" % (number, b"v" * 4000) for number in range(100)) + b"\r\n",
        b"2;" + b"e" * 200_000 + b"\r\nok\r\n0\r\n\r\n",
    ],
    ids=["trailers", "chunk-extension"],
)
def test_huge_trailers_are_refused(caller, serve, end):
    server = serve(lambda peer: (peer.begin(), peer.chunk(b"ok"), peer.send(end)))
    for use in (caller.send, lambda request: caller.read_all(caller.open(request))):
        with pytest.raises(ReplyTooLarge):
            use(server.request())


def test_what_comes_behind_an_answer_is_no_answer_to_the_next(caller, serve):
    def script(peer):
        number = len(peer.server.heads)
        whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n%02d"
        chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n%02d\r\n0\r\n\r\n"
        peer.send((whole if number % 2 else chunked) % number + whole % 99)

    server = serve(script)
    for number in range(1, 5):
        assert caller.send(server.request()).body == b"%02d" % number
    assert caller.read_all(caller.open(server.request())) == b"05"
    assert caller.read_all(caller.open(server.request())) == b"06"


def test_header_values_beyond_ascii_do_no_harm(caller, serve):
    server = serve(lambda peer: peer.answer(b"ok", b"x-name: caf\xe9", b"x-a: 1"))
    response = caller.send(server.request())
    assert (response.body, response.headers["x-a"]) == (b"ok", "1")


def test_interim_answers_are_skipped(caller, serve):
    server = serve(lambda peer: (peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 3), peer.answer(b"ok")))
    assert caller.send(server.request()).body == b"ok"


def test_an_answer_without_body(caller, serve):
    server = serve(lambda peer: peer.send(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert caller.send(server.request()).body == b""


def test_no_time_left_sends_nothing(caller, serve):
    server = serve()
    for timeout in (0, -1.0, float("nan")):
        for use in (caller.send, caller.open):
            with pytest.raises(LLMTimeoutError, match="no time was left"):
                use(server.request(timeout=timeout))
    assert server.heads == []


def test_no_limit_of_time(caller, serve):
    server = serve()
    for timeout in (None, float("inf"), 1e12):
        assert caller.send(server.request(timeout=timeout)).status == 200
        assert caller.read_all(caller.open(server.request(timeout=timeout))) == b"ok"
