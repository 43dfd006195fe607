"""ChatLLM's limits of streams, cut answers and bad endings, against a real server on loopback."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from oarlock import (
    ChatLLM,
    ConfigurationError,
    HttpLLM,
    LLMTimeoutError,
    RateLimitError,
    Reply,
    ServerError,
    TruncatedStream,
)
from oarlock.contract.errors import ContentFilterError, RefusalError, ReplyTooLarge, TruncatedReply
from oarlock.policies import Deadline
from oarlock.testing import Answer, Hang, LoopbackEndpoint, Raw, Status

HEAD = b"HTTP/1.1 %s\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def read_blocking(llm: Any) -> str:
    return "".join(map(str, llm.stream("Hi")))


def read_async(llm: Any) -> str:
    async def main() -> str:
        return "".join([str(delta) async for delta in llm.astream("Hi")])

    return asyncio.run(main())


@pytest.fixture(params=["pyreqwest", "httpx2"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[read_blocking, read_async])
def read(request: pytest.FixtureRequest) -> Callable[[Any], str]:
    return request.param


class Dripping:
    """A server that sends `first`, then `again` every few milliseconds as long as somebody listens, and never ends."""

    def __init__(
        self, first: bytes, again: bytes, media: bytes = b"text/event-stream", status: bytes = b"200 OK"
    ) -> None:
        self._parts = HEAD % (status, media), first, again
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            while True:
                sock, _ = self._listener.accept()
                with sock:
                    try:
                        self._answer(sock)
                    except OSError:
                        continue
        except OSError:
            return

    def _answer(self, sock: Any) -> None:
        while b"\r\n\r\n" not in sock.recv(65536):
            pass
        head, first, again = self._parts
        sock.sendall(head)
        for part in itertools.chain([first], itertools.repeat(again)):
            if part:
                sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            if self._over.wait(0.01):
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


ALIVE = {
    "nothing": b"",
    "comments": b": ping\n\n",
    "a byte of a line": b".",
    "pings": b'event: ping\ndata: {"type": "ping"}\n\n',
    "empty events": b'data: {"choices":[]}\n\n',
    "empty deltas": b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}\n\n',
}


@pytest.mark.parametrize("again", ALIVE.values(), ids=ALIVE)
def test_what_keeps_a_stream_alive_is_no_first_event(transport, read, again):
    with Dripping(b"", again) as server:
        llm = ChatLLM("gpt-x", server.url, transport=transport, timeout=60, first_event_timeout=0.3, policies=())
        with pytest.raises(
            LLMTimeoutError, match=r"gpt-x sent no part of .* within 0\.3 s \(first_event_timeout\)"
        ) as caught:
            read(llm)
        assert caught.value.retryable


@pytest.mark.parametrize("again", ALIVE.values(), ids=ALIVE)
def test_what_keeps_a_stream_alive_is_silence(transport, read, again):
    with Dripping(PIECE, again) as server:
        llm = ChatLLM("gpt-x", server.url, transport=transport, timeout=60, idle_timeout=0.3, policies=())
        with pytest.raises(LLMTimeoutError, match=r"gpt-x was silent for 0\.3 s .* \(idle_timeout\)"):
            read(llm)


def test_the_attempts_timeout_still_holds(transport, read):
    for first, again in ((b"", b": ping\n\n"), (PIECE, PIECE)):
        with Dripping(first, again) as server:
            llm = ChatLLM(
                "m",
                server.url,
                transport=transport,
                timeout=0.4,
                first_event_timeout=0.4,
                idle_timeout=0.4,
                policies=(),
            )
            with pytest.raises(LLMTimeoutError, match=r"\(timeout\)"):
                read(llm)


def test_a_stream_that_the_deadline_cuts_says_so(transport, read):
    with Dripping(PIECE, PIECE) as server:
        llm = ChatLLM("gpt-x", server.url, transport=transport, timeout=60, policies=[Deadline(0.4)])
        with pytest.raises(LLMTimeoutError, match=r"call's deadline passed, [\d.]+ s after .* \(deadline\)") as caught:
            read(llm)
    assert "(timeout)" not in str(caught.value)


def test_an_errors_body_is_not_waited_for_long(transport, read):
    with Dripping(b"No model", b" is ready", b"text/plain", b"503 Unavailable") as server:
        llm = ChatLLM("gpt-x", server.url, transport=transport, timeout=60, policies=())
        with pytest.raises(ServerError, match=r"HTTP 503: No model is ready.*… Its body had not ended") as caught:
            read(llm)
        assert caught.value.retryable


@pytest.mark.parametrize("ask", [read_blocking, read_async, lambda llm: llm.call("Hi")])
def test_an_error_that_cannot_be_unpacked_keeps_its_class(transport, ask):
    garbage = Status(429, body="garbage", headers={"content-encoding": "gzip", "retry-after": "3"})
    with LoopbackEndpoint([garbage]) as endpoint, pytest.raises(RateLimitError) as caught:
        ask(ChatLLM("gpt-x", endpoint.url, transport=transport, policies=()))
    assert caught.value.retry_after == 3
    assert "HTTP 429" in str(caught.value)
    assert "sent a body that is not valid gzip" in str(caught.value)


def test_no_headers_are_no_first_event(transport, read):
    with LoopbackEndpoint([Hang()]) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport, timeout=60, first_event_timeout=0.3, policies=())
        with pytest.raises(LLMTimeoutError, match="first_event_timeout"):
            read(llm)


def test_events_in_time_are_no_matter(transport, read):
    with LoopbackEndpoint(
        [iter(["Hel", "lo"]), Status(200, body={"choices": [{"message": {"content": "Hello"}}]})]
    ) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport, first_event_timeout=20, idle_timeout=20)
        assert read(llm) == "Hello"
        assert read(llm) == "Hello"  # one that does not stream


def test_a_slow_reader_is_not_the_servers_silence(transport):
    reading = threading.Event()
    with LoopbackEndpoint([iter(["a"] * 5)]) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport, idle_timeout=0.2)
        for _ in llm.stream("Hi"):
            reading.wait(0.3)


def test_what_follows_the_end_is_not_waited_for(transport, read):
    for again in (b"", b": ping\n\n"):
        with Dripping(PIECE + END, again) as server:
            assert read(ChatLLM("m", server.url, transport=transport, timeout=60, policies=())) == "Hello"


def test_the_media_type_is_compared_without_case(transport, read):
    with Dripping(PIECE + END, b"", media=b"Text/Event-Stream; charset=UTF-8") as server:
        assert read(ChatLLM("m", server.url, transport=transport, policies=())) == "Hello"


def test_an_event_without_end_is_refused(transport, read):
    with Dripping(b"", b"data:\n" * 50_000) as server:
        llm = ChatLLM("m", server.url, transport=transport, timeout=60, policies=())
        with pytest.raises(ReplyTooLarge, match="event stream is longer than 1048576 bytes"):
            read(llm)


@pytest.mark.parametrize(
    "rest",
    [
        b"connection: close\r\n\r\n" + PIECE,
        b"content-length: 1000\r\n\r\n" + PIECE,
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n4\r\nda" % (len(PIECE), PIECE),
    ],
    ids=["closed", "short", "in a chunk"],
)
def test_a_stream_that_breaks_off_is_truncated(transport, read, rest):
    raw = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + rest
    with LoopbackEndpoint([Raw(raw)]) as endpoint, pytest.raises(TruncatedStream, match="after 3 char") as caught:
        read(ChatLLM("m", endpoint.url, transport=transport, policies=()))
    assert caught.value.text == "Hel"


def answers(llm: Any) -> Iterator[Callable[[], str]]:
    yield lambda: llm.call("Hi")
    yield lambda: asyncio.run(llm.acall("Hi"))
    yield lambda: read_blocking(llm)
    yield lambda: read_async(llm)


def test_a_cut_answer_is_an_error_unless_it_is_wanted(transport):
    with LoopbackEndpoint([Answer("Once upon a", finish_reason="length")] * 8) as endpoint:
        for ask in answers(ChatLLM("m", endpoint.url, transport=transport)):
            with pytest.raises(TruncatedReply, match=r"Raise max_tokens, or .*on_length='return'") as caught:
                ask()
            assert caught.value.text == "Once upon a"
            assert caught.value.usage is not None
            assert caught.value.attempts == 1
        for ask in answers(ChatLLM("m", endpoint.url, transport=transport, on_length="return")):
            assert ask() == "Once upon a"


def test_bad_endings(transport):
    filtered = {"error": {"message": "The prompt was filtered", "code": "content_filter"}}
    refused = {"choices": [{"message": {"role": "assistant", "refusal": "I cannot"}, "finish_reason": "stop"}]}
    cases: list[tuple[Any, type[Exception], str]] = [
        (Answer("Once", finish_reason="content_filter"), ContentFilterError, "stopped by a content filter"),
        (Status(400, body=filtered), ContentFilterError, "The prompt was filtered"),
        (refused, RefusalError, "I cannot"),
    ]
    for reply, kind, said in cases:
        with LoopbackEndpoint([reply] * 4) as endpoint:
            for number, ask in enumerate(answers(ChatLLM("m", endpoint.url, transport=transport)), 1):
                with pytest.raises(kind, match=said):
                    ask()
                assert len(endpoint.requests) == number  # none of them heals by asking again


def test_a_private_protocol_may_say_how_it_ended():
    class Gateway(HttpLLM):
        def encode(self, request):
            return {}

        def decode(self, response):
            return Reply(text="Once", finish_reason="length")

    with LoopbackEndpoint(["ok"] * 2) as endpoint:
        url = f"{endpoint.url}/chat/completions"
        with pytest.raises(TruncatedReply):
            Gateway("ours", url).call("Hi")
        assert Gateway("ours", url, on_length="return").call("Hi") == "Once"


@pytest.mark.parametrize("name", ["first_event_timeout", "idle_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", True])
def test_wrong_limits_are_told_at_once(name, value):
    with pytest.raises(ConfigurationError, match=name):
        ChatLLM("m", "https://llm.example.com/v1", **{name: value})


@pytest.mark.parametrize("value", ["Error", None, True, "continue"])
def test_a_wrong_on_length_is_told_at_once(value):
    with pytest.raises(ConfigurationError, match="ChatLLM: on_length must be 'error' or 'return', not "):
        ChatLLM("m", "https://llm.example.com/v1", on_length=value)
