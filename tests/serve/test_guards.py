"""What a server on the network bears: other names, other origins, slow and greedy clients."""

import asyncio
import json
import logging
import socket
import threading
from contextlib import closing

import httpx2
import pytest
from serve_helpers import HELLO, KEY, body, key, send

from oarlock import BaseLLM, ConfigurationError
from oarlock.contract.reply import Delta
from oarlock.serve import Limits, create_app, serving
from oarlock.serve.protocol import PatientProtocol
from oarlock.testing import ScriptedLLM


def hello(**settings):
    return create_app({"mine": ScriptedLLM(["Hello"] * 20)}, **settings)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("evil.example.com", 421),
        ("evil.example.com:8000", 421),
        ("localhost.evil.example.com", 421),
        ("127.0.0.1.nip.io", 421),
        ("", 421),
    ],
)
def test_names_that_lead_here_by_rebinding_are_refused(host, status):
    response = send(hello(), "GET", "/v1/models", headers={"host": host})
    assert response.status_code == status
    if status == 421:
        assert response.json()["error"]["code"] == "unknown_host"


def test_names_can_be_allowed():
    assert send(hello(hosts=["llm.example.com"]), "GET", "/health", headers={"host": "LLM.example.com:80"}).is_success
    assert send(hello(hosts=["*"]), "GET", "/health", headers={"host": "any"}).is_success


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_origins_are_refused(headers):
    response = send(hello(), json=body(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_origin")


def test_ones_own_origin_is_not():
    headers = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert send(hello(), json=body(), headers=headers).status_code == 200


def test_every_answer_has_an_id_and_no_guesses_of_its_type():
    response = send(hello(), "GET", "/health", headers={"x-request-id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    odd = send(hello(), "GET", "/health", headers={"x-request-id": "a b"})
    assert odd.headers["x-request-id"] not in ("a b", "")


def test_too_many_at_once_are_told_to_come_again():
    async def ask() -> list[httpx2.Response]:
        both_wait, go_on = asyncio.Barrier(3), asyncio.Event()

        class Waiting(BaseLLM):
            async def acall(self, messages):
                await both_wait.wait()
                await go_on.wait()
                return "Hello"

        waiting = create_app({"mine": Waiting()}, limits=Limits(requests_at_once=2))
        transport = httpx2.ASGITransport(app=waiting)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            two = [asyncio.ensure_future(client.post("/v1/chat/completions", json=body())) for _ in range(2)]
            await both_wait.wait()
            refused = await client.post("/v1/chat/completions", json=body())
            go_on.set()
            return [refused, *await asyncio.gather(*two)]

    refused, *answered = asyncio.run(ask())
    assert [response.status_code for response in answered] == [200, 200]
    assert refused.status_code == 503
    assert (refused.json()["error"]["code"], refused.headers["retry-after"]) == ("busy", "1")


def test_a_call_that_hangs_is_given_up():
    class Hangs(BaseLLM):
        async def acall(self, messages):
            await asyncio.Event().wait()

    hanging = create_app({"mine": Hangs()}, limits=Limits(answer_seconds=0.01))
    response = send(hanging, json=body())
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")


# On the wire.


def raw(url: str, data: bytes) -> bytes:
    """Send bytes, and return all that comes until the server closes."""
    with closing(connected(url)) as connection:
        connection.sendall(data)
        return received(connection)


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def received(connection: socket.socket) -> bytes:
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "header_seconds", 0.05)
    monkeypatch.setattr(PatientProtocol, "reader_seconds", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("data", [b"", b"GET /health HTTP/1.1\r\nHost: loc", b"GET /health HT"])
def test_headers_that_do_not_come_are_not_waited_for(data):
    with serving(hello()) as url:
        assert raw(url, data) == b""


@pytest.mark.usefixtures("impatient")
def test_nor_those_of_a_second_request():
    with serving(hello()) as url, closing(connected(url)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /heal")
        assert b"HTTP" not in received(connection)


def test_headers_are_capped():
    with serving(hello()) as url:
        data = raw(url, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000)
    assert data == b"" or data.startswith(b"HTTP/1.1 400")


HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer " + KEY.encode() + b"\r\n"
)


def test_a_body_that_does_not_come_is_not_waited_for():
    with serving(hello(limits=Limits(body_seconds=0.05))) as url:
        data = raw(url, HEAD + b"Content-Length: 100\r\n\r\n{")
    assert data.startswith(b"HTTP/1.1 408")
    assert b'"slow_body"' in data


@pytest.mark.parametrize("shown", [KEY, "another-key-nobody-guesses"])
def test_who_leaves_within_the_body_is_no_error(shown, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="oarlock.serve")
    with serving(hello(keys=[key(text=shown)])) as url, closing(connected(url)) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        connection.shutdown(socket.SHUT_RDWR)
    assert " 499 " in caplog.text
    assert "failed" not in caplog.text


def test_who_is_not_let_in_is_not_waited_for():
    limits = Limits(body_seconds=0.05)
    with serving(hello(keys=[key(text="another-key-nobody-guesses")], limits=limits)) as url:
        data = raw(url, HEAD + b"Content-Length: 100\r\n\r\n{")
    assert data.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in data


def test_an_endless_body_is_cut():
    with serving(hello(limits=Limits(body_bytes=1000))) as url:
        data = raw(url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b" " * 1024 + b"\r\n")
        assert data.startswith(b"HTTP/1.1 413")
        data = raw(url, HEAD + b"Content-Length: 99999999999\r\n\r\n")
        assert data.startswith(b"HTTP/1.1 413")


def test_a_body_of_two_lengths_is_refused():
    with serving(hello()) as url:
        smuggled = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n"
        data = raw(url, HEAD + b"Connection: close\r\n" + smuggled)
    assert data.count(b"HTTP/1.1") <= 1


def test_who_sends_a_body_without_a_key_hears_why_and_may_go_on():
    large = json.dumps(body(user="x" * 500_000))
    with serving(hello(keys=[key()])) as url, httpx2.Client() as client:
        for _ in range(2):
            response = client.post(f"{url}/v1/chat/completions", json=json.loads(large))
            assert response.status_code == 401
            assert "connection" not in response.headers


def test_who_asks_before_sending_sends_nothing():
    with serving(hello(keys=[key(text="another-key-nobody-guesses")])) as url:
        data = raw(url, HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 401")


@pytest.mark.usefixtures("impatient")
def test_a_client_that_does_not_read_is_dropped():
    ended = threading.Event()

    class Endless(BaseLLM):
        async def _respond(self, runtime, request):
            try:
                while True:
                    await request.deltas.put(Delta("word " * 10_000))
            finally:
                ended.set()

    asked = json.dumps({"model": "mine", "messages": HELLO, "stream": True}).encode()
    with serving(create_app({"mine": Endless()})) as url, closing(connected(url)) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(asked) + asked)
        assert ended.wait(20)


def test_a_silent_stream_is_kept_alive():
    go_on = threading.Event()

    class Thinks(BaseLLM):
        def call(self, messages):
            go_on.wait(20)
            return "Hello"

    quick = Limits(heartbeat_seconds=0.01)
    with (
        serving(create_app({"mine": Thinks()}, limits=quick)) as url,
        httpx2.stream("POST", f"{url}/v1/chat/completions", json=body(stream=True)) as response,
    ):
        lines = response.iter_lines()
        assert next(lines) == ": waiting"
        go_on.set()
        assert any('"content":"Hello"' in line for line in lines)


# The log.


def test_the_log_tells_who_asked_what_and_not_the_words(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="oarlock.serve")
    words = "a very private question"

    class Fails(BaseLLM):
        def call(self, messages):
            raise KeyError(messages[-1]["content"])

    class Breaks(BaseLLM):
        async def _respond(self, runtime, request):
            raise KeyError(request.messages[-1]["content"])

    private = {"messages": [{"role": "user", "content": words}]}
    whole = create_app({"mine": ScriptedLLM([words]), "fails": Fails(), "breaks": Breaks()}, keys=[key()])
    headers = {"authorization": f"Bearer {KEY}", "x-request-id": "r-1"}
    assert send(whole, json=body(**private), headers=headers).status_code == 200
    assert send(whole, json=body(model="fails", **private), headers=headers).status_code == 502
    assert send(whole, json=body(model="breaks", **private), headers=headers).status_code == 500
    assert send(whole, path="/v1/models?key=secret", json={}, headers=headers).status_code == 405
    assert "r-1 POST /v1/chat/completions 200 " in caplog.text
    assert "caller=alice model=mine" in caplog.text
    assert "r-1 failed: KeyError in " in caplog.text
    assert KEY not in caplog.text
    assert "key=secret" not in caplog.text
    quiet = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert not any(words in line for line in quiet), "an exception's own words are for the debug level"
    assert any(line.startswith("r-1 failed: CallFailedError by KeyError in ") for line in quiet)


# What cannot be.


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"models": {}}, "nothing to serve"),
        ({"models": {"a b": ScriptedLLM([])}}, "unlike 'a b'"),
        ({"models": {"mine": object()}}, "is no BaseLLM, but of the type object"),
        ({"unsupported": "drop"}, 'must be "refuse" or "ignore"'),
        ({"hosts": "localhost"}, "must be a list of names"),
        ({"hosts": []}, "must be a list of names"),
    ],
)
def test_settings_that_cannot_work(settings, says):
    with pytest.raises(ConfigurationError, match=says):
        create_app(**{"models": {"mine": ScriptedLLM([])}, **settings})


@pytest.mark.parametrize(
    "limit", [{"body_bytes": 0}, {"body_bytes": 1.5}, {"answer_seconds": 0}, {"body_seconds": "1"}]
)
def test_limits_that_cannot_be(limit):
    with pytest.raises(ConfigurationError, match=f"Limits: {next(iter(limit))} must be"):
        Limits(**limit)
