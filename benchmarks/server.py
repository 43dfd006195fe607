"""A chat endpoint on 127.0.0.1 that costs next to nothing, as a process of its own.

It prints its port as the first line and exits when its stdin closes. One process, asyncio's plain protocols, answers
built beforehand; it reads of a request only what decides which of them to send.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import socket
import sys
from dataclasses import dataclass

BACKLOG = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """The bytes of every answer there is; a stream is a list of writes."""

    answer: bytes
    tool_call: bytes
    stream: list[bytes]
    latency: float
    use_tools: bool

    def choose(self, body: bytes) -> bytes | list[bytes]:
        if b'"stream":true' in body or b'"stream": true' in body:
            return self.stream
        if self.use_tools and b'"tools":' in body and b'"role":"tool"' not in body and b'"role": "tool"' not in body:
            return self.tool_call
        return self.answer


class Connection(asyncio.Protocol):
    """Enough of HTTP/1.1 for one request after the other, each with a Content-Length."""

    __slots__ = ("buffer", "loop", "replies", "transport")

    def __init__(self, replies: Replies, loop: asyncio.AbstractEventLoop) -> None:
        self.replies = replies
        self.loop = loop
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        start = data.find(b"\r\n\r\n") + 4
        if start == 3:
            self.buffer = data
            return
        head = data[:start].lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else 0
        if len(data) < start + length:
            self.buffer = data
            return
        self.buffer = b""
        reply = self.replies.choose(data[start:])
        if self.replies.latency:
            self.loop.call_later(self.replies.latency, self.send, reply)
        else:
            self.send(reply)

    def send(self, reply: bytes | list[bytes], position: int = 0) -> None:
        if isinstance(reply, bytes):
            self.transport.write(reply)
            return
        self.transport.write(reply[position])
        if position + 1 < len(reply):
            self.loop.call_soon(self.send, reply, position + 1)


def whole(message: dict[str, object], finish_reason: str) -> bytes:
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28},
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def stream(tokens: int, burst: int) -> list[bytes]:
    """Return the writes of a stream: `burst` events each, or all in one if it is 0."""
    envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": " word"} for _ in range(tokens))]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [chunk(json.dumps({**envelope, "choices": [choice]}).encode()) for choice in choices]
    events.append(chunk(b"[DONE]") + b"0\r\n\r\n")
    size = burst or len(events)
    writes = [b"".join(events[at : at + size]) for at in range(0, len(events), size)]
    writes[0] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + writes[0]
    return writes


def chunk(data: bytes) -> bytes:
    event = b"data: %b\n\n" % data
    return b"%x\r\n%b\r\n" % (len(event), event)


def replies_from(options: argparse.Namespace) -> Replies:
    function = {"name": options.tool, "arguments": options.arguments}
    call = {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    return Replies(
        answer=whole({"content": options.answer}, "stop"),
        tool_call=whole(call, "tool_calls"),
        stream=stream(options.tokens, options.burst),
        latency=options.latency,
        use_tools=options.mode == "tool",
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A very fast chat endpoint on 127.0.0.1.")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="before each answer")
    parser.add_argument(
        "--mode", choices=["answer", "tool"], default="answer", help="tool: first ask for a tool, if it has any"
    )
    parser.add_argument("--answer", default="The answer is 42.")
    parser.add_argument("--tool", default="add", metavar="NAME")
    parser.add_argument("--arguments", default='{"a": 40, "b": 2}', metavar="JSON")
    parser.add_argument("--tokens", type=int, default=1000, help="tokens of a stream")
    parser.add_argument("--burst", type=int, default=0, help="events a write; 0 sends the stream in one write")
    return parser.parse_args()


def raise_file_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(replies: Replies) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(replies, loop), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    closed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else closed.set())
    await closed.wait()
    os._exit(0)  # thousands of open connections need no farewell


if __name__ == "__main__":
    raise_file_limit()
    gc.disable()  # no cycles worth collecting
    asyncio.run(serve(replies_from(parse_options())))
