"""ChatLLM against a real server on loopback: both transports, blocking, async and streaming."""

import asyncio
import copy
import json
import subprocess
import sys
import threading

import httpx2
import pytest

from oarlock import (
    AuthenticationError,
    BadRequestError,
    ChatLLM,
    ConfigurationError,
    ConnectionFailedError,
    EmptyReply,
    HttpLLM,
    LLMTimeoutError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    Reply,
    Request,
    ResponseFormatError,
    ServerError,
    TruncatedStream,
    tool,
)
from oarlock.auth import ApiKey, BearerToken, Headers
from oarlock.policies import Deadline, Metrics, Retry
from oarlock.testing import (
    Drop,
    Hang,
    JwtIssuer,
    LoopbackEndpoint,
    Raw,
    Status,
    ToolCalls,
    require_bearer,
    require_header,
)

AT_ONCE = Retry(base_delay=0, throttled_base_delay=0)


def ask_blocking(llm, messages="Hi", **arguments):
    return llm.call(messages, **arguments)


def ask_async(llm, messages="Hi", **arguments):
    return asyncio.run(llm.acall(messages, **arguments))


def ask_streaming(llm, messages="Hi"):
    with llm.stream(messages) as stream:
        text = "".join(map(str, stream))
    assert stream.reply.text == text
    return text


def ask_streaming_async(llm, messages="Hi"):
    async def main():
        async with llm.astream(messages) as stream:
            text = "".join([str(delta) async for delta in stream])
        assert stream.reply.text == text
        return text

    return asyncio.run(main())


@pytest.fixture(params=["pyreqwest", "httpx2"])
def transport(request):
    return request.param


@pytest.fixture(params=[ask_blocking, ask_async])
def ask(request):
    return request.param


@pytest.fixture(params=[ask_blocking, ask_async, ask_streaming, ask_streaming_async])
def ask_anyhow(request):
    return request.param


def test_it_answers(transport, ask_anyhow):
    with LoopbackEndpoint(["Grüße, 世界! 🚣"]) as endpoint:
        assert ask_anyhow(ChatLLM("m", endpoint.url, transport=transport)) == "Grüße, 世界! 🚣"
        request = endpoint.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.json["model"] == "m"
    assert request.json["messages"] == [{"role": "user", "content": "Hi"}]
    assert "tools" not in request.json
    assert "stop" not in request.json


def test_a_blocking_program_is_spared_the_import_of_asyncio():
    program = (
        "import sys; from oarlock import ChatLLM; from oarlock.auth import ApiKey\n"
        "print(ChatLLM('m', sys.argv[1], auth=ApiKey('k')).call('Hi'), 'asyncio' in sys.modules)"
    )
    with LoopbackEndpoint(["Hello"]) as endpoint:
        command = [sys.executable, "-c", program, endpoint.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("Hello False\n", "")


def test_the_url_may_name_the_path_itself():
    with LoopbackEndpoint(["ok"]) as endpoint:
        assert ChatLLM("m", f"{endpoint.url}/chat/completions").call("Hi") == "ok"
        assert ChatLLM("m", f"{endpoint.url}/").call("Hi") == "ok"


def test_settings_go_into_the_body():
    with LoopbackEndpoint(["ok"]) as endpoint:
        llm = ChatLLM(
            "m",
            endpoint.url,
            temperature=0.5,
            max_tokens=7,
            stop=["END"],
            options={"top_p": 0.9},
            headers={"x-team": "blue"},
        )
        llm.call("Hi")
        llm.complete(Request(messages=[{"role": "user", "content": "Hi"}], stop=("X",), temperature=0, max_tokens=1))
        first, second = endpoint.requests
    assert (first.json["temperature"], first.json["max_tokens"], first.json["stop"]) == (0.5, 7, ["END"])
    assert first.json["top_p"] == 0.9
    assert first.headers["x-team"] == "blue"
    assert (second.json["temperature"], second.json["max_tokens"], second.json["stop"]) == (0, 1, ["END", "X"])


def test_options_of_one_request_win_over_the_llms_own():
    with LoopbackEndpoint(["ok", "ok"]) as endpoint:
        llm = ChatLLM("m", endpoint.url, options={"top_p": 0.9, "seed": 7})
        asked = Request(messages=[{"role": "user", "content": "Hi"}], options={"top_p": 0.1, "tool_choice": "required"})
        llm.complete(asked)
        llm.call("Hi")
        first, second = endpoint.requests
    assert (first.json["top_p"], first.json["seed"], first.json["tool_choice"]) == (0.1, 7, "required")
    assert (second.json["top_p"], second.json["seed"]) == (0.9, 7)
    assert "tool_choice" not in second.json


@pytest.mark.parametrize(
    ("auth", "check"),
    [
        (ApiKey("k3y"), require_bearer("k3y")),
        (ApiKey("k3y", header="x-api-key"), require_header("x-api-key", "k3y")),
        (ApiKey("k3y", header="x-api-key", prefix="Key "), require_header("x-api-key", "Key k3y")),
        (BearerToken("t0ken"), require_bearer("t0ken")),
        (BearerToken(lambda: "t0ken"), require_bearer("t0ken")),
        (Headers({"x-one": "1", "x-two": "2"}), require_header("x-two", "2")),
        (Headers(lambda request: {"x-length": str(len(request.body) > 10)}), require_header("x-length", "True")),
        (httpx2.BasicAuth("user", "pass"), require_header("authorization", "Basic dXNlcjpwYXNz")),
    ],
)
def test_sign_ins(transport, ask_anyhow, auth, check):
    with LoopbackEndpoint(["ok"], auth=check) as endpoint:
        assert ask_anyhow(ChatLLM("m", endpoint.url, auth=auth, transport=transport)) == "ok"


def test_a_key_may_stand_in_the_query():
    with LoopbackEndpoint(["ok"]) as endpoint:
        ChatLLM("m", endpoint.url, auth=ApiKey("a b&c", query="key")).call("Hi")
        # The endpoint knows the path before the question mark only as ours; the key is quoted.
        assert endpoint.requests[0].path.endswith("?key=a%20b%26c")


def test_a_refused_token_is_renewed_once_and_the_request_repeated(transport, ask_anyhow):
    clock = [1000.0]
    issuer = JwtIssuer(secret="s", lifetime=60, clock=lambda: clock[0])
    fetched = []

    def fetch():
        fetched.append(issuer.issue("me"))
        return fetched[-1], 1e9  # says that it is good for ever, and is wrong

    with LoopbackEndpoint(["one", "two"], auth=issuer.check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=BearerToken(fetch), transport=transport)
        assert ask_anyhow(llm) == "one"
        clock[0] += 61
        assert ask_anyhow(llm) == "two"
        assert len(endpoint.requests) == 3
    assert len(fetched) == 2


def test_a_fresh_token_that_is_refused_is_the_end(ask_anyhow):
    with LoopbackEndpoint(["unused"], auth=require_bearer("other")) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=BearerToken(lambda: "mine"))
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            ask_anyhow(llm)
        assert len(endpoint.requests) == 2


def test_a_sign_in_that_sends_nothing_is_named(ask_anyhow):
    class Mute:
        def flow(self, request):
            yield from ()

    with pytest.raises(ConfigurationError, match=r"^Mute\.flow\(\) yielded no request to send\.$"):
        ask_anyhow(ChatLLM("m", "http://127.0.0.1:1/v1", auth=Mute()))


def test_the_default_policies_retry_what_heals(ask_anyhow):
    with LoopbackEndpoint([Status(503, headers={"retry-after-ms": "1"}), Drop(), "ok"]) as endpoint:
        llm = ChatLLM("m", endpoint.url).with_policies(AT_ONCE)
        assert ask_anyhow(llm) == "ok"
        keys = {request.headers["idempotency-key"] for request in endpoint.requests}
        assert len(endpoint.requests) == 3
    assert len(keys) == 1


QUOTA = Status(429, body={"error": {"message": "You are out of credit", "code": "insufficient_quota"}})
HTML = "<html><head><title>Sign in</title></head><body>Please</body></html>"


@pytest.mark.parametrize(
    ("reply", "error", "said", "requests"),
    [
        (Status(401), AuthenticationError, "No sign-in was given: pass auth=", 1),
        (Status(403), PermissionDeniedError, "HTTP 403", 1),
        (Status(404), BadRequestError, "check base_url and model", 1),
        (Status(400, body={"error": {"message": "bad temperature"}}), BadRequestError, "bad temperature", 1),
        (Status(429), RateLimitError, "HTTP 429", 3),
        (QUOTA, QuotaExceededError, "out of credit", 1),
        (Status(500), ServerError, "HTTP 500", 3),
        (
            Status(302, headers={"location": "http://else.example.com/v1?secret=1"}),
            BadRequestError,
            "else.example.com",
            1,
        ),
        (Status(200, body=HTML), ResponseFormatError, "HTML", 1),
        (Status(200, body=""), ResponseFormatError, "", 1),
        (Status(200, body={"choices": []}), ResponseFormatError, "choices", 1),
        ({"role": "assistant", "content": ""}, EmptyReply, "empty", 1),
        ({"role": "assistant", "content": None}, EmptyReply, "empty", 1),
        (Drop(), ConnectionFailedError, "", 3),
        (Raw(b"not http at all\r\n\r\n"), ResponseFormatError, "did not answer in HTTP", 1),
    ],
)
def test_what_goes_wrong_is_one_clear_error(transport, ask, reply, error, said, requests):
    with LoopbackEndpoint([reply]) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport).with_policies(AT_ONCE)
        with pytest.raises(error) as caught:
            ask(llm)
        assert said in str(caught.value)
        assert "secret=1" not in str(caught.value)
        assert caught.value.attempts == requests
        assert len(endpoint.requests) == requests


def test_a_refused_connection_says_where(transport, ask_anyhow):
    with LoopbackEndpoint(["unused"]) as endpoint:
        url = endpoint.url
    llm = ChatLLM("m", url, transport=transport).with_policies(AT_ONCE)
    with pytest.raises(ConnectionFailedError, match=url.removeprefix("http://").removesuffix("/v1")):
        ask_anyhow(llm)


def test_a_silent_endpoint_ends_at_the_timeout(transport, ask_anyhow):
    with LoopbackEndpoint([Hang()]) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport, timeout=0.2, policies=())
        with pytest.raises(LLMTimeoutError):
            ask_anyhow(llm)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
def test_a_redirect_keeps_its_status_and_only_redirects_are_called_so(transport, ask_anyhow, status):
    answer = Status(status, body="", headers={"location": "https://else.example.com/", "x-request-id": "r1"})
    with LoopbackEndpoint([answer]) as endpoint:
        with pytest.raises(BadRequestError, match=f"HTTP {status}") as caught:
            ask_anyhow(ChatLLM("m", endpoint.url, transport=transport))
        assert len(endpoint.requests) == 1
    assert (caught.value.status, caught.value.request_id) == (status, "r1")
    assert ("redirect" in str(caught.value)) == (status in (301, 302, 303, 307, 308))


@pytest.mark.parametrize(
    ("said", "shown"), [("Too warm", "warm."), ("Too warm.", "warm."), ("What is that?", "that?"), ("No!", "No!")]
)
def test_what_an_endpoint_says_ends_in_one_full_stop(said, shown):
    refusal = Status(400, body={"error": {"message": said}})
    with LoopbackEndpoint([refusal]) as endpoint, pytest.raises(BadRequestError) as caught:
        ChatLLM("m", endpoint.url).call("Hi")
    assert str(caught.value).endswith(shown)


@pytest.mark.parametrize("policies", [(), None])
def test_an_error_says_how_long_the_call_took(ask_anyhow, policies):
    with LoopbackEndpoint([Status(400)]) as endpoint, pytest.raises(BadRequestError) as caught:
        ask_anyhow(ChatLLM("m", endpoint.url, policies=policies))
    assert 0 < caught.value.elapsed < 30
    assert caught.value.attempts == 1


def test_an_attempt_that_the_deadline_cuts_says_so(transport, ask_anyhow):
    with LoopbackEndpoint([Hang()]) as endpoint:
        llm = ChatLLM("gpt-x", endpoint.url, transport=transport, timeout=60, policies=[Deadline(0.3)])
        with pytest.raises(LLMTimeoutError) as caught:
            ask_anyhow(llm)
    said = str(caught.value)
    assert said.startswith("gpt-x at http://127.0.0.1:")
    assert "when the call's deadline passed, 0.3 s after this attempt began (deadline)." in said
    assert "(timeout)" not in said


def test_a_deadline_covers_all_attempts(transport, ask):
    with LoopbackEndpoint([Hang()]) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport, timeout=0.2, deadline=0.3).with_policies(AT_ONCE)
        with pytest.raises(LLMTimeoutError):
            ask(llm)
        assert len(endpoint.requests) <= 2


def test_a_token_function_that_hangs_ends_at_the_timeout(ask_anyhow):
    release = threading.Event()
    with LoopbackEndpoint(["unused"]) as endpoint:
        auth = BearerToken(lambda: str(release.wait(60)))
        llm = ChatLLM("m", endpoint.url, auth=auth, timeout=0.2, policies=())
        try:
            with pytest.raises(LLMTimeoutError):
                ask_anyhow(llm)
        finally:
            release.set()
        assert endpoint.requests == []


def test_a_deadline_that_has_passed_sends_nothing(ask):
    with LoopbackEndpoint(["unused"]) as endpoint:
        llm = ChatLLM("m", endpoint.url, policies=())
        with pytest.raises(LLMTimeoutError):
            llm.complete(Request(messages=[{"role": "user", "content": "Hi"}], deadline=0.0))
        assert endpoint.requests == []


def test_tool_calls_are_returned_in_openais_shape(transport, ask):
    with LoopbackEndpoint([ToolCalls([("add", {"a": 1})])]) as endpoint:
        calls = ask(ChatLLM("m", endpoint.url, transport=transport), tools=[SCHEMA])
        assert endpoint.requests[0].json["tools"] == [SCHEMA]
    assert calls[0]["function"] == {"name": "add", "arguments": calls[0]["function"]["arguments"]}
    assert json.loads(calls[0]["function"]["arguments"]) == {"a": 1}


def test_available_functions_are_run_until_there_is_an_answer(ask):
    with LoopbackEndpoint([ToolCalls([("add", {"a": 1, "b": 2}), ("nothing", {})]), "It is 3"]) as endpoint:
        llm = ChatLLM("m", endpoint.url)
        answer = ask(llm, tools=[SCHEMA], available_functions={"add": lambda a, b: a + b})
        assert answer == "It is 3"
        told = endpoint.requests[1].json["messages"][-2:]
    assert told[0]["content"] == "3"
    assert "there is no function 'nothing'" in told[1]["content"]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


SCHEMA = dict(add.schema)


def test_usage_and_model_are_read():
    with LoopbackEndpoint(["four words are here"]) as endpoint:
        reply = ChatLLM("m", endpoint.url).complete(Request(messages=[{"role": "user", "content": "Hi"}]))
    assert isinstance(reply, Reply)
    assert reply.usage.requests == 1
    assert reply.usage.total_tokens > 0
    assert not reply.usage.estimated
    assert reply.finish_reason == "stop"


def test_an_endpoint_that_does_not_stream_answers_at_once(transport):
    body = {"choices": [{"message": {"role": "assistant", "content": "all at once"}, "finish_reason": "stop"}]}
    raw = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
    with LoopbackEndpoint([Raw(head + raw)]) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport)
        assert [str(delta) for delta in llm.stream("Hi")] == ["all at once"]


def test_a_cut_stream_is_never_an_answer(transport):
    events = b'data: {"choices":[{"delta":{"content":"half an"}}]}\n\n'
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + events
    with LoopbackEndpoint([Raw(raw)]) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport).with_policies(AT_ONCE)
        seen = []
        with pytest.raises(TruncatedStream) as caught:
            seen.extend(str(delta) for delta in llm.stream("Hi"))
        assert len(endpoint.requests) == 1  # never again once a piece has been handed out
    assert caught.value.text == "half an"


def test_a_stream_left_early_frees_its_connection(transport):
    asked = threading.Event()

    def pieces(request):
        def endless():
            while True:
                yield "more "
                asked.set()

        return endless()

    with LoopbackEndpoint([pieces]) as endpoint:
        with ChatLLM("m", endpoint.url, transport=transport).stream("Hi") as stream:
            assert str(next(stream)) == "more "
        assert list(stream) == []
        with pytest.raises(RuntimeError, match="has not ended"):
            _ = stream.reply


async def test_a_stream_left_early_frees_its_connection_async(transport):
    with LoopbackEndpoint([lambda request: iter(["a"] * 100_000)]) as endpoint:
        async with ChatLLM("m", endpoint.url, transport=transport).astream("Hi") as stream:
            assert str(await anext(stream)) == "a"


def test_connections_are_reused(transport, ask):
    with LoopbackEndpoint(["ok"]) as endpoint:
        llms = [ChatLLM("m", endpoint.url, transport=transport) for _ in range(3)]  # they share one transport
        for llm in llms:
            for _ in range(3):
                llm.call("Hi")
        assert endpoint.connections == 1


async def test_many_at_once(transport):
    with LoopbackEndpoint([lambda request: request.prompt]) as endpoint:
        llm = ChatLLM("m", endpoint.url, transport=transport).with_policies(metrics := Metrics())
        answers = await asyncio.gather(*(llm.acall(f"number {n}") for n in range(100)))
    assert answers == [f"number {n}" for n in range(100)]
    assert metrics.get_metrics()["total_calls"] == 100


def test_copies_work(transport):
    with LoopbackEndpoint(["ok"]) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=ApiKey("k3y"), transport=transport)
        llm.call("Hi")
        assert copy.copy(llm).call("Hi") == copy.deepcopy(llm).call("Hi") == "ok"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": ""}, "model must be the model's name"),
        ({"base_url": ""}, "base_url must be the endpoint's URL"),
        ({"base_url": None}, "base_url must be the endpoint's URL"),
        ({"base_url": "llm.example.com/v1"}, "base_url must begin with http://"),
        ({"base_url": "ftp://llm.example.com"}, "base_url must begin with http://"),
        ({"base_url": "https://"}, "base_url must begin with http://"),
        ({"base_url": "https://llm.example.com:port"}, "base_url is no valid URL"),
        ({"base_url": "https://me:pw@llm.example.com"}, "give them through auth= instead"),
        ({"auth": "k3y"}, "auth is a text, which is no sign-in"),
        ({"auth": ApiKey}, "no sign-in"),
        ({"timeout": 0}, "ChatLLM: timeout must be a finite number, above zero, not 0"),
        ({"timeout": float("nan")}, "timeout must be a finite number"),
        ({"timeout": True}, "timeout must be a finite number"),
        ({"deadline": -1}, "deadline must be a finite number"),
        ({"transport": "curl"}, "transport must be 'pyreqwest', 'httpx2'"),
        ({"transport_options": {"verfy": False}}, "Did you mean 'verify'?"),
        ({"policies": [Retry]}, "this is the class Retry: write Retry()"),
        ({"timout": 3}, "ChatLLM has no argument 'timout'. Did you mean 'timeout'?"),
    ],
)
def test_wrong_settings_are_told_at_once(arguments, message):
    with pytest.raises(ConfigurationError) as caught:
        ChatLLM(**{"model": "m", "base_url": "https://llm.example.com/v1", **arguments})
    assert message in str(caught.value)
    assert "pw" not in str(caught.value)


def test_no_secret_shows():
    llm = ChatLLM("m", "https://llm.example.com/v1", auth=ApiKey("k3y-canary")).with_policies(Deadline(1))
    assert "canary" not in f"{llm!r} {llm} {vars(llm)} {vars(llm.inner)} {llm.auth!r}"


class TestHttpLLM:
    """A private protocol in ten lines."""

    class Gateway(HttpLLM):
        def encode(self, request):
            return {"question": request.messages[-1]["content"]}

        def decode(self, response):
            return json.loads(response.body)["answer"]

    def test_it_keeps_everything_else(self, ask, transport):
        with LoopbackEndpoint(
            [Status(503, headers={"retry-after-ms": "0"}), Status(200, body={"answer": "42"})],
            auth=require_bearer("k3y"),
        ) as endpoint:
            url = f"{endpoint.url}/chat/completions"
            llm = self.Gateway("ours", url, auth=ApiKey("k3y"), transport=transport).with_policies(AT_ONCE)
            assert ask(llm, "What is it?") == "42"
            assert endpoint.requests[-1].json == {"question": "What is it?"}

    def test_a_streaming_door_gives_the_answer_at_once(self):
        with LoopbackEndpoint([Status(200, body={"answer": "42"})]) as endpoint:
            llm = self.Gateway("ours", f"{endpoint.url}/chat/completions")
            assert [str(delta) for delta in llm.stream("Hi")] == ["42"]

    def test_what_decode_trips_over_is_shown(self):
        with LoopbackEndpoint([Status(200, body={"anwser": "42", "api_key": "sk-abcdefghijklmnopqrst"})]) as endpoint:
            llm = self.Gateway("ours", f"{endpoint.url}/chat/completions")
            with pytest.raises(ResponseFormatError, match=r"Gateway.decode\(\).*anwser") as caught:
                llm.call("Hi")
        assert isinstance(caught.value.__cause__, KeyError)
        assert "abcdefghijklmnopqrst" not in str(caught.value)
