"""What the machine and `server.py` can do at all: requests a second over raw sockets, and how many connections."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from _measure import REQUEST, cpu_seconds, loopback_server, raise_file_limit

BODY = json.dumps(REQUEST).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
MESSAGE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


class Asker(asyncio.Protocol):
    """Sends the same request again and again, each after the answer to the one before."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self) -> None:
        self.left -= 1
        self.transport.write(MESSAGE)

    def data_received(self, data: bytes) -> None:
        if self.left:
            self.ask()
        elif not self.done.done():
            self.done.set_result(None)


async def connect(url: str, count: int, each: int) -> list[Asker]:
    loop = asyncio.get_running_loop()
    port = int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    gate = asyncio.Semaphore(1000)

    async def one() -> Asker:
        async with gate:
            return (await loop.create_connection(lambda: Asker(each), "127.0.0.1", port))[1]

    return await asyncio.gather(*(one() for _ in range(count)))


async def run(url: str, connections: int, requests: int) -> None:
    askers = await connect(url, connections, requests // connections)
    cpu, wall = cpu_seconds(), time.perf_counter()
    for asker in askers:
        asker.ask()
    await asyncio.gather(*(asker.done for asker in askers))
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    done = requests // connections * connections
    print(
        f"{connections:6} connections: {done / wall:8,.0f} requests a second, {cpu / done * 1e6:5.1f} CPU µs each here"
    )
    for asker in askers:
        asker.transport.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64, 512, 9_000])
    options = parser.parse_args()
    raise_file_limit()
    with loopback_server() as url:
        for connections in options.connections:
            asyncio.run(run(url, connections, options.requests))
