"""HTTP/2 over TLS, where both sides offer it: many calls over one connection, and its own ways to fail."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme
from http2_server import Http2Connection, Http2Server, Script

from oarlock.contract.errors import ConfigurationError, ConnectionFailedError, LLMTimeoutError, ReplyTooLarge
from oarlock.contract.http import HttpRequest
from oarlock.transport import Httpx2Transport, TransportOptions, make_transport

COLOURS = pytest.mark.parametrize("caller", ["reqwest-blocking", "reqwest-async", "httpx2-async"], indirect=True)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def serve2(authority, tmp_path, caller) -> Iterator[Callable[..., Http2Server]]:
    """Start a server, and let the caller trust it and speak HTTP/2."""
    servers: list[Http2Server] = []
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)

    def start(script: Script, **options: object) -> Http2Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        servers.append(Http2Server(script, context))
        caller.configure(verify=str(path), http2=True, **options)
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def asks(server: Http2Server, timeout: float = 5.0) -> HttpRequest:
    return HttpRequest(
        method="POST", url=f"{server.url}/v1", headers=(("Authorization", "Bearer k3y"),), body=b"{}", timeout=timeout
    )


@COLOURS
def test_the_caps_hold(caller, serve2):
    server = serve2(lambda peer, stream: peer.answer(stream, b"x" * 10_000), max_body=1000)
    for use in (caller.send, lambda request: caller.read_all(caller.open(request))):
        with pytest.raises(ReplyTooLarge, match="max_body"):
            use(asks(server))


@COLOURS
def test_it_is_spoken_where_it_is_offered(caller, serve2):
    def script(peer: Http2Connection, stream: int) -> None:
        peer.answer(stream, peer.requests[stream][b"authorization"] + peer.bodies[stream], (b"x-request-id", b"r1"))

    server = serve2(script)
    response = caller.send(asks(server))
    assert (response.status, response.body, response.headers["x-request-id"]) == (200, b"Bearer k3y{}", "r1")
    assert caller.read_all(caller.open(asks(server))) == b"Bearer k3y{}"
    for _ in range(3):
        caller.send(asks(server))
    assert len(server.connections) <= 2  # pyreqwest has a client for streams, and one for the main thread's calls


@COLOURS
def test_sixty_four_calls_share_one_connection(caller, serve2):
    waiting: list[int] = []

    def script(peer: Http2Connection, stream: int) -> None:
        if stream == 1:  # before it, a client does not know how many streams it may open
            return peer.answer(stream)
        waiting.append(stream)
        if len(waiting) == 64:  # all are on their way at once, and are answered in another order
            for one in reversed(waiting):
                peer.answer(one, b"%d" % one)
        return None

    server = serve2(script)
    if caller.colour == "blocking":
        with ThreadPoolExecutor(64) as pool:
            pool.submit(caller.transport.send, asks(server)).result()
            bodies = [answer.body for answer in pool.map(caller.transport.send, [asks(server)] * 64)]
    else:

        async def all_at_once():
            await caller.transport.asend(asks(server))
            return await asyncio.gather(*(caller.transport.asend(asks(server)) for _ in range(64)))

        bodies = [answer.body for answer in caller.runner.run(all_at_once())]
    assert sorted(map(int, bodies)) == sorted(waiting)
    assert len(server.connections) == 1


@COLOURS
@pytest.mark.parametrize("ending", ["reset", "goaway", "reset in the body", "cut"])
def test_a_stream_that_the_server_ends_is_a_lost_connection(caller, serve2, ending):
    def script(peer: Http2Connection, stream: int) -> None:
        if ending == "reset":
            peer.engine.reset_stream(stream, error_code=2)
        elif ending == "goaway":
            peer.engine.close_connection(error_code=2, last_stream_id=0)
        else:
            peer.begin(stream)
            peer.engine.send_data(stream, b"half")
            if ending == "reset in the body":
                peer.engine.reset_stream(stream, error_code=2)
        peer.over = ending in ("cut", "goaway")

    server = serve2(script)
    for use in (caller.send, lambda request: caller.read_all(caller.open(request))):
        with pytest.raises(ConnectionFailedError) as caught:
            use(asks(server))
        assert caught.value.retryable


@COLOURS
def test_one_late_answer_does_not_hurt_the_others(caller, serve2):
    silent = threading.Event()

    def script(peer: Http2Connection, stream: int) -> None:
        if silent.is_set():
            peer.answer(stream)
        silent.set()

    server = serve2(script)
    with pytest.raises(LLMTimeoutError, match=r"0\.3 s"):
        caller.send(asks(server, timeout=0.3))
    assert caller.send(asks(server)).body == b"ok"


@COLOURS
def test_headers_that_are_too_large(caller, serve2):
    fields = [(b"x-%d" % number, b"v" * 4000) for number in range(20)]
    server = serve2(lambda peer, stream: peer.answer(stream, b"ok", *fields))
    with pytest.raises((ReplyTooLarge, ConnectionFailedError)):
        caller.send(asks(server))


@pytest.mark.parametrize("caller", ["httpx2-blocking"], indirect=True)
def test_blocking_httpx2_keeps_to_http_1(caller, serve, authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    caller.configure(verify=str(tmp_path / "ca.pem"), http2=True)
    assert caller.send(serve(context=context).request()).body == b"ok"


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "oarlock.transport.httpx2_transport.find_spec", lambda name: None if name == "h2" else find(name)
    )
    with pytest.raises(ConfigurationError, match=r"oarlock\[http2\]"):
        Httpx2Transport(TransportOptions(http2=True))
    Httpx2Transport(TransportOptions())


def test_it_is_on_or_off():
    with pytest.raises(ConfigurationError, match="http2 must be True or False, not 1"):
        make_transport(http2=1)
