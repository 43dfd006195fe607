from __future__ import annotations

import asyncio
import gzip
import threading
import zlib

import pytest

from oarlock.contract.errors import ConnectionFailedError, LLMTimeoutError, ReplyTooLarge


def test_pieces_come_as_they_are_sent(caller, serve):
    turn = threading.Semaphore(0)

    def script(peer):
        peer.begin(b"x-a: 1")
        for number in range(5):
            assert turn.acquire(timeout=30)
            peer.chunk(b"piece %d" % number)
        peer.chunk(b"")

    server = serve(script)
    stream = caller.open(server.request())
    assert (stream.status, stream.headers["x-a"]) == (200, "1")
    for number in range(5):  # each is read before the next is sent
        turn.release()
        assert caller.read(stream) == b"piece %d" % number
    assert caller.read(stream) == b""
    assert caller.read(stream) == b""
    caller.close(stream)


def test_compressed_pieces_come_as_they_are_sent(caller, serve):
    turn = threading.Semaphore(0)

    def script(peer):
        engine = zlib.compressobj(wbits=31)
        peer.begin(b"content-encoding: gzip")
        for _ in range(3):
            assert turn.acquire(timeout=30)
            peer.chunk(engine.compress(b"hello") + engine.flush(zlib.Z_SYNC_FLUSH))
        peer.chunk(engine.flush())
        peer.chunk(b"")

    stream = caller.open(serve(script).request())
    for _ in range(3):
        turn.release()
        assert caller.read(stream) == b"hello"
    assert caller.read(stream) == b""


def test_a_stream_read_to_its_end_leaves_the_connection_reusable(caller, serve):
    def script(peer):
        peer.begin()
        peer.chunk(b"x")
        peer.chunk(b"")

    server = serve(script)
    for _ in range(10):
        stream = caller.open(server.request())
        assert caller.read_all(stream) == b"x"
        caller.close(stream)
    assert server.connections < 5  # one, but that a client may take a moment to have it back


@pytest.mark.parametrize("rest", [lambda peer: peer.hang(), lambda peer: peer.drip(b"")], ids=["hang", "nothing-more"])
def test_a_silent_stream_ends_at_the_timeout_of_the_read(caller, serve, rest):
    server = serve(lambda peer: (peer.begin(), peer.chunk(b"x"), rest(peer)))
    stream = caller.open(server.request())
    assert caller.read(stream, 30) == b"x"
    with pytest.raises(LLMTimeoutError, match=r"within 0\.2 s") as caught:
        caller.read(stream, 0.2)
    assert "canary" not in str(caught.value)
    assert caller.read(stream) == b""


def test_a_timed_out_stream_is_dropped(caller, serve):
    server = serve(lambda peer: (peer.begin(), peer.chunk(b"x"), peer.hang()))
    stream = caller.open(server.request())
    caller.read(stream)
    with pytest.raises(LLMTimeoutError):
        caller.read(stream, 0.1)
    assert server.gone.acquire(timeout=30)


def test_the_requests_timeout_ends_with_the_headers(caller, serve):
    go = threading.Event()

    def script(peer):
        peer.begin()
        assert go.wait(30)
        peer.chunk(b"late")
        peer.chunk(b"")

    caller.send(serve().request())  # imports and certificates, which on a busy machine take longer than the timeout
    stream = caller.open(serve(script).request(timeout=0.5))
    with pytest.raises(LLMTimeoutError):
        caller.read(caller.open(serve(lambda peer: (peer.begin(), peer.hang())).request(timeout=5)), 0.6)
    go.set()  # now later than the request's timeout
    assert caller.read(stream) == b"late"


def test_closing_early_drops_the_connection(caller, serve):
    server = serve(lambda peer: (peer.begin(), peer.chunk(b"x"), peer.hang()))
    stream = caller.open(server.request())
    assert caller.read(stream) == b"x"
    caller.close(stream)
    caller.close(stream)
    assert server.gone.acquire(timeout=30)
    assert caller.read(stream) == b""


def test_a_cut_stream_is_an_error_after_its_pieces(caller, serve):
    server = serve(lambda peer: (peer.begin(), peer.chunk(b"x"), peer.cut()))
    stream = caller.open(server.request())
    assert caller.read(stream) == b"x"
    with pytest.raises(ConnectionFailedError, match="cut its answer"):
        caller.read(stream)


def test_a_stream_over_the_cap_is_refused(caller, serve):
    caller.configure(max_body=1000)

    def script(peer):
        peer.begin()
        while True:
            peer.chunk(bytes(400))

    server = serve(script)
    stream = caller.open(server.request())
    with pytest.raises(ReplyTooLarge, match="max_body"):
        caller.read_all(stream)
    assert server.gone.acquire(timeout=30)


def test_a_bomb_in_a_stream_is_refused(caller, serve):
    server = serve(lambda peer: peer.answer(gzip.compress(bytes(100_000_000), 1), b"content-encoding: gzip"))
    stream = caller.open(server.request())
    with pytest.raises(ReplyTooLarge, match="max_body"):
        caller.read_all(stream)


def test_an_error_answer_to_a_stream_is_cut(caller, serve):
    server = serve(lambda peer: peer.answer(bytes(200_000), status=b"429 Slow Down"))
    stream = caller.open(server.request())
    assert (stream.status, len(caller.read_all(stream))) == (429, 64 * 1024)
    caller.close(stream)


async def test_cancelling_a_read_releases_the_stream(transport, serve):
    server = serve(lambda peer: (peer.begin(), peer.chunk(b"x"), peer.hang()))
    stream = await transport.aopen(server.request())
    await stream.aread_chunk(30)
    task = asyncio.create_task(stream.aread_chunk(30))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stream.aclose()
    assert await asyncio.to_thread(server.gone.acquire, timeout=30)
    await transport.aclose()


async def test_cancelling_while_waiting_passes_through(transport, serve):
    arrived = threading.Event()
    server = serve(lambda peer: (arrived.set(), peer.hang()))
    for use in (transport.asend, transport.aopen):
        arrived.clear()
        task = asyncio.create_task(use(server.request(timeout=2)))
        assert await asyncio.to_thread(arrived.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await transport.aclose()


def test_a_forgotten_stream_is_closed(serve):
    from oarlock.transport import ReqwestTransport

    server = serve(lambda peer: (peer.begin(), peer.chunk(b"x"), peer.hang()))
    stream = ReqwestTransport().open(server.request())
    del stream
    assert server.gone.acquire(timeout=30)


def test_a_stream_may_be_opened_in_one_colour_and_read_in_the_other(serve):
    from oarlock.transport import ReqwestTransport

    server = serve(lambda peer: (peer.begin(), peer.chunk(b"x"), peer.chunk(b"")))
    stream = ReqwestTransport().open(server.request())
    assert asyncio.run(stream.aread_chunk(30)) == b"x"
    assert stream.read_chunk(30) == b""
