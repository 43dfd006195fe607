"""The loopback endpoint, as a real client over real sockets sees it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oarlock.contract.http import Headers
from oarlock.testing.endpoint import (
    Answer,
    Drop,
    Hang,
    JwtIssuer,
    LoopbackEndpoint,
    Raw,
    RecordedRequest,
    Status,
    ToolCalls,
    require_bearer,
    require_header,
)


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def ask(
    client: requests.Session, endpoint: LoopbackEndpoint, prompt: str = "Hi", headers: Any = None, **body: Any
) -> requests.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **body}
    return client.post(f"{endpoint.url}/chat/completions", json=body, headers=headers, timeout=10)


def text_of(response: requests.Response) -> str:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def events_of(response: requests.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "text/event-stream"
    events = response.content.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]


def deltas_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["choices"][0]["delta"] for event in events if event["choices"]]


def echo(request: RecordedRequest) -> str:
    return request.prompt


# Replies


def test_replies_come_in_order_and_the_last_repeats(client):
    with LoopbackEndpoint(["one", "two"]) as endpoint:
        assert [text_of(ask(client, endpoint)) for _ in range(3)] == ["one", "two", "two"]


def test_a_strict_script_says_when_it_is_used_up(client):
    with LoopbackEndpoint(["one"], strict=True) as endpoint:
        assert text_of(ask(client, endpoint)) == "one"
        response = ask(client, endpoint)
        assert response.status_code == 500
        assert response.json()["error"]["message"] == "The script has 1 replies and this is chat request 2."


def test_an_empty_script_is_a_clear_500(client):
    with LoopbackEndpoint([]) as endpoint:
        assert "0 replies" in ask(client, endpoint).json()["error"]["message"]


def test_a_plain_answer_is_a_whole_chat_completion(client):
    with LoopbackEndpoint("Hello you") as endpoint:
        body = ask(client, endpoint, "12345").json()
    assert body.pop("created") > 0
    assert body == {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello you"}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
    }


def test_given_usage_and_finish_reason_win(client):
    usage = {"prompt_tokens": 1000, "completion_tokens": 2000, "total_tokens": 3000}
    with LoopbackEndpoint(Answer("cut", finish_reason="length", usage=usage)) as endpoint:
        body = ask(client, endpoint).json()
    assert body["usage"] == usage
    assert body["choices"][0]["finish_reason"] == "length"


def test_a_dict_is_a_message_or_a_whole_body(client):
    whole = {"choices": [{"message": {"content": "whole"}}], "extra": 1}
    with LoopbackEndpoint([{"role": "assistant", "content": "message"}, whole, {"strange": True}]) as endpoint:
        assert text_of(ask(client, endpoint)) == "message"
        assert ask(client, endpoint).json() == whole
        assert ask(client, endpoint, stream=True).json() == {"strange": True}


def test_tool_calls(client):
    with LoopbackEndpoint(ToolCalls([("add", {"a": 1, "word": "é"}), ("add", "{broken")])) as endpoint:
        choice = ask(client, endpoint).json()["choices"][0]
    calls = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert json.loads(calls[0]["function"]["arguments"]) == {"a": 1, "word": "é"}
    assert calls[1] == {"id": "call_0_1", "type": "function", "function": {"name": "add", "arguments": "{broken"}}


@pytest.mark.parametrize("reply", [503, Status(503)])
def test_a_status_has_an_openai_error_body(client, reply):
    with LoopbackEndpoint(reply) as endpoint:
        response = ask(client, endpoint)
    assert response.status_code == 503
    assert response.json()["error"]["message"] == "Service Unavailable"


@pytest.mark.parametrize(("body", "content"), [(b"\x00", b"\x00"), ("é", "é".encode()), ({"a": 1}, b'{"a": 1}')])
def test_a_status_carries_the_given_headers_and_body(client, body, content):
    reply = Status(429, headers={"retry-after": "1", "content-type": "text/x"}, body=body)
    with LoopbackEndpoint(reply) as endpoint:
        response = ask(client, endpoint)
    assert (response.headers["Retry-After"], response.headers["Content-Type"]) == ("1", "text/x")
    assert response.content == content


@pytest.mark.parametrize(("status", "content"), [(202, b""), (799, b"Status 799")])
def test_statuses_without_a_phrase_or_an_error(client, status, content):
    with LoopbackEndpoint(status) as endpoint:
        response = ask(client, endpoint)
    assert response.status_code == status
    assert content in response.content


def test_drop_closes_without_an_answer(client):
    with LoopbackEndpoint([Drop(), "back"]) as endpoint:
        with pytest.raises(requests.ConnectionError):
            ask(client, endpoint)
        assert text_of(ask(client, endpoint)) == "back"
        assert endpoint.connections == 2


def test_raw_bytes_go_out_as_they_are(client):
    with LoopbackEndpoint(Raw(b"HTTP/1.1 200 Fine\r\nX-A: 1\r\n\r\nto the end")) as endpoint:
        response = ask(client, endpoint)
    assert (response.reason, response.headers, response.content) == ("Fine", {"X-A": "1"}, b"to the end")


def test_hang_waits_for_release(client):
    with LoopbackEndpoint([Hang(then=lambda request: Hang(then="at last"))]) as endpoint, ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, client, endpoint)
        endpoint.wait_for_requests(1)
        assert not answer.done()
        endpoint.release()
        assert text_of(answer.result(10)) == "at last"


def test_release_lets_go_only_of_what_has_arrived(client):
    with LoopbackEndpoint(Hang()) as endpoint:
        endpoint.release()
        with pytest.raises(requests.Timeout):
            client.post(f"{endpoint.url}/chat/completions", json={}, timeout=0.05)


def test_a_callable_sees_the_request(client):
    seen: list[RecordedRequest] = []

    def model(request: RecordedRequest) -> Any:
        seen.append(request)
        return lambda _: {"role": "assistant", "content": request.json["messages"][0]["content"].upper()}

    with LoopbackEndpoint(model) as endpoint:
        assert text_of(ask(client, endpoint, "hi")) == "HI"
        assert seen == endpoint.requests


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_callable_raises_becomes_a_500(client, stream):
    def broken(request: RecordedRequest) -> str:
        raise ConnectionError("the model is gone")

    with LoopbackEndpoint([broken, lambda _: object(), {"sets": {1}}]) as endpoint:
        response = ask(client, endpoint, stream=stream)
        assert response.status_code == 500
        assert "ConnectionError: the model is gone" in response.json()["error"]["message"]
        assert "object is no reply" in ask(client, endpoint, stream=stream).json()["error"]["message"]
        assert "set is not JSON" in ask(client, endpoint, stream=stream).json()["error"]["message"]


# Streams


def test_a_stream_comes_in_pieces_with_usage_last(client):
    with LoopbackEndpoint("Hello, world") as endpoint:
        events = events_of(ask(client, endpoint, stream=True, stream_options={"include_usage": True}))
    assert deltas_of(events) == [
        {"role": "assistant", "content": ""},
        {"content": "Hell"},
        {"content": "o, w"},
        {"content": "orld"},
        {},
    ]
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}


def test_usage_is_streamed_only_when_asked_for(client):
    with LoopbackEndpoint("Hello") as endpoint:
        assert all(event["choices"] for event in events_of(ask(client, endpoint, stream=True)))


def test_tool_calls_are_streamed_in_pieces(client):
    with LoopbackEndpoint(ToolCalls([("add", {"a": 1, "b": 2}), ("stop", {})], text="Let me see")) as endpoint:
        events = events_of(ask(client, endpoint, stream=True))
    arguments = {0: "", 1: ""}
    heads = []
    for delta in deltas_of(events):
        for call in delta.get("tool_calls", ()):
            arguments[call["index"]] += call["function"]["arguments"]
            heads += [(call["id"], call["function"]["name"])] if "id" in call else []
    assert heads == [("call_0_0", "add"), ("call_0_1", "stop")]
    assert [json.loads(text) for text in arguments.values()] == [{"a": 1, "b": 2}, {}]
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_further_fields_of_a_message_are_streamed(client):
    message = {"role": "assistant", "content": None, "refusal": "No."}
    with LoopbackEndpoint(message) as endpoint:
        assert deltas_of(events_of(ask(client, endpoint, stream=True)))[0]["refusal"] == "No."


def test_an_iterator_is_streamed_live(client):
    go = threading.Event()

    def model(request: RecordedRequest) -> Iterator[str]:
        yield "first"
        assert go.wait(10)
        yield "second"

    with LoopbackEndpoint(model) as endpoint:
        body = {"stream": True, "stream_options": {"include_usage": True}}
        with client.post(f"{endpoint.url}/chat/completions", json=body, stream=True, timeout=10) as response:
            lines = (line for line in response.iter_lines() if line)
            assert b'"content": ""' in next(lines)
            assert b'"content": "first"' in next(lines)
            go.set()
            rest = list(lines)
    assert b'"content": "second"' in rest[0]
    assert b'"completion_tokens": 3' in rest[2]
    assert rest[3:] == [b"data: [DONE]"]


def test_an_iterator_that_fails_cuts_the_stream_or_is_a_500(client):
    def model(request: RecordedRequest) -> Iterator[str]:
        yield "first"
        raise ValueError("no more")

    with LoopbackEndpoint(model) as endpoint:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            ask(client, endpoint, stream=True)
        assert "ValueError: no more" in ask(client, endpoint).json()["error"]["message"]


def test_a_client_that_leaves_ends_the_model_behind_it(client):
    closed = threading.Event()

    def model(request: RecordedRequest) -> Iterator[str]:
        try:
            while True:
                yield "x" * 4096
        finally:
            closed.set()

    with LoopbackEndpoint(model) as endpoint:
        with client.post(
            f"{endpoint.url}/chat/completions", json={"stream": True}, stream=True, timeout=10
        ) as response:
            assert response.raw.read(10)
        assert closed.wait(10)


@pytest.fixture(scope="module")
def echoing() -> Iterator[tuple[requests.Session, LoopbackEndpoint]]:
    with LoopbackEndpoint(echo) as endpoint, requests.Session() as session:
        session.trust_env = False
        yield session, endpoint


any_text = st.text(st.characters(exclude_categories=["Cs"])) | st.text('\r\n\u2028\u2029\x85\x00"\\ d:ata')


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=any_text)
def test_any_text_comes_back_the_same(echoing, text):
    session, endpoint = echoing
    assert text_of(ask(session, endpoint, text)) == text
    events = events_of(ask(session, endpoint, text, stream=True))
    assert "".join(delta.get("content", "") for delta in deltas_of(events)) == text


def test_half_a_surrogate_pair_comes_back_as_its_escape(client):
    with LoopbackEndpoint(echo) as endpoint:
        response = client.post(
            f"{endpoint.url}/chat/completions", data=b'{"messages": [{"content": "\\ud83d!"}]}', timeout=10
        )
    assert response.json()["choices"][0]["message"]["content"] == "\ud83d!"


# Requests, connections, threads


def test_requests_are_recorded(client):
    with LoopbackEndpoint() as endpoint:
        ask(client, endpoint, "first", headers={"X-Secret": "hush"})
        client.post(f"{endpoint.url}/chat/completions?v=1", data=b"no json", timeout=10)
        client.get(f"{endpoint.url}/models", timeout=10)
        first, second, third = endpoint.requests
    assert (first.number, first.method, first.path) == (0, "POST", "/v1/chat/completions")
    assert first.headers["x-secret"] == "hush"
    assert first.json["messages"][0]["content"] == first.prompt == "first"
    assert (second.path, second.body, second.json) == ("/v1/chat/completions?v=1", b"no json", None)
    assert (third.number, third.method) == (2, "GET")
    assert "hush" not in repr(endpoint.requests)
    assert "first" not in repr(endpoint.requests)


def test_other_paths_methods_and_bodies_use_up_no_reply(client):
    with LoopbackEndpoint(["only"], strict=True) as endpoint:
        url = f"{endpoint.url}/chat/completions"
        assert client.get(url, timeout=10).status_code == 404
        assert client.post(f"{endpoint.url}/nowhere", json={}, timeout=10).status_code == 404
        assert client.post(url, data=b"[]", timeout=10).status_code == 400
        assert text_of(ask(client, endpoint)) == "only"


def test_one_connection_serves_many_requests(client):
    with LoopbackEndpoint() as endpoint:
        for stream in (False, True, False):
            ask(client, endpoint, stream=stream).raise_for_status()
        assert endpoint.connections == 1
        with requests.Session() as other:
            other.trust_env = False
            ask(other, endpoint)
        assert endpoint.connections == 2


def test_a_body_may_come_in_chunks(client):
    with LoopbackEndpoint(echo) as endpoint:
        pieces = iter([b'{"messages": ', b'[{"content": "in pieces"}]}'])
        assert text_of(client.post(f"{endpoint.url}/chat/completions", data=pieces, timeout=10)) == "in pieces"
        assert text_of(ask(client, endpoint)) == "Hi"
        assert endpoint.connections == 1


@pytest.mark.parametrize(
    "head", [b"Content-Length: x\r\n\r\n", b"Content-Length: 10\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\nx"]
)
def test_a_body_that_is_garbled_or_cut_is_refused_and_not_recorded(head):
    with LoopbackEndpoint() as endpoint:
        address = ("127.0.0.1", int(endpoint.url.split(":")[2].split("/")[0]))
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\n" + head)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 400 ")
        assert endpoint.requests == []


def test_each_of_32_threads_gets_one_answer():
    replies = [f"answer {number}" for number in range(32 * 8)]
    start = threading.Barrier(32)

    def run(_: int) -> list[str]:
        with requests.Session() as session:
            session.trust_env = False
            start.wait(30)
            return [text_of(ask(session, endpoint)) for _ in range(8)]

    with LoopbackEndpoint(replies, strict=True) as endpoint, ThreadPoolExecutor(32) as pool:
        answers = [text for texts in pool.map(run, range(32)) for text in texts]
        assert endpoint.connections == 32
        assert [request.number for request in endpoint.requests] == list(range(32 * 8))
    assert sorted(answers) == sorted(replies)


def test_stop_while_hanging_is_prompt_and_leaves_nothing(client):
    before = set(threading.enumerate())
    with ThreadPoolExecutor() as pool:
        with LoopbackEndpoint(Hang()) as endpoint:
            answers = [pool.submit(requests.post, f"{endpoint.url}/chat/completions", json={}) for _ in range(3)]
            endpoint.wait_for_requests(3)
            started = time.monotonic()
        assert time.monotonic() - started < 2
        for answer in answers:
            assert isinstance(answer.exception(10), requests.ConnectionError)
    assert set(threading.enumerate()) <= before
    with pytest.raises(requests.ConnectionError):
        ask(client, endpoint)
    endpoint.stop()


def test_stop_ends_idle_connections(client):
    with LoopbackEndpoint() as endpoint:
        ask(client, endpoint)
        started = time.monotonic()
    assert time.monotonic() - started < 2


def test_a_script_may_stop_its_endpoint(client):
    endpoint = LoopbackEndpoint(lambda request: endpoint.stop() or "too late").start()
    with pytest.raises(requests.ConnectionError):
        ask(client, endpoint)


def test_waiting_for_requests_that_never_come():
    with LoopbackEndpoint() as endpoint, pytest.raises(TimeoutError, match="0 of 1"):
        endpoint.wait_for_requests(1, timeout=0.01)


def test_an_endpoint_is_started_once():
    endpoint = LoopbackEndpoint()
    assert (endpoint.connections, repr(endpoint)) == (0, "<LoopbackEndpoint not started, 0 requests>")
    with pytest.raises(RuntimeError, match="not been started"):
        _ = endpoint.url
    with endpoint:
        assert endpoint.url in repr(endpoint)
        with pytest.raises(RuntimeError, match="started once"):
            endpoint.start()
    LoopbackEndpoint().stop()


# Sign-in


def test_a_refused_request_uses_up_no_reply(client):
    with LoopbackEndpoint(["only"], strict=True, auth=require_bearer("good")) as endpoint:
        refused = ask(client, endpoint, headers={"Authorization": "Bearer bad"})
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_token"
        assert "good" not in refused.text + repr(endpoint) + repr(endpoint.requests)
        assert ask(client, endpoint).status_code == 401
        assert text_of(ask(client, endpoint, headers={"Authorization": "bearer good"})) == "only"
        assert len(endpoint.requests) == 3


def test_a_required_header(client):
    with LoopbackEndpoint(auth=require_header("X-Api-Key", "good")) as endpoint:
        assert ask(client, endpoint).status_code == 401
        assert ask(client, endpoint, headers={"x-api-key": "goo"}).status_code == 401
        assert ask(client, endpoint, headers={"x-api-key": "good"}).status_code == 200


def test_a_check_that_fails_is_a_500(client):
    with LoopbackEndpoint(auth=lambda headers: headers["missing"]) as endpoint:
        assert "KeyError" in ask(client, endpoint).json()["error"]["message"]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def bearer(token: str) -> Headers:
    return Headers([("Authorization", f"Bearer {token}")])


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header: Any, claims: Any, secret: bytes = b"s3cret") -> str:
    return signed_text(f"{segment(header)}.{segment(claims)}", secret)


def signed_text(body: str, secret: bytes = b"s3cret") -> str:
    digest = hmac.new(secret, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def reason(refusal: Status | None) -> str:
    assert refusal is not None
    assert refusal.status == 401
    challenge = refusal.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer error="invalid_token", error_description="')
    return challenge.split('"')[3]


def test_a_token_is_good_until_it_expires(client):
    clock = Clock()
    issuer = JwtIssuer(secret="s3cret", lifetime=30.0, clock=clock)
    token = issuer.issue("ada")
    with LoopbackEndpoint(auth=issuer.check) as endpoint:
        clock.now += 29.9
        assert ask(client, endpoint, headers=dict(bearer(token))).status_code == 200
        clock.now += 0.1
        refused = ask(client, endpoint, headers=dict(bearer(token)))
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="The token expired"'
    )
    assert refused.json()["error"] == {
        "message": "The token expired",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_token",
    }


def test_the_claims_of_a_token_and_its_own_lifetime():
    issuer = JwtIssuer(secret="s3cret", clock=Clock())
    claims = json.loads(base64.urlsafe_b64decode(issuer.issue("ada", 5).split(".")[1] + "=="))
    assert (claims["sub"], claims["iat"], claims["exp"]) == ("ada", 1000.0, 1005.0)
    assert len({issuer.issue("ada") for _ in range(10)}) == 10
    assert "s3cret" not in repr(issuer)


def test_a_hand_made_token_with_the_right_key_is_accepted():
    issuer = JwtIssuer(secret="s3cret", clock=Clock())
    assert issuer.check(bearer(signed({"alg": "HS256"}, {"exp": 1001}))) is None


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (signed({"alg": "HS512"}, {"exp": 2000}), "algorithm"),
        (signed({"alg": "none"}, {"exp": 2000}), "algorithm"),
        (signed({}, {"exp": 2000}), "algorithm"),
        (signed([], {"exp": 2000}), "algorithm"),
        (f"{segment({'alg': 'none'})}.{segment({'exp': 2000})}.", "signature"),
        (signed({"alg": "HS256"}, {"exp": 2000}, secret=b"other"), "signature"),
        (signed({"alg": "HS256"}, {}), "no expiry"),
        (signed({"alg": "HS256"}, {"exp": True}), "no expiry"),
        (signed({"alg": "HS256"}, {"exp": "2000"}), "no expiry"),
        (signed({"alg": "HS256"}, {"exp": float("inf")}), "no expiry"),
        (signed({"alg": "HS256"}, {"exp": float("nan")}), "no expiry"),
        (signed({"alg": "HS256"}, {"exp": 1000}), "expired"),
        (signed({"alg": "HS256"}, [2000]), "no expiry"),
        (signed_text("e30"), "algorithm"),
        (signed_text("e.30"), "algorithm"),
        (signed_text(""), "algorithm"),
        ("garbled", "garbled"),
        ("ü.ü.ü", "garbled"),
    ],
)
def test_tokens_that_are_refused(token, expected):
    assert expected in reason(JwtIssuer(secret="s3cret", clock=Clock()).check(bearer(token)))


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer ")],
        [("Authorization", "Basic abc")],
        [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
    ],
)
def test_a_missing_token_is_refused(headers):
    assert reason(JwtIssuer(secret="s3cret").check(Headers(headers))) == "No token was given"


@given(st.data())
def test_changing_any_character_of_a_token_spoils_it(data):
    issuer = JwtIssuer(secret="s3cret", clock=Clock())
    token = issuer.issue("ada")
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(exclude_categories=["Cs", "Z", "C"], exclude_characters=token[place]))
    assert issuer.check(bearer(token[:place] + other + token[place + 1 :])) is not None
