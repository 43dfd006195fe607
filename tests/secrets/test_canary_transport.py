"""One canary credential through the transports and whatever can go wrong there: it shows nowhere."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest

from oarlock import ChatLLM, HttpLLM, OarlockError
from oarlock.auth import ApiKey, BearerToken, Headers
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret
from oarlock.testing import Drop, Hang, LoopbackEndpoint, Raw, Status, ToolCalls
from oarlock.transport import Httpx2Transport, ReqwestTransport, TransportOptions

CANARY = "Zq7canary4vX9Lm20"
FORMS = (CANARY, CANARY.lower(), base64.b64encode(f"user:{CANARY}".encode()).decode())


def hits(text: str) -> bool:
    return any(form in text for form in FORMS)


def shown(error: BaseException) -> Iterator[str]:
    """Everything that a log, a tracker of errors or a pickle may show of an error."""
    yield "".join(traceback.format_exception(error))
    yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield f"{one} {one!r} {one.args!r} {vars(one)!r} {getattr(one, 'doc', '')}"
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        if one.__traceback__ is not None:
            frames = traceback.walk_tb(one.__traceback__)
            yield repr([frame.f_locals for frame, _ in frames if "oarlock" in frame.f_code.co_filename])
    yield repr(pickle.loads(pickle.dumps(error)))
    yield pickle.dumps(error).decode("latin-1")
    yield repr(copy.deepcopy(error))


@pytest.fixture(autouse=True)
def nothing_in_the_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(1)
    yield
    lines = [f"{record.name} {record.getMessage()} {record.args!r}" for record in caplog.get_records("call")]
    assert [line for line in lines if hits(line)] == []


def fetch() -> str:
    return CANARY


def pickled(llm: Any) -> str:
    """Return the pickle, or what is said of why there is none."""
    try:
        return pickle.dumps(llm).decode("latin-1")
    except TypeError as error:
        return f"{error!r} {error.__cause__!r} {error.__context__!r}"


AUTHS: dict[str, Callable[[], Any]] = {
    "key": lambda: ApiKey(CANARY),
    "key in a header": lambda: ApiKey(CANARY, header="x-api-key"),
    "key in the query": lambda: ApiKey(CANARY, query="key"),
    "token": lambda: BearerToken(CANARY),
    "fetched token": lambda: BearerToken(fetch),
    "headers": lambda: Headers({"x-token": Secret(CANARY), "cookie": f"session={CANARY}"}),
    "httpx": lambda: httpx.BasicAuth("user", CANARY),
    "httpx2": lambda: httpx2.BasicAuth("user", CANARY),
}

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def whole(body: bytes) -> Raw:
    return Raw(JSON_HEAD + b"content-length: %d\r\n\r\n%s" % (len(body), body))


ECHO = CANARY.encode()
FAULTS: dict[str, Any] = {
    "dropped": Drop(),
    "hangs": Hang(),
    "no http": Raw(b"SSH-2.0-OpenSSH_9.2 " + ECHO + b"\r\n"),
    "bad header": Raw(b"HTTP/1.1 200 OK\r\nbad header " + ECHO + b"\r\n\r\n"),
    "huge headers": Raw(b"HTTP/1.1 200 OK\r\nx: " + ECHO * 10_000 + b"\r\n\r\n"),
    "cut body": Raw(JSON_HEAD + b"content-length: 100\r\n\r\n" + ECHO),
    "cut error body": Raw(b"HTTP/1.1 500 Oh\r\ncontent-length: 100\r\n\r\n" + ECHO),
    "no gzip": Raw(JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: 17\r\n\r\n" + ECHO),
    "other encoding": Raw(JSON_HEAD + b"content-encoding: " + ECHO + b"\r\ncontent-length: 0\r\n\r\n"),
    "too large": Raw(JSON_HEAD + b"content-length: 999999999\r\n\r\n" + ECHO),
    "empty": whole(b""),
    "no json": whole(ECHO + b" " + ECHO),
    "page": whole(b"<html><title>" + ECHO),
    "no choices": whole(json.dumps({"id": CANARY, "key": CANARY}).encode()),
    "wrong content": whole(json.dumps({"choices": [{"message": {"content": {"key": CANARY}}}]}).encode()),
    "wrong call": whole(json.dumps({"choices": [{"message": {"tool_calls": [{"key": CANARY}]}}]}).encode()),
    "refusal": whole(json.dumps({"choices": [{"message": {"refusal": f"I know {CANARY}"}}]}).encode()),
    "error inside": whole(json.dumps({"error": {"message": CANARY, "code": CANARY}}).encode()),
    "400": Status(400, body={"error": {"message": f"What is {CANARY}?", "code": CANARY}}),
    "401": Status(401, headers={"www-authenticate": f'Bearer realm="{CANARY}"'}, body=""),
    "403": Status(403, body=f"<html><title>No access for {CANARY}</title>"),
    "404": Status(404, headers={"x-request-id": CANARY}),
    "429": Status(429, body={"error": {"message": f"key {CANARY} is busy"}}),
    "redirect": Status(302, headers={"location": f"http://{CANARY}.example/?key={CANARY}"}),
    "cut stream": Raw(EVENTS_HEAD + b'data: {"choices":[{"delta":{"content":"half"}}]}\n\n'),
    "stream of garbage": Raw(EVENTS_HEAD + b"data: " + ECHO + b"\n\n"),
    "error event": Raw(EVENTS_HEAD + b'event: error\ndata: {"message": "no %s"}\n\n' % ECHO),
}


def ask_blocking(llm: Any) -> Any:
    return llm.call("Hi")


def ask_async(llm: Any) -> Any:
    return asyncio.run(llm.acall("Hi"))


def stream(llm: Any) -> Any:
    return list(llm.stream("Hi"))


def stream_async(llm: Any) -> Any:
    async def main() -> Any:
        return [delta async for delta in llm.astream("Hi")]

    return asyncio.run(main())


ASKS = [ask_blocking, ask_async, stream, stream_async]


def fails(llm: Any, ask: Callable[[Any], Any]) -> OarlockError:
    with pytest.raises(OarlockError) as caught:
        ask(llm)
    error = caught.value
    leaks = [text for text in shown(error) if hits(text)]
    assert leaks == [], str(error)
    return error


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_shows_the_credential(fault, transport, ask):
    with LoopbackEndpoint([FAULTS[fault]] * 2) as endpoint:
        timeout = 0.2 if fault == "hangs" else 20
        fails(ChatLLM("m", endpoint.url, auth=ApiKey(CANARY), transport=transport, timeout=timeout, policies=()), ask)
        assert endpoint.requests[0].headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
@pytest.mark.parametrize("auth", AUTHS)
def test_no_sign_in_shows_its_credential(auth, transport, ask):
    for fault in ("400", "dropped", "no json"):
        with LoopbackEndpoint([FAULTS[fault]] * 2) as endpoint:
            llm = ChatLLM("m", f"{endpoint.url}", auth=AUTHS[auth](), transport=transport, timeout=20, policies=())
            fails(llm, ask)
            request = endpoint.requests[0]
            assert hits(f"{request.path} {request.headers.pairs()}")
            assert not hits(f"{llm!r} {llm.auth!r} {vars(llm)!r} {copy.deepcopy(llm)!r} {vars(copy.copy(llm))!r}")
            assert not hits(pickled(llm))


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
def test_nobody_listens(transport, ask):
    fails(
        ChatLLM("m", "http://127.0.0.1:9/v1", auth=ApiKey(CANARY, query="key"), transport=transport, policies=()), ask
    )


def test_a_client_of_ones_own():
    with LoopbackEndpoint(["ok", FAULTS["400"], Drop()]) as endpoint, httpx2.Client() as client:
        llm = ChatLLM("m", endpoint.url, auth=ApiKey(CANARY, query="key"), transport=client, policies=())
        assert llm.call("Hi") == "ok"
        fails(llm, ask_blocking)
        fails(llm, stream)


async def test_an_async_client_of_ones_own():
    with LoopbackEndpoint(["ok", FAULTS["400"], Drop()]) as endpoint:
        async with httpx2.AsyncClient() as client:
            llm = ChatLLM("m", endpoint.url, auth=ApiKey(CANARY, query="key"), transport=client, policies=())
            assert await llm.acall("Hi") == "ok"
            for _ in range(2):
                with pytest.raises(OarlockError) as caught:
                    await llm.acall("Hi")
                assert [text for text in shown(caught.value) if hits(text)] == []


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
def test_a_cancelled_call_shows_nothing(transport):
    async def main() -> BaseException:
        with LoopbackEndpoint([Hang()]) as endpoint:
            llm = ChatLLM("m", endpoint.url, auth=ApiKey(CANARY, query="key"), transport=transport)
            try:
                async with asyncio.timeout(0.3):
                    await llm.acall("Hi")
            except TimeoutError as error:
                return error
        raise AssertionError

    assert [text for text in shown(asyncio.run(main())) if hits(text)] == []


@pytest.mark.parametrize("ask", [ask_blocking, ask_async])
def test_a_private_protocol_shows_nothing(ask):
    class Gateway(HttpLLM):
        def encode(self, request):
            return {"question": "Hi"}

        def decode(self, response):
            raise OarlockError(f"It said {response.body.decode()}")

    with LoopbackEndpoint([Status(200, body=f"I know {CANARY}")]) as endpoint:
        url = f"{endpoint.url}/chat/completions"
        llm = Gateway("ours", url, auth=ApiKey(CANARY), policies=(), headers={"x-team": "blueberry"})
        fails(llm, ask)


def test_what_is_no_secret_stays_readable():
    with LoopbackEndpoint([Status(400, body="No model for blueberry")]) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=ApiKey("k3y-canary"), policies=(), headers={"x-team": "blueberry"})
        assert "blueberry" in str(fails(llm, ask_blocking))


@pytest.mark.parametrize("kind", [ReqwestTransport, Httpx2Transport])
def test_the_proxys_password_shows_nowhere(kind):
    options = TransportOptions(proxy=f"http://user:{CANARY}@127.0.0.1:9")
    transport = kind(options)
    request = HttpRequest(method="POST", url=f"https://llm.example.com/v1?key={CANARY}", timeout=5)
    with pytest.raises(OarlockError) as caught:
        transport.send(request)
    assert [text for text in shown(caught.value) if hits(text)] == []
    assert not hits(f"{options!r} {transport!r} {vars(transport)!r} {request!r} {copy.deepcopy(options)!r}")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(options)
    llm = ChatLLM("m", "http://llm.example.com", transport_options={"proxy": f"http://user:{CANARY}@127.0.0.1:9"})
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(llm)


def test_a_good_call_logs_nothing(caplog):
    for transport in ("pyreqwest", "httpx2"):
        for ask in ASKS:
            with LoopbackEndpoint(["ok"]) as endpoint:
                ask(ChatLLM("m", endpoint.url, auth=ApiKey(CANARY, query="key"), transport=transport))
    assert any(record.name.startswith("httpcore2") for record in caplog.records)  # it did listen
    assert logging.getLogger("httpcore2").getEffectiveLevel() == 1
    assert ToolCalls
