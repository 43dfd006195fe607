"""Model calls as spans and metrics of OpenTelemetry's."""

from __future__ import annotations

import asyncio
import json

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from telemetry_helpers import ANSWER, Seen, events_of

from oarlock import BaseLLM, ChatLLM, ConfigurationError, Reply, Request, ToolCall, Usage
from oarlock.auth import BearerToken
from oarlock.contract.errors import BadRequestError, ServerError
from oarlock.contract.request import waiting
from oarlock.policies import Cache, CircuitBreaker, Concurrency, Fallback, RateLimit, Retry
from oarlock.telemetry import OpenTelemetry, instrument
from oarlock.testing import LoopbackEndpoint, ScriptedLLM, VirtualRuntime
from oarlock.testing.endpoint import Status


def ask(llm: BaseLLM, colour: str) -> str:
    return str(llm.call("Hi") if colour == "blocking" else asyncio.run(llm.acall("Hi")))


@pytest.fixture(params=["blocking", "async"])
def colour(request) -> str:
    return str(request.param)


def test_a_call_is_one_client_span_with_what_is_known_of_it(seen: Seen, colour):
    seen.instrument()
    assert ask(ScriptedLLM([ANSWER], model="m"), colour) == "Hello"
    (span,) = seen.spans
    assert span.name == "chat m"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "custom",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-2026",
        "gen_ai.response.id": "answer-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 8,
    }
    assert not trace.get_current_span().get_span_context().is_valid  # nothing is left behind
    ((_, duration),) = seen.points("gen_ai.client.operation.duration").items()
    assert (duration.explicit_bounds[0], duration.explicit_bounds[-1]) == (0.01, 81.92)
    tokens = seen.points("gen_ai.client.token.usage")
    assert {values[-1]: point.sum for values, point in tokens.items()} == {"input": 12, "output": 3}
    assert next(iter(tokens.values())).explicit_bounds[-1] == 67_108_864


def test_retries_are_events_of_the_one_span_with_their_reasons(seen: Seen, colour):
    seen.instrument()
    with LoopbackEndpoint([503, Status(429, headers={"retry-after": "2"}), "Hello"]) as endpoint, VirtualRuntime():
        assert ask(ChatLLM("m", endpoint.url), colour) == "Hello"
    (span,) = seen.spans
    facts = dict(span.attributes)
    assert facts["server.address"] == "127.0.0.1"
    assert f":{facts['server.port']}/" in endpoint.url
    assert facts["oarlock.attempts"] == 3
    assert facts["oarlock.waited.total"] == facts["oarlock.waited.retry"] >= 2
    first, waited, second, waited_again = events_of(span)
    assert first[0] == second[0] == "oarlock.retry"
    assert waited[0] == waited_again[0] == "oarlock.waited"
    assert (first[1]["error.type"], first[1]["http.response.status_code"]) == ("ServerError", 503)
    assert (second[1]["error.type"], second[1]["oarlock.attempt"]) == ("RateLimitError", 2)
    assert waited_again[1]["oarlock.seconds"] >= 2


def test_a_failure_says_its_class_and_status_and_nothing_of_what_was_said(seen: Seen, colour):
    seen.instrument()
    refusal = Status(400, body={"error": {"message": "Your prompt 'Hi, Mr. Smith' is not allowed"}})
    with LoopbackEndpoint([refusal]) as endpoint, pytest.raises(BadRequestError, match="Smith"):
        ask(ChatLLM("m", endpoint.url), colour)
    (span,) = seen.spans
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description.startswith("BadRequestError (HTTP 400")
    assert (span.attributes["error.type"], span.attributes["http.response.status_code"]) == ("BadRequestError", 400)
    assert "Smith" not in seen.everything()
    ((values, _),) = seen.points("gen_ai.client.operation.duration").items()
    assert "BadRequestError" in values


def test_waits_for_a_limit_and_for_a_place_say_why(seen: Seen):
    seen.instrument()
    llm = ScriptedLLM(["a", "b"], model="m", latency=1.0).with_policies(
        RateLimit(requests_per_minute=1), Concurrency(1)
    )
    with VirtualRuntime():
        llm.call("Hi")
        llm.call("Hi")
    first, second = seen.spans
    assert not first.events
    (waiting, facts), (waited, after) = events_of(second)
    assert (waiting, waited) == ("oarlock.waiting", "oarlock.waited")
    assert facts["oarlock.wait.cause"] == after["oarlock.wait.cause"] == "rate_limit"
    assert second.attributes["oarlock.waited.rate_limit"] == after["oarlock.seconds"] > 50


def test_a_fallback_is_a_span_below_and_its_tokens_count_once(seen: Seen, colour):
    seen.instrument()
    second = ScriptedLLM([ANSWER], model="second")
    first = ScriptedLLM([ServerError("down", status=503)], model="first").with_policies(Fallback(second))
    assert ask(first, colour) == "Hello"
    assert seen.tree() == ["chat first", "  chat second"]
    outer = seen.span("chat first")
    ((name, facts),) = events_of(outer)
    assert name == "oarlock.fallback"
    assert (facts["oarlock.fallback.to"], facts["error.type"]) == ("second", "ServerError")
    assert "gen_ai.usage.input_tokens" not in outer.attributes
    assert seen.span("chat second").attributes["gen_ai.usage.input_tokens"] == 12
    assert sum(point.sum for point in seen.points("gen_ai.client.token.usage").values()) == 15


def test_a_circuit_that_opens_and_an_answer_from_a_cache_are_events(seen: Seen):
    seen.instrument()
    broken = ScriptedLLM([ServerError("down", status=503)]).with_policies(CircuitBreaker(minimum_calls=1))
    with pytest.raises(ServerError):
        broken.call("Hi")
    cached = ScriptedLLM([ANSWER]).with_policies(Cache())
    cached.call("Hi")
    cached.call("Hi")
    opened, _, hit = seen.spans
    ((name, facts),) = events_of(opened)
    assert (name, facts["oarlock.circuit.state"]) == ("oarlock.circuit", "open")
    assert "1 of 1 calls" in facts["oarlock.why"]
    assert events_of(hit) == [("oarlock.cache_hit", {"oarlock.saved_tokens": 15})]
    assert hit.attributes["oarlock.cached"]
    assert "gen_ai.usage.input_tokens" not in hit.attributes


def test_a_token_that_is_renewed_is_an_event_of_the_call_that_needed_it(seen: Seen, colour):
    seen.instrument()
    tokens = iter(["first-token-of-two", "second-token-of-two"])
    with LoopbackEndpoint([401, "Hello"]) as endpoint:
        assert ask(ChatLLM("m", endpoint.url, auth=BearerToken(lambda: next(tokens))), colour) == "Hello"
    (span,) = seen.spans
    whys = [facts["oarlock.why"] for name, facts in events_of(span) if name == "oarlock.signed_in"]
    assert whys == ["first use", "refused"]
    assert "of-two" not in seen.everything()


def test_a_stream_tells_its_first_piece_and_leaves_its_readers_context_alone(seen: Seen):
    seen.instrument()
    with LoopbackEndpoint(["Hello there, all of you"]) as endpoint:
        stream = ChatLLM("m", endpoint.url).stream("Hi")
        for delta in stream:
            assert not trace.get_current_span().get_span_context().is_valid, str(delta)
    (span,) = seen.spans
    assert span.attributes["gen_ai.request.stream"]
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0
    ((_, first),) = seen.points("gen_ai.client.operation.time_to_first_chunk").items()
    assert first.count == 1
    ((_, later),) = seen.points("gen_ai.client.operation.time_per_output_chunk").items()
    assert later.count >= 2


async def test_a_stream_that_is_left_is_no_failure(seen: Seen):
    seen.instrument()
    async with ScriptedLLM(["one two three"], model="m").astream("Hi") as stream:
        async for _ in stream:
            break
    with ScriptedLLM(["one two three"], model="m").stream("Hi") as blocking:
        next(blocking)
    for span in seen.spans:
        assert span.attributes["oarlock.abandoned"]
        assert span.status.status_code is StatusCode.UNSET
    assert len(seen.spans) == 2
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_stream_that_falls_back_is_told_once_for_each_llm(seen: Seen):
    seen.instrument()
    second = ScriptedLLM(["one two"], model="second")
    first = ScriptedLLM([ServerError("down", status=503)], model="first").with_policies(Fallback(second))
    assert [str(delta) for delta in first.stream("Hi")] == ["one ", "two"]
    assert seen.tree() == ["chat first", "  chat second"]


def test_requests_carry_the_span_and_no_baggage(seen: Seen, colour):
    seen.instrument()
    token = attach(baggage.set_baggage("customer", "secret-customer"))
    try:
        with LoopbackEndpoint(["Hello"]) as endpoint:
            ask(ChatLLM("m", endpoint.url, headers={"x-team": "a"}), colour)
    finally:
        detach(token)
    (span,) = seen.spans
    headers = endpoint.requests[0].headers
    assert headers["traceparent"].split("-")[1:3] == [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"]
    assert headers["x-team"] == "a"
    assert "baggage" not in headers


def test_requests_carry_nothing_where_that_is_not_wanted_or_nothing_is_on(seen: Seen):
    with LoopbackEndpoint(["Hello"]) as endpoint:
        ChatLLM("m", endpoint.url).call("Hi")
        seen.instrument(propagate=False)
        ChatLLM("m", endpoint.url).call("Hi")
    assert all("traceparent" not in request.headers for request in endpoint.requests)
    assert len(seen.spans) == 1


def test_a_whole_http_request_of_ones_own_carries_the_span_too(seen: Seen):
    from oarlock import HttpLLM
    from oarlock.contract.http import HttpRequest

    class Own(HttpLLM):
        def encode(self, request):
            return HttpRequest(method="POST", url=f"{self.base_url}/chat/completions", body=b"{}")

        def decode(self, response):
            return json.loads(response.body)["choices"][0]["message"]["content"]

    seen.instrument()
    with LoopbackEndpoint(["Hello"]) as endpoint:
        assert Own("m", endpoint.url).call("Hi") == "Hello"
    assert "traceparent" in endpoint.requests[0].headers


def test_code_inside_a_call_stands_below_its_span_in_whatever_thread(seen: Seen, colour):
    tracer = seen.tracers.get_tracer("theirs")

    class Own(BaseLLM):
        def call(self, messages):
            with tracer.start_as_current_span("their http client"):
                return "Hello"

    seen.instrument()
    ask(Own().with_policies(Retry()), colour)
    assert seen.tree() == ["chat custom", "  their http client"]


def test_a_call_that_asks_through_super_is_one_call(seen: Seen):
    class Own(ScriptedLLM):
        def call(self, messages, tools=None, callbacks=None, available_functions=None):
            return super().call(messages).upper()

    seen.instrument()
    llm = Own(["hello"], model="m")
    assert llm.acall is not None
    assert asyncio.run(llm.acall("Hi")) == "HELLO"
    assert seen.tree() == ["chat m"]


def test_a_call_inside_another_one_is_a_call_of_its_own(seen: Seen):
    inner = ScriptedLLM([ANSWER], model="inner")

    class Router(BaseLLM):
        def complete(self, request):
            return inner.complete(request)

    seen.instrument()
    Router(model="router").call("Hi")
    assert seen.tree() == ["chat router", "  chat inner"]
    assert sum(point.sum for point in seen.points("gen_ai.client.token.usage").values()) == 15


def test_as_a_policy_it_watches_one_llm(seen: Seen):
    telemetry = seen.telemetry(provider="ours")
    watched = ScriptedLLM(["a", "b"], model="m", supports_stop_words=True).with_policies(Retry(), telemetry)
    watched.call("Hi")
    ScriptedLLM(["b"]).call("Hi")
    instrument(telemetry)
    watched.call("Hi")  # by both, and still one call
    assert seen.tree() == ["chat m", "chat m"]
    assert seen.spans[0].attributes["gen_ai.provider.name"] == "ours"
    assert "Shows each call as a span" in telemetry.explain()
    assert repr(telemetry) == "OpenTelemetry()"


def test_as_a_plain_function_around_a_handler_it_knows_no_llm(seen: Seen):
    telemetry = seen.telemetry()
    llm = ScriptedLLM(["a"], model="m").with_policies(telemetry.__call__)
    llm.call("Hi")
    assert seen.tree() == ["chat custom"]


def test_settings_of_a_request_are_on_the_span(seen: Seen):
    seen.instrument()
    message = [{"role": "user", "content": "Hi"}]
    request = Request(messages=message, temperature=0.5, max_tokens=9, json_schema={"type": "object"})
    ScriptedLLM(["{}"]).complete(request)
    facts = seen.spans[0].attributes
    assert (facts["gen_ai.request.temperature"], facts["gen_ai.request.max_tokens"]) == (0.5, 9)
    assert facts["gen_ai.output.type"] == "json"


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://ours.openai.azure.com/openai/v1", "azure.ai.openai"),
        ("https://notapi.openai.com.example.com/v1", "custom"),
        ("https://[half/v1", "custom"),
    ],
)
def test_the_host_tells_the_provider(seen: Seen, url, provider):
    class Own(BaseLLM):
        def call(self, messages):
            return "Hello"

    seen.instrument()
    asyncio.run(Own(base_url=url).acall("Hi"))
    assert seen.spans[0].attributes["gen_ai.provider.name"] == provider


def test_what_fails_in_the_programs_own_processors_fails_no_call(seen: Seen, caplog):
    class Broken(SpanProcessor):
        def on_start(self, span, parent_context=None):
            raise RuntimeError("no disk")

    seen.tracers.add_span_processor(Broken())
    seen.instrument()
    assert ScriptedLLM(["Hello"]).call("Hi") == "Hello"
    assert "could not be shown" in caplog.text


def test_a_propagator_that_fails_fails_no_call_either(seen: Seen, caplog):
    class Broken(TraceContextTextMapPropagator):
        def inject(self, *args, **kwargs):
            raise RuntimeError("no header today")

    seen.instrument()
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Broken())
    try:
        with LoopbackEndpoint(["Hello"]) as endpoint:
            assert ChatLLM("m", endpoint.url).call("Hi") == "Hello"
    finally:
        propagate.set_global_textmap(before)
    assert "could not be shown" in caplog.text
    assert seen.tree() == ["chat m"]


def test_it_sets_no_provider():
    before = trace.get_tracer_provider()
    instrument()
    try:
        assert ScriptedLLM(["Hello"]).call("Hi") == "Hello"
        assert trace.get_tracer_provider() is before
    finally:
        from oarlock.telemetry import uninstrument

        uninstrument()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"redact": str.upper}, "without content=True"),
        ({"content": True, "redact": "***"}, "redact must be a function"),
        ({"content": "yes"}, "content must be True or False"),
        ({"provider": ""}, "provider must be a name"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        OpenTelemetry(**settings)


@pytest.mark.parametrize("wrong", [OpenTelemetry, "otel"])
def test_instrument_takes_telemetry_only(wrong):
    with pytest.raises(ConfigurationError, match="instrument\\(\\) takes"):
        instrument(wrong)


def test_tool_calls_are_no_text(seen: Seen):
    seen.instrument(content=True)
    call = ToolCall(id="1", name="look", arguments='{"at": "it"}')
    ScriptedLLM([[call]], supports_function_calling=True).call("Hi")
    (message,) = json.loads(seen.spans[0].attributes["gen_ai.output.messages"])
    assert message["parts"] == [{"type": "tool_call", "id": "1", "name": "look", "arguments": '{"at": "it"}'}]


def test_answers_of_an_endpoint_cannot_bring_credentials_into_a_span(seen: Seen):
    seen.instrument()
    canary = "sk-canary1234567890abcdef"
    llm = ScriptedLLM([Reply(text="Hello", model=canary, id=canary, finish_reason=canary)])
    llm.call("Hi")
    assert "canary1234567890" not in seen.everything()


def test_a_policy_of_ones_own_says_why_it_waits_and_adds_headers(seen: Seen):
    def patient(handler):
        async def handle(runtime, request):
            with waiting(runtime, request, "moon"):
                await runtime.sleep(3)
            return await handler(runtime, request.replace(headers=(*request.headers, ("x-tide", "high"))))

        return handle

    seen.instrument()
    with LoopbackEndpoint(["Hello"]) as endpoint, VirtualRuntime():
        ChatLLM("m", endpoint.url, policies=[patient]).call("Hi")
    (span,) = seen.spans
    assert span.attributes["oarlock.waited.moon"] == 3
    assert events_of(span)[0] == ("oarlock.waiting", {"oarlock.wait.cause": "moon"})
    assert endpoint.requests[0].headers["x-tide"] == "high"
    assert "traceparent" in endpoint.requests[0].headers


def test_when_a_token_expires_is_told(seen: Seen):
    seen.instrument()
    with LoopbackEndpoint(["Hello"]) as endpoint:
        ChatLLM("m", endpoint.url, auth=BearerToken(lambda: ("a-token", 3600))).call("Hi")
    ((name, facts),) = events_of(seen.spans[0])
    assert name == "oarlock.signed_in"
    assert 3500 < facts["oarlock.sign_in.expires_in"] <= 3600
    assert facts["oarlock.sign_in.method"] == "BearerToken"


def test_tokens_that_were_estimated_say_so(seen: Seen):
    seen.instrument()
    usage = Usage(prompt_tokens=4, completion_tokens=1, requests=1, estimated=True)
    ScriptedLLM([Reply(text="Hello", usage=usage)]).call("Hi")
    assert seen.spans[0].attributes["oarlock.usage.estimated"]


def test_an_error_that_is_none_of_ours_has_its_class(seen: Seen):
    def broken(handler):
        async def handle(runtime, request):
            raise ZeroDivisionError("one's own bug")

        return handle

    seen.instrument()
    with pytest.raises(ZeroDivisionError):
        ScriptedLLM(["x"]).with_policies(broken).call("Hi")
    assert seen.spans[0].status.description == "ZeroDivisionError"
