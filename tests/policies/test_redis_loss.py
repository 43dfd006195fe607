"""Redis is restarted, killed, frozen, no Redis at all, or set up wrong: what calls see of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from policy_helpers import fixed_estimate, tokens
from redis_helpers import RedisServer, needs_redis

from oarlock.contract.errors import ConnectionFailedError, RateLimitError
from oarlock.contract.reply import EndpointLimit, Reply
from oarlock.policies import RateLimit, Retry
from oarlock.testing import FunctionLLM, LoopbackEndpoint, ScriptedLLM, VirtualRuntime

LOST = "cannot be asked, so the request was not sent"
WRONG = "cannot be used, so the request was not sent"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def echo(limit: RateLimit, *policies: Any) -> Any:
    return FunctionLLM(lambda messages: "ok").with_policies(limit, *policies)


@contextlib.contextmanager
def answering(data: bytes | None) -> Iterator[str]:
    """Accept connections on a port and answer everything with these bytes; with `None`, never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while connection.recv(65536):
                    if data is not None:
                        connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        thread.join(5)


@needs_redis
def test_scripts_that_redis_forgot_are_loaded_again(server: RedisServer) -> None:
    llm = echo(RateLimit(600, store=server.url, key="a"))
    assert llm.call("Hi") == "ok"
    with server.client() as client:
        client.script_flush()
    assert llm.call("Hi") == "ok"


@needs_redis
async def test_a_restarted_redis_is_used_again(server: RedisServer) -> None:
    llm = echo(RateLimit(600, store=server.url, key="a"))
    assert llm.call("Hi") == await llm.acall("Hi") == "ok"
    server.stop()
    server.start()
    assert llm.call("Hi") == await llm.acall("Hi") == "ok"


@needs_redis
async def test_a_killed_redis_is_a_clear_error_and_nothing_is_sent(server: RedisServer) -> None:
    inner = FunctionLLM(lambda messages: "ok")
    llm = inner.with_policies(RateLimit(600, store=server.url, key="a"))
    llm.call("Hi")
    server.stop()
    with pytest.raises(ConnectionFailedError, match=LOST) as caught:
        await llm.acall("Hi")
    assert (caught.value.code, caught.value.retryable) == ("limit_store", True)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert 'on_store_loss="local"' in str(caught.value)
    assert len(inner.requests) == 1


@needs_redis
def test_a_lost_redis_is_not_asked_again_for_a_second(server: RedisServer, runtime: VirtualRuntime) -> None:
    llm = echo(RateLimit(600, store=server.url, key="a"))
    server.stop()
    with runtime:
        with pytest.raises(ConnectionFailedError, match=LOST):
            llm.call("Hi")
        server.start()
        with pytest.raises(ConnectionFailedError, match=LOST):
            llm.call("Hi")
        runtime.advance(1)
        assert llm.call("Hi") == "ok"


@needs_redis
def test_a_retry_outlives_a_restart(server: RedisServer, runtime: VirtualRuntime) -> None:
    inner = FunctionLLM(lambda messages: "ok")
    restart = threading.Event()

    class Restarting(VirtualRuntime):
        async def sleep(self, seconds: float) -> None:
            if not restart.is_set():
                restart.set()
                server.start()
            await super().sleep(seconds + 1)

    server.stop()
    with Restarting():
        assert inner.with_policies(RateLimit(600, store=server.url, key="a"), Retry()).call("Hi") == "ok"


@needs_redis
def test_an_answer_is_not_lost_with_redis(server: RedisServer) -> None:
    """Settling and telling of a hold may fail; the call has its answer."""
    said = (EndpointLimit(unit="any", remaining=0, resets_in=30),)
    limit = fixed_estimate(RateLimit(600, 9000, max_wait=0, store=server.url, key="a"), lambda request: 10)

    class Dying(ScriptedLLM):
        def complete(self, request: Any) -> Any:
            server.stop()
            return super().complete(request)

    reply = Reply(text="ok", usage=tokens(500).usage, limits=said)
    assert Dying([reply]).with_policies(limit).call("Hi") == "ok"
    with pytest.raises(RateLimitError, match="longer than there is time for"):  # it is held all the same
        echo(limit).call("Hi")


@needs_redis
def test_once_redis_is_lost_the_others_settle_nothing(server: RedisServer, runtime: VirtualRuntime) -> None:
    limit = fixed_estimate(RateLimit(600, 9000, store=server.url, key="a"), lambda request: 10)
    llm = ScriptedLLM([tokens(20)] * 3, latency=0.1).with_policies(limit)

    async def whole() -> Any:
        async def stop() -> None:
            await runtime.sleep(0.05)
            server.stop()

        return await runtime.gather(*[lambda: llm.acall("Hi")] * 3, stop)  # type: ignore[list-item]

    with runtime:
        assert runtime.run(whole())[:3] == ["ok"] * 3


@needs_redis
@pytest.mark.parametrize("used", [0, 500])
def test_a_key_that_was_overwritten_meanwhile_takes_no_answer_away(server: RedisServer, used: int) -> None:
    said = (EndpointLimit(unit="any", remaining=0, resets_in=30),)
    limit = fixed_estimate(RateLimit(600, 9000, store=server.url, key="a"), lambda request: 10)

    class Overwriting(ScriptedLLM):
        def complete(self, request: Any) -> Any:
            with server.client() as client:
                client.set("oarlock:limit:a", "something")
            return super().complete(request)

    reply = Reply(text="ok", usage=tokens(used).usage, limits=said)
    assert Overwriting([reply]).with_policies(limit).call("Hi") == "ok"


@needs_redis
def test_a_hold_that_redis_could_not_be_told_of_is_told_later(server: RedisServer, runtime: VirtualRuntime) -> None:
    limit = RateLimit(600, store=server.url, key="a")
    other = RateLimit(600, max_wait=0, store=server.url, key="a")

    class Dying(ScriptedLLM):
        def complete(self, request: Any) -> Any:
            server.stop()
            raise RateLimitError("slow down", status=429, retry_after=50)

    with runtime:
        with pytest.raises(RateLimitError):
            Dying(["never"]).with_policies(limit).call("Hi")
        server.start()
        runtime.advance(20)
        with contextlib.suppress(RateLimitError):
            runtime.run(limit._gate.tell(runtime))
        with pytest.raises(RateLimitError) as caught:
            echo(other).call("Hi")
    assert caught.value.retry_after == pytest.approx(30, abs=2)


# on_store_loss="local"


@needs_redis
def test_each_worker_goes_on_with_its_part(server: RedisServer, runtime: VirtualRuntime) -> None:
    limit = RateLimit(120, burst=10, store=server.url, key="a", on_store_loss="local", workers=4)
    llm = echo(limit)
    server.stop()
    came = []
    with runtime:
        for _ in range(4):
            assert llm.call("Hi") == "ok"
            came.append(runtime.now())
    each = 60 / (30 - 2 + 1)
    assert came == pytest.approx([each, 2 * each, 3 * each, 4 * each], abs=0.01)  # no burst: it may have just been used


@needs_redis
def test_the_order_is_kept_and_hints_count_while_redis_is_lost(server: RedisServer, runtime: VirtualRuntime) -> None:
    names: list[str] = []
    limit = RateLimit(120, burst=10, store=server.url, key="a", on_store_loss="local", workers=4)
    inner = FunctionLLM(lambda messages: names.append(str(messages[-1]["content"])) or "ok")  # type: ignore[func-returns-value]
    llm = inner.with_policies(limit)
    server.stop()

    async def whole() -> None:
        await runtime.gather(*[lambda n=n: llm.acall(str(n)) for n in range(8)])  # type: ignore[misc]

    with runtime:
        runtime.run(whole())
        with pytest.raises(RateLimitError):
            ScriptedLLM([RateLimitError("slow", status=429, retry_after=25)]).with_policies(limit).call("Hi")
        before = runtime.now()
        llm.call("8")
    assert names == [str(n) for n in range(9)]
    assert runtime.now() - before >= 25


@needs_redis
def test_tokens_are_settled_while_redis_is_lost(server: RedisServer, runtime: VirtualRuntime) -> None:
    limit = RateLimit(tokens_per_minute=4000, max_wait=0, store=server.url, key="a", on_store_loss="local", workers=4)
    fixed_estimate(limit, lambda request: 200)
    llm = ScriptedLLM([tokens(1)] * 3 + [tokens(999), "never"]).with_policies(limit)
    server.stop()
    with runtime:
        with pytest.raises(RateLimitError):
            llm.call("Hi")
        runtime.advance(60)
        for _ in range(4):
            llm.call("Hi")
        with pytest.raises(RateLimitError):
            llm.call("Hi")


@needs_redis
def test_redis_is_used_again_after_a_while(server: RedisServer, runtime: VirtualRuntime) -> None:
    limit = RateLimit(6000, store=server.url, key="a", on_store_loss="local", workers=2)
    llm = echo(limit)
    server.stop()
    with runtime:
        llm.call("Hi")
        runtime.advance(11)
        llm.call("Hi")  # asked, and lost still
        server.start()
        llm.call("Hi")
        with server.client() as client:
            assert client.exists("oarlock:limit:a") == 0
            runtime.advance(11)
            llm.call("Hi")
            assert client.exists("oarlock:limit:a") == 1


@needs_redis
def test_a_lower_limit_counts_for_the_part_too(server: RedisServer, runtime: VirtualRuntime) -> None:
    limit = RateLimit(1200, burst=1, store=server.url, key="a", on_store_loss="local", workers=2)
    said = Reply(text="ok", limits=(EndpointLimit(unit="requests", limit=12),))
    server.stop()
    with runtime:
        for _ in range(4):
            ScriptedLLM([said]).with_policies(limit).call("Hi")
    assert runtime.now() == pytest.approx(0.1 + 3 * 10, abs=0.2)


# What is there is no Redis, or not the right one.


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_a_server_that_never_answers_holds_nobody_up(colour: str) -> None:
    with answering(None) as url:
        llm = echo(RateLimit(600, store=url, key="a", store_timeout=0.2))
        with pytest.raises(ConnectionFailedError, match=r"no answer within 0\.2 s"):
            llm.call("Hi") if colour == "blocking" else asyncio.run(llm.acall("Hi"))


async def test_a_line_before_a_server_that_never_answers_fails_together() -> None:
    with answering(None) as url:
        llm = echo(RateLimit(600, store=url, key="a", store_timeout=0.2))
        answers = await asyncio.gather(*[llm.acall("Hi") for _ in range(50)], return_exceptions=True)
    assert {type(answer) for answer in answers} == {ConnectionFailedError}
    assert len({id(answer) for answer in answers}) == 50


@needs_redis
async def test_a_frozen_redis_is_survived(server: RedisServer) -> None:
    limit = RateLimit(600, store=server.url, key="a", store_timeout=0.2, on_store_loss="local", workers=1)
    llm = echo(limit)
    await llm.acall("Hi")
    server.freeze()
    assert await llm.acall("Hi") == llm.call("Hi") == "ok"
    server.thaw()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", WRONG),
        (b"\x00\xff\xfe garbage \r\n", WRONG),
        (b":abc\r\n", WRONG),
        (b"-MOVED 1234 127.0.0.1:7001\r\n", "one node of a cluster"),
        (b"-ASK 1234 127.0.0.1:7001\r\n", "one node of a cluster"),
        (b"-NOPERM this user has no permissions\r\n", "does not let us in"),
        (b"-READONLY You can't write against a read only replica.\r\n", LOST),
        (b"-LOADING Redis is loading the dataset in memory\r\n", LOST),
        (b"-OOM command not allowed\r\n", LOST),
        (b"+OK\r\n", "not answer as a Redis does"),
        (b"*6\r\n+a\r\n+b\r\n+c\r\n+d\r\n+e\r\n+f\r\n", "not answer as a Redis does"),
    ],
)
def test_what_is_no_redis_that_we_can_use(data: bytes, words: str) -> None:
    with answering(data) as url, pytest.raises(ConnectionFailedError, match=words) as caught:
        echo(RateLimit(600, store=url, key="a", store_timeout=1)).call("Hi")
    assert caught.value.code == "limit_store"
    assert caught.value.retryable is (words == LOST)


def test_a_strange_answer_to_the_script_is_told() -> None:
    told = "not answer as a Redis does|Connection not ready"  # the client may see first that there is more to read
    with answering(b"+OK\r\n+OK\r\n") as url, pytest.raises(ConnectionFailedError, match=told):
        echo(RateLimit(600, store=f"{url}?protocol=2", key="a", store_timeout=1)).call("Hi")


def test_an_http_server_is_no_redis() -> None:
    with LoopbackEndpoint() as endpoint:
        url = endpoint.url.replace("http://", "redis://").removesuffix("/v1")
        with pytest.raises(ConnectionFailedError, match="limit"):
            echo(RateLimit(600, store=url, key="a", store_timeout=1)).call("Hi")


@pytest.mark.parametrize("seed", range(12))
def test_random_bytes_do_no_harm(seed: int) -> None:
    data = bytes([b"+-:$*%~#,_(>|="[seed]]) + random.Random(seed).randbytes(seed * 3) + b"\r\n"
    with answering(data) as url, pytest.raises(ConnectionFailedError):
        echo(RateLimit(600, store=url, key="a", store_timeout=0.3)).call("Hi")


@needs_redis
def test_another_type_at_the_key_is_told(server: RedisServer) -> None:
    with server.client() as client:
        client.set("oarlock:limit:a", "something")
    with pytest.raises(ConnectionFailedError, match="WRONGTYPE"):
        echo(RateLimit(600, store=server.url, key="a")).call("Hi")


@needs_redis
def test_one_node_that_is_a_whole_cluster_will_do(tmp_path: Path, runtime: VirtualRuntime) -> None:
    server = RedisServer(tmp_path, "--cluster-enabled", "yes")
    try:
        llm = echo(RateLimit(600, store=server.url, key="a"))
        with runtime, server.client() as client:
            with pytest.raises(ConnectionFailedError, match=f"{LOST}.*Hash slot not served"):
                llm.call("Hi")
            client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
            until = time.monotonic() + 30
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok" and time.monotonic() < until:
                time.sleep(0.01)
            runtime.advance(1)
            assert llm.call("Hi") == "ok"
    finally:
        server.stop()
