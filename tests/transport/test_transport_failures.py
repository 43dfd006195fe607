from __future__ import annotations

import pickle
import socket
import traceback

import pytest

from oarlock.contract.errors import ConfigurationError, ConnectionFailedError, LLMTimeoutError, ResponseFormatError
from oarlock.contract.http import HttpRequest

CANARY = "canary-7f3a"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def secretless(error: BaseException) -> None:
    """No part of an error shows the query or a header."""
    texts = ["".join(traceback.format_exception(error)), repr(pickle.loads(pickle.dumps(error)))]
    one: BaseException | None = error
    while one is not None:
        texts += [repr(one), repr(one.args), repr(vars(one))]
        one = one.__cause__ or one.__context__
    assert not any(CANARY in text for text in texts)


def failing(caller, request, kind, match, *, both=True):
    errors = []
    for use in (caller.send, caller.open) if both else (caller.send,):
        with pytest.raises(kind, match=match) as caught:
            use(request)
        secretless(caught.value)
        errors.append(caught.value)
    return errors[0]


def with_canary(server, timeout=30.0):
    return server.request(f"/v1?key={CANARY}", timeout=timeout, headers=(("authorization", f"Bearer {CANARY}"),))


def test_nothing_listens(caller):
    port = free_port()
    request = HttpRequest(method="POST", url=f"http://127.0.0.1:{port}/?key={CANARY}", timeout=30)
    error = failing(caller, request, ConnectionFailedError, rf"nothing listens at 127\.0\.0\.1:{port}")
    assert error.retryable
    assert error.__cause__ is not None


def test_an_unknown_host(caller):
    request = HttpRequest(method="POST", url=f"http://no-such-host.invalid/?key={CANARY}", timeout=30)
    failing(caller, request, ConnectionFailedError, "host of no-such-host.invalid:80 is not known")


def test_closed_without_an_answer(caller, serve):
    server = serve(lambda peer: peer.cut())
    failing(caller, with_canary(server), ConnectionFailedError, f":{server.port} closed or broke the connection")


def test_closed_in_the_middle_of_the_headers(caller, serve):
    server = serve(lambda peer: (peer.send(b"HTTP/1.1 200 OK\r\nx-a: b\r\n"), peer.cut()))
    failing(caller, with_canary(server), ConnectionFailedError, "closed or broke the connection")


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + bytes(100_000),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsho",
    ],
    ids=["length", "large", "between-chunks", "within-a-chunk"],
)
def test_a_cut_body_is_never_an_answer(caller, serve, start):
    server = serve(lambda peer: (peer.send(start), peer.cut()))
    error = failing(caller, with_canary(server), ConnectionFailedError, "cut its answer before the end", both=False)
    assert error.retryable
    stream = caller.open(with_canary(server))
    with pytest.raises(ConnectionFailedError, match="cut its answer"):
        caller.read_all(stream)


def test_not_http(caller, serve):
    server = serve(lambda peer: (peer.send(b"SSH-2.0-OpenSSH\r\n\r\n"), peer.cut()))
    failing(caller, with_canary(server), ResponseFormatError, "did not answer in HTTP")


def test_https_to_a_plain_port(caller, serve):
    server = serve(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    url = server.url.replace("http://", "https://")
    failing(caller, HttpRequest(method="GET", url=url, timeout=30), ConnectionFailedError, "does not speak TLS")


@pytest.mark.parametrize(
    "script",
    [
        lambda peer: peer.hang(),
        lambda peer: (peer.send(b"HTTP/1.1 200 OK\r\n"), peer.drip(b"x-a: b\r\n")),
        lambda peer: peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda peer: peer.flood(b"HTTP/1.1 103 Early Hints\r\nlink: %s\r\n\r\n" % (b"x" * 3000)),
    ],
    ids=["hang", "header-drip", "continue-drip", "hints-flood"],
)
def test_no_headers_in_time(caller, serve, script):
    server = serve(script)
    failing(caller, with_canary(server, 0.3), LLMTimeoutError, r"did not finish its answer within 0\.3 s")


@pytest.mark.parametrize(
    "script",
    [
        lambda peer: (peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx"), peer.hang()),
        lambda peer: (peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"), peer.drip(b"x")),
        lambda peer: (peer.begin(), peer.drip(b"1\r\nx\r\n")),
        lambda peer: (peer.begin(), peer.send(b"0\r\n"), peer.drip(b"x: y\r\n")),
    ],
    ids=["hang", "drip", "chunk-drip", "trailer-drip"],
)
def test_no_end_of_the_body_in_time(caller, serve, script):
    caller.send(serve().request())  # imports and certificates, which on a busy machine take longer than the timeout
    server = serve(script)
    failing(caller, with_canary(server, 0.3), LLMTimeoutError, r"within 0\.3 s", both=False)
    assert server.gone.acquire(timeout=30)


def test_no_connection_in_time(caller):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        blockers = [socket.socket() for _ in range(4)]
        for blocker in blockers:  # the backlog is full: the next connection is neither accepted nor refused
            blocker.setblocking(False)
            blocker.connect_ex(full.getsockname())
        caller.configure(connect_timeout=0.3)
        request = HttpRequest(method="POST", url=f"http://127.0.0.1:{full.getsockname()[1]}/?key={CANARY}", timeout=30)
        failing(
            caller, request, LLMTimeoutError, r"no connection to 127\.0\.0\.1:\d+ within 0\.3 s \(connect_timeout\)"
        )
        for blocker in blockers:
            blocker.close()


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "/v1", "http://", "ftp://x/", "http://a:99999/", "http://a/\ud800", "http://[::1/", "file:///x"],
)
def test_an_unusable_url(caller, url):
    failing(caller, HttpRequest(method="GET", url=url, timeout=5), ConfigurationError, "must be absolute")


@pytest.mark.parametrize("value", [CANARY + "\n", "a\r\nx: " + CANARY, CANARY + "\0", CANARY + "\ud800"])
def test_a_header_that_cannot_be_sent(caller, serve, value):
    server = serve()
    request = server.request(headers=(("x-key", value),))
    failing(caller, request, ConfigurationError, "'x-key' has a value")
    assert server.heads == []


def test_a_header_name_that_cannot_be_sent(caller, serve):
    server = serve()
    failing(caller, server.request(headers=(("x key", "1"),)), ConfigurationError, "header's name")
    failing(caller, server.request(headers=(("x\n", "1"),)), ConfigurationError, "header's name")


def test_after_any_failure_the_next_exchange_works(caller, serve):
    broken, good = serve(lambda peer: peer.cut()), serve()
    for _ in range(3):
        with pytest.raises(ConnectionFailedError):
            caller.send(broken.request())
        assert caller.send(good.request()).status == 200
    assert good.connections < 3
